//! What a trace has: the spans of a run, attempts and failures as their events, and warnings of this program.
//!
//! It does not depend on the level of the log. A retry is not an event twice: the attempt is one, its log line is not.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::spans;

/// This program's modules.
const OWN: &str = concat!(env!("CARGO_CRATE_NAME"), "::");
/// Its warnings are about attempts.
const RETRY: &str = concat!(env!("CARGO_CRATE_NAME"), "::retry");

/// Selects spans and events for traces.
pub(super) struct TraceFilter;

fn is_traced(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if target == spans::TARGET {
        return metadata.is_event() || metadata.name() != spans::ATTEMPT;
    }
    metadata.is_event() && *metadata.level() <= Level::WARN && target.starts_with(OWN) && target != RETRY
}

impl<S: Subscriber> Filter<S> for TraceFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_traced(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_traced(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(spans::LEVEL)
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::Callsite as _;
    use tracing::metadata::Kind;
    use tracing_subscriber::Registry;

    use super::*;

    macro_rules! is_traced {
        ($kind:ident, $name:expr, $target:expr, $level:ident) => {
            is_traced(
                tracing::callsite! {
                    name: $name,
                    kind: Kind::$kind,
                    target: $target,
                    level: Level::$level,
                    fields:
                }
                .metadata(),
            )
        };
    }

    #[test]
    fn a_trace_has_the_spans_of_a_run_and_attempts_as_events_only() {
        assert!(is_traced!(SPAN, spans::RUN, spans::TARGET, INFO));
        assert!(is_traced!(EVENT, spans::ATTEMPT, spans::TARGET, INFO));
        assert!(!is_traced!(SPAN, spans::ATTEMPT, spans::TARGET, INFO));
    }

    #[test]
    fn of_what_is_logged_a_trace_has_only_warnings_of_this_program() {
        assert!(is_traced!(EVENT, "line", "yotpo_td::run::load", WARN));
        assert!(is_traced!(EVENT, "line", "yotpo_td::run::load", ERROR));
        assert!(!is_traced!(EVENT, "line", "yotpo_td::run::load", INFO));
        assert!(!is_traced!(SPAN, "span", "yotpo_td::run::load", WARN));
        assert!(!is_traced!(EVENT, "line", "hyper_util::client", WARN));
        // The attempt is an event already.
        assert!(!is_traced!(EVENT, "line", "yotpo_td::retry", WARN));
    }

    #[test]
    fn what_is_more_detailed_than_the_spans_costs_nothing() {
        assert_eq!(Filter::<Registry>::max_level_hint(&TraceFilter), Some(spans::LEVEL));
    }
}
