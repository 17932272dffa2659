//! What the program reports while it runs.
//!
//! Owns the two streams (stdout for data, stderr for everything else; a closed one never ends a run), the log
//! subscriber, the facts of a run ([`Progress`]), the progress line and the heartbeat that show them, the trace of a run, and the
//! process's memory figure. It never handles customers or secrets: only counts, generated names and redacted texts are logged.

mod color;
mod endpoint;
mod fields;
mod health;
mod heartbeat;
mod log_filter;
mod log_layer;
mod log_line;
mod logs;
mod memory;
mod metrics;
mod observer;
mod phase;
mod progress;
mod progress_bar;
mod progress_line;
mod recorder;
mod streams;
mod subscriber;
#[cfg(test)]
mod tests;
mod traces;
mod usage;
pub mod words;

pub use color::ColorChoice;
pub use endpoint::MonitoringEndpoint;
pub use health::PhaseLimits;
pub use heartbeat::{Heartbeat, HeartbeatThread};
pub use log_filter::is_filter;
pub use logs::{LogFormat, LogSettings, log_format};
pub use memory::peak_resident_bytes;
pub use metrics::{
    CONTENT_TYPE, FAMILIES, Family, FamilyKind, MetricLabels, MetricsFile, MetricsFileError, PreviousMetrics,
    PushError, RunEnd, RunMetrics, push,
};
pub use phase::{LoadJob, Phase};
pub use progress::{LastSuccess, Progress, ProgressSnapshot};
pub use progress_bar::ProgressBar;
pub(crate) use recorder::millis;
pub use recorder::{MAX_SAMPLES, RETRY_CAUSES, Recorder, Recording, Sample};
pub use streams::{
    SANDBOX, SANDBOX_FIELD, columns, is_sandbox, lost_result, mark_sandbox, marked, try_write_stdout,
    write_result, write_stderr, write_stdout,
};
pub use subscriber::init;
pub use traces::{FLUSH_LIMIT, TraceVariables, finish, trace_id};
pub use usage::ServiceUse;
