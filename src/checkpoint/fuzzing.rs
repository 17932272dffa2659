//! The state file's format for the fuzz targets, which are a crate of their own (`fuzz/targets`).
//!
//! Owns nothing: it hands through what is private otherwise. No fuzzer guesses a checksum, so it must be able to seal
//! content of its own, and thousands of inputs a second cannot each be a file. Nothing of the program uses this.

use super::format::{self, FormatError, Saved};

/// What a state file holds, to be compared and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState(Saved);

impl SavedState {
    /// Reads the bytes of a state file, as a resuming run does.
    ///
    /// # Errors
    /// When they cannot be followed.
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

/// A file of this version with this content and the checksum that fits.
pub fn seal(version: u32, body: &str) -> Vec<u8> {
    format::seal(version, body)
}
