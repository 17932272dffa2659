//! How fast requests may leave for one service.
//!
//! Owns the token bucket ([`governor`]), the holds that a service asks for, and what is known of who uses its limit. Every
//! attempt of every request passes [`Gate::admit`] immediately before it is sent; a hold that one request drew keeps back
//! all of them. It knows nothing of HTTP or of retries.
//!
//! Invariant: at a rate r no rolling second holds more than ⌈r⌉ arrivals, as far as they are known. The bucket therefore has
//! one token and refills it after a period of `max(1/r, 1.01 s/⌈r⌉)`; a bucket of ⌈r⌉ tokens would let twice as many
//! through. And each request leaves a second behind the time at which the one ⌈r⌉ before it can have arrived.

mod departures;
mod neighbours;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::warnings::Warnings;
use departures::{Departures, Free};
use neighbours::Neighbours;

/// Highest rate that can be set, in requests a second.
pub const FASTEST_RATE: f64 = 1_000_000.0;

/// What a rolling second is stretched to, so that a network that bunches requests stays within the limit.
const GUARDED_SECOND: f64 = 1.01;
/// Yotpo's documented limit of a store, in requests a second.
const STORE_LIMIT: u32 = 5;
/// A limit above this is not counted in seconds, and nothing follows from what is left of it.
const MAX_LIMIT: u32 = 50;
/// Our own requests of the last second are counted this far back, so that none is taken for somebody else's.
const OWN_SECOND: Duration = Duration::from_millis(1_050);
/// The least that others must use to be worth a warning, in requests a second.
const WORTH_TELLING: f64 = 0.5;

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

    /// Requests that a rolling second may hold.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most FASTEST_RATE, and above 0"
    )]
    fn max_in_a_second(self) -> u32 {
        self.0.ceil() as u32
    }

    /// Time from one admission to the next.
    pub fn period(self) -> Duration {
        Duration::from_secs_f64((1.0 / self.0).max(GUARDED_SECOND / self.0.ceil()))
    }
}

/// What a response says is left of the service's allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests that are left.
    pub remaining: u32,
    /// Requests that a second may hold, where the service says so.
    pub limit: Option<u32>,
}

/// How the rate limit was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateUse {
    /// Requests a second that are sent at present: the rate that was set, or what others leave.
    pub requests_per_second: f64,
    /// How often a request waited because of others, or because the service asked to.
    pub waits: u64,
    /// How long, in all.
    pub waited: Duration,
}

/// The gate before one service. Shared by everything that sends there.
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    bucket: Option<Bucket>,
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, BucketClock, NoOpMiddleware<Nanos>>,
    rate: RequestRate,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that the service lets through in a second, as far as it says.
    limit: u32,
    held_until: Duration,
    own: Departures,
    others: Neighbours,
    waits: u64,
    waited: Duration,
    warnings: Warnings<()>,
}

/// A request that may leave now. Whoever sends it says when it was answered; dropped, it was not.
#[derive(Debug)]
pub struct Admission {
    gate: Arc<Gate>,
    /// None where nothing is counted.
    number: Option<u64>,
}

/// What a request waits for.
enum Wait {
    Nothing,
    Turn(Duration),
    Answer,
}

impl Gate {
    /// A gate that lets `rate` pass.
    pub fn limited(rate: RequestRate, clock: Clock) -> Self {
        let bucket = Quota::with_period(rate.period()).map(|quota| Bucket {
            limiter: RateLimiter::direct_with_clock(
                quota.allow_burst(NonZeroU32::MIN),
                BucketClock(clock.clone()),
            ),
            rate,
        });
        let state = State { limit: STORE_LIMIT.max(rate.max_in_a_second()), ..State::default() };
        Self { clock, bucket, state: Mutex::new(state), answered: Notify::new() }
    }

    /// A gate that is only ever closed by holds.
    pub fn unlimited(clock: Clock) -> Self {
        Self { clock, bucket: None, state: Mutex::default(), answered: Notify::new() }
    }

    /// Waits until a request may leave. Holds are waited for first, so that none leaves early.
    pub async fn admit(self: &Arc<Self>) -> Admission {
        loop {
            let answered = self.answered.notified();
            let now = self.clock.now();
            match self.next_wait(now) {
                Wait::Nothing => {}
                Wait::Turn(wait) => {
                    self.clock.sleep(wait).await;
                    continue;
                }
                Wait::Answer => {
                    answered.await;
                    continue;
                }
            }
            let Some(bucket) = &self.bucket else {
                return Admission { gate: Arc::clone(self), number: None };
            };
            match bucket.limiter.check() {
                Ok(()) => {
                    let number = self.state().own.note(now);
                    return Admission { gate: Arc::clone(self), number: Some(number) };
                }
                Err(early) => {
                    let now = BucketClock(self.clock.clone()).now();
                    self.clock.sleep(early.wait_time_from(now)).await;
                }
            }
        }
    }

