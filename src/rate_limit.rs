//! How fast requests may leave for one service.
//!
//! Owns the token bucket ([`governor`]) and the holds that a service asks for. Every attempt of every request passes
//! [`Gate::admit`] immediately before it is sent; a hold that one request drew keeps back all of them. It knows
//! nothing of HTTP or of retries.
//!
//! Invariant: at a rate r no rolling second holds more than ⌈r⌉ admissions. The bucket therefore has one token and
//! refills it after a period of `max(1/r, 1.01 s/⌈r⌉)`; a bucket of ⌈r⌉ tokens would let twice as many through.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Highest rate that can be set, in requests a second.
pub const FASTEST_RATE: f64 = 1_000_000.0;

/// What a rolling second is stretched to, so that a network that bunches requests stays within the limit.
const GUARDED_SECOND: f64 = 1.01;

/// A number of requests a second: above zero and at most [`FASTEST_RATE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRate(f64);

impl RequestRate {
    /// Checks a rate; `None` when it is not above zero and at most [`FASTEST_RATE`].
    pub fn new(per_second: f64) -> Option<Self> {
        (per_second > 0.000_01 && per_second <= FASTEST_RATE).then_some(Self(per_second))
    }

    /// Requests a second.
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// Time from one admission to the next.
    pub fn period(self) -> Duration {
        Duration::from_secs_f64((1.0 / self.0).max(GUARDED_SECOND / self.0.ceil()))
    }
}

/// The gate before one service. Shared by everything that sends there.
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    bucket: Option<Bucket>,
    held_until: Mutex<Duration>,
}

#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, BucketClock, NoOpMiddleware<Nanos>>,
    period: Duration,
}

impl Gate {
    /// A gate that lets `rate` pass.
    pub fn limited(rate: RequestRate, clock: Clock) -> Self {
        let period = rate.period();
        let bucket = Quota::with_period(period).map(|quota| Bucket {
            limiter: RateLimiter::direct_with_clock(
                quota.allow_burst(NonZeroU32::MIN),
                BucketClock(clock.clone()),
            ),
            period,
        });
        Self { clock, bucket, held_until: Mutex::default() }
    }

    /// A gate that is only ever closed by holds.
    pub fn unlimited(clock: Clock) -> Self {
        Self { clock, bucket: None, held_until: Mutex::default() }
    }

    /// Waits until a request may leave. Holds are waited for first, so that none leaves early.
    pub async fn admit(&self) {
        loop {
            let held = self.held_until().saturating_sub(self.clock.now());
            if !held.is_zero() {
                self.clock.sleep(held).await;
                continue;
            }
            let Some(bucket) = &self.bucket else { return };
            match bucket.limiter.check() {
                Ok(()) => return,
                Err(early) => {
                    let now = BucketClock(self.clock.clone()).now();
                    self.clock.sleep(early.wait_time_from(now)).await;
                }
            }
        }
    }

    /// Keeps back every request for `floor` from now on; a longer hold stays as it is.
    pub fn hold(&self, floor: Duration) {
        let until = self.clock.now().saturating_add(floor);
        let mut held_until = self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        *held_until = (*held_until).max(until);
    }

    /// Keeps back the next request for one period more than usual: the service says its allowance is used up, which
    /// on our own rate alone does not happen, so that somebody else is using it too.
    pub fn slow_down(&self) {
        if let Some(bucket) = &self.bucket {
            self.hold(bucket.period * 2);
        }
    }

    fn held_until(&self) -> Duration {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our clock in governor's terms.
#[derive(Clone, Debug)]
struct BucketClock(Clock);

impl GovernorClock for BucketClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn admissions(rate: f64, count: usize, pauses: &[Duration]) -> Vec<Duration> {
        let clock = Clock::virtual_at(Duration::ZERO);
        let gate = Gate::limited(RequestRate::new(rate).unwrap(), clock.clone());
        let mut admitted = Vec::new();
        for index in 0..count {
            gate.admit().await;
            admitted.push(clock.now());
            if let Some(pause) = pauses.get(index) {
                clock.advance(*pause);
            }
        }
        admitted
    }

    fn most_in_a_rolling_second(times: &[Duration]) -> usize {
        times
            .iter()
            .map(|start| {
                let end = *start + Duration::from_secs(1);
                times.iter().filter(|time| *time >= start && **time <= end).count()
            })
            .max()
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn never_more_than_five_in_any_rolling_second_at_the_usual_rates() {
        for rate in [4.5, 5.0] {
            let times = admissions(rate, 100, &[]).await;
            assert_eq!(most_in_a_rolling_second(&times), 5, "{rate}");
        }
    }

    #[tokio::test]
    async fn the_default_rate_is_used_to_the_full() {
        let times = admissions(4.5, 91, &[]).await;
        let ideal = Duration::from_secs_f64(90.0 / 4.5);
        let last = *times.last().unwrap();
        // Whole nanoseconds: 90 periods may lack up to 90 of them.
        assert!(last.abs_diff(ideal) < Duration::from_micros(1), "{last:?}");
    }

    #[tokio::test]
    async fn a_hold_keeps_back_every_request_and_is_never_shortened() {
        let clock = Clock::virtual_at(Duration::ZERO);
        let gate = Gate::unlimited(clock.clone());
        gate.hold(Duration::from_secs(30));
        gate.hold(Duration::from_secs(2));
        gate.admit().await;
        assert_eq!(clock.now(), Duration::from_secs(30));
        gate.admit().await;
        assert_eq!(clock.now(), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn slowing_down_costs_one_period() {
        let clock = Clock::virtual_at(Duration::ZERO);
        let rate = RequestRate::new(4.0).unwrap();
        let gate = Gate::limited(rate, clock.clone());
        gate.admit().await;
        gate.slow_down();
        gate.admit().await;
        assert_eq!(clock.now(), rate.period() * 2);
        gate.admit().await;
        assert_eq!(clock.now(), rate.period() * 3);
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
            assert_eq!(RequestRate::new(rate), None, "{rate}");
        }
        assert!(RequestRate::new(1_000_000.0).is_some());
    }

    proptest! {
        #[test]
        fn no_rolling_second_exceeds_the_whole_number(
            rate in 0.2f64..40.0,
            pauses in proptest::collection::vec(0u64..1_500, 0..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let pauses: Vec<_> = pauses.into_iter().map(Duration::from_millis).collect();
            let times = runtime.block_on(admissions(rate, 80, &pauses));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates of this test are small")]
            let allowed = rate.ceil() as usize;
            prop_assert!(most_in_a_rolling_second(&times) <= allowed);
        }
    }
}
