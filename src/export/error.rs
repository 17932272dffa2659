//! Why an export directory cannot be used.

use std::io;
use std::path::PathBuf;

use super::manifest::ManifestError;
use crate::checkpoint::{PrivateFileError, UntrustedPath};
use crate::paths::{printable, shell_word, shown};
use crate::telemetry::words;

pub(super) const NOT_SHARED: &str =
    "an export holds customer data: name a directory that only this user can use";

/// An export directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or the directory could not be read or written.
    #[error("could not {action} {}", shown(path))]
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
    #[error("the manifest {} cannot be used", shown(path))]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The export was not finished.
    #[error(
        "the export in {} is incomplete: {} in {} so far",
        shown(directory),
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
    #[error("the part {} {what}", shown(path))]
    Part {
        /// The part.
        path: PathBuf,
        /// How it differs.
        what: &'static str,
    },
    /// It is a file.
    #[error("{} is not a directory", shown(path))]
    NotADirectory {
        /// Where it is.
        path: PathBuf,
    },
    /// There is no manifest.
    #[error("{} holds no export: it has no manifest.json", shown(directory))]
    NoManifest {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds other files.
    #[error("{} is not empty and holds no export of yotpo-td", shown(directory))]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory belongs to another user, who lets others use it.
    #[error("{} belongs to another user, and others may use it (mode {mode:04o})", shown(directory))]
    Shared {
        /// The directory.
        directory: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A defect of this program.
    #[error("a bug in yotpo-td: {0}")]
    Bug(&'static str),
    /// The export is of something else than the settings name.
    #[error(
        "{} holds an export of {what} {}, and the settings name {expected}",
        shown(directory),
        printable(found)
    )]
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
            Self::Untrusted(error) if error.is_shared() => NOT_SHARED.to_owned(),
            Self::Shared { .. } => {
                "name a subdirectory of it that does not exist yet, which is then created for this user only".to_owned()
            }
            Self::Bug(_) => "please report this with the log at --log-level debug".to_owned(),
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
                let command = shell_word(directory).map(|word| format!("yotpo-td sync --to {word}"));
                let command = command.as_deref().unwrap_or("the same sync --to");
                format!("finish it first: {command}, with the settings of the export")
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
        match self {
            Self::NotADirectory { .. }
            | Self::NoManifest { .. }
            | Self::NotEmpty { .. }
            | Self::Shared { .. }
            | Self::OfOther { .. } => true,
            Self::Untrusted(error) => error.is_shared(),
            Self::Io { .. }
            | Self::Manifest { .. }
            | Self::Incomplete { .. }
            | Self::Part { .. }
            | Self::Bug(_) => false,
        }
    }

    pub(super) fn from_private(error: PrivateFileError, failed: impl FnOnce(io::Error) -> Self) -> Self {
        match error {
            PrivateFileError::Untrusted(error) => error.into(),
            PrivateFileError::Io(error) => failed(error),
        }
    }
}
