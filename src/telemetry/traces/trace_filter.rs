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
