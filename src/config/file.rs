//! The settings file: from its text to keys with plain values and the lines they are on.
//!
//! Owns the syntax. Which file is read is decided by [`super::settings_file`]; which keys there are and what their values mean is decided by [`super::layers`].

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::paths::shown;

/// A place in a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// A key of the file with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key as it stands in the file.
    pub(super) key: String,
    /// The value as text; `None` if it is a table or a list.
    pub(super) value: Option<String>,
    /// The line of the key, from 1.
    pub(super) line: usize,
}

/// The entries of a TOML text in their order, or where it is not valid. The parser's own message is not used: it quotes the
/// line, which may hold a secret.
///
/// A key is taken as it stands, so that `"table.x"` is not a path into `table`.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, InvalidToml> {
    let table = DeTable::parse(text)
        .map_err(|error| InvalidToml::at(text, error.span().map_or(0, |span| span.start)))?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<_>)| {
        let (line, start) = (position(text, key.span().start).0, value.span().start);
        let value = plain(value.into_inner()).map_err(|_out_of_range| InvalidToml::at(text, start))?;
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        Ok(Entry { key: key.into_owned(), value, line })
    };
    entries.into_iter().map(entry).collect()
}

/// A text that is not TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidToml {
    line: usize,
    column: usize,
}

impl InvalidToml {
    fn at(text: &str, offset: usize) -> Self {
        let (line, column) = position(text, offset);
        Self { line, column }
    }

    /// The error in the file at `path`.
    pub(super) fn in_file(self, path: &Path) -> String {
        format!("{}:{}:{}: not valid TOML", shown(path), self.line, self.column)
    }
}

impl fmt::Display for FileLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", shown(&self.path), self.line)
    }
}

/// Line and column of a byte, from 1. Columns are characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count());
    (before.matches('\n').count() + 1, column + 1)
}

/// The text of a plain value; `None` for a table or a list.
fn plain(value: DeValue<'_>) -> Result<Option<String>, OutOfRange> {
    Ok(Some(match value {
        DeValue::Boolean(true) => "on".to_owned(),
        DeValue::Boolean(false) => "off".to_owned(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_overflow| OutOfRange)?.to_string()
        }
        DeValue::Float(number) => {
            let float: f64 = number.as_str().parse().map_err(|_malformed| OutOfRange)?;
            if float.is_infinite() && !number.as_str().contains("inf") {
                return Err(OutOfRange);
            }
            float.to_string()
        }
        DeValue::String(text) => text.into_owned(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return Ok(None),
    }))
}

/// A number that TOML does not have.
struct OutOfRange;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(text: &str) -> Vec<(String, Option<String>, usize)> {
        parse(text).unwrap().into_iter().map(|entry| (entry.key, entry.value, entry.line)).collect()
    }

    #[test]
    fn values_become_texts_and_keep_their_lines() {
        let text = "z = 'text'\n\n# comment\na = 7\nb = 0x10\nc = 2.50\nd = true\ne = false\nf = 2026-11-23\n\
                    'table.x' = 1\ng = [\n 1\n]\nh.i = 1\n[j]\nk = 1\n";
        let plain = |key: &str, value: &str, line| (key.to_owned(), Some(value.to_owned()), line);
        let nested = |key: &str, line| (key.to_owned(), None, line);
        assert_eq!(
            entries(text),
            [
                plain("z", "text", 1),
                plain("a", "7", 4),
                plain("b", "16", 5),
                plain("c", "2.5", 6),
                plain("d", "on", 7),
                plain("e", "off", 8),
                plain("f", "2026-11-23", 9),
                plain("table.x", "1", 10),
                nested("g", 11),
                nested("h", 14),
                nested("j", 15),
            ]
        );
        assert_eq!(entries(""), []);
    }

    #[test]
    fn what_is_not_toml_is_placed_and_not_quoted() {
        for (text, line, column) in [
            ("YOTPO_CLIENT_SECRET: hunter2", 1, 22),
            ("a = 1\nb = 'ü' 'hunter2'", 2, 9),
            ("a = 1\na = 2", 2, 1),
            ("a = 1\nb =  9223372036854775808", 2, 6),
            ("a = 1\nb = 1e999", 2, 5),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, InvalidToml { line, column }, "{text}");
            let shown = error.in_file(Path::new("settings.toml"));
            assert_eq!(shown, format!("settings.toml:{line}:{column}: not valid TOML"));
        }
    }

    proptest! {
        #[test]
        fn no_settings_file_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
