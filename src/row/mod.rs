//! Rows: one customer as the bytes that Treasure Data loads.
//!
//! Owns the text of `json_response` (compact ASCII JSON, numbers verbatim) and the `MessagePack` map around it with
//! exactly two keys, `time` and `json_response`. Invariant: the text is byte-equal to Python's
//! `json.dumps(json.loads(customer), separators=(",", ":"))` except that numbers stay as they were sent, and a failed
//! call leaves the output unchanged. It does not know pages, compress rows or interpret customers.
//!
//! Treatment of duplicate keys and numbers, and the reasons: `docs/adr/0002-duplicate-keys-and-numbers.md`.

mod compactor;
mod decoder;
mod duplicates;
mod encoder;
mod error;
mod escapes;
mod ingestion_time;
mod keys;
mod plain;
mod rows;
mod whitespace;

use serde_json::value::RawValue;

use compactor::Compactor;
pub use decoder::DecodedRow;
pub use encoder::{Encoded, Encoder};
pub use error::{MAX_DEPTH, MAX_KEYS, NotJson, RowError};
pub use ingestion_time::{IngestionTime, IngestionTimeOutOfRange};
pub use rows::Rows;
pub use whitespace::skip_whitespace;

/// Appends the compact form of `customer` to `output`; on an error, `output` is unchanged.
///
/// # Errors
/// When it cannot become a row.
pub fn compact(customer: &RawValue, output: &mut Vec<u8>) -> Result<(), RowError> {
    let before = output.len();
    let is_complete = |end| skip_whitespace(customer.get(), end) == customer.get().len();
    let result = match Compactor::new("").compact(customer.get(), 0, output) {
        Ok(read) if is_complete(read.end) => read.validity,
        _ => Err(RowError::Malformed),
    };
    result.inspect_err(|_| output.truncate(before))
}

