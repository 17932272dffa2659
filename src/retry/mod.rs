//! Trying again: the one loop around *send and read the whole body*.
//!
//! Owns the schedule (exponential with full jitter), the caps on attempts and time, the shared budget, and the
//! counters. A delay that a server asks for is a floor that holds back every request to that service: its [`RateLimiter`], which
//! every attempt passes as it is sent. It does not judge failures: a [`CallError`] knows its
//! [`Class`]. Ambiguous calls are never repeated blindly: [`Retrier::attempt_in`] makes one attempt, and the caller looks first.

mod budget;
mod schedule;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::http::{CallError, Cause, Class, DelayHint};
use crate::rate_limit::{RateLimiter, RateUsage};
use crate::warnings::Warnings;

pub use budget::RetryBudget;
pub use schedule::Schedule;

/// A wait that a successful answer asks for is told from here on: it is never shortened, and must not be a riddle.
const WORTH_TELLING: Duration = Duration::from_secs(10);

/// How long and how often one request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub max_retries: u32,
    /// Ceiling of the first delay; it doubles with every attempt up to a minute.
    pub base_delay: Duration,
    /// No further attempt is started when it would begin later than this after the first.
    pub timeout: Duration,
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Series {
    schedule: Schedule,
    started: Duration,
    made: u32,
}

/// What a service's requests cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Attempts sent, retries included.
    pub requests: u64,
    /// Attempts after the first of their call.
    pub retries: u64,
    /// Attempts answered with "too many requests".
    pub throttled: u64,
}

/// The retry loop of one service.
#[derive(Debug)]
pub struct Retrier {
    service: &'static str,
    policy: RetryPolicy,
    clock: Clock,
    rate_limiter: Arc<RateLimiter>,
    budget: RetryBudget,
    random: Mutex<fastrand::Rng>,
    warnings: Mutex<Warnings<(&'static str, Class)>>,
    requests: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
}

impl Retrier {
    /// A loop for `service` (its name in logs). `seed` makes the jitter repeatable.
    pub fn new(
        service: &'static str,
        policy: RetryPolicy,
        rate_limiter: Arc<RateLimiter>,
        clock: Clock,
        seed: u64,
    ) -> Self {
        Self {
            service,
            policy,
            clock,
            rate_limiter,
            budget: RetryBudget::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            warnings: Mutex::default(),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        }
    }

    /// How long and how often a request is tried.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// How the service's rate limit was used.
    pub fn rate_usage(&self) -> RateUsage {
        self.rate_limiter.usage()
    }

    /// What was sent so far.
    pub fn counts(&self) -> RequestCounts {
        RequestCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
        }
    }

    /// Passes on what a successful answer says about the next request.
    pub fn heed(&self, delay: DelayHint) {
        if let Some(floor) = delay.floor {
            if floor >= WORTH_TELLING {
                let wait = humantime::format_duration(floor).to_string();
                tracing::warn!(service = self.service, wait, "asked to wait before the next request");
            }
            self.rate_limiter.pause_for(floor);
        }
    }

    /// Makes a call whose repetition is harmless until it succeeds or it makes no sense to go on.
    ///
    /// # Errors
    /// The last attempt's error, with the number of attempts and why no further one was made.
    pub async fn call<T, F, A>(&self, mut attempt: A) -> Result<T, CallError>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, CallError>>,
    {
        let mut series = self.series();
        loop {
            if let Some(value) = self.attempt_in(&mut series, attempt()).await? {
                return Ok(value);
            }
        }
    }

    /// The attempts of one call, none of them made.
    pub fn series(&self) -> Series {
        Series { schedule: Schedule::new(&self.policy), started: self.clock.now(), made: 0 }
    }

    /// Makes one attempt. After a failure that another attempt may mend it waits until that may be made and gives `None`:
    /// whoever must not act twice looks at the state before.
    ///
    /// # Errors
    /// The attempt's error when there is to be no further one, with the number of attempts and why.
    pub async fn attempt_in<T>(
        &self,
        series: &mut Series,
        attempt: impl Future<Output = Result<T, CallError>>,
    ) -> Result<Option<T>, CallError> {
        let wait = self.rate_limiter.remaining_pause();
        if wait > self.policy.timeout {
            let timeout = self.policy.timeout;
            return Err(CallError::new(
                "send the next request",
                Class::Permanent,
                Cause::Held { wait, timeout },
            ));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.retries.fetch_add(u64::from(series.made > 0), Ordering::Relaxed);
        series.made += 1;
        let error = match attempt.await {
            Ok(value) => {
                self.budget.returned(series.made > 1);
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        if error.max_attempts().is_some_and(|max| series.made >= max) {
            return Err(error.after(series.made, None));
        }
        let delay = match self.next_delay(&error, &mut series.schedule, series.started) {
            Ok(delay) => delay,
            Err(reason) => return Err(error.after(series.made, reason)),
        };
        self.report(&error, series.made, delay);
        self.clock.sleep(delay).await;
        Ok(None)
    }

    /// How long to wait before the next attempt, or why there is none.
    fn next_delay(
        &self,
        error: &CallError,
        schedule: &mut Schedule,
        started: Duration,
    ) -> Result<Duration, Option<String>> {
        match error.class() {
            Class::Permanent | Class::ExpiredToken => return Err(None),
            Class::Throttled => {
                self.throttled.fetch_add(1, Ordering::Relaxed);
            }
            Class::Transient | Class::Ambiguous => {}
        }
        let floor = error.floor().unwrap_or_default();
        self.rate_limiter.pause_for(floor);
        let drawn = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            schedule.next_delay(&mut random)
        };
        let Some(drawn) = drawn else {
            return Err(Some(format!("--max-retries {} used up", self.policy.max_retries)));
        };
        let delay = drawn.max(floor);
        let spent = self.clock.now().saturating_sub(started);
        if spent.saturating_add(delay) > self.policy.timeout {
            let timeout = humantime::format_duration(self.policy.timeout);
            return Err(Some(if floor > self.policy.timeout {
                let asked = humantime::format_duration(floor);
                format!("the server asks to wait {asked}, longer than --retry-timeout {timeout}")
            } else {
                format!("--retry-timeout {timeout} used up")
            }));
        }
        if !self.budget.withdraw(error.is_timeout()) {
            return Err(Some(format!("{} fails so often that its retry budget is used up", self.service)));
        }
        Ok(delay)
    }

    /// Tells of a failure that is tried again: one of a kind a minute, all of them at debug.
    fn report(&self, error: &CallError, made: u32, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let (service, operation, class, cause) =
            (self.service, error.operation(), error.class(), error.cause());
        let due = {
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            warnings.is_due((operation, class), self.clock.now())
        };
        let Some(untold) = due else {
            tracing::debug!(service, operation, attempt = made, class = class.name(), %cause, delay_ms, "request failed, trying again");
            return;
        };
        tracing::warn!(
            service,
            operation,
            server = error.server(),
            attempt = made,
            class = class.name(),
            %cause,
            delay_ms,
            untold = (untold > 0).then_some(untold),
            "request failed, trying again"
        );
    }
}

#[cfg(test)]
mod tests;
