//! Recordings for the fuzz targets, which are in a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes private functions. A fuzzer cannot guess a checksum, so it must be able to seal its content. The
//! program does not use this module.

use super::RunRecording;
use super::format::{self, RecordingFormatError};

/// Decodes a file as `runs report` does.
///
/// # Errors
/// When the file cannot be used.
pub fn decode(bytes: &[u8]) -> Result<RunRecording, RecordingFormatError> {
    format::decode(bytes)
}

/// The bytes of the file that would be kept.
///
/// # Errors
/// When the recording cannot be written as JSON.
pub fn encode(recording: &RunRecording) -> Result<Vec<u8>, serde_json::Error> {
    format::encode(recording)
}

/// A file with this content and the matching checksum.
pub fn seal(body: &str) -> Vec<u8> {
    format::sealed(body)
}
