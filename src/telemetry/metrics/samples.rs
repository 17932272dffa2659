//! The value of each metric at one moment.

use std::time::Duration;

use super::State;
use super::families::{self as family, Family};
use crate::clock::Clock;
use crate::http::{Latencies, StatusClass};
use crate::retry::ClientUse;
use crate::telemetry::memory::{peak_resident_bytes, resident_bytes};
use crate::telemetry::phase::{LoadJob, Phase};
use crate::telemetry::progress::{Progress, ProgressSnapshot};

/// One number, or the counts of one histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Latencies(Latencies),
}

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) value: Value,
}

/// Gathers samples by metric; one without samples is left out.
#[derive(Default)]
struct Samples(Vec<(Family, Vec<Sample>)>);

impl Samples {
    fn add(&mut self, family: Family, values: impl IntoIterator<Item = Sample>) {
        let samples: Vec<_> = values.into_iter().collect();
        if !samples.is_empty() {
            self.0.push((family, samples));
        }
    }

    fn one(&mut self, family: Family, value: f64) {
        self.add(family, [number(&[], value)]);
    }

    fn maybe(&mut self, family: Family, value: Option<f64>) {
        self.add(family, value.map(|value| number(&[], value)));
    }
}

fn number(labels: &[(&'static str, &'static str)], value: f64) -> Sample {
    Sample { labels: labels.to_vec(), value: Value::Number(value) }
}

