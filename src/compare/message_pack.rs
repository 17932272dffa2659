//! Rows as MessagePack maps, one after another, as parts and exports have them.
//!
//! Owns which columns are read: `json_response`, as text or bytes, and `time`, an integer of any width. All others are
//! skipped without being kept. It never recurses, and it reads only what is there: a length that lies ends as a truncated file.

use std::io::{BufRead, Read as _};

use rmp::Marker;

use super::error::{MAX_ROW_BYTES, RowProblem};
use super::source::{Found, ReadProblem, at_end};

/// Reads rows, and reuses its memory.
#[derive(Default)]
pub(super) struct MessagePackRows {
    text: Vec<u8>,
    key: Vec<u8>,
}

impl MessagePackRows {
    /// The text of the next customer and its time; `None` after the last one.
    pub(super) fn next(&mut self, source: &mut dyn BufRead) -> Result<Option<Found<'_>>, ReadProblem> {
        if at_end(source)? {
            return Ok(None);
        }
        let columns = match marker(source)? {
            Marker::FixMap(columns) => u64::from(columns),
            Marker::Map16 => length::<2>(source)?,
            Marker::Map32 => length::<4>(source)?,
            _ => return Err(RowProblem::NotAMap.into()),
        };
        let (mut time, mut has_text) = (None, false);
        for _ in 0..columns {
            let key = marker(source)?;
            let Some(key_length) = text_length(key, source)? else { return Err(RowProblem::NotAMap.into()) };
            read_bytes(source, key_length, &mut self.key)?;
            let value = marker(source)?;
            match self.key.as_slice() {
                b"json_response" => has_text = self.read_text(value, source)?,
                b"time" => time = read_time(value, source)?,
                _ => skip(value, source)?,
            }
        }
        if has_text { Ok(Some((&self.text, time))) } else { Err(RowProblem::NoJsonResponse.into()) }
    }

    /// Whether there is a text.
    fn read_text(&mut self, value: Marker, source: &mut dyn BufRead) -> Result<bool, ReadProblem> {
        if value == Marker::Null {
            return Ok(false);
        }
        let Some(length) = text_length(value, source)? else { return Err(RowProblem::OtherType.into()) };
        read_bytes(source, length, &mut self.text)?;
        Ok(true)
    }
}

fn marker(source: &mut dyn BufRead) -> Result<Marker, ReadProblem> {
    let [byte] = exactly(source)?;
    Ok(Marker::from_u8(byte))
}

fn exactly<const N: usize>(source: &mut dyn BufRead) -> Result<[u8; N], ReadProblem> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// An unsigned number of `N` bytes.
fn length<const N: usize>(source: &mut dyn BufRead) -> Result<u64, ReadProblem> {
    Ok(exactly::<N>(source)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The length of text or bytes; `None` for any other type.
fn text_length(marker: Marker, source: &mut dyn BufRead) -> Result<Option<u64>, ReadProblem> {
    Ok(Some(match marker {
        Marker::FixStr(length) => u64::from(length),
        Marker::Str8 | Marker::Bin8 => length::<1>(source)?,
        Marker::Str16 | Marker::Bin16 => length::<2>(source)?,
        Marker::Str32 | Marker::Bin32 => length::<4>(source)?,
        _ => return Ok(None),
    }))
}

fn read_bytes(source: &mut dyn BufRead, length: u64, bytes: &mut Vec<u8>) -> Result<(), ReadProblem> {
    if usize::try_from(length).is_ok_and(|length| length <= MAX_ROW_BYTES) {
        bytes.clear();
        // Allocates as much as there is, not as much as the length claims.
        let read = source.take(length).read_to_end(bytes)?;
        if u64::try_from(read) == Ok(length) { Ok(()) } else { Err(RowProblem::Truncated.into()) }
    } else {
        Err(RowProblem::TooLarge.into())
    }
}

/// An integer of any width, or a float without decimals. Anything else is no time.
fn read_time(value: Marker, source: &mut dyn BufRead) -> Result<Option<i64>, ReadProblem> {
    let unsigned = |number: u64| i64::try_from(number).ok();
    Ok(match value {
        Marker::FixPos(number) => Some(number.into()),
        Marker::FixNeg(number) => Some(number.into()),
        Marker::U8 => unsigned(length::<1>(source)?),
        Marker::U16 => unsigned(length::<2>(source)?),
        Marker::U32 => unsigned(length::<4>(source)?),
        Marker::U64 => unsigned(length::<8>(source)?),
        Marker::I8 => Some(i8::from_be_bytes(exactly(source)?).into()),
        Marker::I16 => Some(i16::from_be_bytes(exactly(source)?).into()),
        Marker::I32 => Some(i32::from_be_bytes(exactly(source)?).into()),
        Marker::I64 => Some(i64::from_be_bytes(exactly(source)?)),
        Marker::F64 => whole_seconds(f64::from_be_bytes(exactly(source)?)),
        other => {
            skip(other, source)?;
            None
        }
    })
}

/// A float that is an integer.
pub(super) fn whole_seconds(seconds: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no decimals and is in the range of exact integers"
    )]
    (seconds.fract() == 0.0 && seconds.abs() < 9e15).then_some(seconds as i64)
}

