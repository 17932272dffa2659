//! The format of a file with a recording: a header with version and checksum and one line of JSON, like the state file.
//!
//! Invariant: what is decoded can be drawn ([`RunRecording::is_valid`]).

use super::recording::RunRecording;
use crate::checkpoint::{SealError, open_sealed, seal};

/// The version that is written. It grows with every change of the content: a recording is kept for ten runs at most.
const VERSION: u32 = 1;
const MAGIC: &str = "yotpo-td recording";

/// Why a recording cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingFormatError {
    /// It does not begin like a recording.
    #[error("it is not a recording, or its beginning is damaged")]
    NotARecording,
    /// Its checksum does not match its content.
    #[error("it is damaged: its checksum does not match")]
    Checksum,
    /// Another version of this program wrote it.
    #[error("it has format version {found}; this program reads version {VERSION}")]
    OtherVersion {
        /// The version in the file.
        found: u32,
    },
    /// It is intact, but its content does not match its version.
    #[error("its content does not match format version {VERSION}")]
    Content,
}

/// The bytes of the file.
pub(super) fn encode(recording: &RunRecording) -> Result<Vec<u8>, serde_json::Error> {
    Ok(sealed(&serde_json::to_string(recording)?))
}

/// A file with this content.
pub(super) fn sealed(body: &str) -> Vec<u8> {
    seal(MAGIC, VERSION, body)
}

/// What is in a file.
pub(super) fn decode(bytes: &[u8]) -> Result<RunRecording, RecordingFormatError> {
    let (found, body) = open_sealed(MAGIC, bytes)?;
    if found != VERSION {
        return Err(RecordingFormatError::OtherVersion { found });
    }
    let recording: RunRecording =
        serde_json::from_str(body).map_err(|_parsing| RecordingFormatError::Content)?;
    if recording.is_valid() { Ok(recording) } else { Err(RecordingFormatError::Content) }
}

impl From<SealError> for RecordingFormatError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::NoHeader => Self::NotARecording,
            SealError::Checksum => Self::Checksum,
        }
    }
}
