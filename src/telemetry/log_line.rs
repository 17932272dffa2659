//! One line of the log, as text or as JSON.
//!
//! Owns the format of a line. Invariant: an event is exactly one line, and text from a server cannot control a terminal.

use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use tracing::Level;

use super::fields::Fields;
use super::streams::{SANDBOX, SANDBOX_FIELD};

use crate::paths::printable;

/// Names in every JSON line; a field with such a name would be a duplicate.
const RESERVED: [&str; 5] = ["timestamp", "level", "message", "target", SANDBOX_FIELD];

/// The content of a line.
#[derive(Debug)]
pub(super) struct LogLine<'a> {
    /// Since the Unix epoch.
    pub(super) time: Duration,
    pub(super) level: Level,
    /// The module that logs.
    pub(super) target: &'a str,
    pub(super) message: String,
    pub(super) fields: Fields,
    /// Whether the process loads its embedded sandbox.
    pub(super) is_sandbox: bool,
}

impl LogLine<'_> {
    /// For people: time, level, message, fields.
    pub(super) fn text(&self, colour: bool) -> String {
        let (dim, level_colour, reset) =
            if colour { ("\x1b[2m", colour_of(self.level), "\x1b[0m") } else { ("", "", "") };
        let sandbox = if self.is_sandbox { SANDBOX } else { "" };
        let gap = if self.is_sandbox { " " } else { "" };
        let (time, level) = (self.timestamp(), self.level);
        let mut line = format!("{sandbox}{gap}{dim}{time}{reset} {level_colour}{level:>5}{reset} ");
        // Writing to a String cannot fail, here and below.
        let _ = write_message(&mut line, &self.message);
        for (name, value) in self.fields.iter() {
            let _ = write!(line, " {dim}{name}={reset}");
            let _ = match value {
                Value::String(text) => write_value(&mut line, text),
                number_or_switch => write!(line, "{number_or_switch}"),
            };
        }
        line.push('\n');
        line
    }

    /// For programs: one object.
    pub(super) fn json(&self) -> String {
        let mut line = Vec::with_capacity(256);
        // Neither the values nor a Vec can fail.
        let _ = self.write_json(&mut line);
        line.push(b'\n');
        String::from_utf8(line).unwrap_or_default()
    }

    fn write_json(&self, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(line);
        let mut object = serializer.serialize_map(None)?;
        if self.is_sandbox {
            object.serialize_entry(SANDBOX_FIELD, SANDBOX)?;
        }
        object.serialize_entry("timestamp", &self.timestamp())?;
        object.serialize_entry("level", self.level.as_str())?;
        object.serialize_entry("message", &self.message)?;
        for (name, value) in self.fields.iter().filter(|(name, _)| !RESERVED.contains(name)) {
            object.serialize_entry(name, value)?;
        }
        object.serialize_entry("target", self.target)?;
        object.end()
    }

    fn timestamp(&self) -> String {
        humantime::format_rfc3339_micros(UNIX_EPOCH + self.time).to_string()
    }
}

const fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Writes the message such that each of its words is a key without a value in logfmt: a quote or an equals sign would make it
/// another field, and U+FFFD is invalid in a key.
fn write_message(line: &mut String, text: &str) -> fmt::Result {
    let harmless = |character| match character {
        '"' => '\'',
        '=' => ':',
        char::REPLACEMENT_CHARACTER => '?',
        other => other,
    };
    line.write_str(&printable(&text.chars().map(harmless).collect::<String>()))
}

/// Writes the value unchanged if its end is unambiguous, otherwise in quotes.
fn write_value(line: &mut String, text: &str) -> fmt::Result {
    let is_plain = |character: char| {
        !character.is_whitespace()
            && !character.is_control()
            && !matches!(character, '"' | '=' | '\\' | char::REPLACEMENT_CHARACTER)
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        return line.write_str(text);
    }
    line.push('"');
    for piece in text.split_inclusive(['"', '\\']) {
        let (before, special) = match piece.strip_suffix(['"', '\\']) {
            Some(before) => (before, piece.get(before.len()..)),
            None => (piece, None),
        };
        line.write_str(&printable(before))?;
        if let Some(special) = special {
            write!(line, "\\{special}")?;
        }
    }
    line.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_each_level_has_its_colour() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        let written = levels.map(|level| {
            let fields = Fields::default();
            let line = LogLine {
                time: Duration::ZERO,
                level,
                target: "",
                message: "done".to_owned(),
                fields,
                is_sandbox: false,
            };
            line.text(true)
        });
        let expected = [("31", "ERROR"), ("33", " WARN"), ("32", " INFO"), ("34", "DEBUG"), ("35", "TRACE")]
            .map(|(colour, level)| {
                format!("\x1b[2m1970-01-01T00:00:00.000000Z\x1b[0m \x1b[{colour}m{level}\x1b[0m done\n")
            });
        assert_eq!(written, expected);
    }
}
