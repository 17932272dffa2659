//! The state file's format for the fuzz targets, which are in a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes private functions. A fuzzer cannot guess a checksum, so it must be able to seal its content,
//! and writing a file for each input would be too slow. The program does not use this module.

use super::format::{self, FormatError, Saved};

/// The content of a state file, which can be compared and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState(Saved);

impl SavedState {
    /// Decodes a state file like a resuming run does.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        format::decode(bytes).map(Self)
    }

    /// The bytes of the file that would be saved.
    ///
    /// # Errors
    /// When the state cannot be written as JSON.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        format::encode(&self.0)
    }
}

/// A file with this version and content and the matching checksum.
pub fn seal(version: u32, body: &str) -> Vec<u8> {
    format::seal(version, body)
}
