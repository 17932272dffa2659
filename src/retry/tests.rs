use std::cell::Cell;

use http::StatusCode;
use tracing::Level;

use super::*;
use crate::captured_log::CapturedLog;
use crate::clock::DeadlineElapsed;
use crate::http::{Effect, TransportError};

const POLICY: RetryPolicy =
    RetryPolicy { max_retries: 8, base_delay: Duration::from_secs(1), timeout: Duration::from_secs(600) };

fn retrier(policy: RetryPolicy) -> (Retrier, Clock) {
    let clock = Clock::virtual_at(Duration::ZERO);
    let rate_limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    (Retrier::new("test service", policy, rate_limiter, clock.clone(), 7), clock)
}

fn failure(status: u16, effect: Effect, min_delay: Option<Duration>) -> CallError {
    CallError::status("try", effect, StatusCode::from_u16(status).unwrap(), None, min_delay)
}

#[tokio::test]
async fn succeeds_after_transient_failures() {
    let (retrier, _) = retrier(POLICY);
    let attempts = Cell::new(0);
    let result = retrier
        .call("try", || {
            attempts.set(attempts.get() + 1);
            std::future::ready(match attempts.get() {
                1 => Err(failure(503, Effect::Repeatable, None)),
                2 => Err(failure(429, Effect::Repeatable, Some(Duration::ZERO))),
                _ => Ok(attempts.get()),
            })
        })
        .await;
    assert_eq!(result.unwrap(), 3);
    let retries_by_cause =
        RetriesByCause::from_iter([(FailureKind::ServerError, 1), (FailureKind::Throttled, 1)]);
    let expected = RequestCounts { requests: 3, retries: 2, throttled: 1, retries_by_cause };
    assert_eq!(retrier.counts(), expected);
}

#[tokio::test]
async fn permanent_failures_are_not_retried() {
    for status in [400, 401, 403, 404, 409, 422] {
        let (retrier, clock) = retrier(POLICY);
        let result: Result<(), _> =
            retrier.call("try", || std::future::ready(Err(failure(status, Effect::Repeatable, None)))).await;
        assert_eq!(result.unwrap_err().to_string(), "could not try");
        assert_eq!((retrier.counts().requests, clock.now()), (1, Duration::ZERO), "{status}");
    }
}

#[tokio::test]
async fn stops_after_max_retries() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let result: Result<(), _> =
        retrier.call("try", || std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
    assert_eq!(result.unwrap_err().to_string(), "could not try after 4 attempts (--max-retries 3 exhausted)");
}

#[tokio::test]
async fn requested_delay_is_never_shortened() {
    let (retrier, clock) = retrier(POLICY);
    let first = Cell::new(true);
    let min_delay = Duration::from_secs(90);
    retrier
        .call("try", || {
            let result =
                if first.take() { Err(failure(429, Effect::Repeatable, Some(min_delay))) } else { Ok(()) };
            std::future::ready(result)
        })
        .await
        .unwrap();
    assert_eq!(clock.now(), min_delay);
}

#[tokio::test]
async fn requested_delay_beyond_the_timeout_ends_the_call_immediately() {
    let (retrier, clock) = retrier(POLICY);
    let min_delay = Some(Duration::from_secs(3_600));
    let result: Result<(), _> =
        retrier.call("try", || std::future::ready(Err(failure(429, Effect::Repeatable, min_delay)))).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "could not try (the server requested a delay of 1h, longer than --retry-timeout 10m)"
    );
    assert_eq!(clock.now(), Duration::ZERO);
}

#[tokio::test]
async fn total_time_is_limited() {
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 1_000, ..POLICY });
    let result: Result<(), _> = retrier
        .call("try", || {
            clock.advance(Duration::from_secs(30));
            std::future::ready(Err(failure(503, Effect::Repeatable, None)))
        })
        .await;
    assert!(result.unwrap_err().to_string().ends_with("(--retry-timeout 10m exhausted)"));
    assert!(clock.now() <= POLICY.timeout + Duration::from_secs(30));
}

