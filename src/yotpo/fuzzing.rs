//! The URLs of pages for the fuzz targets, which are a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes what is otherwise private. The program does not use it.

use url::Url;

use super::client::YotpoSettings;
use super::cursor::PageCursor;
use super::query::CursorQuery;

/// The URLs of the page at `cursor`, one for each [`CursorQuery`].
pub fn page_urls(settings: &YotpoSettings, cursor: &PageCursor) -> [Url; 3] {
    [CursorQuery::FiltersAndLimit, CursorQuery::Filters, CursorQuery::Limit]
        .map(|query| settings.customers_url(100, Some((cursor, query))))
}