/// Skips a value whose marker was read, with everything in it.
fn skip(value: Marker, source: &mut dyn BufRead) -> Result<(), ReadProblem> {
    let mut pending = skip_one(value, source)?;
    while pending > 0 {
        let value = marker(source)?;
        pending = (pending - 1).saturating_add(skip_one(value, source)?);
    }
    Ok(())
}

/// Skips a value without its parts; returns the number of parts.
fn skip_one(value: Marker, source: &mut dyn BufRead) -> Result<u64, ReadProblem> {
    if let Some(length) = text_length(value, source)? {
        return discard(source, length).map(|()| 0);
    }
    let bytes = match value {
        Marker::FixArray(values) => return Ok(values.into()),
        Marker::Array16 => return length::<2>(source),
        Marker::Array32 => return length::<4>(source),
        Marker::FixMap(members) => return Ok(2 * u64::from(members)),
        Marker::Map16 => return Ok(2 * length::<2>(source)?),
        Marker::Map32 => return Ok(2 * length::<4>(source)?),
        Marker::U8 | Marker::I8 => 1,
        Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
        Marker::FixExt2 => 3,
        Marker::U32 | Marker::I32 | Marker::F32 => 4,
        Marker::FixExt4 => 5,
        Marker::U64 | Marker::I64 | Marker::F64 => 8,
        Marker::FixExt8 => 9,
        Marker::FixExt16 => 17,
        // The length is that of the data; the type is one more byte.
        Marker::Ext8 => length::<1>(source)? + 1,
        Marker::Ext16 => length::<2>(source)? + 1,
        Marker::Ext32 => length::<4>(source)? + 1,
        Marker::Reserved => return Err(RowProblem::NotAMap.into()),
        _ => 0,
    };
    discard(source, bytes).map(|()| 0)
}

