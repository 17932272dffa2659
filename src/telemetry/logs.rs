//! The log format: lines on stderr, as text or JSON.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process logs as JSON. A static, because a process has only one log.
static LOGS_JSON: AtomicBool = AtomicBool::new(false);

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Its name in settings.
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
    /// The format of lines.
    pub format: LogFormat,
    /// Which lines are logged: a level or a filter.
    pub filter: String,
    /// Whether text is coloured.
    pub colour: bool,
}

/// The format of lines on stderr in this process; text until it is initialized.
pub fn log_format() -> LogFormat {
    if LOGS_JSON.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
}

/// Sets the format of all further lines on stderr.
pub(super) fn set_log_format(format: LogFormat) {
    LOGS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}
