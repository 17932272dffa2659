//! Why two sets of rows cannot be compared.
//!
//! Owns the words: they name the file and the row, and never quote it. What to do is decided in [`crate::diagnosis`].

use std::io;
use std::path::PathBuf;

use super::json::NotAnObject;
use crate::export::ExportError;
use crate::paths::shown;

/// Levels that a customer may nest, as in [`crate::row`].
pub(super) const MAX_DEPTH: usize = 1_000;
/// Maximum size of a row, and of a line. A page of Yotpo has at most 16 MiB, and escapes make it four times as large at most.
pub(super) const MAX_ROW_BYTES: usize = 64 << 20;

/// Why two sets of rows cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// There is nothing under this path.
    #[error("{} does not exist", shown(path))]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A device, a pipe or a socket: it cannot be read twice.
    #[error("{} is neither a file nor a directory", shown(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A directory without a file that could hold rows.
    #[error("the directory {} has no files of rows", shown(path))]
    NoFiles {
        /// The path.
        path: PathBuf,
    },
    /// The directory of an export is incomplete or damaged.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The machine does not let us read it.
    #[error("could not read {}", shown(path))]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content of a file as a whole is not what can be compared.
    #[error("{}: {problem}", shown(path))]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// A row is not what can be compared.
    #[error("{}, row {row}: {problem}", shown(path))]
    Row {
        /// The path.
        path: PathBuf,
        /// The row, counted from 1.
        row: u64,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// The second look found other rows than the first.
    #[error("{} changed while it was compared", shown(path))]
    Changed {
        /// The path.
        path: PathBuf,
    },
    /// There is no thread.
    #[error("the machine denies yotpo-td a thread")]
    Thread(#[source] io::Error),
    /// A stop was requested.
    #[error("the comparison was stopped")]
    Stopped,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// Not a single row.
    #[error("the file has no rows")]
    Empty,
    /// Neither MessagePack maps nor JSON objects.
    #[error("the file begins neither with a MessagePack map nor with a JSON object")]
    UnknownForm,
    /// One JSON array or MessagePack arrays, as query results have them.
    #[error("the file begins with an array, which has no column names")]
    Array,
    /// What looks like gzip cannot be decompressed from the start.
    #[error("the gzip data is damaged")]
    Damaged,
    /// It ends within the gzip header.
    #[error("the file is truncated")]
    Truncated,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// The file ends within the row, or its gzip data does.
    #[error("the file is truncated")]
    Truncated,
    /// The gzip data cannot be decompressed any further.
    #[error("the gzip data is damaged")]
    Damaged,
    /// It is not a MessagePack map with text as keys.
    #[error("it is not a MessagePack map of columns")]
    NotAMap,
    /// The line is no JSON object.
    #[error("the line is not a JSON object")]
    LineNotJson,
    /// No such column, or null.
    #[error("it has no json_response")]
    NoJsonResponse,
    /// Neither text nor an object.
    #[error("json_response is neither text nor a JSON object")]
    OtherType,
    /// The text is not JSON.
    #[error("json_response is not valid JSON")]
    NotJson,
    /// The text is JSON, but no object.
    #[error("json_response is not a JSON object")]
    NotAnObject,
    /// Too many levels.
    #[error("json_response nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Larger than any row can be.
    #[error("it is larger than {} MiB", MAX_ROW_BYTES >> 20)]
    TooLarge,
}

impl From<NotAnObject> for RowProblem {
    fn from(problem: NotAnObject) -> Self {
        match problem {
            NotAnObject::OtherValue => Self::NotAnObject,
            NotAnObject::NotJson | NotAnObject::Truncated => Self::NotJson,
        }
    }
}

/// The words of `serde_json` could quote a customer.
impl From<serde_json::Error> for RowProblem {
    fn from(_: serde_json::Error) -> Self {
        Self::NotJson
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_json_quotes_is_not_repeated() {
        let error = serde_json::from_str::<bool>("\"canary\"").unwrap_err();
        assert!(error.to_string().contains("canary"), "{error}");
        assert_eq!(RowProblem::from(error).to_string(), "json_response is not valid JSON");
    }
}
