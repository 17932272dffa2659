//! The destination of parts.
//!
//! Owns the contract between the producer of parts and their destination: a bulk import session, a directory, or nothing.

use bytes::Bytes;

use super::ledger::{PageEnd, StoredPrefix};
use crate::identity::{PartName, PartTotals, PartsDigest};

/// Stores parts. [`Self::put`] is called concurrently and in any order; the other methods are called one at a time.
pub trait PartSink: Sync {
    /// Why a call failed.
    type Error: std::fmt::Display + Send;

    /// Stores a part durably. A later process may put the same part again.
    fn put(&self, part: &NamedPart) -> impl Future<Output = Result<Put, Self::Error>> + Send;

    /// Records that everything up to `prefix` is stored, so that a later process can continue after it.
    fn checkpoint(&self, prefix: StoredPrefix) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Records that everything is stored, including the last part.
    fn complete(&self, parts: CompleteParts) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A part with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    /// Its name.
    pub name: PartName,
    /// Its position, from 0.
    pub position: u64,
    /// gzip.
    pub body: Bytes,
    /// Number of rows.
    pub rows: u64,
    /// Size of the rows before compression, in bytes.
    pub row_bytes: u64,
    /// Rejected customers of the same pages.
    pub rejected: u64,
}

/// The result of storing a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// The sink accepts no more parts.
    SinkClosed,
}

/// All parts of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteParts {
    /// Their number and contents.
    pub totals: PartTotals,
    /// Digest over all names.
    pub digest: PartsDigest,
    /// The end of the last page.
    pub end: PageEnd,
}
