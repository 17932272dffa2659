//! Readers of the sandbox for the fuzz targets, which are a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes private items, because fuzzing over a socket would be thousands of times slower. The
//! program does not use it.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::decode::{PartReader, check_record, to_json};
use super::yotpo::encoded_cursor;

/// The records of a gzip part.
#[derive(Debug)]
pub struct PartRecords<R>(PartReader<MultiGzDecoder<R>>);

impl<R: Read> PartRecords<R> {
    /// Reads `part` with a window of initially `window` bytes.
    pub fn new(part: R, window: usize) -> Self {
        Self(PartReader::with_window(MultiGzDecoder::new(part), window))
    }

    /// The next record in MessagePack, or `None` after the last.
    ///
    /// # Errors
    /// When the part cannot be read completely.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, String> {
        self.0.next_record().map_err(|error| error.to_string())
    }
}

/// The time of a record that would be loaded; `None` for an error record.
pub fn loaded_time(record: &[u8]) -> Option<i64> {
    check_record(record).ok()
}

/// A record as it is read back.
pub fn read_back(record: &[u8]) -> Value {
    to_json(record)
}

/// A cursor as it appears on a page; `None` for a text that is not a cursor of a store.
pub fn cursor_on_page(raw: &str) -> Option<String> {
    encoded_cursor(raw)
}
