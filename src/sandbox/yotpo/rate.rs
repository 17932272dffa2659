//! The limit of requests a second, as strict as it can be read.
//!
//! Owns the window that admits no more than the limit, and what the headers say of it: a rolling second, or a fixed one as a
//! well-known gateway counts. Times are the clock's.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);
/// Arrivals kept for the maximum; only reached without a limit.
const MOST_ARRIVALS: usize = 100_000;

/// How the limit is counted, and what the headers of a response say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateHeaders {
    /// A rolling second; what is left of it.
    #[default]
    RollingSecond,
    /// The same, and `RateLimit-Reset: 1` on every response.
    RollingSecondAndReset,
    /// A fixed second, which a counter begins anew; what is left of it, and `RateLimit-Reset: 1` on every response.
    FixedSecond,
}

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
    headers: RateHeaders,
    admitted: VecDeque<Duration>,
    arrivals: VecDeque<Duration>,
    most_arrivals: usize,
}

impl RateLimit {
    pub(super) fn new(limit: Option<NonZeroU32>, headers: RateHeaders) -> Self {
        Self { limit, headers, admitted: VecDeque::new(), arrivals: VecDeque::new(), most_arrivals: 0 }
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
        match self.headers {
            RateHeaders::FixedSecond => self.admitted.retain(|time| time.as_secs() == now.as_secs()),
            RateHeaders::RollingSecond | RateHeaders::RollingSecondAndReset => {
                forget_old(&mut self.admitted, now);
            }
        }
        let left = u64::from(limit.get()).saturating_sub(self.admitted.len() as u64);
        if left == 0 {
            let oldest = self.admitted.front().copied().unwrap_or(now);
            let wait = (oldest + WINDOW).saturating_sub(now);
            let reset_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Admission::Refused { reset_seconds: reset_seconds.max(1) };
        }
        self.admitted.push_back(now);
        Admission::Admitted { remaining: left - 1 }
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
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
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
    fn a_polite_client_sees_zero_remaining_although_it_is_never_refused() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
        let mut request = |number: u32| limit.arrive(Duration::from_secs_f64(f64::from(number) / 4.5));
        let first: Vec<_> = (0..5).map(&mut request).collect();
        assert_eq!(first, [4, 3, 2, 1, 0].map(|remaining| Admission::Admitted { remaining }));
        assert!((5..1_000).map(request).all(|admission| admission == Admission::Admitted { remaining: 0 }));
    }

    #[test]
    fn a_fixed_second_begins_anew_and_may_let_ten_through_in_a_rolling_one() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::FixedSecond);
        let admitted = |admission| matches!(admission, Admission::Admitted { .. });
        assert_eq!((990..1_010).filter(|time| admitted(limit.arrive(at(*time)))).count(), 10);
        assert_eq!(limit.arrive(at(1_500)), Admission::Refused { reset_seconds: 1 });
        assert_eq!(limit.arrive(at(2_000)), Admission::Admitted { remaining: 4 });
    }

    #[test]
    fn bursts_run_down_to_zero_and_are_then_told_when_to_come_back() {
        let mut limit = RateLimit::new(NonZeroU32::new(5), RateHeaders::RollingSecond);
        let burst: Vec<_> = (0..5).map(|_| limit.arrive(at(10))).collect();
        assert_eq!(burst[0], Admission::Admitted { remaining: 4 });
        assert_eq!(burst[4], Admission::Admitted { remaining: 0 });
        assert_eq!(limit.arrive(at(500)), Admission::Refused { reset_seconds: 1 });
        assert!(matches!(limit.arrive(at(1_010)), Admission::Admitted { .. }));
    }

    #[test]
    fn without_a_limit_everything_is_admitted() {
        let mut limit = RateLimit::new(None, RateHeaders::RollingSecond);
        assert!((0..500).all(|_| matches!(limit.arrive(at(0)), Admission::Admitted { .. })));
        assert_eq!(limit.most_arrivals(), 500);
    }
}
