//! Behaviour of Yotpo that is not documented or documented inconsistently.
//!
//! Owns only these settings. The defaults are the most lenient interpretation.

use std::num::NonZeroU64;

use super::super::customer::{CustomerShapes, PageLayout};
use super::rate::RateHeaders;

/// Behaviour of Yotpo that its documentation leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct YotpoBehaviour {
    /// Kinds of customers.
    pub shapes: CustomerShapes,
    /// Whitespace in the pages.
    pub page_layout: PageLayout,
    /// Effect of other parameters together with a cursor.
    pub filters_with_cursor: FiltersWithCursor,
    /// What a cursor remembers of its request in addition to the page size.
    pub cursor_memory: CursorMemory,
    /// How `next_page_info` is written.
    pub cursor_encoding: CursorEncoding,
    /// How the last page is marked.
    pub last_page: LastPage,
    /// After this many pages, an empty page with a cursor follows.
    pub empty_page_after: Option<NonZeroU64>,
    /// This page, counted from 1, has its own cursor as the next one.
    pub repeated_cursor_at: Option<NonZeroU64>,
    /// A failure on one page.
    pub glitch: Option<Glitch>,
    /// Maximum number of requests with one token.
    pub max_token_uses: Option<NonZeroU64>,
    /// How the limit is counted and reported in headers.
    pub rate_headers: RateHeaders,
    /// The connection is closed after every n-th response of the store.
    pub close_connection_every: Option<NonZeroU64>,
}

/// A failure on one page that is not always visible in the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glitch {
    /// The page, counted from 1, including empty ones.
    pub page: NonZeroU64,
    /// How many requests for it fail; the others succeed.
    pub times: u32,
    /// The response.
    pub kind: GlitchKind,
}

/// The response in case of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlitchKind {
    /// 400 "No results found", in a different format each time.
    NoResultsFound,
    /// `errors` and no customers.
    ErrorsInsteadOfCustomers,
    /// `errors` and an empty list of customers.
    ErrorsWithCustomers,
    /// A failing `status`, an empty list of customers, and the pagination of a last page.
    FailingStatus,
    /// No `pagination`.
    MissingPagination,
    /// An empty list of customers and nothing else.
    EmptyPage,
    /// The regular page with a number before its first customer, which cannot become a row.
    NumberAmongCustomers,
}

/// Effect of parameters other than `limit` together with `page_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FiltersWithCursor {
    /// They are accepted.
    #[default]
    Accepted,
    /// The response is 400.
    BadRequest,
}

/// What a cursor remembers in addition to the page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorMemory {
    /// `include_custom_properties` and `expand`.
    #[default]
    Filters,
    /// Nothing: what is not requested again is not in the page.
    Nothing,
}

/// How `next_page_info` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorEncoding {
    /// Percent-encoded, ready for a URL.
    #[default]
    Percent,
    /// Not encoded.
    Raw,
}

/// How the last page is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPage {
    /// `"next_page_info": null`
    #[default]
    NullCursor,
    /// `"pagination": {}`
    AbsentCursor,
    /// `"next_page_info": ""`
    EmptyCursor,
    /// `"pagination": null`
    NullPagination,
    /// No `pagination`.
    AbsentPagination,
    /// It has a cursor, and the response to a request with that cursor is 400 "No results found".
    NoResultsFound,
}