#[tokio::test]
async fn failing_service_exhausts_the_shared_budget() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let mut last = String::new();
    for _ in 0..60 {
        let result: Result<(), _> =
            retrier.call("try", || std::future::ready(Err(failure(503, Effect::Repeatable, None)))).await;
        last = result.unwrap_err().to_string();
    }
    assert_eq!(last, "could not try (test service fails so often that its retry budget is exhausted)");
    assert_eq!(retrier.counts().retries, 100);
}

#[tokio::test]
async fn timeouts_exhaust_the_shared_budget_twice_as_fast() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let timeout = || TransportError::TimedOut(DeadlineElapsed(Duration::from_secs(30)));
    let mut last = String::new();
    for _ in 0..60 {
        let result: Result<(), _> = retrier
            .call("try", || {
                std::future::ready(Err(CallError::transport("try", Effect::Repeatable, timeout())))
            })
            .await;
        last = result.unwrap_err().to_string();
    }
    assert_eq!(last, "could not try (test service fails so often that its retry budget is exhausted)");
    let counts = retrier.counts();
    assert_eq!(counts.retries, 50);
    assert_eq!(counts.retries_by_cause, RetriesByCause::from_iter([(FailureKind::Timeout, 50)]));
}

/// Calls without success until the budget does not permit another retry.
async fn exhaust_budget(retrier: &Retrier) {
    for _ in 0..60 {
        let result: Result<(), _> =
            retrier.call("try", || std::future::ready(Err(failure(503, Effect::Repeatable, None)))).await;
        result.unwrap_err();
    }
}

#[tokio::test]
async fn five_successes_without_a_retry_pay_for_one_retry() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    exhaust_budget(&retrier).await;
    for successes in [4, 1] {
        let before = retrier.counts().retries;
        for _ in 0..successes {
            retrier.call("try", || std::future::ready(Ok(()))).await.unwrap();
        }
        exhaust_budget(&retrier).await;
        assert_eq!(
            retrier.counts().retries - before,
            u64::from(successes == 1),
            "{successes} more successes"
        );
    }
}

#[tokio::test]
async fn success_after_a_retry_refunds_the_retry() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    exhaust_budget(&retrier).await;
    for _ in 0..5 {
        retrier.call("try", || std::future::ready(Ok(()))).await.unwrap();
    }
    let before = retrier.counts().retries;
    for _ in 0..20 {
        let is_first = Cell::new(true);
        let attempt = || if is_first.take() { Err(failure(503, Effect::Repeatable, None)) } else { Ok(()) };
        retrier.call("try", || std::future::ready(attempt())).await.unwrap();
    }
    assert_eq!(retrier.counts().retries - before, 20);
}

#[tokio::test]
async fn error_with_a_maximum_number_of_attempts_ends_the_call_after_them() {
    let (retrier, _) = retrier(POLICY);
    let failed = || failure(503, Effect::Repeatable, None).with_max_attempts(2);
    let result: Result<(), _> = retrier.call("try", || std::future::ready(Err(failed()))).await;
    assert_eq!(result.unwrap_err().to_string(), "could not try after 2 attempts");
    assert_eq!(retrier.counts().requests, 2);
}

#[tokio::test]
async fn requested_delay_as_long_as_the_timeout_is_kept() {
    let (retrier, clock) = retrier(POLICY);
    let mut series = retrier.series();
    let throttled = || failure(429, Effect::Repeatable, Some(POLICY.timeout));
    let attempt = std::future::ready(Err::<(), _>(throttled()));
    assert_eq!(retrier.attempt_in(&mut series, "try", attempt).await.unwrap(), None);
    assert_eq!(clock.now(), POLICY.timeout);
    // The same delay is not too long by itself, but there is no time left for it.
    let error = retrier
        .attempt_in(&mut series, "try", std::future::ready(Err::<(), _>(throttled())))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "could not try after 2 attempts (--retry-timeout 10m exhausted)");
}

#[tokio::test]
async fn pause_longer_than_the_timeout_ends_the_call_before_it_is_sent() {
    let (retrier, _) = retrier(POLICY);
    let hint = |min_delay| DelayHint { min_delay: Some(min_delay), allowance: None };
    retrier.apply_delay_hint(hint(POLICY.timeout));
    assert_eq!(retrier.call("try", || std::future::ready(Ok(7))).await.unwrap(), 7);
    retrier.apply_delay_hint(hint(POLICY.timeout + Duration::from_secs(1)));
    let error = retrier.call("try", || std::future::ready(Ok(7))).await.unwrap_err();
    assert_eq!(
        error.cause().to_string(),
        "the server requested a delay of 10m 1s, longer than --retry-timeout 10m"
    );
    assert_eq!(retrier.counts().requests, 1);
}

