//! Yotpo client: fetches all customers of a store, page by page.
//!
//! Owns the access token, the paging rules and the parsing of pages, which converts customers to rows. Invariant: pages are
//! returned complete and in order, or the paging fails; nothing is skipped. It knows nothing of Treasure Data or files, nor what
//! a row looks like.
//!
//! Facts about the service come from its public documentation and integrations. Where they are unknown, the code is lenient in
//! what it accepts, and reports an error where a wrong assumption could lose a row.

mod client;
mod cursor;
mod end_of_data;
mod error;
/// For fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod inspection;
mod loyalty;
mod next_cursor;
mod not_a_number;
mod page;
mod pages;
mod position;
mod prefetch;
mod query;
mod reported_error;
#[cfg(test)]
mod tests;

pub use client::{YotpoClient, YotpoSettings};
pub use cursor::{CursorForm, PageCursor};
pub use error::YotpoError;
pub use inspection::{Inspected, PageFacts};
pub use loyalty::{LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict, MemberCount};
pub use page::{Page, RejectedCustomer, has_loyalty_data};
pub use pages::{Pages, PagesSettings};
pub use position::{EndedBy, Position};
pub use query::CursorQuery;
