//! The encoder: the `MessagePack` map around a customer's compact JSON.
//!
//! Owns the two keys of a row and their headers, in the shortest form, and the decision which customers can become a
//! row. Invariant: a failed call leaves the output unchanged. It writes the text directly into the output and adapts
//! the header to the length of the text afterwards.

use std::ops::Range;

use rmp::encode::{
    ByteBuf, RmpWriteErr, ValueWriteError, write_map_len, write_str, write_str_len, write_uint,
};

use super::compactor::{Compacted, Compactor};
use super::error::{NotJson, RowError};
use super::ingestion_time::IngestionTime;
use super::whitespace::skip_whitespace;

/// Encodes customers as rows with one ingestion time, one after another, and reuses its memory.
#[derive(Debug)]
pub struct Encoder {
    compactor: Compactor,
    /// Everything before the header of the text; the same in each row.
    prefix: Vec<u8>,
    /// The header of the last row's text.
    header: ByteBuf,
}

/// A JSON value that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The position after it in the text.
    pub end: usize,
    /// Whether it became a row.
    pub row: Result<(), RowError>,
    /// Whether it is an object in which the watched key has a value other than null.
    pub has_watched: bool,
}

impl Encoder {
    /// An encoder of rows with this `time`.
    pub fn new(time: IngestionTime) -> Self {
        Self::watching("", time)
    }

    /// An encoder of rows with this `time` that also records which customers have a value for the key `watched`.
    pub fn watching(watched: &'static str, time: IngestionTime) -> Self {
        let mut prefix = ByteBuf::with_capacity(32);
        ignore_infallible(write_map_len(&mut prefix, 2));
        ignore_infallible(write_str(&mut prefix, "time"));
        ignore_infallible(write_uint(&mut prefix, time.unix_seconds()));
        ignore_infallible(write_str(&mut prefix, "json_response"));
        Self { compactor: Compactor::new(watched), prefix: prefix.into_vec(), header: ByteBuf::new() }
    }

    /// Appends the row of `customer`, the text of one JSON value, to `output`; on an error, `output` is unchanged.
    ///
    /// # Errors
    /// When it cannot become a row.
    pub fn encode(&mut self, customer: &str, output: &mut Vec<u8>) -> Result<(), RowError> {
        let before = output.len();
        let Ok(Encoded { end, row, .. }) = self.encode_at(customer, 0, output) else {
            return Err(RowError::Malformed);
        };
        if skip_whitespace(customer, end) == customer.len() {
            return row;
        }
        output.truncate(before);
        Err(RowError::Malformed)
    }

    /// Parses the JSON value that starts at `start` in `text`, after optional whitespace, and appends its row to
    /// `output` if it can become one. The text after the value is ignored.
    ///
    /// # Errors
    /// When it is not JSON; `output` is unchanged.
    pub fn encode_at(&mut self, text: &str, start: usize, output: &mut Vec<u8>) -> Result<Encoded, NotJson> {
        let before = output.len();
        output.extend_from_slice(&self.prefix);
        // Reserves space for a header like that of the previous row: customers usually have a similar length.
        let header_start = output.len();
        output.extend_from_slice(self.header.as_slice());
        let text_start = output.len();
        let read = self.compactor.compact(text, start, output).inspect_err(|_| output.truncate(before))?;
        let row = self.complete(header_start..text_start, read, output);
        if row.is_err() {
            output.truncate(before);
        }
        Ok(Encoded { end: read.end, row, has_watched: read.has_watched })
    }

    /// Inserts the header before the text, which is in the output.
    fn complete(
        &mut self,
        header: Range<usize>,
        read: Compacted,
        output: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        read.validity?;
        self.write_header(output.len() - header.end)?;
        match output.get_mut(header.clone()) {
            Some(reserved) if reserved.len() == self.header.as_slice().len() => {
                reserved.copy_from_slice(self.header.as_slice());
            }
            _ => drop(output.splice(header, self.header.as_slice().iter().copied())),
        }
        Ok(())
    }