#[tokio::test]
async fn delay_requested_by_a_success_is_a_wait_of_the_rate_limiter() {
    let (retrier, _) = retrier(POLICY);
    retrier.apply_delay_hint(DelayHint { min_delay: None, allowance: None });
    assert_eq!(retrier.rate_usage().waits, 0);
    retrier.apply_delay_hint(DelayHint { min_delay: Some(Duration::from_secs(2)), allowance: None });
    let usage = retrier.rate_usage();
    assert_eq!((usage.waits, usage.waited), (1, Duration::from_secs(2)));
}

#[tokio::test]
async fn requested_delay_is_logged_from_ten_seconds() {
    let log = CapturedLog::start(Level::WARN);
    let (retrier, _) = retrier(POLICY);
    let hint = |millis| DelayHint { min_delay: Some(Duration::from_millis(millis)), allowance: None };
    retrier.apply_delay_hint(hint(9_999));
    assert_eq!(log.text(), "");
    retrier.apply_delay_hint(hint(10_000));
    assert!(log.text().contains("the service requested a delay before the next request"), "{}", log.text());
}

#[tokio::test]
async fn retryable_attempt_waits_and_returns_control() {
    let (retrier, clock) = retrier(POLICY);
    let mut series = retrier.series();
    let failed =
        |status, min_delay| std::future::ready(Err::<(), _>(failure(status, Effect::CheckFirst, min_delay)));
    assert_eq!(retrier.attempt_in(&mut series, "try", failed(502, None)).await.unwrap(), None);
    let min_delay = Duration::from_secs(5);
    let before = clock.now();
    assert_eq!(retrier.attempt_in(&mut series, "try", failed(429, Some(min_delay))).await.unwrap(), None);
    assert!(clock.now() >= before + min_delay, "the requested delay was not kept");
    assert_eq!(retrier.attempt_in(&mut series, "try", std::future::ready(Ok(7))).await.unwrap(), Some(7));
    let retries_by_cause =
        RetriesByCause::from_iter([(FailureKind::ServerError, 1), (FailureKind::Throttled, 1)]);
    let expected = RequestCounts { requests: 3, retries: 2, throttled: 1, retries_by_cause };
    assert_eq!(retrier.counts(), expected);
}

#[tokio::test]
async fn series_has_the_same_limits_as_a_call() {
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 2, ..POLICY });
    let mut series = retrier.series();
    let failed = || std::future::ready(Err::<(), _>(failure(502, Effect::CheckFirst, None)));
    for _ in 0..2 {
        assert_eq!(retrier.attempt_in(&mut series, "try", failed()).await.unwrap(), None);
        clock.advance(Duration::from_secs(1));
    }
    let error = retrier.attempt_in(&mut series, "try", failed()).await.unwrap_err();
    assert_eq!(error.to_string(), "could not try after 3 attempts (--max-retries 2 exhausted)");
}

#[tokio::test]
async fn failures_of_one_kind_are_logged_once_a_minute_and_counted() {
    let log = CapturedLog::start(Level::WARN);
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 2, base_delay: Duration::ZERO, ..POLICY });
    for _ in 0..2 {
        let result: Result<(), _> =
            retrier.call("try", || std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "could not try after 3 attempts (--max-retries 2 exhausted)"
        );
    }
    clock.advance(Duration::from_secs(60));
    let result: Result<(), _> =
        retrier.call("try", || std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
    assert_eq!(result.unwrap_err().to_string(), "could not try after 3 attempts (--max-retries 2 exhausted)");
    let log = log.text();
    let logged: Vec<_> = log.lines().filter(|line| line.contains("request failed, retrying")).collect();
    assert_eq!(logged.len(), 2, "{log}");
    assert!(!logged[0].contains("suppressed") && logged[1].contains("suppressed=3"), "{log}");
}
