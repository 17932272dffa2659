//! Limits how fast requests are sent to one service.
//!
//! Owns the token bucket ([`governor`]), the pauses that a service requests, and the estimate of what other clients use of its
//! limit. Every attempt of every request calls [`RateLimiter::acquire`] immediately before it is sent; a pause requested by
//! one response delays all of them. It knows nothing of HTTP or of retries.
//!
//! Invariant: at a rate r, no rolling second contains more than ⌈r⌉ arrivals, as far as they are known. The bucket therefore
//! has one token and a refill period of `max(1/r, 1.01 s/⌈r⌉)`; a bucket of ⌈r⌉ tokens would permit twice as many. In
//! addition, each request is sent a second after the latest time at which the request ⌈r⌉ before it can have arrived.

mod other_clients;
mod sent_requests;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::warnings::Warnings;
use other_clients::OtherClients;
use sent_requests::{SentRequests, Slot};

/// Minimum rate that can be set, in requests per second.
pub const MIN_RATE: f64 = 0.000_01;
/// Maximum rate that can be set, in requests per second.
pub const MAX_RATE: f64 = 1_000_000.0;

/// Length of a rolling second with a margin for networks that bunch requests.
const PADDED_SECOND: f64 = 1.01;
/// Yotpo's documented limit of a store, in requests per second.
const STORE_LIMIT: u32 = 5;
/// A limit above this does not apply to seconds, and its remaining count is ignored.
const MAX_LIMIT: u32 = 50;
/// How far back our own requests of the last second are counted, so that none is attributed to another client.
const OWN_WINDOW: Duration = Duration::from_millis(1_050);
/// Minimum rate of other clients that causes a warning, in requests per second.
const MIN_WARNING_RATE: f64 = 0.5;

/// Requests per second, from [`MIN_RATE`] to [`MAX_RATE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRate(f64);

impl RequestRate {
    /// Validates a rate. Returns `None` unless it is from [`MIN_RATE`] to [`MAX_RATE`].
    pub fn new(per_second: f64) -> Option<Self> {
        (MIN_RATE..=MAX_RATE).contains(&per_second).then_some(Self(per_second))
    }

    /// Requests per second.
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// Maximum requests in a rolling second.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most MAX_RATE, and above 0"
    )]
    fn max_in_a_second(self) -> u32 {
        self.0.ceil() as u32
    }

    /// Minimum time between two requests.
    pub fn period(self) -> Duration {
        Duration::from_secs_f64((1.0 / self.0).max(PADDED_SECOND / self.0.ceil()))
    }
}

/// What a response reports as remaining of the service's rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Remaining requests.
    pub remaining: u32,
    /// Requests allowed per second, if the service reports it.
    pub limit: Option<u32>,
}

/// How the rate limit was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateUsage {
    /// Current requests per second: the configured rate, or what other clients leave.
    pub requests_per_second: f64,
    /// How often requests waited for other clients, or because the service requested a pause.
    pub waits: u64,
    /// Total time of these waits.
    pub waited: Duration,
    /// Total time that requests waited before they were sent, whatever for: our own rate included.
    pub delayed: Duration,
    /// Estimated requests per second of other clients now.
    pub others_per_second: f64,
    /// Whether other clients have used a noticeable part of the limit.
    pub others_seen: bool,
    /// The rate that was configured, in requests per second; 0 without one.
    pub configured_per_second: f64,
    /// What the last response that had such headers reported of the limit.
    pub reported: Option<Allowance>,
}

/// Limits the requests to one service. All senders of the service share it.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Clock,
    bucket: Option<Bucket>,
    state: Mutex<State>,
    completed: Notify,
}

#[derive(Debug)]
struct Bucket {
    tokens: governor::RateLimiter<NotKeyed, InMemoryState, BucketClock, NoOpMiddleware<Nanos>>,
    rate: RequestRate,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that the service allows per second, as far as it reports this.
    limit: u32,
    paused_until: Duration,
    own: SentRequests,
    others: OtherClients,
    waits: u64,
    waited: Duration,
    delayed: Duration,
    others_seen: bool,
    reported: Option<Allowance>,
    warnings: Warnings<()>,
}

/// Permission to send one request now. The sender reports the response with [`Permit::response_received`]; a permit that is
/// dropped before that counts as a request without a response.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<RateLimiter>,
    /// `None` without a rate: nothing is counted.
    number: Option<u64>,
}

/// What a request waits for.
enum Wait {
    Nothing,
    Delay(Duration),
    Response,
}

impl RateLimiter {
    /// A limiter that permits `rate`.
    pub fn with_rate(rate: RequestRate, clock: Clock) -> Self {
        let bucket = Quota::with_period(rate.period()).map(|quota| Bucket {
            tokens: governor::RateLimiter::direct_with_clock(
                quota.allow_burst(NonZeroU32::MIN),
                BucketClock(clock.clone()),
            ),
            rate,
        });
        let state = State { limit: STORE_LIMIT.max(rate.max_in_a_second()), ..State::default() };
        Self { clock, bucket, state: Mutex::new(state), completed: Notify::new() }
    }

    /// A limiter without a rate, which only pauses.
    pub fn unlimited(clock: Clock) -> Self {
        Self { clock, bucket: None, state: Mutex::default(), completed: Notify::new() }
    }

