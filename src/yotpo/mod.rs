//! Yotpo's side: every customer of a store, page by page.
//!
//! Owns the access token, the rules of paging and the reading of a page, whose customers become rows on the way.
//! Invariant: a page is delivered whole and in order, or the paging ends with an error; nothing is skipped. It knows
//! nothing of Treasure Data or files, nor what a row looks like.
//!
//! Facts about the service are from its public documentation and integrations; where they are unknown, the code is
//! lenient in what it accepts and loud where a wrong guess could lose a row.

mod client;
mod cursor;
mod end_of_data;
mod error;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod loyalty;
mod next_cursor;
mod not_a_number;
mod page;
mod pages;
mod position;
mod prefetch;
mod query;
mod reported_error;

pub use client::{YotpoClient, YotpoSettings};
pub use cursor::PageCursor;
pub use error::YotpoError;
pub use loyalty::{LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict, MemberCount};
pub use page::{Page, RejectedCustomer};
pub use pages::{Pages, PagesSettings};
pub use position::{EndedBy, Position};
pub use query::CursorQuery;
