//! What values a setting takes: its kind with its bounds. The only place that checks them and puts them into words.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

use crate::identity::NameRule;
use crate::paths::directory_of;
use crate::telemetry::is_filter;

/// The shortest duration above zero.
pub const ABOVE_ZERO: Duration = Duration::from_nanos(1);

/// The kind of a setting's value, with its bounds, which are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// Minimum.
        min: u64,
        /// Maximum; `u64::MAX` is none.
        max: u64,
    },
    /// A number that may have a fraction.
    Number {
        /// Minimum.
        min: f64,
        /// Maximum.
        max: f64,
    },
    /// A duration with a unit.
    Duration {
        /// Minimum; [`ABOVE_ZERO`] excludes zero only.
        min: Duration,
        /// Maximum; `Duration::MAX` is none.
        max: Duration,
    },
    /// A number of bytes with a unit.
    Size {
        /// Minimum.
        min: u64,
        /// Maximum.
        max: u64,
    },
    /// One of several words.
    Choice {
        /// Placeholder in `--help`.
        value_name: &'static str,
        /// The words.
        words: &'static [&'static str],
    },
    /// On or off.
    Switch,
    /// A name or an id.
    Name {
        /// Placeholder in `--help`.
        value_name: &'static str,
        /// Its length and characters.
        rule: NameRule,
    },
    /// The address of a service.
    Url,
    /// A directory.
    Directory {
        /// Whether it must exist before the start.
        must_exist: bool,
    },
    /// A file that exists.
    File,
    /// A file that is written, in a directory that exists.
    OutputFile,
    /// An address and port to listen on.
    ListenAddress,
    /// The address of a server that receives metrics.
    PushUrl,
    /// A log level, or a filter of levels by module.
    LogFilter,
}

impl Kind {
    /// What a valid value looks like, to follow "expected" in a message.
    pub fn expected(&self) -> String {
        match *self {
            Self::Integer { min: 0, max: u64::MAX } => "a whole number".to_owned(),
            Self::Integer { min, max: u64::MAX } => format!("a whole number of at least {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { min, max } => expected_duration(min, max),
            Self::Size { min, max } => format!("a size from {} to {}", size(min), size(max)),
            Self::Choice { words, .. } => any_of(words),
            Self::Switch => "on or off (true, false, 1, 0)".to_owned(),
            Self::Name { rule, .. } => rule.to_string(),
            Self::Url => {
                "an https address (http only on loopback) without user, query or fragment".to_owned()
            }
            Self::Directory { must_exist: true } => "an existing directory".to_owned(),
            Self::Directory { must_exist: false } => "a directory".to_owned(),
            Self::File => "an existing file".to_owned(),
            Self::OutputFile => "a file in an existing directory".to_owned(),
            Self::ListenAddress => "a port or an IP address with a port such as 0.0.0.0:9464".to_owned(),
            Self::PushUrl => "an http or https address without user, query or fragment".to_owned(),
            Self::LogFilter => {
                "off, error, warn, info, debug, trace or a filter such as yotpo_td::retry=debug".to_owned()
            }
        }
    }

    /// Placeholder of the value in `--help`.
    pub fn value_name(&self) -> &'static str {
        match self {
            Self::Integer { .. } | Self::Number { .. } => "NUMBER",
            Self::Duration { .. } => "DURATION",
            Self::Size { .. } => "SIZE",
            Self::Choice { value_name, .. } | Self::Name { value_name, .. } => value_name,
            Self::Switch => "on|off",
            Self::Url | Self::PushUrl => "URL",
            Self::ListenAddress => "ADDRESS",
            Self::Directory { .. } => "DIR",
            Self::File | Self::OutputFile => "FILE",
            Self::LogFilter => "FILTER",
        }
    }

