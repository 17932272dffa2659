use std::cell::Cell;

use http::StatusCode;

use super::*;
use crate::clock::DeadlineElapsed;
use crate::http::{Effect, TransportError};

const POLICY: RetryPolicy =
    RetryPolicy { max_retries: 8, base_delay: Duration::from_secs(1), timeout: Duration::from_secs(600) };

fn retrier(policy: RetryPolicy) -> (Retrier, Clock) {
    let clock = Clock::virtual_at(Duration::ZERO);
    let rate_limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    (Retrier::new("test service", policy, rate_limiter, clock.clone(), 7), clock)
}

fn failure(status: u16, effect: Effect, floor: Option<Duration>) -> CallError {
    CallError::status("try", effect, StatusCode::from_u16(status).unwrap(), None, floor)
}

#[tokio::test]
async fn succeeds_after_transient_failures() {
    let (retrier, _) = retrier(POLICY);
    let tries = Cell::new(0);
    let result = retrier
        .call(|| {
            tries.set(tries.get() + 1);
            std::future::ready(match tries.get() {
                1 => Err(failure(503, Effect::Repeatable, None)),
                2 => Err(failure(429, Effect::Repeatable, Some(Duration::ZERO))),
                _ => Ok(tries.get()),
            })
        })
        .await;
    assert_eq!(result.unwrap(), 3);
    assert_eq!(retrier.counts(), RequestCounts { requests: 3, retries: 2, throttled: 1 });
}

#[tokio::test]
async fn permanent_failures_are_final_at_once() {
    for status in [400, 401, 403, 404, 409, 422] {
        let (retrier, clock) = retrier(POLICY);
        let result: Result<(), _> =
            retrier.call(|| std::future::ready(Err(failure(status, Effect::Repeatable, None)))).await;
        assert_eq!(result.unwrap_err().to_string(), "could not try");
        assert_eq!((retrier.counts().requests, clock.now()), (1, Duration::ZERO), "{status}");
    }
}

#[tokio::test]
async fn gives_up_after_the_set_number_of_retries() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let result: Result<(), _> =
        retrier.call(|| std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
    assert_eq!(result.unwrap_err().to_string(), "could not try in 4 attempts (--max-retries 3 used up)");
}

#[tokio::test]
async fn a_floor_is_waited_for_in_full() {
    let (retrier, clock) = retrier(POLICY);
    let first = Cell::new(true);
    let floor = Duration::from_secs(90);
    retrier
        .call(|| {
            let result =
                if first.take() { Err(failure(429, Effect::Repeatable, Some(floor))) } else { Ok(()) };
            std::future::ready(result)
        })
        .await
        .unwrap();
    assert_eq!(clock.now(), floor);
}

#[tokio::test]
async fn a_floor_beyond_the_timeout_ends_the_call_at_once() {
    let (retrier, clock) = retrier(POLICY);
    let floor = Some(Duration::from_secs(3_600));
    let result: Result<(), _> =
        retrier.call(|| std::future::ready(Err(failure(429, Effect::Repeatable, floor)))).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "could not try (the server asks to wait 1h, longer than --retry-timeout 10m)"
    );
    assert_eq!(clock.now(), Duration::ZERO);
}

#[tokio::test]
async fn total_time_is_capped() {
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 1_000, ..POLICY });
    let result: Result<(), _> = retrier
        .call(|| {
            clock.advance(Duration::from_secs(30));
            std::future::ready(Err(failure(503, Effect::Repeatable, None)))
        })
        .await;
    assert!(result.unwrap_err().to_string().ends_with("(--retry-timeout 10m used up)"));
    assert!(clock.now() <= POLICY.timeout + Duration::from_secs(30));
}

#[tokio::test]
async fn a_sick_service_uses_up_the_shared_budget() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let mut last = String::new();
    for _ in 0..60 {
        let result: Result<(), _> =
            retrier.call(|| std::future::ready(Err(failure(503, Effect::Repeatable, None)))).await;
        last = result.unwrap_err().to_string();
    }
    assert_eq!(last, "could not try (test service fails so often that its retry budget is used up)");
    assert_eq!(retrier.counts().retries, 100);
}

#[tokio::test]
async fn timeouts_use_up_the_shared_budget_twice_as_fast() {
    let (retrier, _) = retrier(RetryPolicy { max_retries: 3, ..POLICY });
    let timeout = || TransportError::TimedOut(DeadlineElapsed(Duration::from_secs(30)));
    let mut last = String::new();
    for _ in 0..60 {
        let result: Result<(), _> = retrier
            .call(|| std::future::ready(Err(CallError::transport("try", Effect::Repeatable, timeout()))))
            .await;
        last = result.unwrap_err().to_string();
    }
    assert_eq!(last, "could not try (test service fails so often that its retry budget is used up)");
    assert_eq!(retrier.counts().retries, 50);
}

#[tokio::test]
async fn an_attempt_that_may_be_mended_waits_and_gives_the_word_back() {
    let (retrier, clock) = retrier(POLICY);
    let mut series = retrier.series();
    let failed = |status, floor| std::future::ready(Err::<(), _>(failure(status, Effect::AskFirst, floor)));
    assert_eq!(retrier.attempt_in(&mut series, failed(502, None)).await.unwrap(), None);
    let floor = Duration::from_secs(5);
    let before = clock.now();
    assert_eq!(retrier.attempt_in(&mut series, failed(429, Some(floor))).await.unwrap(), None);
    assert!(clock.now() >= before + floor, "the server's delay is waited for");
    assert_eq!(retrier.attempt_in(&mut series, std::future::ready(Ok(7))).await.unwrap(), Some(7));
    assert_eq!(retrier.counts(), RequestCounts { requests: 3, retries: 2, throttled: 1 });
}

#[tokio::test]
async fn a_series_ends_as_a_call_does_however_much_is_done_in_between() {
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 2, ..POLICY });
    let mut series = retrier.series();
    let failed = || std::future::ready(Err::<(), _>(failure(502, Effect::AskFirst, None)));
    for _ in 0..2 {
        assert_eq!(retrier.attempt_in(&mut series, failed()).await.unwrap(), None);
        clock.advance(Duration::from_secs(1));
    }
    let error = retrier.attempt_in(&mut series, failed()).await.unwrap_err();
    assert_eq!(error.to_string(), "could not try in 3 attempts (--max-retries 2 used up)");
}

#[tokio::test]
async fn failures_of_one_kind_are_told_once_a_minute_and_counted() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(Mutex::new(log.reopen().unwrap()))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (retrier, clock) = retrier(RetryPolicy { max_retries: 2, base_delay: Duration::ZERO, ..POLICY });
    for _ in 0..2 {
        let result: Result<(), _> =
            retrier.call(|| std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
        assert_eq!(result.unwrap_err().to_string(), "could not try in 3 attempts (--max-retries 2 used up)");
    }
    clock.advance(Duration::from_secs(60));
    let result: Result<(), _> =
        retrier.call(|| std::future::ready(Err(failure(500, Effect::Repeatable, None)))).await;
    assert_eq!(result.unwrap_err().to_string(), "could not try in 3 attempts (--max-retries 2 used up)");
    let log = std::fs::read_to_string(log.path()).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("request failed, trying again")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(!told[0].contains("untold") && told[1].contains("untold=3"), "{log}");
}