    fn next_wait(&self, now: Duration) -> Wait {
        let mut state = self.state();
        if state.held_until > now {
            return Wait::Turn(state.held_until.saturating_sub(now));
        }
        let Some(bucket) = &self.bucket else { return Wait::Nothing };
        let most = usize::try_from(bucket.rate.max_in_a_second()).unwrap_or(usize::MAX);
        match state.own.free(most, Duration::from_secs_f64(GUARDED_SECOND)) {
            Free::WhenAnswered => return Wait::Answer,
            Free::At(at) if at > now => return Wait::Turn(at.saturating_sub(now)),
            Free::At(_) => {}
        }
        if state.others.each_second() == 0.0 {
            return Wait::Nothing;
        }
        let (own, oldest) = state.own.since(now.saturating_sub(Duration::from_secs(1)));
        match oldest.filter(|_| state.others.crowd_out(own, state.limit)) {
            Some(oldest) => {
                let until = oldest + Duration::from_millis(1_001);
                state.hold_until(until, now);
                Wait::Turn(until.saturating_sub(now))
            }
            None => Wait::Nothing,
        }
    }

    /// Keeps back every request for `floor` from now on; a longer hold stays as it is.
    pub fn hold(&self, floor: Duration) {
        let now = self.clock.now();
        self.state().hold_until(now.saturating_add(floor), now);
    }

    /// How long every request is kept back from now on.
    pub fn held_for(&self) -> Duration {
        self.state().held_until.saturating_sub(self.clock.now())
    }

    /// How the limit was used so far.
    pub fn rate_use(&self) -> RateUse {
        let state = self.state();
        let requests_per_second = self.bucket.as_ref().map_or(0.0, |bucket| {
            let left = f64::from(state.limit) - state.others.each_second();
            bucket.rate.per_second().min(left)
        });
        RateUse { requests_per_second, waits: state.waits, waited: state.waited }
    }

    fn answered(&self, number: u64, is_refused: bool, allowance: Option<Allowance>) {
        let now = self.clock.now();
        let mut state = self.state();
        let left = state.own.left(number).unwrap_or(now);
        state.own.settle(number, now, true);
        let told = allowance.map(|allowance| (allowance.remaining, allowance.limit.unwrap_or(state.limit)));
        let told = told.filter(|(remaining, limit)| remaining <= limit && *limit <= MAX_LIMIT);
        if told.is_none() && !is_refused {
            state.others.see_success();
            return;
        }
        let (own, oldest) = state.own.since(left.saturating_sub(OWN_SECOND));
        // One that was refused used nothing.
        let own = u32::try_from(own).unwrap_or(u32::MAX).saturating_sub(u32::from(is_refused));
        match told {
            Some((remaining, limit)) => {
                let found = (limit - remaining).saturating_sub(own);
                state.limit = limit;
                state.others.see(found, limit);
                if let Some(oldest) = oldest.filter(|_| found > 0 && remaining == 0) {
                    state.hold_until(oldest + Duration::from_secs(1), now);
                }
            }
            // It does not say how many others there were: one at least.
            None => {
                let limit = state.limit;
                state.others.see(limit.saturating_sub(own).max(1), limit);
            }
        }
        let others = state.others.each_second();
        let is_due =
            self.bucket.is_some() && others >= WORTH_TELLING && state.warnings.is_due((), now).is_some();
        let limit = state.limit;
        // A line may have to wait for its reader, and nobody shall wait for the state meanwhile.
        drop(state);
        if is_due {
            Self::warn_of_others(others, limit);
        }
    }

    /// Says that others use the limit.
    fn warn_of_others(others: f64, limit: u32) {
        tracing::warn!(
            others_requests_per_second = (others * 10.0).round() / 10.0,
            limit,
            "others use the store's rate limit, too, and requests wait for them; --requests-per-second lowers our share"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets nothing leave before a time; a longer hold stays as it is.
    fn hold_until(&mut self, until: Duration, now: Duration) {
        let held_until = self.held_until.max(now);
        if until > held_until {
            self.waits += u64::from(self.held_until <= now);
            self.waited += until.saturating_sub(held_until);
            self.held_until = until;
        }
    }
}

impl Admission {
    /// The headers of its response are there. `is_refused`: the service says that it was one too many.
    pub fn answered(mut self, is_refused: bool, allowance: Option<Allowance>) {
        if let Some(number) = self.number.take() {
            self.gate.answered(number, is_refused, allowance);
            self.gate.answered.notify_waiters();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            let now = self.gate.clock.now();
            self.gate.state().own.settle(number, now, false);
            self.gate.answered.notify_waiters();
        }
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
mod tests;
