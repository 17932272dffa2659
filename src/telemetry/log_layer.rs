//! The layer that turns events into log lines, with the fields of the spans around them.
//!
//! Owns the content of a line: the event's fields, then those of the spans around it from the innermost to the
//! outermost, each name once ([`Fields`]). It does not decide which events are logged.

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Fields, Recorder};
use super::log_line::LogLine;
use super::logs::LogFormat;
use super::streams::is_sandbox;
use crate::clock::Clock;

/// Passes finished lines to `write`.
pub(super) struct LogLayer<W> {
    format: LogFormat,
    colour: bool,
    clock: Clock,
    write: W,
}

impl<W: Fn(&str)> LogLayer<W> {
    /// Lines in this format; text is coloured if `colour` is set.
    pub(super) const fn new(format: LogFormat, colour: bool, clock: Clock, write: W) -> Self {
        Self { format, colour, clock, write }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut Recorder(&mut fields));
            span.extensions_mut().insert(fields);
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
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add_outer(outer);
            }
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
