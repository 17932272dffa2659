//! What rows are read from, and how reading fails.
//!
//! Owns the difference between a machine that does not let us read and content that is damaged.

use std::io::{self, BufRead};

use super::error::RowProblem;

/// Why a row could not be read.
#[derive(Debug)]
pub(super) enum ReadProblem {
    /// The machine's disk, or a permission.
    Machine(io::Error),
    /// The content.
    Row(RowProblem),
}

impl From<RowProblem> for ReadProblem {
    fn from(problem: RowProblem) -> Self {
        Self::Row(problem)
    }
}

impl From<io::Error> for ReadProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Only the system's own errors have a number; all others are what decompression says of the content.
            _ if error.raw_os_error().is_some() => Self::Machine(error),
            io::ErrorKind::UnexpectedEof => Self::Row(RowProblem::Truncated),
            _ => Self::Row(RowProblem::Damaged),
        }
    }
}

/// The text of a customer, and the time of its row if there is one.
pub(super) type Found<'a> = (&'a [u8], Option<i64>);

/// Whether nothing follows.
pub(super) fn at_end(source: &mut dyn BufRead) -> Result<bool, ReadProblem> {
    Ok(source.fill_buf()?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_not_a_damaged_file() {
        let problem = |error: io::Error| ReadProblem::from(error);
        assert!(matches!(problem(io::Error::from_raw_os_error(5)), ReadProblem::Machine(_)));
        assert!(matches!(
            problem(io::ErrorKind::UnexpectedEof.into()),
            ReadProblem::Row(RowProblem::Truncated)
        ));
        assert!(matches!(problem(io::Error::other("crc")), ReadProblem::Row(RowProblem::Damaged)));
    }
}
