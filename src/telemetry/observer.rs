//! What a run looks like at one moment: its counters, and what follows from them and the time.
//!
//! Owns the measured rate and the estimate of when fetching ends. The progress line and the heartbeat show the same
//! observation. It only reads, and may do so from any thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::phase::Phase;
use super::progress::{Progress, ProgressSnapshot};
use crate::clock::Clock;

/// The rate is measured over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// A sample closer to the one before is not kept: a line is drawn often.
const MIN_GAP: Duration = Duration::from_secs(1);
/// A measurement over less than this says nothing about the rest of the run.
const MIN_MEASURED: Duration = Duration::from_secs(5);
/// A longer estimate is none: the store has stopped, and did not slow down.
const MAX_ESTIMATE: Duration = Duration::from_secs(100 * 3_600);

/// Observes a run repeatedly, and measures its rates.
#[derive(Debug)]
pub(super) struct Observer {
    progress: Arc<Progress>,
    clock: Clock,
    samples: VecDeque<Sample>,
}

/// A run at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observation {
    pub(super) facts: ProgressSnapshot,
    /// Since the first phase began.
    pub(super) elapsed: Duration,
    /// Since the current phase began.
    pub(super) in_phase: Duration,
    /// Requests to Yotpo per second, as measured in the last minute.
    pub(super) requests_per_second: f64,
    /// When all customers are probably fetched.
    pub(super) eta: Option<Duration>,
    pub(super) job_id: Option<String>,
}

/// What rates are measured from.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    requests: u64,
    customers: u64,
}

impl Observer {
    pub(super) fn new(progress: Arc<Progress>, clock: Clock) -> Self {
        let mut observer = Self { progress, clock, samples: VecDeque::new() };
        observer.observe();
        observer
    }

    /// Looks at the run now.
    pub(super) fn observe(&mut self) -> Observation {
        let (now, facts) = (self.clock.now(), self.progress.snapshot());
        let sample = Sample { at: now, requests: facts.usage.yotpo.requests, customers: facts.customers };
        let (requests_per_second, customers_per_second) = self.rates(sample);
        Observation {
            elapsed: facts.elapsed(now),
            in_phase: facts.started.map_or(Duration::ZERO, |_| now.saturating_sub(facts.phase_since)),
            requests_per_second,
            eta: customers_per_second.and_then(|rate| estimate(&facts, rate)),
            job_id: self.progress.job_id(),
            facts,
        }
    }

    /// Requests per second, and customers per second where they were measured for long enough.
    fn rates(&mut self, now: Sample) -> (f64, Option<f64>) {
        if self.samples.back().is_some_and(|last| last.customers > now.customers) {
            // Another set was begun.
            self.samples.clear();
        }
        // One sample from before the window stays, so that the window is always covered.
        while self.samples.get(1).is_some_and(|second| second.until(now) >= WINDOW) {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or(now);
        // Before the first customer a run may have resumed, with the customers of an earlier process.
        let fetched = self.samples.iter().find(|sample| sample.customers > 0).copied().unwrap_or(now);
        if self.samples.back().is_none_or(|last| last.until(now) >= MIN_GAP) {
            self.samples.push_back(now);
        }
        // The first request of a run opens its first interval: ten requests in 1.8 seconds are 5 per second.
        let requests = per_second(now.requests.saturating_sub(first.requests.max(1)), first.until(now));
        let customers = per_second(now.customers.saturating_sub(fetched.customers), fetched.until(now));
        (requests, (fetched.until(now) >= MIN_MEASURED).then_some(customers))
    }
}

impl Sample {
    fn until(self, now: Self) -> Duration {
        now.at.saturating_sub(self.at)
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { as_float(count) / time.as_secs_f64() }
}

/// How long fetching takes from here, if the store has as many customers as in the last run. `None` where that would be a guess.
fn estimate(facts: &ProgressSnapshot, customers_per_second: f64) -> Option<Duration> {
    let left = facts.expected?.checked_sub(facts.customers).filter(|left| *left > 0)?;
    // At a rate of zero the time is infinite, which is no duration.
    let seconds = (facts.phase == Phase::Fetching).then(|| as_float(left) / customers_per_second)?;
    Duration::try_from_secs_f64(seconds).ok().filter(|estimate| *estimate <= MAX_ESTIMATE)
}

#[expect(clippy::cast_precision_loss, reason = "a rate to show")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::telemetry::usage::ServiceUse;

