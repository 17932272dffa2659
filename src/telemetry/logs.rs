//! The log: lines on stderr, as text or JSON.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress_bar::ProgressBar;
use super::streams::write_stderr;
use crate::config::{Layers, LogFormat, Source};

/// Whether this process logs as JSON; the process has one log, so this is the process's too.
static LOGS_JSON: AtomicBool = AtomicBool::new(false);

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

impl LogSettings {
    /// From the layers; what is wrong falls back to the default and is reported with the other settings.
    pub fn from_layers(layers: &Layers) -> Self {
        let format =
            layers.get("log-format").and_then(|(_, text)| text.parse().ok()).unwrap_or(LogFormat::Text);
        let chosen = match layers.get("log-level") {
            Some((Source::Default, default)) => layers
                .variable("RUST_LOG")
                .filter(|text| is_filter(text))
                .unwrap_or_else(|| default.to_owned()),
            Some((_, text)) if is_filter(text) => text.to_owned(),
            _ => "info".to_owned(),
        };
        let colour = layers.variable("NO_COLOR").is_none() && io::stderr().is_terminal();
        Self { format, filter: chosen, colour }
    }
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
    use std::collections::BTreeMap;

    fn filter(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> String {
        let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        LogSettings::from_layers(&Layers::new(&flags, environment, None)).filter
    }

    #[test]
    fn rust_log_counts_when_nothing_of_ours_is_set() {
        assert_eq!(filter(&[], &[]), "info");
        assert_eq!(filter(&[], &[("RUST_LOG", "debug")]), "debug");
        assert_eq!(filter(&[], &[("RUST_LOG", "debug"), ("YOTPO_TD_LOG_LEVEL", "warn")]), "warn");
        assert_eq!(filter(&[("log-level", "trace")], &[("RUST_LOG", "debug")]), "trace");
        assert_eq!(filter(&[], &[("RUST_LOG", "=x=[{")]), "info");
    }

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
