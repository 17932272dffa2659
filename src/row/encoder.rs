//! The encoder: the `MessagePack` map around a customer's compact JSON.
//!
//! Owns the row's two keys and their headers, in the shortest form, and which customers can have a row. Invariant: a failed
//! call leaves the output as it was. It writes the text straight into the output and fits the header to the text's length
//! afterwards.

use std::ops::Range;

use rmp::encode::{
    ByteBuf, RmpWriteErr, ValueWriteError, write_map_len, write_str, write_str_len, write_uint,
};

use super::compactor::{Compacted, Compactor};
use super::error::{NotJson, RowError};
use super::ingestion_time::IngestionTime;
use super::white_space::after_white_space;

/// Encodes customers as rows of one ingestion time, one after another, reusing its memory.
#[derive(Debug)]
pub struct Encoder {
    compactor: Compactor,
    /// All of a row before the header of the text: the same for each row.
    beginning: Vec<u8>,
    /// The header of the last row's text.
    header: ByteBuf,
}

/// A JSON value that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The place behind it in the text.
    pub end: usize,
    /// Whether it became a row.
    pub row: Result<(), RowError>,
    /// Whether it is an object in which the watched key has another value than null.
    pub has_watched: bool,
}

impl Encoder {
    /// An encoder of rows with this `time`.
    pub fn new(time: IngestionTime) -> Self {
        Self::watching("", time)
    }

    /// An encoder of rows with this `time` that notes on the way which customers have a value at the key `watched`.
    pub fn watching(watched: &'static str, time: IngestionTime) -> Self {
        let mut beginning = ByteBuf::with_capacity(32);
        always(write_map_len(&mut beginning, 2));
        always(write_str(&mut beginning, "time"));
        always(write_uint(&mut beginning, time.unix_seconds()));
        always(write_str(&mut beginning, "json_response"));
        Self { compactor: Compactor::new(watched), beginning: beginning.into_vec(), header: ByteBuf::new() }
    }

    /// Appends the row of `customer`, the text of one JSON value, to `output`; on an error `output` is left as it was.
    ///
    /// # Errors
    /// When no row can be made of it.
    pub fn encode(&mut self, customer: &str, output: &mut Vec<u8>) -> Result<(), RowError> {
        let before = output.len();
        let Ok(Encoded { end, row, .. }) = self.encode_at(customer, 0, output) else {
            return Err(RowError::Malformed);
        };
        if after_white_space(customer, end) == customer.len() {
            return row;
        }
        output.truncate(before);
        Err(RowError::Malformed)
    }

    /// Reads the JSON value that begins at `start` in `text`, behind whitespace perhaps, and appends its row to `output`,
    /// unless no row can be made of it. What is behind the value is not looked at.
    ///
    /// # Errors
    /// When it is no JSON; `output` is left as it was then.
    pub fn encode_at(&mut self, text: &str, start: usize, output: &mut Vec<u8>) -> Result<Encoded, NotJson> {
        let before = output.len();
        output.extend_from_slice(&self.beginning);
        // Room for the header of the row before: most customers are about as long as the one before.
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

    /// Puts the header before the text, which is in the output.
    fn complete(
        &mut self,
        header: Range<usize>,
        read: Compacted,
        output: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        read.fit?;
        self.write_header(output.len() - header.end)?;
        match output.get_mut(header.clone()) {
            Some(room) if room.len() == self.header.as_slice().len() => {
                room.copy_from_slice(self.header.as_slice());
            }
            _ => drop(output.splice(header, self.header.as_slice().iter().copied())),
        }
        Ok(())
    }

    fn write_header(&mut self, length: usize) -> Result<(), RowError> {
        self.header.as_mut_vec().clear();
        let length = u32::try_from(length).map_err(|_| RowError::TooLong)?;
        always(write_str_len(&mut self.header, length));
        Ok(())
    }
}

/// Writing to memory cannot fail, and the type says so.
fn always<T, E: RmpWriteErr>(result: Result<T, ValueWriteError<E>>) {
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
        // A duplicate key, so that the text is in a buffer of the compactor, too.
        encoder.encode(r#"{"email":"ann@example.com","email":"ann@example.com"}"#, &mut Vec::new()).unwrap();
        let shown = format!("{encoder:?}");
        assert!(shown.contains("Compactor { .. }") && !shown.contains("97, 110, 110, 64"), "{shown}");
    }

    #[test]
    fn failed_row_leaves_the_output_as_it_was() {
        let mut encoder = Encoder::new(TIME);
        let mut output = b"before".to_vec();
        for bad in [r#"[{"a":1}]"#, &format!(r#"{{"a":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000))] {
            let customer: Box<RawValue> = serde_json::from_str(bad).unwrap();
            assert!(encoder.encode(customer.get(), &mut output).is_err());
            assert_eq!(output, b"before");
        }
        let good: Box<RawValue> = serde_json::from_str("{}").unwrap();
        encoder.encode(good.get(), &mut output).unwrap();
        assert_eq!(output.split_off(6), expected(b"\xa2", "{}"));
    }
}