    /// Waits until a request may be sent. Waits for a pause before it takes a token, so that no request is sent early.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        let asked = self.clock.now();
        loop {
            let completed = self.completed.notified();
            let now = self.clock.now();
            match self.next_wait(now) {
                Wait::Nothing => {}
                Wait::Delay(delay) => {
                    self.clock.sleep(delay).await;
                    continue;
                }
                Wait::Response => {
                    completed.await;
                    continue;
                }
            }
            let Some(bucket) = &self.bucket else {
                return Permit { limiter: Arc::clone(self), number: None };
            };
            match bucket.tokens.check() {
                Ok(()) => {
                    let number = {
                        let mut state = self.state();
                        state.delayed += now.saturating_sub(asked);
                        state.own.record(now)
                    };
                    return Permit { limiter: Arc::clone(self), number: Some(number) };
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
        if state.paused_until > now {
            return Wait::Delay(state.paused_until.saturating_sub(now));
        }
        let Some(bucket) = &self.bucket else { return Wait::Nothing };
        let max = usize::try_from(bucket.rate.max_in_a_second()).unwrap_or(usize::MAX);
        match state.own.next_slot(max, Duration::from_secs_f64(PADDED_SECOND)) {
            Slot::FreeAfterResponse => return Wait::Response,
            Slot::FreeAt(at) if at > now => return Wait::Delay(at.saturating_sub(now)),
            Slot::FreeAt(_) => {}
        }
        if state.others.per_second() == 0.0 {
            return Wait::Nothing;
        }
        let (own, oldest) = state.own.since(now.saturating_sub(Duration::from_secs(1)));
        match oldest.filter(|_| state.others.likely_exceed(own, state.limit)) {
            Some(oldest) => {
                let until = oldest + Duration::from_millis(1_001);
                state.pause_until(until, now);
                Wait::Delay(until.saturating_sub(now))
            }
            None => Wait::Nothing,
        }
    }

    /// Delays every request by at least `delay` from now on. A longer pause is never shortened.
    pub fn pause_for(&self, delay: Duration) {
        let now = self.clock.now();
        self.state().pause_until(now.saturating_add(delay), now);
    }

    /// How long the current pause still lasts.
    pub fn remaining_pause(&self) -> Duration {
        self.state().paused_until.saturating_sub(self.clock.now())
    }

    /// How the rate limit has been used.
    pub fn usage(&self) -> RateUsage {
        let state = self.state();
        let requests_per_second = self.bucket.as_ref().map_or(0.0, |bucket| {
            let left = f64::from(state.limit) - state.others.per_second();
            bucket.rate.per_second().min(left)
        });
        RateUsage {
            requests_per_second,
            waits: state.waits,
            waited: state.waited,
            delayed: state.delayed,
            others_per_second: state.others.per_second(),
            others_seen: state.others_seen,
            configured_per_second: self.bucket.as_ref().map_or(0.0, |bucket| bucket.rate.per_second()),
            reported: state.reported,
        }
    }

    fn response_received(&self, number: u64, is_throttled: bool, allowance: Option<Allowance>) {
        let now = self.clock.now();
        let mut state = self.state();
        state.reported = allowance.or(state.reported);
        let sent_at = state.own.sent_at(number).unwrap_or(now);
        state.own.complete(number, now, true);
        let reported =
            allowance.map(|allowance| (allowance.remaining, allowance.limit.unwrap_or(state.limit)));
        let reported = reported.filter(|(remaining, limit)| remaining <= limit && *limit <= MAX_LIMIT);
        if reported.is_none() && !is_throttled {
            state.others.observe_success();
            return;
        }
        let (own, oldest) = state.own.since(sent_at.saturating_sub(OWN_WINDOW));
        // A throttled request does not count towards the limit.
        let own = u32::try_from(own).unwrap_or(u32::MAX).saturating_sub(u32::from(is_throttled));
        match reported {
            Some((remaining, limit)) => {
                let others = (limit - remaining).saturating_sub(own);
                state.limit = limit;
                state.others.observe(others, limit);
                if let Some(oldest) = oldest.filter(|_| others > 0 && remaining == 0) {
                    state.pause_until(oldest + Duration::from_secs(1), now);
                }
            }
            // The number of other requests is not reported; it is at least one.
            None => {
                let limit = state.limit;
                state.others.observe(limit.saturating_sub(own).max(1), limit);
            }
        }
        let others = state.others.per_second();
        let is_noticeable = others >= MIN_WARNING_RATE;
        state.others_seen |= is_noticeable;
        let is_due = is_noticeable && state.warnings.record((), now).is_some();
        let limit = state.limit;
        // Writing a log line may block on its reader, so the state is unlocked first.
        drop(state);
        if is_due {
            Self::warn_about_others(others, limit);
        }
    }

    /// Warns that other clients use the limit.
    fn warn_about_others(others: f64, limit: u32) {
        tracing::warn!(
            others_requests_per_second = (others * 10.0).round() / 10.0,
            limit,
            "other clients, or a command that has just ended, use the store's rate limit, so requests are delayed; use --requests-per-second to lower our share"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Delays every request until `until`. A longer pause is never shortened.
    fn pause_until(&mut self, until: Duration, now: Duration) {
        let paused_until = self.paused_until.max(now);
        if until > paused_until {
            self.waits += u64::from(self.paused_until <= now);
            self.waited += until.saturating_sub(paused_until);
            self.paused_until = until;
        }
    }
}

impl Permit {
    /// Reports that the headers of the response have arrived. `is_throttled`: the service rejected the request because of
    /// its rate limit.
    pub fn response_received(mut self, is_throttled: bool, allowance: Option<Allowance>) {
        if let Some(number) = self.number.take() {
            self.limiter.response_received(number, is_throttled, allowance);
            self.limiter.completed.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            let now = self.limiter.clock.now();
            self.limiter.state().own.complete(number, now, false);
            self.limiter.completed.notify_waiters();
        }
    }
}

/// Adapts our clock to governor.
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
