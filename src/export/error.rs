//! Why an export directory cannot be used.

use std::io;
use std::path::PathBuf;

use super::manifest::ManifestError;
use crate::checkpoint::{PrivateFileError, UntrustedPath};
use crate::telemetry::words;

/// An export directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or the directory could not be read or written.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another user could have written it.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// The manifest cannot be used.
    #[error("the manifest {} cannot be used", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The export was not finished.
    #[error(
        "the export in {} is incomplete: {} in {} so far",
        directory.display(),
        words::count(*rows, "row", "rows"),
        words::count(*parts, "part", "parts")
    )]
    Incomplete {
        /// The directory.
        directory: PathBuf,
        /// Rows in the stored parts.
        rows: u64,
        /// Stored parts.
        parts: u64,
    },
    /// A part is not the one that the manifest lists.
    #[error("the part {} {what}", path.display())]
    Part {
        /// The part.
        path: PathBuf,
        /// How it differs.
        what: &'static str,
    },
    /// It is a file.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// Where it is.
        path: PathBuf,
    },
    /// There is no manifest.
    #[error("{} holds no export: it has no manifest.json", directory.display())]
    NoManifest {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds other files.
    #[error("{} is not empty and holds no export of yotpo-td", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The export is of something else than the settings name.
    #[error("{} holds an export of {what} {found}, and the settings name {expected}", directory.display())]
    OfOther {
        /// The directory.
        directory: PathBuf,
        /// What differs, such as `store`.
        what: &'static str,
        /// What the manifest names.
        found: String,
        /// What the settings name.
        expected: String,
    },
}

impl ExportError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } | Self::Untrusted(_) => {
                "check the directory, its disk and permissions".to_owned()
            }
            Self::Manifest { source: ManifestError::TooNew { .. }, .. } => {
                "use the version of yotpo-td that exported it, or a newer one".to_owned()
            }
            Self::Manifest { .. } | Self::Part { .. } => {
                "copy the directory again if it was copied; otherwise export again with sync --to, into another directory or with --fresh"
                    .to_owned()
            }
            Self::Incomplete { directory, .. } => {
                format!("finish it first: yotpo-td sync --to {}, with the settings of the export", quoted(directory))
            }
            Self::NotADirectory { .. } => "name a directory".to_owned(),
            Self::NoManifest { .. } => "name the directory that sync --to wrote".to_owned(),
            Self::NotEmpty { .. } => "name a directory that is empty or does not exist".to_owned(),
            Self::OfOther { what: "run", .. } => "use another directory, or leave out --run-id".to_owned(),
            Self::OfOther { .. } => {
                "use the directory of this store, or correct --store-id and --yotpo-endpoint".to_owned()
            }
        }
    }

    /// Whether the command line names the wrong directory, so that nothing but another command helps.
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NotADirectory { .. }
                | Self::NoManifest { .. }
                | Self::NotEmpty { .. }
                | Self::OfOther { .. }
        )
    }

    pub(super) fn from_private(error: PrivateFileError, failed: impl FnOnce(io::Error) -> Self) -> Self {
        match error {
            PrivateFileError::Untrusted(error) => error.into(),
            PrivateFileError::Io(error) => failed(error),
        }
    }
}

fn quoted(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    // Only a NUL cannot be quoted, and a path contains none.
    shlex::try_quote(&text).unwrap_or_default().into_owned()
}
