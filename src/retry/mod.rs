//! Retries: the only loop around *send the request and read the whole body*.
//!
//! Owns the backoff schedule (exponential with full jitter), the limits on attempts and time, the shared retry budget, and the
//! counters. A delay requested by a server is a minimum that delays every request to that service through its
//! [`RateLimiter`], which every attempt acquires before it is sent. It does not classify failures: a [`CallError`] carries its
//! [`Class`]. Ambiguous calls are never repeated blindly: [`Retrier::attempt_in`] makes one attempt, and the caller checks the
//! state before the next.

mod budget;
mod client_use;
mod counters;
mod schedule;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Instrument as _;

use crate::clock::Clock;
use crate::http::{CallError, Cause, Class, DelayHint, FailureKind, HttpClient};
use crate::rate_limit::{RateLimiter, RateUsage};
use crate::spans::{self, AttemptEnd, AttemptFailure};
use crate::warnings::Warnings;
use counters::Counters;

pub use budget::RetryBudget;
pub use client_use::ClientUse;
pub use counters::{RequestCounts, RetriesByCause};
pub use schedule::Schedule;

/// A delay requested by a successful response is logged if it is at least this long: it is never shortened, and the log must
/// explain the pause.
const MIN_LOGGED_DELAY: Duration = Duration::from_secs(10);

/// How long and how often a request is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum attempts after the first.
    pub max_retries: u32,
    /// Upper bound of the first delay; doubles with every attempt up to a minute.
    pub base_delay: Duration,
    /// Maximum time from the start of the first attempt to the start of the last.
    pub timeout: Duration,
}

/// The attempts of one call, with their backoff.
#[derive(Debug)]
pub struct Series {
    schedule: Schedule,
    started: Duration,
    attempts: u32,
    /// The failure of the last attempt.
    failed: Option<FailureKind>,
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
    counters: Counters,
}

