//! The metrics of a run, in the Prometheus text format.
//!
//! Owns what is exposed ([`FAMILIES`]) and under which labels; the numbers come from [`Progress`], the text from a library.
//! There are only counts and generated names, no customer and no secret. It does not decide where metrics go: see
//! [`file`](super::metrics::MetricsFile) and `cli::monitoring`.

mod exposition;
mod families;
mod file;
mod push;
mod samples;
#[cfg(test)]
mod tests;

pub use families::{FAMILIES, Family, FamilyKind};
pub use file::{MetricsFile, MetricsFileError};
pub use push::{PushError, push};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::progress::{LastSuccess, Progress};
use crate::clock::Clock;

/// The target that the metrics are about. What is not known is `None`: a run may fail on its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricLabels {
    /// The store.
    pub store_id: Option<String>,
    /// The database; empty for an export.
    pub database: Option<String>,
    /// The table; empty for an export.
    pub table: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The exit code.
    pub exit_code: u8,
    /// The error code of a failure.
    pub failure: Option<&'static str>,
    /// Rows of a success, if they are known.
    pub rows: Option<u64>,
    /// Until when the run can be resumed, Unix seconds; `None` unless it was interrupted.
    pub resumable_until: Option<u64>,
}

/// The metrics of one process. They can be read from any thread.
#[derive(Debug)]
pub struct RunMetrics {
    progress: Arc<Progress>,
    clock: Clock,
    /// When the process started, since the Unix epoch.
    started: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    labels: MetricLabels,
    /// As an earlier process wrote it.
    last_success: Option<LastSuccess>,
    end: Option<(Duration, RunEnd)>,
}

/// The content type of the text.
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

impl RunMetrics {
    /// The metrics of a run that has just started.
    pub fn new(progress: Arc<Progress>, clock: Clock, labels: MetricLabels) -> Self {
        let started = clock.unix_time();
        let state = Mutex::new(State { labels, ..State::default() });
        Self { progress, clock, started, state }
    }

    /// Continues with what an earlier process of the target wrote: its last success, and labels that are not known now.
    pub fn continue_from(&self, before: &PreviousMetrics) {
        let mut state = self.state();
        state.last_success = before.last_success;
        for (label, before) in state.labels.each_mut().into_iter().zip(before.labels.each()) {
            if label.is_none() {
                *label = before.map(str::to_owned);
            }
        }
    }

    /// The target.
    pub fn labels(&self) -> MetricLabels {
        self.state().labels.clone()
    }

    /// Notes how the run ended.
    pub fn ended(&self, end: RunEnd) {
        let now = self.clock.unix_time();
        let mut state = self.state();
        if end.exit_code == 0 {
            state.last_success = Some(LastSuccess { finished_at: now.as_secs(), rows: end.rows });
        }
        state.end = Some((now, end));
    }

    /// All metrics now.
    pub fn render(&self) -> String {
        let state = self.state().clone();
        exposition::render(
            &state.labels,
            &samples::collect(&self.progress, &self.clock, self.started, &state),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an earlier process wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousMetrics {
    /// Its target.
    pub labels: MetricLabels,
    /// The last success that it knew of.
    pub last_success: Option<LastSuccess>,
}

impl MetricLabels {
    /// The names of the labels.
    pub const NAMES: [&str; 3] = ["store_id", "database", "table"];

    /// The values, in the order of [`Self::NAMES`].
    pub fn each(&self) -> [Option<&str>; 3] {
        [self.store_id.as_deref(), self.database.as_deref(), self.table.as_deref()]
    }

    fn each_mut(&mut self) -> [&mut Option<String>; 3] {
        [&mut self.store_id, &mut self.database, &mut self.table]
    }

    /// The labels that have a value, with their names.
    pub fn known(&self) -> impl Iterator<Item = (&'static str, &str)> {
        Self::NAMES.into_iter().zip(self.each()).filter_map(|(name, value)| Some((name, value?)))
    }

    /// Whether both may be about the same target: nothing that is known differs.
    fn may_equal(&self, other: &Self) -> bool {
        self.each().into_iter().zip(other.each()).all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        })
    }
}
