//! What Yotpo does where its documentation is silent or contradicts itself.
//!
//! Owns these settings only; each has a default that is the friendliest reading.

use std::num::NonZeroU64;

use super::super::customer::{CustomerShapes, PageLayout};
use super::rate::RateHeaders;

/// How Yotpo behaves where its documentation leaves it open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct YotpoBehaviour {
    /// Which customers there are.
    pub shapes: CustomerShapes,
    /// White space of the pages.
    pub page_layout: PageLayout,
    /// What other parameters beside a cursor do.
    pub filters_beside_cursor: FiltersBesideCursor,
    /// What a cursor remembers of the request it came from, beside the page size.
    pub cursor_memory: CursorMemory,
    /// How `next_page_info` is written.
    pub cursor_encoding: CursorEncoding,
    /// How the last page shows that it is the last.
    pub last_page: LastPage,
    /// After this many pages an empty one with a cursor follows.
    pub empty_page_after: Option<NonZeroU64>,
    /// The answer to this page, counted from 1, names its own cursor as the next.
    pub repeated_cursor_at: Option<NonZeroU64>,
    /// What goes wrong on one page.
    pub glitch: Option<Glitch>,
    /// A token is good for so many requests.
    pub token_uses: Option<NonZeroU64>,
    /// How the limit is counted, and what the headers say of it.
    pub rate_headers: RateHeaders,
    /// The connection is closed behind each so many-th response of the store.
    pub closes_behind: Option<NonZeroU64>,
}

/// Something that goes wrong on one page without an error status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glitch {
    /// The page, from 1, counting empty ones.
    pub page: NonZeroU64,
    /// So many requests for it are answered like this, and the others as usual.
    pub times: u32,
    /// How they are answered.
    pub kind: GlitchKind,
}

/// How a request is answered when something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlitchKind {
    /// 400 "No results found", in another shape each time.
    NoResultsFound,
    /// `errors` and no customers.
    ErrorsInsteadOfCustomers,
    /// `errors` beside an empty list of customers.
    ErrorsBesideCustomers,
    /// A failing `status` beside an empty list of customers and a last page's pagination.
    FailingStatus,
    /// No `pagination`.
    MissingPagination,
    /// An empty list of customers and nothing else.
    EmptyPage,
    /// The page as usual, and before its first customer a number, of which no client can make a row.
    NumberAmongCustomers,
}

/// What parameters other than `limit` beside `page_info` do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FiltersBesideCursor {
    /// They are accepted.
    #[default]
    Accepted,
    /// The request is answered with 400.
    Refused,
}

/// What a cursor remembers beside the page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorMemory {
    /// `include_custom_properties` and `expand`.
    #[default]
    Filters,
    /// Nothing: what is not sent again is not in the page.
    Nothing,
}

/// How `next_page_info` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorEncoding {
    /// Percent-encoded, ready for a URL.
    #[default]
    Percent,
    /// As it is.
    Raw,
}

/// How the last page shows that it is the last.
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
    /// It has a cursor, and the request with that is answered with 400 "No results found".
    NoResultsFound,
}
