//! The address of a page for the fuzz targets, which are a crate of their own (`fuzz/targets`).
//!
//! Owns nothing: it hands through what is private otherwise. Nothing of the program uses this.

use url::Url;

use super::client::{CursorParameters, YotpoSettings};
use super::cursor::PageCursor;

/// Where the page behind `cursor` is asked for: with the filters beside it, and with the limit only.
pub fn addresses_behind(settings: &YotpoSettings, cursor: &PageCursor) -> [Url; 2] {
    [CursorParameters::Filters, CursorParameters::LimitOnly]
        .map(|parameters| settings.customers_url(Some((cursor, parameters))))
}
