//! Decodes parts: gzip, then concatenated MessagePack maps.
//!
//! Owns a MessagePack reader that is independent of the writer of the part. It reads a part record by record with a
//! window of bounded size, so memory does not depend on the length of the part. It never recurses, so nesting cannot
//! exhaust the stack. It does not know where parts come from or what happens to them.

mod json;

use std::fs::File;
use std::io::Read;

use flate2::read::MultiGzDecoder;

pub(super) use self::json::to_json;
use super::spool::SpoolFile;

/// Number of bytes that are decompressed at a time.
const WINDOW: usize = 256 * 1_024;
/// Maximum size of a record; a part with a larger one is an error part.
const MAX_RECORD_SIZE: usize = 8 * 1_024 * 1_024;
/// The last second of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;

/// A part that cannot be read completely.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error("could not open the part")]
    Open(#[source] std::io::Error),
    #[error("could not decompress the part")]
    Unpack(#[source] std::io::Error),
    #[error("invalid MessagePack: unknown type byte")]
    Malformed,
    #[error("invalid MessagePack: the part ends within a record")]
    Truncated,
    #[error("a record is larger than {MAX_RECORD_SIZE} bytes")]
    TooLong,
}

/// Iterates over the records of a part.
#[derive(Debug)]
pub(super) struct PartReader<R> {
    source: R,
    window: Vec<u8>,
    start: usize,
    end: usize,
}

/// Why a record cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the record is not a map")]
    NotAMap,
    #[error("a key is not a string")]
    KeyNotAString,
    #[error("the record has no time")]
    NoTime,
    #[error("time is not an integer in 0..=253402300799")]
    BadTime,
}

/// A key with its value, still in MessagePack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'record> {
    pub(super) key: &'record [u8],
    pub(super) value: &'record [u8],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Nil,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    String(usize),
    Binary(usize),
    Extension(usize),
    Array(usize),
    Map(usize),
}

enum Scan {
    Complete(usize),
    Incomplete,
    Malformed,
}

/// Opens a spooled part.
pub(super) fn open_part(file: &SpoolFile) -> Result<PartReader<MultiGzDecoder<File>>, PartError> {
    Ok(PartReader::new(MultiGzDecoder::new(file.open().map_err(PartError::Open)?)))
}

impl<R: Read> PartReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self::with_window(source, WINDOW)
    }

    /// A reader whose window is initially `window` bytes.
    pub(super) fn with_window(source: R, window: usize) -> Self {
        Self { source, window: vec![0; window.max(1)], start: 0, end: 0 }
    }

    /// The next record in MessagePack, or `None` at the end of the part.
    pub(super) fn next_record(&mut self) -> Result<Option<&[u8]>, PartError> {
        let length = loop {
            match scan(self.window.get(self.start..self.end).unwrap_or_default()) {
                Scan::Complete(length) => break length,
                Scan::Malformed => return Err(PartError::Malformed),
                Scan::Incomplete if self.refill()? => {}
                Scan::Incomplete if self.start == self.end => return Ok(None),
                Scan::Incomplete => return Err(PartError::Truncated),
            }
        };
        let record = self.start..self.start + length;
        self.start = record.end;
        Ok(self.window.get(record))
    }

    /// Reads until the window is full or the part ends; false if nothing was read.
    fn refill(&mut self) -> Result<bool, PartError> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.window.len() {
            if self.end >= MAX_RECORD_SIZE {
                return Err(PartError::TooLong);
            }
            self.window.resize(self.end * 2, 0);
        }
        let before = self.end;
        while let Some(free @ [_, ..]) = self.window.get_mut(self.end..) {
            match self.source.read(free) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PartError::Unpack(error)),
            }
        }
        Ok(self.end > before)
    }
}

/// The time of a record, if it can be loaded.
pub(super) fn check_record(record: &[u8]) -> Result<i64, RecordError> {
    let mut time = Err(RecordError::NoTime);
    for field in fields(record).ok_or(RecordError::NotAMap)? {
        let Field { key, value } = field.ok_or(RecordError::KeyNotAString)?;
        if key == b"time" {
            time = integer(value).filter(|time| (0..=MAX_TIME).contains(time)).ok_or(RecordError::BadTime);
        }
    }
    time
}

