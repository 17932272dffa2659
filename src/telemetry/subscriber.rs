//! The subscriber of this process: a registry of spans, and a layer for each output.

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

use super::log_filter::LogFilter;
use super::log_layer::LogLayer;
use super::logs::{LogSettings, set_log_format};
use super::progress_bar::ProgressBar;
use super::streams::write_stderr;
use super::traces::{self, TraceVariables};
use crate::clock::Clock;

/// Starts logging, and tracing if the variables say so; lines are printed above the progress bar. Does nothing if a subscriber is
/// already set. Each layer has its own filter, so that `--log-level` does not affect traces.
pub fn init(settings: &LogSettings, variables: &TraceVariables, bar: &ProgressBar) {
    set_log_format(settings.format);
    let bar = bar.clone();
    let write = move |line: &str| bar.suspend(|| write_stderr(line));
    match variables.settings.as_ref().map(traces::start) {
        None => drop(registry().with(log_layer(settings, write)).try_init()),
        Some(Ok(layer)) => {
            drop(registry().with(log_layer(settings, write)).with(layer).try_init());
        }
        Some(Err(error)) => {
            drop(registry().with(log_layer(settings, write)).try_init());
            tracing::warn!(%error, "there are no traces; the run is not affected");
        }
    }
    variables.report();
    if variables.settings.as_ref().is_some_and(traces::ignores_parent) {
        tracing::debug!(variable = "TRACEPARENT", "a parent of the run that is not valid is ignored");
    }
}

/// The layer that passes log lines with these settings to `write`.
pub(super) fn log_layer<S>(
    settings: &LogSettings,
    write: impl Fn(&str) + Send + Sync + 'static,
) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = LogLayer::new(settings.format, settings.colour, Clock::machine(), write);
    layer.with_filter(LogFilter::new(&settings.filter))
}