/// Counts are exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the text format has floating point numbers only")]
fn count(value: u64) -> f64 {
    value as f64
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// All metrics that have a value now.
pub(super) fn collect(
    progress: &Progress,
    clock: &Clock,
    started: Duration,
    state: &State,
) -> Vec<(Family, Vec<Sample>)> {
    let (seen, now) = (progress.snapshot(), clock.now());
    let mut samples = Samples::default();
    of_run(&mut samples, progress, started, state, &seen, now);
    of_rows(&mut samples, &seen);
    let clients = progress.clients();
    of_clients(&mut samples, &clients);
    of_rate_limit(&mut samples, &seen);
    samples.maybe(family::RESIDENT_MEMORY, resident_bytes().map(count));
    samples.maybe(family::PEAK_RESIDENT_MEMORY, peak_resident_bytes().map(count));
    samples.0
}

fn of_run(
    samples: &mut Samples,
    progress: &Progress,
    started: Duration,
    state: &State,
    seen: &ProgressSnapshot,
    now: Duration,
) {
    let end = state.end.as_ref();
    let succeeded = end.is_some_and(|(_, end)| end.exit_code == 0);
    // The file of the target knows more than the state of this machine, unless it is the older one.
    let known = progress.last_success().filter(|_| !succeeded);
    let last = known.into_iter().chain(state.last_success).max_by_key(|last| last.finished_at);
    samples.add(family::BUILD_INFO, [number(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)]);
    samples.maybe(family::LAST_SUCCESS_TIMESTAMP, last.map(|last| count(last.finished_at)));
    samples.maybe(family::LAST_SUCCESS_ROWS, last.and_then(|last| last.rows).map(count));
    samples.one(family::RUNNING, flag(end.is_none()));
    samples.one(family::RUN_START, started.as_secs_f64());
    samples.maybe(family::RUN_END, end.map(|(at, _)| at.as_secs_f64()));
    // After its end, all phases are complete.
    let until = if end.is_some() { seen.phase_since } else { now };
    samples.one(family::RUN_DURATION, seen.elapsed(until).as_secs_f64());
    samples.maybe(family::EXIT_CODE, end.map(|(_, end)| f64::from(end.exit_code)));
    let failure = end.map(|(_, end)| end.failure);
    // Present after a success, too: a Pushgateway keeps what it is not sent.
    let failed =
        |code: Option<&'static str>| number(&[("code", code.unwrap_or("none"))], flag(code.is_some()));
    samples.add(family::FAILURE, failure.map(failed));
    let expiry = end.map(|(_, end)| end.resumable_until.unwrap_or_default());
    samples.maybe(family::INTERRUPTED_RUN_EXPIRY, expiry.map(count));
    let is_current = |phase: Phase| seen.started.is_some() && end.is_none() && phase == seen.phase;
    samples.add(
        family::PHASE,
        Phase::ALL.map(|phase| number(&[("phase", phase.name())], flag(is_current(phase)))),
    );
    samples.add(
        family::PHASE_DURATION,
        seen.phase_durations(until)
            .map(|(phase, lasted)| number(&[("phase", phase.name())], lasted.as_secs_f64())),
    );
}

fn of_rows(samples: &mut Samples, seen: &ProgressSnapshot) {
    samples.one(family::PAGES, count(seen.pages));
    samples.one(family::CUSTOMERS, count(seen.customers));
    samples.one(family::CUSTOMERS_WITH_LOYALTY_DATA, count(seen.customers_with_loyalty_data));
    samples.maybe(family::EXPECTED_CUSTOMERS, seen.expected.map(count));
    samples.add(
        family::PARTS,
        [("queued", seen.parts_queued), ("stored", seen.parts)]
            .map(|(state, parts)| number(&[("state", state)], count(parts))),
    );
    samples.one(family::QUEUED_BATCHES, count(seen.batches_queued));
    samples.one(family::ROW_BYTES, count(seen.row_bytes));
    samples.one(family::PART_BYTES, count(seen.uploaded_bytes));
    let states = LoadJob::ALL.into_iter().filter_map(|job| Some((job, job.name()?)));
    samples.add(
        family::LOAD_JOB,
        states.map(|(job, name)| number(&[("state", name)], flag(job == seen.load_job))),
    );
}

fn of_clients(samples: &mut Samples, clients: &[ClientUse]) {
    let operations = || {
        clients.iter().flat_map(|client| {
            client.operations.iter().map(move |(operation, used)| (client.service, *operation, used))
        })
    };
    samples.add(
        family::REQUESTS,
        operations().flat_map(|(service, operation, used)| {
            let by_status = StatusClass::ALL.into_iter().zip(used.by_status);
            by_status.filter(|(_, requests)| *requests > 0).map(move |(status, requests)| {
                let labels = [("service", service), ("operation", operation), ("status", status.name())];
                number(&labels, count(requests))
            })
        }),
    );
    samples.add(
        family::REQUEST_DURATION,
        operations().map(|(service, operation, used)| Sample {
            labels: vec![("service", service), ("operation", operation)],
            value: Value::Latencies(used.latencies),
        }),
    );
    let by_service = |read: fn(&ClientUse) -> f64| {
        clients.iter().map(move |client| number(&[("service", client.service)], read(client)))
    };
    samples.add(family::SENT_BYTES, by_service(|client| count(client.sent_bytes())));
    samples.add(family::RECEIVED_BYTES, by_service(|client| count(client.received_bytes())));
    samples.add(
        family::RETRIES,
        clients.iter().flat_map(|client| {
            client.requests.retries_by_cause.iter().map(|(cause, retries)| {
                number(&[("service", client.service), ("cause", cause.name())], count(retries))
            })
        }),
    );
    samples.add(family::THROTTLED, by_service(|client| count(client.requests.throttled)));
    samples.add(family::RETRY_BUDGET, by_service(|client| client.retry_budget));
}

fn of_rate_limit(samples: &mut Samples, seen: &ProgressSnapshot) {
    let rate = &seen.usage.rate;
    // Without a store there is no limit to speak of.
    if rate.configured_per_second > 0.0 {
        samples.one(family::RATE_CONFIGURED, rate.configured_per_second);
        samples.one(family::RATE_IN_FORCE, rate.requests_per_second);
        samples.one(family::RATE_OTHERS, rate.others_per_second);
        samples.one(family::RATE_DELAYED, rate.delayed.as_secs_f64());
        samples.one(family::RATE_PAUSES, count(rate.waits));
        samples.one(family::RATE_PAUSED, rate.waited.as_secs_f64());
    }
    let reported = rate.reported;
    samples.maybe(family::RATE_HEADER_LIMIT, reported.and_then(|reported| reported.limit).map(f64::from));
    samples.maybe(family::RATE_HEADER_REMAINING, reported.map(|reported| f64::from(reported.remaining)));
}
