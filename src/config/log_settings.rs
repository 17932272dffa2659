//! How to log, read before all other settings, so that their problems can be reported.

use std::io::{self, IsTerminal};

use super::keys::{COLOR, LOG_FORMAT, LOG_LEVEL};
use super::layers::{Layers, Source};
use super::read::Reader;
use crate::telemetry::{ColorChoice, LogFormat, LogSettings, is_filter};

/// From the layers; what is wrong falls back to the default and is reported with the other settings.
pub fn log_settings(layers: &Layers) -> LogSettings {
    let format = layers.get(&LOG_FORMAT).and_then(|(_, text)| text.parse().ok()).unwrap_or(LogFormat::Text);
    let chosen = match layers.get(&LOG_LEVEL) {
        Some((Source::Default, default)) => {
            layers.variable("RUST_LOG").filter(|text| is_filter(text)).unwrap_or_else(|| default.to_owned())
        }
        Some((_, text)) if is_filter(text) => text.to_owned(),
        _ => "info".to_owned(),
    };
    LogSettings { format, filter: chosen, colour: has_color(layers, &io::stderr()) }
}

/// Reports what is wrong with the settings of logs, together with all others.
pub(super) fn check_log_settings(reader: &mut Reader) {
    let _ = reader.read(&LOG_FORMAT);
    let _ = reader.read(&LOG_LEVEL);
    let _ = reader.read(&COLOR);
}

/// Whether text on a stream is colored.
pub fn has_color(layers: &Layers, stream: &impl IsTerminal) -> bool {
    let choice =
        layers.get(&COLOR).and_then(|(_, text)| text.trim().parse().ok()).unwrap_or(ColorChoice::Auto);
    let (no_color, term) = (layers.variable("NO_COLOR"), layers.variable("TERM"));
    choice.has_color(stream.is_terminal(), no_color.as_deref(), term.as_deref())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn filter(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> String {
        let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        log_settings(&Layers::new(&flags, environment, None)).filter
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
    fn a_level_that_is_no_filter_falls_back_to_info() {
        assert_eq!(filter(&[("log-level", "=x=[{")], &[]), "info");
        assert_eq!(filter(&[], &[("YOTPO_TD_LOG_LEVEL", "=x=[{"), ("RUST_LOG", "debug")]), "info");
    }

    #[test]
    fn text_that_does_not_go_to_a_terminal_is_colored_only_on_request() {
        let file = tempfile::tempfile().unwrap();
        for (color, expected) in [("always", true), (" always ", true), ("auto", false), ("never", false)] {
            let flags = BTreeMap::from([("color", color.to_owned())]);
            let layers = Layers::new(&flags, BTreeMap::<String, String>::new(), None);
            assert_eq!(has_color(&layers, &file), expected, "{color:?}");
        }
    }
}
