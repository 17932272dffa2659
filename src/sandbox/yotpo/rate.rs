//! The limit of requests a second, as strict as it can be read.
//!
//! Owns two views of the same arrivals: a sliding window that never admits more than the limit in any rolling second,
//! and a token bucket that says what `RateLimit-Remaining` would be. Times are the clock's.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);
/// Arrivals kept for the maximum; only reached without a limit.
const MOST_ARRIVALS: usize = 100_000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Admitted; so many more could come at once.
    Admitted { remaining: u64 },
    /// Refused; after so many seconds one more is admitted.
    Refused { reset_seconds: u64 },
}

#[derive(Debug)]
pub(super) struct RateLimit {
    limit: Option<NonZeroU32>,
    admitted: VecDeque<Duration>,
    arrivals: VecDeque<Duration>,
    most_arrivals: usize,
    tokens: f64,
    refilled: Duration,
}

impl RateLimit {
    pub(super) fn new(limit: Option<NonZeroU32>) -> Self {
        Self {
            limit,
            admitted: VecDeque::new(),
            arrivals: VecDeque::new(),
            most_arrivals: 0,
            tokens: limit.map_or(0.0, |limit| f64::from(limit.get())),
            refilled: Duration::ZERO,
        }
    }

    /// The most requests that arrived in any rolling second, refused ones included.
    pub(super) const fn most_arrivals(&self) -> usize {
        self.most_arrivals
    }

    pub(super) fn arrive(&mut self, now: Duration) -> Admission {
        forget_old(&mut self.arrivals, now);
        if self.arrivals.len() < MOST_ARRIVALS {
            self.arrivals.push_back(now);
        }
        self.most_arrivals = self.most_arrivals.max(self.arrivals.len());
        let Some(limit) = self.limit else { return Admission::Admitted { remaining: 1_000 } };
        forget_old(&mut self.admitted, now);
        if self.admitted.len() as u64 >= u64::from(limit.get()) {
            let oldest = self.admitted.front().copied().unwrap_or(now);
            let wait = (oldest + WINDOW).saturating_sub(now);
            let reset_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Admission::Refused { reset_seconds: reset_seconds.max(1) };
        }
        self.admitted.push_back(now);
        Admission::Admitted { remaining: self.take_token(f64::from(limit.get()), now) }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between zero and the limit")]
    fn take_token(&mut self, limit: f64, now: Duration) -> u64 {
        let refill = now.saturating_sub(self.refilled).as_secs_f64() * limit;
        self.refilled = now;
        self.tokens = ((self.tokens + refill).min(limit) - 1.0).max(0.0);
        self.tokens as u64
    }
}

/// A request and another exactly one second later are not in the same rolling second.
fn forget_old(times: &mut VecDeque<Duration>, now: Duration) {
    while times.front().is_some_and(|time| *time + WINDOW <= now) {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn no_rolling_second_admits_more_than_the_limit() {
        let mut limit = RateLimit::new(NonZeroU32::new(5));
        let mut admitted = Vec::new();
        for millisecond in 0..20_000 {
            if matches!(limit.arrive(at(millisecond)), Admission::Admitted { .. }) {
                admitted.push(millisecond);
            }
        }
        assert!(admitted.windows(6).all(|six| six[5] - six[0] >= 1_000));
        assert_eq!(admitted.len(), 100);
        assert_eq!(limit.most_arrivals(), 1_000);
    }

    #[test]
    fn polite_clients_never_see_zero_remaining() {
        let mut limit = RateLimit::new(NonZeroU32::new(5));
        for request in 0..1_000 {
            let admission = limit.arrive(Duration::from_secs_f64(f64::from(request) / 4.5));
            assert!(matches!(admission, Admission::Admitted { remaining: 3..=4 }), "{admission:?}");
        }
    }

    #[test]
    fn bursts_run_down_to_zero_and_are_then_told_when_to_come_back() {
        let mut limit = RateLimit::new(NonZeroU32::new(5));
        let burst: Vec<_> = (0..5).map(|_| limit.arrive(at(10))).collect();
        assert_eq!(burst[0], Admission::Admitted { remaining: 4 });
        assert_eq!(burst[4], Admission::Admitted { remaining: 0 });
        assert_eq!(limit.arrive(at(500)), Admission::Refused { reset_seconds: 1 });
        assert!(matches!(limit.arrive(at(1_010)), Admission::Admitted { .. }));
    }

    #[test]
    fn without_a_limit_everything_is_admitted() {
        let mut limit = RateLimit::new(None);
        assert!((0..500).all(|_| matches!(limit.arrive(at(0)), Admission::Admitted { .. })));
        assert_eq!(limit.most_arrivals(), 500);
    }
}
