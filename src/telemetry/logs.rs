//! The log: lines on stderr, as text or JSON.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress_bar::ProgressBar;
use super::streams::write_stderr;

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

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// How to log. Read before all other settings, so that their problems can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines there are: a level or a filter.
    pub filter: String,
    /// Whether text is coloured.
    pub colour: bool,
}

/// Whether a text is a level or a filter of levels. A lone word that is no level would name a module of nobody and
/// silence everything, so it is none, unless it names a module of ours.
pub fn is_filter(text: &str) -> bool {
    let means_something = |directive: &str| {
        directive.contains(['=', '[', ':'])
            || directive.starts_with(env!("CARGO_CRATE_NAME"))
            || !directive.is_empty() && directive.parse::<LevelFilter>().is_ok()
    };
    text.split(',').map(str::trim).all(means_something) && EnvFilter::builder().parse(text).is_ok()
}

/// Starts to log; lines go above the progress bar. Does nothing when logging was started before.
pub fn init_logs(settings: &LogSettings, bar: &ProgressBar) {
    LOGS_JSON.store(settings.format == LogFormat::Json, Ordering::Relaxed);
    let filter = EnvFilter::builder().parse_lossy(&settings.filter);
    let writer = LogWriter(bar.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // An error only says that somebody else has set a subscriber.
    let _ = match settings.format {
        LogFormat::Text => builder.with_ansi(settings.colour).with_target(false).try_init(),
        LogFormat::Json => builder.with_ansi(false).json().flatten_event(true).try_init(),
    };
}

/// How lines on stderr look in this process: as [`init_logs`] was told, text before.
pub fn log_format() -> LogFormat {
    if LOGS_JSON.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
}

/// Writes whole lines to stderr, above the bar.
#[derive(Clone)]
struct LogWriter(ProgressBar);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.suspend(|| write_stderr(&text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_word_that_is_no_level_is_no_filter() {
        for wrong in ["", "verbose", "quiet", "warning", "debug,verbose", "yotpo_td=verbose", "debug,,"] {
            assert!(!is_filter(wrong), "{wrong}");
        }
        for right in
            ["off", "WARN", "yotpo_td", "yotpo_td::retry=debug", "warn,yotpo_td=trace", "info,hyper=off"]
        {
            assert!(is_filter(right), "{right}");
        }
    }
}