/// The fields of a record; an item is `None` if its key is not a string. `None` if the record is not a map.
pub(super) fn fields(record: &[u8]) -> Option<impl Iterator<Item = Option<Field<'_>>>> {
    let (Head::Map(count), used) = head(record)? else { return None };
    let mut rest = record.get(used..)?;
    Some((0..count).map_while(move |_| {
        let Scan::Complete(key_length) = scan(rest) else { return None };
        let (key, after) = rest.split_at_checked(key_length)?;
        let Scan::Complete(value_length) = scan(after) else { return None };
        let (value, after) = after.split_at_checked(value_length)?;
        rest = after;
        Some(text(key).map(|key| Field { key, value }))
    }))
}

/// The bytes of a string or binary value.
pub(super) fn text(value: &[u8]) -> Option<&[u8]> {
    match head(value)? {
        (Head::String(length) | Head::Binary(length), used) => value.get(used..used.checked_add(length)?),
        _ => None,
    }
}

/// An integer value that fits into an `i64`.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    match head(value)?.0 {
        Head::Unsigned(number) => i64::try_from(number).ok(),
        Head::Signed(number) => Some(number),
        _ => None,
    }
}

/// The column type that Treasure Data would infer from a value; `None` for null.
pub(super) fn guessed_type(value: &[u8]) -> Option<&'static str> {
    match head(value)?.0 {
        Head::Nil => None,
        Head::Unsigned(_) | Head::Signed(_) | Head::Boolean(_) => Some("long"),
        Head::Float(_) => Some("double"),
        Head::Array(_) => Some("array<string>"),
        Head::Map(_) | Head::String(_) | Head::Binary(_) | Head::Extension(_) => Some("string"),
    }
}

/// The length of the value at the start of `bytes`.
fn scan(bytes: &[u8]) -> Scan {
    let mut at = 0_usize;
    let mut pending = 1_usize;
    while pending > 0 {
        let Some(rest @ [first, ..]) = bytes.get(at..) else { return Scan::Incomplete };
        if *first == 0xc1 {
            return Scan::Malformed;
        }
        let Some((head, used)) = head(rest) else { return Scan::Incomplete };
        let (payload, children) = match head {
            Head::String(length) | Head::Binary(length) | Head::Extension(length) => (length, 0),
            Head::Array(count) => (0, count),
            Head::Map(count) => (0, count.saturating_mul(2)),
            _ => (0, 0),
        };
        at = at.saturating_add(used).saturating_add(payload);
        pending = (pending - 1).saturating_add(children);
    }
    if at <= bytes.len() { Scan::Complete(at) } else { Scan::Incomplete }
}

/// Reads a type byte and its value, or the length of the data that follows. Also returns the number of bytes read.
fn head(bytes: &[u8]) -> Option<(Head, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let length = |width: usize| unsigned(rest, width).and_then(|length| usize::try_from(length).ok());
    Some(match first {
        0x00..=0x7f => (Head::Unsigned(first.into()), 1),
        0x80..=0x8f => (Head::Map((first & 0x0f).into()), 1),
        0x90..=0x9f => (Head::Array((first & 0x0f).into()), 1),
        0xa0..=0xbf => (Head::String((first & 0x1f).into()), 1),
        0xc0 | 0xc1 => (Head::Nil, 1),
        0xc2 => (Head::Boolean(false), 1),
        0xc3 => (Head::Boolean(true), 1),
        0xc4 => (Head::Binary(length(1)?), 2),
        0xc5 => (Head::Binary(length(2)?), 3),
        0xc6 => (Head::Binary(length(4)?), 5),
        0xc7 => (Head::Extension(length(1)? + 1), 2),
        0xc8 => (Head::Extension(length(2)? + 1), 3),
        0xc9 => (Head::Extension(length(4)? + 1), 5),
        0xca => (Head::Float(f32::from_be_bytes(*rest.first_chunk()?).into()), 5),
        0xcb => (Head::Float(f64::from_be_bytes(*rest.first_chunk()?)), 9),
        0xcc => (Head::Unsigned(unsigned(rest, 1)?), 2),
        0xcd => (Head::Unsigned(unsigned(rest, 2)?), 3),
        0xce => (Head::Unsigned(unsigned(rest, 4)?), 5),
        0xcf => (Head::Unsigned(unsigned(rest, 8)?), 9),
        0xd0 => (Head::Signed(i8::from_be_bytes(*rest.first_chunk()?).into()), 2),
        0xd1 => (Head::Signed(i16::from_be_bytes(*rest.first_chunk()?).into()), 3),
        0xd2 => (Head::Signed(i32::from_be_bytes(*rest.first_chunk()?).into()), 5),
        0xd3 => (Head::Signed(i64::from_be_bytes(*rest.first_chunk()?)), 9),
        0xd4..=0xd8 => (Head::Extension((1 << (first - 0xd4)) + 1), 1),
        0xd9 => (Head::String(length(1)?), 2),
        0xda => (Head::String(length(2)?), 3),
        0xdb => (Head::String(length(4)?), 5),
        0xdc => (Head::Array(length(2)?), 3),
        0xdd => (Head::Array(length(4)?), 5),
        0xde => (Head::Map(length(2)?), 3),
        0xdf => (Head::Map(length(4)?), 5),
        0xe0..=0xff => (Head::Signed(i8::from_be_bytes([first]).into()), 1),
    })
}

