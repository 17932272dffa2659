//! Which lines are logged.
//!
//! Owns the filter of the log. The user's levels apply to lines; the spans of a run are always enabled, so that a line
//! has the fields of the spans around it with any level and filter. Events that only a trace has are no lines. A level alone
//! applies to this program; libraries log warnings.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::spans;

/// The user's filter, for lines.
pub(super) struct LogFilter {
    lines: EnvFilter,
    /// Whether there are no lines at all; the fields of spans are not needed then.
    is_off: bool,
}

/// Whether a text is a valid level or filter. A single word that is not a level would be taken for a module name and
/// silence everything, so it is invalid unless it is a module of this program.
pub fn is_filter(text: &str) -> bool {
    let means_something = |directive: &str| {
        directive.contains(['=', '[', ':'])
            || directive.starts_with(env!("CARGO_CRATE_NAME"))
            || !directive.is_empty() && directive.parse::<LevelFilter>().is_ok()
    };
    text.split(',').map(str::trim).all(means_something) && EnvFilter::builder().parse(text).is_ok()
}

impl LogFilter {
    /// Invalid parts of `filter` are ignored here, because they are reported with the other settings.
    pub(super) fn new(filter: &str) -> Self {
        // What the libraries below say is of use only to somebody who asks for it.
        let own = filter.trim().parse().ok().filter(|level: &LevelFilter| *level > LevelFilter::WARN);
        let filter = own
            .map_or_else(|| filter.to_owned(), |level| format!("warn,{}={level}", env!("CARGO_CRATE_NAME")));
        let lines = EnvFilter::builder().parse_lossy(filter);
        let is_off = lines.max_level_hint() == Some(LevelFilter::OFF);
        Self { lines, is_off }
    }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == spans::TARGET
}

/// An event that only a trace has.
fn is_trace_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == spans::TARGET
}

impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        let is_line = || !is_trace_event(metadata) && Filter::enabled(&self.lines, metadata, context);
        !self.is_off && (is_own_span(metadata) || is_line())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The filter may need this span to select the lines in it.
        let interest = Filter::<S>::callsite_enabled(&self.lines, metadata);
        match (is_own_span(metadata), is_trace_event(metadata)) {
            _ if self.is_off => Interest::never(),
            (true, _) => Interest::always(),
            (_, true) => Interest::never(),
            _ => interest,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let lines = Filter::<S>::max_level_hint(&self.lines)?;
        Some(if self.is_off { lines } else { lines.max(spans::LEVEL) })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.lines, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.lines, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_enter(&self.lines, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_exit(&self.lines, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::on_close(&self.lines, id, context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_a_level_is_not_a_filter() {
        for wrong in ["", "verbose", "quiet", "warning", "debug,verbose", "yotpo_td=verbose", "debug,,"] {
            assert!(!is_filter(wrong), "{wrong}");
        }
        for right in
            ["off", "WARN", "yotpo_td", "yotpo_td::retry=debug", "warn,yotpo_td=trace", "info,hyper=off"]
        {
            assert!(is_filter(right), "{right}");
        }
    }

    #[test]
    fn filter_off_disables_the_spans_of_the_program_too() {
        use tracing::callsite::Callsite as _;
        use tracing_subscriber::Registry;

        let callsite = tracing::callsite! {
            name: "span of a run",
            kind: tracing::metadata::Kind::SPAN,
            target: spans::TARGET,
            level: tracing::Level::INFO,
            fields:
        };
        let interest =
            |filter| Filter::<Registry>::callsite_enabled(&LogFilter::new(filter), callsite.metadata());
        assert!(interest("off").is_never());
        assert!(interest("error").is_always());
    }

    #[test]
    fn the_most_detailed_level_is_that_of_the_lines_or_of_the_spans() {
        use tracing_subscriber::Registry;

        let level = |filter| Filter::<Registry>::max_level_hint(&LogFilter::new(filter));
        for (filter, expected) in [
            ("off", LevelFilter::OFF),
            ("error", spans::LEVEL),
            ("debug", LevelFilter::DEBUG),
            ("warn,hyper=trace", LevelFilter::TRACE),
        ] {
            assert_eq!(level(filter), Some(expected), "{filter}");
        }
    }
}
