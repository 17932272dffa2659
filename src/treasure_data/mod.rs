//! Treasure Data's side: tables, bulk import sessions and their jobs.
//!
//! Owns the REST calls and the rule of each for a lost response: what changes nothing, or overwrites itself, is repeated;
//! everything else is reported as [`Change::Unclear`]. It decides nothing about a run, and knows nothing of Yotpo, rows or
//! files.

mod blame;
mod change;
mod client;
mod error;
mod error_records;
mod response;
mod session;
mod table;

pub use change::Change;
pub use client::{Polling, TreasureDataClient, TreasureDataSettings};
pub use error::TreasureDataError;
pub use response::{SessionState, SessionStatus, TableState};
pub use session::JobOutcome;
pub use table::{Declared, Overwrite, TableLook};
