//! How the log looks: lines on stderr, as text or JSON.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process logs as JSON; the process has one log, so this is the process's too.
static LOGS_JSON: AtomicBool = AtomicBool::new(false);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word that users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Text, Self::Json].into_iter().find(|format| format.as_str() == text).ok_or(())
    }
}

/// How to log. Read before all other settings, so that their problems can be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines there are: a level or a filter.
    pub filter: String,
    /// Whether text is coloured.
    pub colour: bool,
}

/// How lines on stderr look in this process: as it was initialized, text before.
pub fn log_format() -> LogFormat {
    if LOGS_JSON.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
}

/// All lines on stderr look like this from now on.
pub(super) fn set_log_format(format: LogFormat) {
    LOGS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}
