//! The address of a page for the fuzz targets, which are a crate of their own (`fuzz/targets`).
//!
//! Owns nothing: it hands through what is private otherwise. Nothing of the program uses this.

use url::Url;

use super::client::YotpoSettings;
use super::cursor::PageCursor;
use super::query::CursorQuery;

/// Where the page behind `cursor` is asked for: in each form of [`CursorQuery`].
pub fn addresses_behind(settings: &YotpoSettings, cursor: &PageCursor) -> [Url; 3] {
    [CursorQuery::FiltersAndLimit, CursorQuery::Filters, CursorQuery::Limit]
        .map(|query| settings.customers_url(100, Some((cursor, query))))
}
