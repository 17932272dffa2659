//! Where parts go.
//!
//! Owns the contract between whoever makes parts and whoever keeps them: a bulk import session, a folder, or nothing.

use bytes::Bytes;

use super::ledger::{PageEnd, StoredPrefix};
use crate::identity::{PartName, PartTotals, PartsDigest};

/// Keeps parts. Parts are put several at once and in any order; of the other calls there is one at a time.
pub trait PartSink: Sync {
    /// Why a call failed.
    type Error: std::fmt::Display + Send;

    /// Keeps a part; once this returns [`Put::Stored`], the part outlives the process. The same part may be put again by a later
    /// process.
    fn put(&self, name: &PartName, body: Bytes) -> impl Future<Output = Result<Put, Self::Error>> + Send;

    /// Remembers that everything up to `prefix` is stored: a later process continues from there.
    fn checkpoint(&self, prefix: StoredPrefix) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Remembers that everything is stored, the last part included.
    fn complete(&self, parts: CompleteParts) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Removes everything that was put: nobody can use it.
    fn abort(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// The sink takes no more parts.
    SinkClosed,
}

/// All parts of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteParts {
    /// How many there are, and what is in them.
    pub totals: PartTotals,
    /// Over the names of all.
    pub digest: PartsDigest,
    /// Where the pages ended.
    pub end: PageEnd,
}