fn unsigned(bytes: &[u8], width: usize) -> Option<u64> {
    let bytes = bytes.get(..width)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut record = Vec::new();
        rmp::encode::write_map_len(&mut record, u32::try_from(fields.len()).unwrap()).unwrap();
        for (key, value) in fields {
            rmp::encode::write_str(&mut record, key).unwrap();
            record.extend_from_slice(value);
        }
        record
    }

    fn records(part: &[u8]) -> Result<Vec<Vec<u8>>, PartError> {
        let mut reader = PartReader::new(part);
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record.to_vec());
        }
        Ok(records)
    }

    #[test]
    fn records_are_split_correctly_across_windows() {
        let long = [&[0xdb, 0, 0x10, 0, 0][..], &vec![b'x'; 0x0010_0000]].concat();
        let expected =
            vec![record(&[("time", &[1])]), record(&[("time", &[2]), ("json_response", &long)]), vec![0xc0]];
        assert_eq!(records(&expected.concat()).unwrap(), expected);
        assert!(records(&[]).unwrap().is_empty());
    }

    #[test]
    fn garbage_is_an_error_and_never_panics() {
        assert!(matches!(records(&[0xc1]), Err(PartError::Malformed)));
        assert!(matches!(records(&[0x81, 0xa1, b'a']), Err(PartError::Truncated)));
        assert!(matches!(records(&[0xdb, 0xff, 0xff, 0xff, 0xff]), Err(PartError::Truncated)));
        assert!(matches!(records(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]), Err(PartError::Truncated)));
        let endless = std::iter::repeat_n(0x91, 20_000_000).collect::<Vec<u8>>();
        assert!(matches!(records(&endless), Err(PartError::TooLong)));
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let garbage: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            for record in records(&garbage).unwrap_or_default() {
                let _ = (check_record(&record), to_json(&record));
            }
        }
    }

    #[test]
    fn records_need_a_time_in_range() {
        assert_eq!(check_record(&record(&[("time", &[0xce, 0x65, 0, 0, 0])])), Ok(0x6500_0000));
        assert_eq!(check_record(&record(&[("a", &[1])])), Err(RecordError::NoTime));
        assert_eq!(check_record(&record(&[("time", &[0xa1, b'1'])])), Err(RecordError::BadTime));
        assert_eq!(check_record(&record(&[("time", &[0xff])])), Err(RecordError::BadTime));
        assert_eq!(check_record(&[0x91, 1]), Err(RecordError::NotAMap));
        assert_eq!(check_record(&[0x81, 1, 1]), Err(RecordError::KeyNotAString));
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let mut deep = vec![0x91; 1_000_000];
        deep.push(1);
        assert_eq!(records(&deep).unwrap().len(), 1);
        assert!(to_json(&deep).is_array());
    }
}