    /// The values, if there are only a few.
    pub fn possible_values(&self) -> &'static [&'static str] {
        match self {
            Self::Choice { words, .. } => words,
            Self::Switch => &["on", "off"],
            _ => &[],
        }
    }

    /// The maximum of a duration; `None` for other kinds.
    pub fn max_duration(&self) -> Option<Duration> {
        match self {
            Self::Duration { max, .. } => Some(*max),
            _ => None,
        }
    }

    pub(super) fn integer(&self, text: &str) -> Option<u64> {
        let Self::Integer { min, max } = self else { return None };
        text.parse().ok().filter(|number| (min..=max).contains(&number))
    }

    pub(super) fn number(&self, text: &str) -> Option<f64> {
        let Self::Number { min, max } = self else { return None };
        text.parse().ok().filter(|number| (min..=max).contains(&number))
    }

    pub(super) fn duration(&self, text: &str) -> Option<Duration> {
        let Self::Duration { min, max } = self else { return None };
        humantime::parse_duration(text).ok().filter(|duration| (min..=max).contains(&duration))
    }

    pub(super) fn size(&self, text: &str) -> Option<u64> {
        let Self::Size { min, max } = self else { return None };
        text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|size| (min..=max).contains(&size))
    }

    /// What a switch is set to, in any of its spellings.
    pub(crate) fn switch(&self, text: &str) -> Option<bool> {
        let Self::Switch = self else { return None };
        match text {
            "on" | "true" | "1" => Some(true),
            "off" | "false" | "0" => Some(false),
            _ => None,
        }
    }

    pub(super) fn directory(&self, text: &str) -> Option<PathBuf> {
        let Self::Directory { must_exist } = self else { return None };
        let path = PathBuf::from(text);
        (!text.is_empty() && (!must_exist || path.is_dir())).then_some(path)
    }

    pub(super) fn output_file(&self, text: &str) -> Option<PathBuf> {
        let path = PathBuf::from(text);
        let is_in_directory = directory_of(&path).is_dir();
        (*self == Self::OutputFile && path.file_name().is_some() && is_in_directory && !path.is_dir())
            .then_some(path)
    }

    pub(super) fn listen_address(&self, text: &str) -> Option<SocketAddr> {
        let Self::ListenAddress = self else { return None };
        let port = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().ok()?)));
        text.parse().ok().or_else(port)
    }

    pub(super) fn push_url(&self, text: &str) -> Option<Url> {
        let Self::PushUrl = self else { return None };
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then_some(url)
    }

    pub(super) fn log_filter(&self, text: &str) -> Option<String> {
        (*self == Self::LogFilter && is_filter(text)).then(|| text.to_owned())
    }

    /// Whether a word or name is one of this kind.
    pub(super) fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Choice { words, .. } => words.contains(&text),
            Self::Name { rule, .. } => rule.accepts(text),
            _ => false,
        }
    }
}

fn expected_duration(min: Duration, max: Duration) -> String {
    match (min, max) {
        (Duration::ZERO, Duration::MAX) => "a duration such as 0s, 30s or 10m".to_owned(),
        (ABOVE_ZERO, Duration::MAX) => "a duration above zero such as 500ms, 30s or 10m".to_owned(),
        (_, Duration::MAX) => format!("a duration of at least {}", duration(min)),
        _ => format!("a duration from {} to {}", duration(min), duration(max)),
    }
}

/// A duration in its largest whole unit.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")]
        .into_iter()
        .find(|(unit, _)| duration.subsec_nanos() == 0 && seconds > 0 && seconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => humantime::format_duration(duration).to_string(),
    }
}

fn size(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    if bytes.is_multiple_of(MEBIBYTE) { format!("{}MiB", bytes / MEBIBYTE) } else { format!("{bytes} bytes") }
}

