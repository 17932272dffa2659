//! The limit of requests per second, in its strictest interpretation.
//!
//! Owns the window that allows no more requests than the limit, and its headers: a rolling second, or a fixed second as
//! a well-known gateway counts. Times come from the clock.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);
/// Maximum number of arrivals that are kept to find the maximum rate; reached only without a limit.
const MAX_ARRIVALS: usize = 100_000;

/// How the limit is counted and reported in the headers of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateHeaders {
    /// A rolling second; responses contain the remaining requests.
    #[default]
    RollingSecond,
    /// The same, and `RateLimit-Reset: 1` on every response.
    RollingSecondAndReset,
    /// A fixed second, in which a counter starts at zero; responses contain the remaining requests and
    /// `RateLimit-Reset: 1`.
    FixedSecond,
}

/// Whether a request is within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateDecision {
    /// Within the limit; this many more requests are allowed right now.
    Allowed { remaining: u64 },
    /// Over the limit; the next request is allowed after this many seconds.
    Limited { reset_seconds: u64 },
}

#[derive(Debug)]
pub(super) struct RateLimit {
    limit: Option<NonZeroU32>,
    headers: RateHeaders,
    allowed: VecDeque<Duration>,
    arrivals: VecDeque<Duration>,
    max_arrivals: usize,
}

impl RateLimit {
    pub(super) fn new(limit: Option<NonZeroU32>, headers: RateHeaders) -> Self {
        Self { limit, headers, allowed: VecDeque::new(), arrivals: VecDeque::new(), max_arrivals: 0 }
    }

    /// Maximum number of requests in any rolling second, including those over the limit.
    pub(super) const fn max_arrivals(&self) -> usize {
        self.max_arrivals
    }

    pub(super) fn check(&mut self, now: Duration) -> RateDecision {
        remove_old(&mut self.arrivals, now);
        if self.arrivals.len() < MAX_ARRIVALS {
            self.arrivals.push_back(now);
        }
        self.max_arrivals = self.max_arrivals.max(self.arrivals.len());
        let Some(limit) = self.limit else { return RateDecision::Allowed { remaining: 1_000 } };
        match self.headers {
            RateHeaders::FixedSecond => self.allowed.retain(|time| time.as_secs() == now.as_secs()),
            RateHeaders::RollingSecond | RateHeaders::RollingSecondAndReset => {
                remove_old(&mut self.allowed, now);
            }
        }
        let left = u64::from(limit.get()).saturating_sub(self.allowed.len() as u64);
        if left == 0 {
            let oldest = self.allowed.front().copied().unwrap_or(now);
            let wait = (oldest + WINDOW).saturating_sub(now);
            let reset_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return RateDecision::Limited { reset_seconds: reset_seconds.max(1) };
        }
        self.allowed.push_back(now);
        RateDecision::Allowed { remaining: left - 1 }
    }
}

/// Removes old times. Two requests exactly one second apart are not in the same rolling second.
fn remove_old(times: &mut VecDeque<Duration>, now: Duration) {
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
    fn no_rolling_second_allows_more_than_the_limit() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
        let mut allowed = Vec::new();
        for millisecond in 0..20_000 {
            if matches!(limit.check(at(millisecond)), RateDecision::Allowed { .. }) {
                allowed.push(millisecond);
            }
        }
        assert!(allowed.windows(6).all(|six| six[5] - six[0] >= 1_000));
        assert_eq!(allowed.len(), 100);
        assert_eq!(limit.max_arrivals(), 1_000);
    }

    #[test]
    fn remaining_reaches_zero_for_a_client_that_is_never_limited() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
        let mut request = |number: u32| limit.check(Duration::from_secs_f64(f64::from(number) / 4.5));
        let first: Vec<_> = (0..5).map(&mut request).collect();
        assert_eq!(first, [4, 3, 2, 1, 0].map(|remaining| RateDecision::Allowed { remaining }));
        assert!((5..1_000).map(request).all(|decision| decision == RateDecision::Allowed { remaining: 0 }));
    }

    #[test]
    fn a_fixed_second_may_allow_ten_requests_in_a_rolling_one() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::FixedSecond);
        let is_allowed = |decision| matches!(decision, RateDecision::Allowed { .. });
        assert_eq!((990..1_010).filter(|time| is_allowed(limit.check(at(*time)))).count(), 10);
        assert_eq!(limit.check(at(1_500)), RateDecision::Limited { reset_seconds: 1 });
        assert_eq!(limit.check(at(2_000)), RateDecision::Allowed { remaining: 4 });
    }

    #[test]
    fn bursts_use_up_the_limit_and_then_get_a_reset_time() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
        let burst: Vec<_> = (0..5).map(|_| limit.check(at(10))).collect();
        assert_eq!(burst[0], RateDecision::Allowed { remaining: 4 });
        assert_eq!(burst[4], RateDecision::Allowed { remaining: 0 });
        assert_eq!(limit.check(at(500)), RateDecision::Limited { reset_seconds: 1 });
        assert!(matches!(limit.check(at(1_010)), RateDecision::Allowed { .. }));
    }

    #[test]
    fn without_a_limit_everything_is_allowed() {
        let mut limit = RateLimit::new(None, RateHeaders::RollingSecond);
        assert!((0..500).all(|_| matches!(limit.check(at(0)), RateDecision::Allowed { .. })));
        assert_eq!(limit.max_arrivals(), 500);
    }
}
