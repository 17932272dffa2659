//! Which lines are logged.
//!
//! Owns the filter of the log: the user's levels for lines, while the spans of a run are always there. A line has the
//! fields of the spans around it whatever its own level is, and whichever module the user asked for.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::spans;

/// The user's filter, for lines.
pub(super) struct LogFilter(EnvFilter);

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

impl LogFilter {
    /// What is wrong in `filter` is ignored: it is reported with the other settings.
    pub(super) fn new(filter: &str) -> Self {
        Self(EnvFilter::builder().parse_lossy(filter))
    }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == spans::TARGET
}

impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_own_span(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // It may have to know the span, to find the lines in it.
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if is_own_span(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Without lines nobody reads the spans' fields.
        let lines = Filter::<S>::max_level_hint(&self.0)?;
        Some(if lines == LevelFilter::OFF { lines } else { lines.max(spans::LEVEL) })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::on_close(&self.0, id, context);
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