    /// A run that fetches a page of a hundred customers each second, seen every second.
    fn fetching(expected: u64, seconds: u64) -> (Observer, Clock, Arc<Progress>) {
        let clock = Clock::virtual_at(Duration::ZERO);
        let progress = Arc::new(Progress::default());
        progress.expect(expected);
        progress.enter(Phase::Fetching, clock.now());
        let mut observer = Observer::new(Arc::clone(&progress), clock.clone());
        for _ in 0..seconds {
            clock.advance(Duration::from_secs(1));
            progress.page_fetched(100, 0);
            observer.observe();
        }
        (observer, clock, progress)
    }

    fn eta(observer: &mut Observer) -> Option<u64> {
        observer.observe().eta.map(|eta| eta.as_secs())
    }

    #[test]
    fn the_rest_is_estimated_from_the_last_runs_customers() {
        let (mut observer, clock, _) = fetching(100_000, 100);
        assert_eq!(eta(&mut observer), Some(900));
        // It slows down: the estimate follows within a minute, and ends when nothing is fetched any more.
        clock.advance(Duration::from_secs(60));
        assert_eq!(eta(&mut observer), None);
    }

    #[test]
    fn there_is_no_estimate_where_it_would_be_a_guess() {
        let (mut unknown, ..) = fetching(0, 100);
        let (mut early, ..) = fetching(100_000, 3);
        let (mut as_many_as_expected, ..) = fetching(10_000, 100);
        let (mut more_than_expected, ..) = fetching(9_000, 100);
        let (mut far, ..) = fetching(u64::MAX, 100);
        for observer in
            [&mut unknown, &mut early, &mut as_many_as_expected, &mut more_than_expected, &mut far]
        {
            assert_eq!(eta(observer), None);
        }
        let (mut loading, clock, progress) = fetching(100_000, 100);
        progress.enter(Phase::Loading, clock.now());
        assert_eq!(eta(&mut loading), None);
    }

    #[test]
    fn customers_of_an_earlier_process_are_not_measured() {
        let (mut observer, clock, progress) = fetching(100_000, 0);
        progress.resume_from(ProgressSnapshot { customers: 50_000, ..ProgressSnapshot::default() });
        observer.observe();
        for _ in 0..20 {
            clock.advance(Duration::from_secs(1));
            progress.page_fetched(100, 0);
            observer.observe();
        }
        assert_eq!(eta(&mut observer), Some(480));
        // The set is given up, and another one begun.
        progress.begin();
        assert_eq!(eta(&mut observer), None);
    }

    #[test]
    fn a_rate_within_the_limit_is_shown_as_such_from_the_start() {
        let (mut observer, clock, progress) = fetching(0, 0);
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        progress.read_usage_from(move || {
            let mut usage = ServiceUse::default();
            usage.yotpo.requests = counter.load(Ordering::Relaxed);
            usage
        });
        let mut rates = Vec::new();
        for request in 1..=10 {
            requests.store(request, Ordering::Relaxed);
            rates.push(observer.observe().requests_per_second);
            clock.advance(Duration::from_millis(200));
        }
        assert!(rates.iter().all(|rate| *rate <= 5.0 + 1e-9), "{rates:?}");
        assert!((rates[9] - 5.0).abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn the_times_are_those_of_the_runs_clock() {
        let (mut observer, clock, progress) = fetching(0, 10);
        progress.enter(Phase::Loading, clock.now());
        clock.advance(Duration::from_secs(7));
        let seen = observer.observe();
        assert_eq!((seen.elapsed.as_secs(), seen.in_phase.as_secs()), (17, 7));
    }
}
