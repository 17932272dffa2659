//! Rows as JSON Lines: one JSON object a line, as query results and scripts write them.
//!
//! Owns the two kinds of lines: a row with the column `json_response` (text, or an embedded object) and perhaps `time`, or
//! the customer itself. The first line decides for the whole file, so that a row without its column is noticed.

use std::io::BufRead;

use serde_json::value::RawValue;

use super::error::{MAX_ROW_BYTES, RowProblem};
use super::json::{Level, Members, NotAnObject, level, object};
use super::message_pack::whole_seconds;
use super::source::{Found, ReadProblem};

const JSON_RESPONSE: &str = "json_response";

/// Reads rows, and reuses its memory.
#[derive(Default)]
pub(super) struct JsonLines {
    line: Vec<u8>,
    /// The text of `json_response`, where it is not part of the line.
    text: Vec<u8>,
    /// Whether lines are rows, not customers; `None` before the first.
    are_rows: Option<bool>,
}

impl JsonLines {
    /// The text of the next customer and its time; `None` after the last one. Empty lines are skipped.
    pub(super) fn next(&mut self, source: &mut dyn BufRead) -> Result<Option<Found<'_>>, ReadProblem> {
        loop {
            if !read_line(source, &mut self.line)? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = self.line.as_slice();
        let members = members(line)?;
        let column = members.get(JSON_RESPONSE);
        if !*self.are_rows.get_or_insert(column.is_some()) {
            return Ok(Some((line.trim_ascii(), None)));
        }
        let time = members.get("time").and_then(time);
        let column = column.ok_or(RowProblem::NoJsonResponse)?;
        let text = match level(column).map_err(RowProblem::from)? {
            Level::Text(text) => {
                self.text.clear();
                self.text.extend_from_slice(&text);
                self.text.as_slice()
            }
            Level::Object(_) => column.get().as_bytes(),
            Level::Null => return Err(RowProblem::NoJsonResponse.into()),
            _ => return Err(RowProblem::OtherType.into()),
        };
        Ok(Some((text, time)))
    }
}

/// The members of a line.
fn members(line: &[u8]) -> Result<Members<'_>, RowProblem> {
    object(line).map_err(|problem| match problem {
        NotAnObject::Truncated if !line.ends_with(b"\n") => RowProblem::Truncated,
        _ => RowProblem::LineNotJson,
    })
}

/// Whole seconds, as a number or as text. Anything else is no time.
fn time(value: &RawValue) -> Option<i64> {
    let whole = |text: &str| text.parse().ok().or_else(|| whole_seconds(text.parse().ok()?));
    match level(value).ok()? {
        Level::Number(number) => whole(number),
        Level::Text(text) => whole(std::str::from_utf8(&text).ok()?),
        _ => None,
    }
}

/// Reads a line with its end into `line`; `false` if there is none.
fn read_line(source: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, ReadProblem> {
    line.clear();
    loop {
        let available = source.fill_buf()?;
        let end = memchr::memchr(b'\n', available).map(|end| end + 1);
        let taken = end.unwrap_or(available.len());
        if line.len() + taken > MAX_ROW_BYTES {
            return Err(RowProblem::TooLarge.into());
        }
        line.extend_from_slice(available.get(..taken).unwrap_or_default());
        source.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(!line.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn rows(text: &str) -> Result<Vec<(String, Option<i64>)>, ReadProblem> {
        let (mut source, mut reader) = (text.as_bytes(), JsonLines::default());
        let mut rows = Vec::new();
        while let Some((text, time)) = reader.next(&mut source)? {
            rows.push((std::str::from_utf8(text).unwrap().to_owned(), time));
        }
        Ok(rows)
    }

    #[track_caller]
    fn assert_problem(text: &str, expected: RowProblem) {
        let found = rows(text).unwrap_err();
        assert!(matches!(&found, ReadProblem::Row(problem) if *problem == expected), "{text}: {found:?}");
    }

    #[test]
    fn text_and_embedded_objects_are_rows() {
        let lines = concat!(
            "{\"json_response\":\"{\\\"a\\\":\\\"\\u00e9\\\"}\",\"time\":1700000000}\r\n",
            "\n  \n",
            "{\"time\":\"1700000001\",\"json_response\": {\"a\": 1} , \"other\":[]}\n",
            "{\"time\":1.7e9,\"json_response\":{}}\n",
            "{\"time\":null,\"json_response\":{}}",
        );
        let expected = [
            (r#"{"a":"é"}"#, Some(1_700_000_000)),
            (r#"{"a": 1}"#, Some(1_700_000_001)),
            ("{}", Some(1_700_000_000)),
            ("{}", None),
        ];
        assert_eq!(rows(lines).unwrap(), expected.map(|(text, time)| (text.to_owned(), time)));
    }

    #[test]
    fn customers_are_rows_without_a_time() {
        let lines = " {\"email\":\"a\",\"time\":1} \r\n{\"email\":\"b\",\"json_response\":null}\n";
        let expected = [r#"{"email":"a","time":1}"#, r#"{"email":"b","json_response":null}"#];
        assert_eq!(rows(lines).unwrap(), expected.map(|text| (text.to_owned(), None)));
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        let row = "{\"json_response\":{}}\n";
        assert_problem(&format!("{row}{{\"time\":1}}\n"), RowProblem::NoJsonResponse);
        assert_problem(&format!("{row}{{\"json_response\":null}}\n"), RowProblem::NoJsonResponse);
        assert_problem(&format!("{row}{{\"json_response\":[1]}}\n"), RowProblem::OtherType);
        assert_problem(&format!("{row}[]\n"), RowProblem::LineNotJson);
        assert_problem(&format!("{row}{{\"json_response\":\n"), RowProblem::LineNotJson);
        assert_problem(&format!("{row}{{\"json_response\":"), RowProblem::Truncated);
        assert_problem(&format!("{row}x"), RowProblem::LineNotJson);
        assert_problem("{}{}\n", RowProblem::LineNotJson);
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error() {
        let mut source = std::io::BufReader::new(std::io::repeat(b' '));
        let found = JsonLines::default().next(&mut source).unwrap_err();
        assert!(matches!(found, ReadProblem::Row(RowProblem::TooLarge)), "{found:?}");
    }

    #[test]
    fn a_line_of_the_maximum_size_is_read() {
        let read = |size: usize| {
            let bytes = std::io::repeat(b' ').take(u64::try_from(size).unwrap());
            let mut line = Vec::new();
            // The pieces of the line do not end at its maximum by chance.
            read_line(&mut std::io::BufReader::with_capacity(100_003, bytes), &mut line).map(|_| line.len())
        };
        assert!(matches!(read(MAX_ROW_BYTES), Ok(MAX_ROW_BYTES)));
        assert!(matches!(read(MAX_ROW_BYTES + 1), Err(ReadProblem::Row(RowProblem::TooLarge))));
    }
}