fn discard(source: &mut dyn BufRead, mut length: u64) -> Result<(), ReadProblem> {
    while length > 0 {
        let available = source.fill_buf()?.len();
        if available == 0 {
            return Err(RowProblem::Truncated.into());
        }
        let taken = usize::try_from(length).map_or(available, |length| length.min(available));
        source.consume(taken);
        length -= u64::try_from(taken).unwrap_or(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rmp::encode::{
        write_array_len, write_bin, write_bool, write_ext_meta, write_f32, write_f64, write_map_len,
        write_nil, write_sint, write_str, write_uint,
    };

    use super::*;

    fn rows(mut bytes: &[u8]) -> Result<Vec<(String, Option<i64>)>, ReadProblem> {
        let mut reader = MessagePackRows::default();
        let mut rows = Vec::new();
        while let Some((text, time)) = reader.next(&mut bytes)? {
            rows.push((String::from_utf8(text.to_vec()).unwrap(), time));
        }
        Ok(rows)
    }

    fn row(columns: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_map_len(&mut bytes, columns).unwrap();
        write(&mut bytes);
        bytes
    }

    fn with_text(text: &str) -> Vec<u8> {
        row(1, |bytes| {
            write_str(bytes, "json_response").unwrap();
            write_str(bytes, text).unwrap();
        })
    }

    #[track_caller]
    fn assert_problem(bytes: &[u8], expected: RowProblem) {
        let found = rows(bytes).unwrap_err();
        assert!(matches!(&found, ReadProblem::Row(problem) if *problem == expected), "{found:?}");
    }

    #[test]
    fn other_columns_of_every_type_are_skipped() {
        let bytes = row(9, |bytes| {
            let key = |bytes: &mut Vec<u8>, name| write_str(bytes, name).unwrap();
            key(bytes, "nested");
            write_array_len(bytes, 3).unwrap();
            write_map_len(bytes, 1).unwrap();
            write_str(bytes, "json_response").unwrap();
            write_str(bytes, "not this one").unwrap();
            write_bool(bytes, true).unwrap();
            write_f64(bytes, 1.5).unwrap();
            key(bytes, "time");
            write_sint(bytes, -7).unwrap();
            key(bytes, "single");
            write_f32(bytes, 0.5).unwrap();
            key(bytes, "null");
            write_nil(bytes).unwrap();
            key(bytes, "extension");
            write_ext_meta(bytes, 5, 3).unwrap();
            bytes.extend_from_slice(b"12345");
            key(bytes, "short extension");
            write_ext_meta(bytes, 16, 3).unwrap();
            bytes.extend_from_slice(&[7; 16]);
            key(bytes, "bytes");
            write_bin(bytes, &[0xc1; 300]).unwrap();
            key(bytes, "json_response");
            write_bin(bytes, b"{}").unwrap();
            key(bytes, "v");
            write_uint(bytes, u64::MAX).unwrap();
        });
        assert_eq!(rows(&bytes.repeat(2)).unwrap(), vec![("{}".to_owned(), Some(-7)); 2]);
        for length in 1..bytes.len() {
            assert!(rows(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    /// Each is the shortest value of a marker that `other_columns_of_every_type_are_skipped` does not have.
    #[test]
    fn values_of_every_width_are_skipped() {
        let values: [&[u8]; 18] = [
            b"\xcc\x01",
            b"\xcd\x01\x02",
            b"\xce\x01\x02\x03\x04",
            b"\xd0\x01",
            b"\xd1\x01\x02",
            b"\xd2\x01\x02\x03\x04",
            b"\xd3\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\xd4\x03\x01",
            b"\xd5\x03\x01\x02",
            b"\xd6\x03\x01\x02\x03\x04",
            b"\xd7\x03\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\xc8\x00\x01\x03\x01",
            b"\xc9\x00\x00\x00\x01\x03\x01",
            b"\xdc\x00\x01\xc0",
            b"\xdd\x00\x00\x00\x01\xc0",
            b"\x83\xc0\xc0\xc0\xc0\xc0\xc0",
            b"\xde\x00\x03\xc0\xc0\xc0\xc0\xc0\xc0",
            b"\xdf\x00\x00\x00\x03\xc0\xc0\xc0\xc0\xc0\xc0",
        ];
        for value in values {
            let bytes = [b"\x82\xa1v", value, b"\xadjson_response\xa2{}"].concat();
            assert_eq!(rows(&bytes.repeat(2)).unwrap(), vec![("{}".to_owned(), None); 2], "{value:x?}");
        }
    }

    #[test]
    fn rows_with_any_number_of_columns_are_read() {
        for header in [&b"\x81"[..], b"\xde\x00\x01", b"\xdf\x00\x00\x00\x01"] {
            let bytes = [header, b"\xadjson_response\xa2{}"].concat();
            assert_eq!(rows(&bytes).unwrap(), [("{}".to_owned(), None)], "{header:x?}");
        }
        let many = row(300, |bytes| {
            for _ in 1..300 {
                write_str(bytes, "v").unwrap();
                write_nil(bytes).unwrap();
            }
            write_str(bytes, "json_response").unwrap();
            write_str(bytes, "{}").unwrap();
        });
        assert_eq!(rows(&many.repeat(2)).unwrap(), vec![("{}".to_owned(), None); 2]);
    }

    #[test]
    fn times_of_every_width_are_read() {
        let times = [
            0,
            127,
            128,
            40_000,
            65_536,
            1_700_000_000,
            253_402_300_799,
            -1,
            -100,
            -200,
            -40_000,
            -3_000_000_000,
        ];
        for time in times {
            let bytes = row(2, |bytes| {
                write_str(bytes, "time").unwrap();
                write_sint(bytes, time).unwrap();
                write_str(bytes, "json_response").unwrap();
                write_str(bytes, "{}").unwrap();
            });
            assert_eq!(rows(&bytes).unwrap(), [("{}".to_owned(), Some(time))]);
        }
        let float = b"\x82\xa4time\xcb\x41\xd9\x54\xfc\x40\x00\x00\x00\xadjson_response\xa2{}";
        assert_eq!(rows(float).unwrap(), [("{}".to_owned(), Some(1_700_000_000))]);
        assert_eq!([1.7e9, -1.0].map(whole_seconds), [Some(1_700_000_000), Some(-1)]);
        assert_eq!([1.5, f64::NAN, 9e15, -9e15, 1e300].map(whole_seconds), [None; 5]);
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        assert_problem(&[0x80], RowProblem::NoJsonResponse);
        assert_problem(&[0x93, 1, 2, 3], RowProblem::NotAMap);
        assert_problem(&[0x81, 1, 1], RowProblem::NotAMap);
        assert_problem(b"\x81\xadjson_response\xc0", RowProblem::NoJsonResponse);
        assert_problem(b"\x81\xadjson_response\x07", RowProblem::OtherType);
        assert_problem(b"\x81\xadjson_response\xdb\xff\xff\xff\xff", RowProblem::TooLarge);
        assert_problem(b"\x81\xadjson_response\xdb\x00\xff\xff\xff{}", RowProblem::Truncated);
        assert_problem(b"\x81\xa1v\xc1", RowProblem::NotAMap);
        assert_problem(b"\xdf\xff\xff\xff\xff", RowProblem::Truncated);
        assert_problem(b"\x81\xa1v\xdd\xff\xff\xff\xff", RowProblem::Truncated);
        assert_eq!(rows(&with_text("[]")).unwrap(), [("[]".to_owned(), None)], "the text is not judged here");
    }
}
