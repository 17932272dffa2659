//! Treasure Data client: tables, bulk import sessions and jobs.
//!
//! Owns the REST calls and how each handles a lost response: calls that change nothing or overwrite by name are repeated;
//! all others return [`Change::Unclear`]. It makes no decisions about a run, and knows nothing of Yotpo, rows or files.

mod account;
mod blame;
mod change;
mod client;
mod error;
mod error_records;
mod response;
mod session;
mod table;

pub use account::{Access, Column, KeyInfo, TableAccess, TableDetails};
pub use change::Change;
pub use client::{Polling, TreasureDataClient, TreasureDataSettings};
pub use error::TreasureDataError;
pub use response::{SessionState, SessionStatus, TableState};
pub use session::JobOutcome;
pub use table::{ColumnDeclaration, Overwrite, TableLookup};

#[cfg(test)]
mod tests;