impl Retrier {
    /// A retry loop for `service`, which is its name in logs. `seed` makes the jitter reproducible.
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
            counters: Counters::default(),
        }
    }

    /// How long and how often a request is retried.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// How the service's rate limit has been used.
    pub fn rate_usage(&self) -> RateUsage {
        self.rate_limiter.usage()
    }

    /// The requests sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.counters.read()
    }

    /// What was sent to the service through `http`, and what its retries cost.
    pub fn client_use(&self, http: &HttpClient) -> ClientUse {
        ClientUse {
            service: self.service,
            requests: self.counts(),
            retry_budget: self.budget.left(),
            operations: http.operations(),
        }
    }

    /// Applies the delay that a successful response requests before the next request.
    pub fn apply_delay_hint(&self, delay: DelayHint) {
        if let Some(min_delay) = delay.min_delay {
            if min_delay >= MIN_LOGGED_DELAY {
                let wait = humantime::format_duration(min_delay).to_string();
                tracing::warn!(
                    service = self.service,
                    wait,
                    "the service requested a delay before the next request"
                );
            }
            self.rate_limiter.pause_for(min_delay);
        }
    }

    /// Repeats a call, which must be safe to repeat, until it succeeds or cannot be retried any more.
    ///
    /// # Errors
    /// The error of the last attempt, with the number of attempts and the reason why there is no further one.
    pub async fn call<T, F, A>(&self, operation: &'static str, mut attempt: A) -> Result<T, CallError>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, CallError>>,
    {
        let mut series = self.series();
        loop {
            if let Some(value) = self.attempt_in(&mut series, operation, attempt()).await? {
                return Ok(value);
            }
        }
    }

    /// Starts the series of attempts of one call.
    pub fn series(&self) -> Series {
        Series { schedule: Schedule::new(&self.policy), started: self.clock.now(), attempts: 0, failed: None }
    }

    /// Makes one attempt. After a failure that can be retried, waits until the next attempt is due and returns `None`. A caller
    /// that must not act twice checks the state first.
    ///
    /// # Errors
    /// The error of the attempt if it is the last, with the number of attempts and the reason.
    pub async fn attempt_in<T>(
        &self,
        series: &mut Series,
        operation: &'static str,
        attempt: impl Future<Output = Result<T, CallError>>,
    ) -> Result<Option<T>, CallError> {
        let delay = self.rate_limiter.remaining_pause();
        if delay > self.policy.timeout {
            let timeout = self.policy.timeout;
            return Err(CallError::new(
                "send the next request",
                Class::Permanent,
                Cause::Paused { delay, timeout },
            ));
        }
        self.counters.sent(series.failed.take());
        series.attempts += 1;
        let sent = self.clock.now();
        let result = attempt.instrument(spans::attempt(series.attempts)).await;
        let duration = self.clock.now().saturating_sub(sent);
        let mut end = AttemptEnd { operation, attempt: series.attempts, duration, failure: None };
        let error = match result {
            Ok(value) => {
                spans::record_attempt(&end);
                self.budget.record_success(series.attempts > 1);
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        let next = if error.max_attempts().is_some_and(|max| series.attempts >= max) {
            Err(None)
        } else {
            self.next_delay(&error, &mut series.schedule, series.started)
        };
        let error_type = error.error_type();
        end.failure = Some(AttemptFailure {
            class: error.class().name(),
            error_type: &error_type,
            status: error.received_status().map(|status| status.as_u16()),
            delay: next.as_ref().ok().copied(),
        });
        spans::record_attempt(&end);
        let delay = match next {
            Ok(delay) => delay,
            Err(reason) => return Err(error.after(series.attempts, reason)),
        };
        series.failed = Some(error.kind());
        self.log_retry(&error, series.attempts, delay);
        self.clock.sleep(delay).await;
        Ok(None)
    }

    /// The delay before the next attempt, or why there is none.
    fn next_delay(
        &self,
        error: &CallError,
        schedule: &mut Schedule,
        started: Duration,
    ) -> Result<Duration, Option<String>> {
        match error.class() {
            Class::Permanent | Class::ExpiredToken => return Err(None),
            Class::Throttled => self.counters.throttled(),
            Class::Transient | Class::Ambiguous => {}
        }
        let min_delay = error.min_delay().unwrap_or_default();
        self.rate_limiter.pause_for(min_delay);
        let jittered = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            schedule.next_delay(&mut random)
        };
        let Some(jittered) = jittered else {
            return Err(Some(format!("--max-retries {} exhausted", self.policy.max_retries)));
        };
        let delay = jittered.max(min_delay);
        let elapsed = self.clock.now().saturating_sub(started);
        if elapsed.saturating_add(delay) > self.policy.timeout {
            let timeout = humantime::format_duration(self.policy.timeout);
            return Err(Some(if min_delay > self.policy.timeout {
                let requested = humantime::format_duration(min_delay);
                format!("the server requested a delay of {requested}, longer than --retry-timeout {timeout}")
            } else {
                format!("--retry-timeout {timeout} exhausted")
            }));
        }
        if !self.budget.withdraw(error.is_timeout()) {
            return Err(Some(format!("{} fails so often that its retry budget is exhausted", self.service)));
        }
        Ok(delay)
    }

    /// Logs a failure that is retried: a warning per minute for each operation and class, the others at debug level.
    fn log_retry(&self, error: &CallError, attempt: u32, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let (service, operation, class, cause) =
            (self.service, error.operation(), error.class(), error.cause());
        let due = {
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            warnings.record((operation, class), self.clock.now())
        };
        let Some(suppressed) = due else {
            tracing::debug!(service, operation, attempt, class = class.name(), %cause, delay_ms, "request failed, retrying");
            return;
        };
        tracing::warn!(
            service,
            operation,
            server = error.server(),
            attempt,
            class = class.name(),
            %cause,
            delay_ms,
            suppressed = (suppressed > 0).then_some(suppressed),
            "request failed, retrying"
        );
    }
}

#[cfg(test)]
mod tests;
