//! The sandbox's own readers for the fuzz targets, which are a crate of their own (`fuzz/targets`).
//!
//! Owns nothing: it hands through what is private otherwise, because over a socket a fuzzer would be thousands of times
//! slower. Nothing of the program uses this.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::decode::{PartReader, check_record, to_json};
use super::yotpo::shown_cursor;

/// The records of a gzip part.
#[derive(Debug)]
pub struct PartRecords<R>(PartReader<MultiGzDecoder<R>>);

impl<R: Read> PartRecords<R> {
    /// Reads `part` with a window of at first `window` bytes.
    pub fn new(part: R, window: usize) -> Self {
        Self(PartReader::with_window(MultiGzDecoder::new(part), window))
    }

    /// The next record in MessagePack; none behind the last.
    ///
    /// # Errors
    /// What is wrong with a part that cannot be read to its end.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, String> {
        self.0.next_record().map_err(|error| error.to_string())
    }
}

/// The time of a record that would be loaded; none for an error record.
pub fn loaded_time(record: &[u8]) -> Option<i64> {
    check_record(record).ok()
}

/// A record as it is read back.
pub fn read_back(record: &[u8]) -> Value {
    to_json(record)
}

/// The form in which a page shows a cursor; none for a text that no store gives out.
pub fn cursor_on_page(raw: &str) -> Option<String> {
    shown_cursor(raw)
}
