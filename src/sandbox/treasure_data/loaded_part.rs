//! A part whose rows are in a table.

use super::super::spool::SpoolFile;

/// A part whose valid records are rows of a table.
#[derive(Clone, Debug)]
pub(in super::super) struct LoadedPart {
    pub(in super::super) file: SpoolFile,
    pub(in super::super) records: u64,
}