fn any_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_put_into_words() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        for (kind, expected) in [
            (Kind::Integer { min: 0, max: u64::MAX }, "a whole number"),
            (Kind::Integer { min: 2, max: u64::MAX }, "a whole number of at least 2"),
            (Kind::Integer { min: 1, max: 9 }, "a whole number from 1 to 9"),
            (Kind::Number { min: 0.000_01, max: 1_000_000.0 }, "a number from 0.00001 to 1000000"),
            (Kind::Size { min: 1 << 20, max: 64 << 20 }, "a size from 1MiB to 64MiB"),
            (Kind::Size { min: 1, max: 64 << 20 }, "a size from 1 bytes to 64MiB"),
            (Kind::Duration { min: Duration::ZERO, max: Duration::MAX }, "a duration such as 0s, 30s or 10m"),
            (
                Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
                "a duration above zero such as 500ms, 30s or 10m",
            ),
            (
                Kind::Duration { min: Duration::from_millis(5), max: Duration::MAX },
                "a duration of at least 5ms",
            ),
            (Kind::Duration { min: Duration::from_secs(3_600), max: days(5) }, "a duration from 1h to 5d"),
            (Kind::Duration { min: Duration::ZERO, max: days(5) }, "a duration from 0s to 5d"),
            (Kind::Choice { value_name: "X", words: &["a", "b", "c"] }, "a, b or c"),
            (Kind::Choice { value_name: "X", words: &["a"] }, "a"),
        ] {
            assert_eq!(kind.expected(), expected);
        }
        let hour = Duration::from_secs(3_600);
        let lifetime = Kind::Duration { min: hour, max: days(5) };
        for (text, value) in
            [("1h", Some(hour)), ("59m", None), ("5d", Some(days(5))), ("5d 1ns", None), ("5", None)]
        {
            assert_eq!(lifetime.duration(text), value, "{text}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_not_accepted() {
        let any = Kind::Integer { min: 0, max: u64::MAX };
        let found = [
            Kind::Switch.integer("1").is_some(),
            Kind::Switch.number("1").is_some(),
            Kind::Switch.duration("1s").is_some(),
            Kind::Switch.size("1MiB").is_some(),
            Kind::Switch.directory("/").is_some(),
            Kind::Switch.output_file("summary.json").is_some(),
            Kind::Switch.listen_address("9464").is_some(),
            Kind::Switch.push_url("http://host").is_some(),
            Kind::Switch.log_filter("info").is_some(),
            Kind::Switch.is_text("on"),
            Kind::Switch.max_duration().is_some(),
            any.switch("1").is_some(),
        ];
        assert_eq!(found, [false; 12]);
    }

    #[test]
    fn an_output_file_has_a_name_and_an_existing_directory() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().to_str().unwrap();
        let file = |text: &str| Kind::OutputFile.output_file(text);
        assert_eq!(file("summary.json"), Some("summary.json".into()));
        assert_eq!(file(&format!("{there}/summary.json")), Some(directory.path().join("summary.json")));
        for wrong in ["", "/", "..", there, &format!("{there}/missing/summary.json")] {
            assert_eq!(file(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        let address = |text| Kind::ListenAddress.listen_address(text).map(|address| address.to_string());
        assert_eq!(address("9464").as_deref(), Some("127.0.0.1:9464"));
        assert_eq!(address("0.0.0.0:9464").as_deref(), Some("0.0.0.0:9464"));
        assert_eq!(address("[::1]:0").as_deref(), Some("[::1]:0"));
        for wrong in ["", ":9464", "localhost:9464", "65536", "127.0.0.1", "-1"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn metrics_are_pushed_to_plain_addresses_too() {
        for right in ["http://pushgateway.example.com:9091", "https://pushgateway.example.com/base/"] {
            assert_eq!(
                Kind::PushUrl.push_url(right).map(|url| url.scheme().len()),
                Some(right.find(':').unwrap())
            );
        }
        for wrong in [
            "pushgateway:9091",
            "ftp://host",
            "http://user:pass@host",
            "http://:pass@host",
            "http://host/?a=b",
            "http://host#a",
            "",
        ] {
            assert_eq!(Kind::PushUrl.push_url(wrong), None, "{wrong}");
        }
    }
}