    fn write_header(&mut self, length: usize) -> Result<(), RowError> {
        self.header.as_mut_vec().clear();
        let length = u32::try_from(length).map_err(|_| RowError::TooLong)?;
        ignore_infallible(write_str_len(&mut self.header, length));
        Ok(())
    }
}

/// Writing to memory cannot fail, as the type says.
fn ignore_infallible<T, E: RmpWriteErr>(result: Result<T, ValueWriteError<E>>) {
    drop(result);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::encode;
    use serde_json::value::RawValue;

    const TIME: IngestionTime = IngestionTime::MAX;

    fn object_with_text_of(length: usize) -> String {
        format!(r#"{{"k":"{}"}}"#, "x".repeat(length - 8))
    }

    fn encoded(json: &str) -> Vec<u8> {
        let mut output = b"before".to_vec();
        encode(&serde_json::from_str::<Box<RawValue>>(json).unwrap(), TIME, &mut output).unwrap();
        output.split_off(6)
    }

    fn expected(header: &[u8], text: &str) -> Vec<u8> {
        let mut row = b"\x82\xa4time\xcf\x00\x00\x00\x3a\xff\xf4\x41\x7f\xadjson_response".to_vec();
        row.extend_from_slice(header);
        row.extend_from_slice(text.as_bytes());
        row
    }

    #[test]
    fn header_is_the_shortest_for_each_length() {
        for (length, header) in [
            (8, &b"\xa8"[..]),
            (31, b"\xbf"),
            (32, b"\xd9\x20"),
            (255, b"\xd9\xff"),
            (256, b"\xda\x01\x00"),
            (65_535, b"\xda\xff\xff"),
            (65_536, b"\xdb\x00\x01\x00\x00"),
        ] {
            let json = object_with_text_of(length);
            assert_eq!(encoded(&json), expected(header, &json), "length {length}");
        }
    }

    #[test]
    fn header_fits_when_the_text_shrinks_or_grows() {
        let one_less = object_with_text_of(300);
        assert_eq!(encoded(&one_less.replace(':', ": ")), expected(b"\xda\x01\x2c", &one_less));
        let spaced = format!("{{{}}}", " ".repeat(70_000));
        assert_eq!(encoded(&spaced), expected(b"\xa2", "{}"));
        let accents = format!(r#"{{"k":"{}"}}"#, "é".repeat(50));
        let escaped = format!(r#"{{"k":"{}"}}"#, r"\u00e9".repeat(50));
        assert_eq!(encoded(&accents), expected(b"\xda\x01\x34", &escaped));
    }

    #[test]
    fn debug_output_hides_the_customer() {
        let mut encoder = Encoder::new(TIME);
        // A duplicate key, so that a buffer of the compactor also contains the text.
        encoder.encode(r#"{"email":"ann@example.com","email":"ann@example.com"}"#, &mut Vec::new()).unwrap();
        let shown = format!("{encoder:?}");
        assert!(shown.contains("Compactor { .. }") && !shown.contains("97, 110, 110, 64"), "{shown}");
    }

    #[test]
    fn failed_row_leaves_the_output_unchanged() {
        let mut encoder = Encoder::new(TIME);
        let mut output = b"before".to_vec();
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
        for (bad, problem) in [
            (r#"[{"a":1}]"#, "customer is not a JSON object"),
            (&deep, "customer nests deeper than 1000 levels"),
        ] {
            let customer: Box<RawValue> = serde_json::from_str(bad).unwrap();
            assert_eq!(encoder.encode(customer.get(), &mut output).unwrap_err().to_string(), problem);
            assert_eq!(output, b"before");
        }
        let good: Box<RawValue> = serde_json::from_str("{}").unwrap();
        encoder.encode(good.get(), &mut output).unwrap();
        assert_eq!(output.split_off(6), expected(b"\xa2", "{}"));
    }
}
