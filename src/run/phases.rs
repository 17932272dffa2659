//! The phase of a run, for the progress display ([`Progress`]) and as a span around the work.
//!
//! Invariant: a phase begins for both at the same time, which ends the previous phase.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::Span;

use crate::clock::Clock;
use crate::spans;
use crate::telemetry::{Phase, Progress};

/// The phases of a run, whose span is the one in which this value was created.
#[derive(Debug)]
pub(super) struct Phases {
    progress: Arc<Progress>,
    clock: Clock,
    run: Span,
    current: Mutex<Option<(Phase, Span)>>,
}

impl Phases {
    /// No phase yet.
    pub(super) fn new(progress: &Arc<Progress>, clock: &Clock) -> Self {
        let (progress, clock) = (Arc::clone(progress), clock.clone());
        Self { progress, clock, run: Span::current(), current: Mutex::default() }
    }

    /// Begins a phase unless the run is in it already. Returns the span for the work of that phase.
    pub(super) fn enter(&self, phase: Phase) -> Span {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, span)) = current.as_ref().filter(|(current, _)| *current == phase) {
            return span.clone();
        }
        self.progress.enter(phase, self.clock.now());
        let span = spans::phase(&self.run, phase.name());
        *current = Some((phase, span.clone()));
        span
    }

    /// The span of the current phase.
    pub(super) fn span(&self) -> Span {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or_else(|| self.run.clone(), |(_, span)| span.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_phase_begins_once() {
        let clock = Clock::virtual_at(Duration::ZERO);
        let progress = Arc::new(Progress::default());
        let phases = Phases::new(&progress, &clock);
        let seen = || {
            let now = progress.snapshot();
            (now.phase, now.phase_since.as_secs())
        };
        assert_eq!(seen(), (Phase::Starting, 0));
        for (phase, since) in [(Phase::Fetching, 10), (Phase::Fetching, 10), (Phase::Uploading, 30)] {
            clock.advance(Duration::from_secs(10));
            phases.enter(phase);
            assert_eq!(seen(), (phase, since));
        }
    }
}
