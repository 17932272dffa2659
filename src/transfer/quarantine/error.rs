//! Errors of the quarantine.

use std::path::PathBuf;

use crate::checkpoint::PrivateFileError;
use crate::paths::shown;

/// A record could not be quarantined.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", shown(path))]
pub struct QuarantineError {
    pub(super) path: PathBuf,
    pub(super) source: PrivateFileError,
}
