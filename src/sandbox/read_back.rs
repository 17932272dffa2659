//! Reads the rows of a table back from its loaded parts.
//!
//! Owns streaming over the parts in the order of loading, with one record in memory at a time. Blocking.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::decode::{Field, PartError, PartReader, check_record, fields, integer, open_part, text, to_json};
use super::treasure_data::LoadedPart;

/// Maximum size of a tail in bytes.
const MAX_TAIL_SIZE: usize = 4 * 1_024 * 1_024;

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unix seconds.
    pub time: i64,
    /// The column of that name, if it is a string.
    pub json_response: Option<String>,
    /// All other columns.
    pub columns: BTreeMap<String, Value>,
}

/// A loaded part could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("could not read a loaded part")]
pub struct ReadBackError(#[source] std::io::Error);

/// Streams the rows of a table in the order in which they were loaded. Blocking.
#[derive(Debug)]
pub struct Rows {
    parts: std::vec::IntoIter<LoadedPart>,
    current: Option<PartReader<MultiGzDecoder<File>>>,
}

impl Rows {
    pub(super) fn new(parts: Vec<LoadedPart>) -> Self {
        Self { parts: parts.into_iter(), current: None }
    }

    /// Skips rows without decoding their columns.
    pub(super) fn skip_rows(&mut self, mut count: u64) -> Result<(), ReadBackError> {
        if self.current.is_none() {
            while let Some(part) = self.parts.as_slice().first()
                && part.records <= count
            {
                count -= part.records;
                self.parts.next();
            }
        }
        for _ in 0..count {
            self.next_record(|_| ())?;
        }
        Ok(())
    }

    /// Passes the next valid record to `view`; `None` at the end.
    pub(super) fn next_record<T>(
        &mut self,
        view: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, ReadBackError> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(part) = self.parts.next() else { return Ok(None) };
                self.current = Some(open_part(&part.file).map_err(read_back_error)?);
                continue;
            };
            match reader.next_record().map_err(read_back_error)? {
                Some(record) if check_record(record).is_ok() => return Ok(Some(view(record))),
                Some(_bad) => {}
                None => self.current = None,
            }
        }
    }
}

/// The last rows as MessagePack maps, latest first.
pub(super) fn tail(parts: &[LoadedPart], count: u64) -> Result<Vec<u8>, ReadBackError> {
    let mut remaining = usize::try_from(count).unwrap_or(usize::MAX);
    let mut tail = Vec::new();
    for part in parts.iter().rev() {
        if remaining == 0 || tail.len() >= MAX_TAIL_SIZE {
            break;
        }
        let mut last: VecDeque<Vec<u8>> = VecDeque::new();
        let mut bytes = 0;
        let mut rows = Rows::new(vec![part.clone()]);
        while let Some(record) = rows.next_record(<[u8]>::to_vec)? {
            bytes += record.len();
            last.push_back(record);
            while last.len() > remaining || (bytes > MAX_TAIL_SIZE && last.len() > 1) {
                bytes -= last.pop_front().map_or(0, |oldest| oldest.len());
            }
        }
        remaining -= last.len();
        tail.extend(last.into_iter().rev().flatten());
    }
    Ok(tail)
}

fn row(record: &[u8]) -> Row {
    let mut row = Row { time: 0, json_response: None, columns: BTreeMap::new() };
    for Field { key, value } in fields(record).into_iter().flatten().flatten() {
        match key {
            b"time" => row.time = integer(value).unwrap_or(0),
            b"json_response" if text(value).is_some_and(|text| std::str::from_utf8(text).is_ok()) => {
                row.json_response = text(value).map(|text| String::from_utf8_lossy(text).into_owned());
            }
            _ => {
                row.columns.insert(String::from_utf8_lossy(key).into_owned(), to_json(value));
            }
        }
    }
    row
}

fn read_back_error(error: PartError) -> ReadBackError {
    match error {
        PartError::Open(error) | PartError::Unpack(error) => ReadBackError(error),
        other => ReadBackError(std::io::Error::other(other)),
    }
}

impl Iterator for Rows {
    type Item = Result<Row, ReadBackError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record(row).transpose()
    }
}
