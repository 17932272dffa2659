//! The decoder: what is in a row, for those that show rows instead of loading them.
//!
//! Owns the reverse of the encoder's map. It returns the text of `json_response` as it is stored, and does not interpret it.

use rmp::decode::{read_int, read_map_len, read_str_from_slice};

/// The values of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecodedRow<'a> {
    /// The column `time`, in Unix seconds.
    pub time: u64,
    /// The column `json_response`. Customer data.
    pub json_response: &'a str,
}

impl<'a> DecodedRow<'a> {
    /// Reads the bytes of exactly one row; `None` if they are anything else.
    pub fn of(mut row: &'a [u8]) -> Option<Self> {
        if read_map_len(&mut row).ok()? != 2 {
            return None;
        }
        let mut row = after_key(row, "time")?;
        let time = read_int(&mut row).ok()?;
        let (json_response, rest) = read_str_from_slice(after_key(row, "json_response")?).ok()?;
        rest.is_empty().then_some(Self { time, json_response })
    }
}

fn after_key<'a>(row: &'a [u8], expected: &str) -> Option<&'a [u8]> {
    let (key, rest) = read_str_from_slice(row).ok()?;
    (key == expected).then_some(rest)
}

impl std::fmt::Debug for DecodedRow<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { time, json_response } = self;
        write!(formatter, "DecodedRow(time {time}, {} bytes)", json_response.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Encoder, IngestionTime};

    fn row(customer: &str, time: IngestionTime) -> Vec<u8> {
        let mut row = Vec::new();
        Encoder::new(time).encode(customer, &mut row).unwrap();
        row
    }

    #[test]
    fn a_row_is_decoded_as_it_was_encoded() {
        for seconds in [0, 127, 128, 65_536, 1_790_000_000, IngestionTime::MAX.unix_seconds()] {
            for length in [0, 1, 20, 40, 300, 70_000] {
                let customer = format!(r#"{{"k":"{}"}}"#, "x".repeat(length));
                let row = row(&customer, IngestionTime::from_unix_seconds(seconds).unwrap());
                let decoded = DecodedRow::of(&row);
                assert_eq!(decoded, Some(DecodedRow { time: seconds, json_response: &customer }));
            }
        }
    }

    #[test]
    fn anything_else_is_not_a_row() {
        let row = row(r#"{"a":1}"#, IngestionTime::MAX);
        for end in 0..row.len() {
            assert_eq!(DecodedRow::of(&row[..end]), None, "{end}");
        }
        assert_eq!(DecodedRow::of(&[&row[..], &row].concat()), None, "two rows");
        let renamed = row.iter().map(|byte| if *byte == b'j' { b'J' } else { *byte }).collect::<Vec<_>>();
        assert_eq!(DecodedRow::of(&renamed), None, "another column");
        assert_eq!(DecodedRow::of(b"\x80"), None, "an empty map");
    }

    #[test]
    fn debug_output_hides_the_customer() {
        let decoded = DecodedRow { time: 7, json_response: r#"{"a":1}"# };
        assert_eq!(format!("{decoded:?}"), "DecodedRow(time 7, 7 bytes)");
    }
}