/// Appends the row of `customer` to `output`; on an error, `output` is unchanged.
///
/// For many customers an [`Encoder`] saves the allocations.
pub fn encode(customer: &RawValue, time: IngestionTime, output: &mut Vec<u8>) -> Result<(), RowError> {
    Encoder::new(time).encode(customer.get(), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    fn compacted(json: &str) -> Result<String, RowError> {
        let mut output = b"before".to_vec();
        let result = compact(&raw(json), &mut output);
        let text = String::from_utf8(output).unwrap();
        let appended = text.strip_prefix("before").expect("the earlier output is kept").to_owned();
        if result.is_err() {
            assert_eq!(appended, "", "a failed call leaves the output unchanged");
        }
        result.map(|()| appended)
    }

    #[test]
    fn whitespace_is_dropped_and_key_order_kept() {
        let json = " {\n\t\"b b\" : [ 1 ,\r\n 2 ] , \"a\" : { } }";
        assert_eq!(compacted(json).unwrap(), r#"{"b b":[1,2],"a":{}}"#);
    }

    #[test]
    fn numbers_stay_as_they_were_sent() {
        let json = r#"{"a":1.10,"b":1e5,"c":-0,"d":123456789012345678901234567890,"e":1E+400}"#;
        assert_eq!(compacted(json).unwrap(), json);
    }

    #[test]
    fn escapes_are_written_as_python_writes_them() {
        let json = r#"{"k":"\/ \u0041 \u000A \u0000 \u00E9 \ud83D\uDE00 \" \\ \b\f\n\r\t é 😀 \uD83D x","\u005c":"\u0022"}"#;
        let expected = r#"{"k":"/ A \n \u0000 \u00e9 \ud83d\ude00 \" \\ \b\f\n\r\t \u00e9 \ud83d\ude00 \ud83d x","\\":"\""}"#;
        assert_eq!(compacted(json).unwrap(), expected);
        assert_eq!(compacted("{\"k\":\"a\u{7f}b\"}").unwrap(), r#"{"k":"a\u007fb"}"#);
    }

    #[test]
    fn last_duplicate_wins_at_the_position_of_the_first() {
        assert_eq!(compacted(r#"{"a":1,"b":2,"a":3}"#).unwrap(), r#"{"a":3,"b":2}"#);
        assert_eq!(compacted(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap(), r#"{"a":3,"b":2}"#);
        assert_eq!(
            compacted(r#"{"é":{"x":1,"x":2},"\u00E9":{"y":[{"z":1,"z":2}]}}"#).unwrap(),
            r#"{"\u00e9":{"y":[{"z":2}]}}"#
        );
    }

    #[test]
    fn same_key_in_different_objects_is_not_a_duplicate() {
        let json = r#"{"a":{"a":[{"a":1},{"a":2}]},"b":{"a":3},"c":{}}"#;
        assert_eq!(compacted(json).unwrap(), json);
    }

    #[test]
    fn only_objects_are_accepted() {
        for json in ["null", "true", "1", "\"{}\"", "[{}]", "[]"] {
            assert_eq!(compacted(json), Err(RowError::NotAnObject), "{json}");
        }
    }

    #[test]
    fn nesting_is_accepted_up_to_the_limit_on_a_small_stack() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let doubled = |levels: usize| {
            let open = r#"{"a":0,"a":"#.repeat(levels);
            format!("{open}1{}", "}".repeat(levels))
        };
        let on_a_small_stack = move || {
            assert_eq!(compacted(&nested(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
            assert_eq!(compacted(&nested(MAX_DEPTH + 1)), Err(RowError::TooDeep { limit: MAX_DEPTH }));
            assert_eq!(compacted(&nested(1_000_000)), Err(RowError::TooDeep { limit: MAX_DEPTH }));
            let single = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
            assert_eq!(compacted(&doubled(MAX_DEPTH)).unwrap(), single);
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(on_a_small_stack).unwrap().join().unwrap();
    }

    #[test]
    fn customer_that_fails_halfway_leaves_no_output() {
        let deep = format!(r#"{{ "é" : 1, "a": {}{} }}"#, "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(compacted(&deep), Err(RowError::TooDeep { limit: MAX_DEPTH }));
    }

    #[test]
    fn invalid_json_is_never_accepted() {
        let customers = [
            "",
            " ",
            "{",
            "}",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "{:1}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\"::1}",
            "{\"a\":1]",
            "[1}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[\"a\":1]",
            "{\"a\",\"b\":1}",
            "{\"\\u12\":1}",
            "{\"a\n\":1}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\\"}",
            "{é:1}",
            "{\"a\":é}",
            "{}}",
            "{}{}",
            "{}\u{b}",
            "{\"a\":nul}",
            "{\"a\":nulL}",
            "{\"a\":truefalse}",
            "{\"a\":True}",
            "{\"a\":NaN}",
            "{\"a\":+1}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":-a}",
            "{\"a\":.1}",
            "{\"a\":1.}",
            "{\"a\":1.e1}",
            "{\"a\":1e}",
            "{\"a\":1e+}",
            "{\"a\":0x1}",
            "{\"a\":1_000}",
            "{\"a\":'b'}",
            "{/**/}",
            "\u{feff}{}",
        ];
        for text in customers {
            assert!(serde_json::from_str::<&RawValue>(text).is_err(), "{text} is JSON");
            let mut output = b"before".to_vec();
            let result = Encoder::new(IngestionTime::MAX).encode(text, &mut output);
            assert_eq!((result, &output[..]), (Err(RowError::Malformed), &b"before"[..]), "{text}");
        }
    }

    #[test]
    fn a_value_is_parsed_exactly_to_its_end() {
        let text = r#"[ {"a" : 1} ,"{\"}", -1.5e+3,null"#;
        let mut encoder = Encoder::new(IngestionTime::MAX);
        let mut rows = Vec::new();
        for (start, end, row) in [
            (1, 11, Ok(())),
            (13, 19, Err(RowError::NotAnObject)),
            (20, 28, Err(RowError::NotAnObject)),
            (29, 33, Err(RowError::NotAnObject)),
        ] {
            let read = Encoded { end, row, has_watched: false };
            assert_eq!(encoder.encode_at(text, start, &mut rows), Ok(read), "at {start}");
        }
        assert!(rows.ends_with(b"\xa7{\"a\":1}"));
        for start in [0, 11, 12, 33, 99] {
            assert_eq!(encoder.encode_at(text, start, &mut rows), Err(NotJson), "at {start}");
        }
        assert!(rows.ends_with(b"\xa7{\"a\":1}"));
    }

    #[test]
    fn watched_key_is_found_only_in_the_outermost_object() {
        let mut encoder = Encoder::watching("key", IngestionTime::MAX);
        for (customer, expected) in [
            ("{}", false),
            (r#"{"key":null}"#, false),
            (r#"{"key" : null }"#, false),
            (r#"{"other":"key","keys":1,"ke":1,"":1}"#, false),
            (r#"{"a":{"key":1},"b":[{"key":1}]}"#, false),
            (r#"{"\u006fther":1,"a":{"k\u0065y":1}}"#, false),
            (r#"[{"key":1}]"#, false),
            ("null", false),
            (r#"{"a":{},"key":{"a":null}}"#, true),
            (r#"{ "key" :  0 }"#, true),
            (r#"{"key":false}"#, true),
            (r#"{"key":"null"}"#, true),
            // As in the row: in any spelling, and the last of two.
            (r#"{"k\u0065y":1}"#, true),
            (r#"{"key":1,"key":null}"#, false),
            (r#"{"key":null,"k\u0065y":1}"#, true),
        ] {
            let read = encoder.encode_at(customer, 0, &mut Vec::new()).unwrap();
            assert_eq!(read.has_watched, expected, "{customer}");
        }
        let read =
            Encoder::new(IngestionTime::MAX).encode_at(r#"{"key":1,"":1}"#, 0, &mut Vec::new()).unwrap();
        assert!(read.row.is_ok(), "nothing is watched");
    }

    #[test]
    fn ingestion_time_ends_with_the_year_9999() {
        assert_eq!(IngestionTime::from_unix_seconds(253_402_300_799), Ok(IngestionTime::MAX));
        let error = IngestionTime::from_unix_seconds(253_402_300_800).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ingestion time 253402300800 is after the year 9999 (at most 253402300799)"
        );
    }
}
