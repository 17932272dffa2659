//! Whether a run moves, and whether it is ready: what `/healthz` and `/readyz` say.
//!
//! Owns how long a run may stand still. It only reads counters; it does not end a run that stands.

use std::fmt;
use std::time::Duration;

use super::phase::{LoadJob, Phase};
use super::progress::ProgressSnapshot;

/// How long each kind of phase may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseLimits {
    /// How long nothing may change: no request, page, part or phase. Retries are requests.
    pub standstill: Duration,
    /// How long loading or committing may last.
    pub load_job: Duration,
    /// How long another run of the target may be waited for.
    pub waiting: Duration,
}

/// Added to limits that follow from settings: an upload may take longer than other requests by its size (`http`), and a
/// machine may be busy.
const MARGIN: Duration = Duration::from_secs(300);

impl PhaseLimits {
    /// From the settings of a run: the timeout of a request, with its upload, the time of its retries, the load job's, and the
    /// wait for another run.
    pub fn new(request: Duration, retries: Duration, load_job: Duration, waiting: Duration) -> Self {
        let standstill = request.saturating_add(retries).saturating_add(MARGIN);
        Self {
            standstill,
            load_job: load_job.saturating_add(standstill),
            waiting: waiting.saturating_add(MARGIN),
        }
    }
}

impl Default for PhaseLimits {
    /// Before the settings are known.
    fn default() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO)
    }
}

/// Follows how long nothing has changed.
#[derive(Debug, Default)]
pub(super) struct HealthWatch {
    last: Option<Moment>,
    stood: Duration,
}

/// What changes when a run moves.
type Moment = (Phase, Duration, [u64; 7], LoadJob);

/// What a run is, as seen by a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    phase: Phase,
    in_phase: Duration,
    stood: Duration,
    /// The limit that was exceeded.
    exceeded: Option<Duration>,
    lacking: Option<&'static str>,
}

impl HealthWatch {
    /// Looks at the run. `passed` is how long this thread has worked since it looked last: a process that was stopped has not
    /// stood still.
    pub(super) fn observe(&mut self, seen: &ProgressSnapshot, passed: Duration) {
        let usage = &seen.usage;
        // While pages are fetched, Treasure Data is polled for other attempts of the run, which is no progress.
        let polls = if seen.phase == Phase::Fetching { 0 } else { usage.treasure_data.requests };
        let counters = [
            seen.pages,
            seen.customers,
            seen.parts,
            seen.parts_queued,
            seen.batches_queued,
            usage.yotpo.requests,
            polls,
        ];
        let moment = (seen.phase, seen.phase_since, counters, seen.load_job);
        if self.last == Some(moment) {
            self.stood += passed;
        } else {
            (self.last, self.stood) = (Some(moment), Duration::ZERO);
        }
    }

    /// The run at `now`, by its clock.
    pub(super) fn health(
        &self,
        seen: &ProgressSnapshot,
        limits: PhaseLimits,
        now: Duration,
        reads_store: bool,
    ) -> Health {
        let in_phase = seen.started.map_or(Duration::ZERO, |_| now.saturating_sub(seen.phase_since));
        let (lasted, limit) = match seen.phase {
            Phase::Waiting => (in_phase, limits.waiting),
            Phase::Loading | Phase::Committing if in_phase > limits.load_job => (in_phase, limits.load_job),
            _ => (self.stood, limits.standstill),
        };
        let lacking = match seen {
            ProgressSnapshot { started: None, .. } => Some("the run has not started"),
            _ if reads_store && !seen.usage.has_token => Some("Yotpo has not accepted an access token yet"),
            ProgressSnapshot { is_destination_open: false, .. } => Some("no session is open yet"),
            _ => None,
        };
        Health {
            phase: seen.phase,
            in_phase,
            stood: self.stood,
            exceeded: (lasted > limit).then_some(limit),
            lacking,
        }
    }
}

impl Health {
    pub(super) const fn moves(&self) -> bool {
        self.exceeded.is_none()
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.lacking.is_none()
    }

