//! The layer that turns events into log lines, with the fields of the spans around them.
//!
//! Owns the content of a line: the event's fields, then those of the spans around it from the innermost to the
//! outermost, each name once ([`Fields`]), and the time since the start of the run. A JSON line has the ids of its span in the
//! trace, if there is one. It does not decide which events are logged.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::dispatcher::WeakDispatch;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Fields, Recorder};
use super::log_line::LogLine;
use super::logs::LogFormat;
use super::streams::is_sandbox;
use crate::clock::Clock;
use crate::spans;

/// Seconds since the run started, in each of its lines.
const ELAPSED: &str = "elapsed_seconds";

/// When the span of a run was created, by the clock of the layer.
struct Started(Duration);

/// Passes finished lines to `write`.
pub(super) struct LogLayer<W> {
    format: LogFormat,
    colour: bool,
    clock: Clock,
    write: W,
    /// The subscriber, which knows the ids of a span in the trace.
    dispatch: OnceLock<WeakDispatch>,
}

impl<W: Fn(&str)> LogLayer<W> {
    /// Lines in this format; text is coloured if `colour` is set.
    pub(super) const fn new(format: LogFormat, colour: bool, clock: Clock, write: W) -> Self {
        Self { format, colour, clock, write, dispatch: OnceLock::new() }
    }
}

impl<W> LogLayer<W> {
    /// The place of a span in the trace; `None` if there is no trace, or it does not have the span.
    fn place_in_trace(&self, id: &Id) -> Option<SpanContext> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(id, &dispatch)?;
        Some(context.span().span_context().clone())
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Fn(&str) + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A process has one.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut Recorder(&mut fields));
            let mut extensions = span.extensions_mut();
            extensions.insert(fields);
            let metadata = attributes.metadata();
            if metadata.target() == spans::TARGET && metadata.name() == spans::RUN {
                extensions.insert(Started(self.clock.now()));
            }
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(&mut Recorder(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut Recorder(&mut fields));
        let message = match fields.take("message") {
            Some(serde_json::Value::String(message)) => message,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let mut place = None;
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(outer) = extensions.get::<Fields>() {
                fields.add_outer(outer);
            }
            if let Some(Started(started)) = extensions.get() {
                fields.add(ELAPSED, seconds(self.clock.now().saturating_sub(*started)));
            }
            drop(extensions);
            if self.format == LogFormat::Json && place.is_none() {
                place = self.place_in_trace(&span.id());
            }
        }
        // What is not sampled cannot be found by its ids.
        if let Some(place) = place.filter(SpanContext::is_sampled) {
            fields.add("trace_id", place.trace_id().to_string());
            fields.add("span_id", place.span_id().to_string());
        }
        let metadata = event.metadata();
        let line = LogLine {
            time: self.clock.unix_time(),
            level: *metadata.level(),
            target: metadata.target(),
            message,
            fields,
            is_sandbox: is_sandbox(),
        };
        (self.write)(&match self.format {
            LogFormat::Text => line.text(self.colour),
            LogFormat::Json => line.json(),
        });
    }
}

/// With three decimals.
fn seconds(duration: Duration) -> f64 {
    // Exact for 285 years.
    #[expect(clippy::cast_precision_loss, reason = "a run is shorter")]
    let millis = duration.as_millis() as f64;
    millis / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Span, info};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::*;
    use crate::identity::{Mode, example_target};

    #[test]
    fn the_time_in_a_line_has_passed_since_the_run_began() {
        let clock = Clock::virtual_at(Duration::ZERO);
        let lines = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&lines);
        let write = move |line: &str| written.lock().unwrap().push_str(line);
        let layer = LogLayer::new(LogFormat::Text, false, clock.clone(), write);
        // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
        let _second = Dispatch::new(registry());
        tracing::subscriber::with_default(registry().with(layer), || {
            let _run = spans::run(&example_target("customers"), Mode::Append).entered();
            clock.advance(Duration::from_secs(5));
            let _page = spans::page(&Span::current(), 1).entered();
            clock.advance(Duration::from_micros(2_250_999));
            info!("line");
        });
        let line = lines.lock().unwrap();
        assert!(line.split_whitespace().any(|word| word == "elapsed_seconds=7.25"), "{line}");
    }
}
