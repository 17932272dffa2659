//! The one subscriber of this process: a registry of spans, and a layer for each thing that is made of them.

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

/// Starts to log; lines go above the progress bar. Does nothing when somebody else has set a subscriber before.
///
/// A further layer is one more `.with(…)`. Each has a filter of its own, so that `--log-level` does not decide what a
/// trace shows.
pub fn init(settings: &LogSettings, bar: &ProgressBar) {
    set_log_format(settings.format);
    let bar = bar.clone();
    let log = log_layer(settings, move |line| bar.suspend(|| write_stderr(line)));
    let _ = registry().with(log).try_init();
}

/// Log lines by these settings, passed to `write`.
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
