//! Treasure Data's side: tables, bulk import sessions and their jobs.
//!
//! Owns the REST calls, the retry-safety rule of each (what to ask before a call is repeated), and the life of a bulk
//! import session as types: an [`OpenSession`] takes parts, a [`FrozenSession`] is performed, a [`LoadedSession`]
//! knows its counts, and only a [`VerifiedSession`] can be committed. It knows nothing of Yotpo, rows or files.

mod answer;
mod client;
mod error;
mod session;
mod session_calls;
mod table;
mod wait;

pub use answer::{SessionState, SessionStatus, TableState};
pub use client::{TreasureDataClient, TreasureDataSettings};
pub use error::TreasureDataError;
pub use session::{
    CommittedSession, CommittingSession, FrozenSession, LoadedSession, OpenSession, PerformingSession,
    RecordCounts, Session, Stage, VerifiedSession,
};
pub use table::TableOrigin;
pub use wait::Polling;
