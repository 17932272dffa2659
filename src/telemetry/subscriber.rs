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
use crate::clock::Clock;

/// Starts logging; lines are printed above the progress bar. Does nothing if a subscriber is already set.
///
/// A further layer is one more `.with(…)`. Each layer has its own filter, so that `--log-level` does not affect traces.
pub fn init(settings: &LogSettings, bar: &ProgressBar) {
    set_log_format(settings.format);
    let bar = bar.clone();
    let log = log_layer(settings, move |line| bar.suspend(|| write_stderr(line)));
    let _ = registry().with(log).try_init();
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