    /// What `/readyz` says.
    pub(super) fn readiness(&self) -> String {
        match self.lacking {
            None => "ready\n".to_owned(),
            Some(lacking) => format!("not ready: {lacking}\n"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, in_phase, stood, exceeded, .. } = self;
        let (word, phase) = (if self.moves() { "ok" } else { "stalled" }, phase.name());
        let (in_phase, stood) = (in_phase.as_secs(), stood.as_secs());
        write!(formatter, "{word} phase={phase} phase_seconds={in_phase} unchanged_seconds={stood}")?;
        match exceeded {
            Some(limit) => writeln!(formatter, " limit_seconds={}", limit.as_secs()),
            None => writeln!(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const LIMITS: PhaseLimits =
        PhaseLimits { standstill: seconds(100), load_job: seconds(1_000), waiting: seconds(50) };

    fn in_phase(phase: Phase) -> ProgressSnapshot {
        ProgressSnapshot { phase, started: Some(seconds(0)), ..ProgressSnapshot::default() }
    }

    fn watch(seen: &ProgressSnapshot, looks: u64) -> HealthWatch {
        let mut watch = HealthWatch::default();
        for _ in 0..=looks {
            watch.observe(seen, seconds(1));
        }
        watch
    }

    #[test]
    fn a_run_that_stands_longer_than_the_limit_is_stalled_until_anything_changes() {
        let mut seen = in_phase(Phase::Fetching);
        let mut watch = watch(&seen, 100);
        assert!(watch.health(&seen, LIMITS, seconds(100), true).moves());
        watch.observe(&seen, seconds(1));
        let health = watch.health(&seen, LIMITS, seconds(101), true);
        assert_eq!(
            (health.moves(), health.to_string().as_str()),
            (false, "stalled phase=fetching phase_seconds=101 unchanged_seconds=101 limit_seconds=100\n")
        );
        seen.usage.treasure_data.requests += 1;
        watch.observe(&seen, seconds(0));
        assert!(!watch.health(&seen, LIMITS, seconds(101), true).moves(), "a poll is no progress");
        seen.usage.yotpo.requests += 1;
        watch.observe(&seen, seconds(1));
        let health = watch.health(&seen, LIMITS, seconds(102), true);
        assert_eq!(health.to_string(), "ok phase=fetching phase_seconds=102 unchanged_seconds=0\n");
    }

    #[test]
    fn a_load_job_may_be_polled_only_as_long_as_its_limit() {
        for phase in [Phase::Loading, Phase::Committing] {
            let seen = in_phase(phase);
            let watch = watch(&seen, 0);
            assert!(watch.health(&seen, LIMITS, seconds(1_000), true).moves());
            assert!(!watch.health(&seen, LIMITS, seconds(1_001), true).moves());
        }
    }

    #[test]
    fn a_load_job_that_is_not_polled_is_a_standstill() {
        for phase in [Phase::Loading, Phase::Committing] {
            let seen = in_phase(phase);
            assert!(watch(&seen, 100).health(&seen, LIMITS, seconds(100), true).moves());
            // Up to the end of the limit for the job.
            for now in [101, 1_000] {
                let health = watch(&seen, 101).health(&seen, LIMITS, seconds(now), true);
                assert!(!health.moves() && health.to_string().contains(" limit_seconds=100"), "{health}");
            }
        }
    }

    #[test]
    fn waiting_for_another_run_is_no_standstill() {
        let seen = in_phase(Phase::Waiting);
        let watch = watch(&seen, 500);
        assert!(watch.health(&seen, LIMITS, seconds(50), true).moves());
        assert!(!watch.health(&seen, LIMITS, seconds(51), true).moves());
    }

    #[test]
    fn it_is_ready_with_a_token_and_a_session() {
        let watch = HealthWatch::default();
        let ready = |seen: &ProgressSnapshot, reads_store| {
            let health = watch.health(seen, LIMITS, seconds(0), reads_store);
            (health.is_ready(), health.readiness())
        };
        let mut seen = ProgressSnapshot::default();
        assert_eq!(ready(&seen, true), (false, "not ready: the run has not started\n".to_owned()));
        seen.started = Some(seconds(0));
        assert_eq!(
            ready(&seen, true),
            (false, "not ready: Yotpo has not accepted an access token yet\n".to_owned())
        );
        // An export is loaded without a store.
        assert_eq!(ready(&seen, false), (false, "not ready: no session is open yet\n".to_owned()));
        seen.is_destination_open = true;
        assert!(ready(&seen, false).0);
        seen.usage.has_token = true;
        assert_eq!(ready(&seen, true), (true, "ready\n".to_owned()));
    }
}
