//! What is known of an attempt for its report: how it ended, the counters over time, requests, the summary and the last words.
//!
//! Owns the content and its bounds. There are counts, generated names and texts that stderr has shown already; no customer and no
//! secret. It does not know where recordings are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::{LATENCY_BOUNDS, StatusClass};
use crate::identity::RunId;
use crate::retry::ClientUse;
use crate::telemetry::{MAX_SAMPLES, Phase, Recording, Sample, millis};

/// Maximum characters of the last words: more than any failure has.
const MAX_LAST_WORDS: usize = 16 * 1024;
/// Maximum characters of any other text.
const MAX_TEXT: usize = 4 * 1024;
/// Maximum entries of any list other than the samples.
const MAX_ENTRIES: usize = 128;

/// What is known of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecording {
    /// The version of the program.
    pub program: String,
    /// Whether both services were in the process.
    pub is_sandbox: bool,
    /// The run, if it is known.
    pub run_id: Option<RunId>,
    /// The store, if it is known.
    pub store_id: Option<String>,
    /// Where the rows were to be loaded or written, if it is known.
    pub destination: Option<String>,
    /// How the attempt ended: the name in summaries.
    pub outcome: String,
    /// How it ended, as a sentence.
    pub outcome_sentence: String,
    /// What is true of its rows: the name in summaries.
    pub state: String,
    /// The exit code.
    pub exit_code: u8,
    /// The error code of a failure.
    pub code: Option<String>,
    /// The phase in which it failed.
    pub failed_while: Option<Phase>,
    /// When the process started, Unix seconds.
    pub started_at: u64,
    /// When it ended, Unix seconds.
    pub finished_at: u64,
    /// How long the attempt lasted, from its first phase on, in milliseconds.
    pub duration_millis: u64,
    /// Rows that are loaded or exported, if they are known.
    pub rows: Option<u64>,
    /// When each phase began, in milliseconds since the first one did.
    pub phases: Vec<(Phase, u64)>,
    /// The counters over time.
    pub samples: Vec<Sample>,
    /// Upper bounds of the latency buckets, in milliseconds.
    pub latency_bounds: Vec<u64>,
    /// What was sent to each service.
    pub services: Vec<ServiceRecording>,
    /// Peak resident memory; `None` if the system does not report it.
    pub peak_resident_bytes: Option<u64>,
    /// What the settings allow buffers to take.
    pub memory_bound_bytes: Option<u64>,
    /// The lines of the summary; none of an attempt that started nothing.
    pub summary: Vec<(String, String)>,
    /// What stderr said last; empty after a success.
    pub last_words: String,
}

/// What was sent to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRecording {
    /// Its name in logs.
    pub service: String,
    /// Requests, including retries.
    pub requests: u64,
    /// Responses with 429.
    pub throttled: u64,
    /// Retries by cause.
    pub retries: Vec<(String, u64)>,
    /// Exchanges by operation.
    pub operations: Vec<OperationRecording>,
}

/// The exchanges of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationRecording {
    /// Its name in logs.
    pub operation: String,
    /// Exchanges that ended with a success.
    pub successes: u64,
    /// Exchanges in each latency bucket, and above the last one.
    pub latencies: Vec<u64>,
    /// The sum of all durations, in microseconds.
    pub total_micros: u64,
}

impl RunRecording {
    /// With the counters over time.
    #[must_use]
    pub fn with_course(mut self, course: Recording) -> Self {
        self.duration_millis = millis(course.duration);
        self.phases = course.phases.into_iter().map(|(phase, at)| (phase, millis(at))).collect();
        self.samples = course.samples;
        self
    }

    /// With what was sent to each service.
    #[must_use]
    pub fn with_clients(mut self, clients: &[ClientUse]) -> Self {
        let bounds = LATENCY_BOUNDS.into_iter().map(|bound| millis(Duration::from_secs_f64(bound)));
        self.latency_bounds = bounds.collect();
        self.services = clients.iter().map(ServiceRecording::of).collect();
        self
    }

    /// With texts that are not longer than what is read back.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.summary.truncate(MAX_ENTRIES);
        let last_words = std::mem::take(&mut self.last_words);
        for text in self.texts() {
            shorten(text, MAX_TEXT);
        }
        self.last_words = last_words;
        shorten(&mut self.last_words, MAX_LAST_WORDS);
        self
    }

    /// Without characters that no page may have.
    pub(super) fn printable(mut self) -> Self {
        for text in self.texts() {
            text.retain(|character| character == '\n' || !character.is_control());
        }
        self
    }

    /// All texts that are not checked otherwise.
    fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = vec![
            &mut self.program,
            &mut self.outcome,
            &mut self.outcome_sentence,
            &mut self.state,
            &mut self.last_words,
        ];
        texts.extend([&mut self.store_id, &mut self.destination, &mut self.code].into_iter().flatten());
        texts.extend(self.summary.iter_mut().flat_map(|(name, value)| [name, value]));
        for service in &mut self.services {
            texts.push(&mut service.service);
            texts.extend(service.retries.iter_mut().map(|(cause, _)| cause));
            texts.extend(service.operations.iter_mut().map(|operation| &mut operation.operation));
        }
        texts
    }

    /// Whether it is within the bounds, and complete enough to be drawn: what a file says is not trusted.
    pub(super) fn is_valid(&self) -> bool {
        let Self { phases, samples, latency_bounds, services, summary, .. } = self;
        let operations = || services.iter().flat_map(|service| &service.operations);
        let lengths =
            [phases.len(), latency_bounds.len(), services.len(), summary.len(), operations().count()];
        let mut lengths = lengths.into_iter().chain(services.iter().map(|service| service.retries.len()));
        let is_bounded = samples.len() <= MAX_SAMPLES
            && lengths.all(|length| length <= MAX_ENTRIES)
            && self.last_words.len() <= MAX_LAST_WORDS;
        let is_in_order = samples.is_sorted_by_key(|sample| sample.at)
            && samples.last().is_none_or(|sample| millis(sample.at) <= self.duration_millis)
            && phases.is_sorted_by_key(|(_, at)| *at)
            && phases.last().is_none_or(|(_, at)| *at <= self.duration_millis);
        let has_histograms = latency_bounds.is_sorted()
            && operations().all(|operation| operation.latencies.len() == latency_bounds.len() + 1);
        is_bounded && is_in_order && has_histograms
    }
}

impl ServiceRecording {
    fn of(client: &ClientUse) -> Self {
        let retries = client.requests.retries_by_cause.iter();
        Self {
            service: client.service.to_owned(),
            requests: client.requests.requests,
            throttled: client.requests.throttled,
            retries: retries.map(|(cause, count)| (cause.name().to_owned(), count)).collect(),
            operations: client
                .operations
                .iter()
                .map(|(operation, used)| OperationRecording {
                    operation: (*operation).to_owned(),
                    successes: used.by_status.get(StatusClass::Success as usize).copied().unwrap_or_default(),
                    latencies: used.latencies.counts.to_vec(),
                    total_micros: u64::try_from(used.latencies.sum.as_micros()).unwrap_or(u64::MAX),
                })
                .collect(),
        }
    }
}

impl OperationRecording {
    /// All exchanges.
    pub(super) fn exchanges(&self) -> u64 {
        self.latencies.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Cuts a text between two characters.
fn shorten(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}
