use proptest::prelude::*;

use super::*;
use crate::captured_log::CapturedLog;

async fn send_times(rate: f64, count: usize, pauses: &[Duration]) -> Vec<Duration> {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(rate).unwrap(), clock.clone()));
    let mut sent = Vec::new();
    for index in 0..count {
        limiter.acquire().await.response_received(false, None);
        sent.push(clock.now());
        if let Some(pause) = pauses.get(index) {
            clock.advance(*pause);
        }
    }
    sent
}

fn max_in_a_rolling_second(times: &[Duration]) -> usize {
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
async fn no_rolling_second_has_more_than_five_requests_at_usual_rates() {
    for rate in [4.5, 5.0] {
        let times = send_times(rate, 100, &[]).await;
        assert_eq!(max_in_a_rolling_second(&times), 5, "{rate}");
    }
}

#[tokio::test]
async fn default_rate_is_fully_used() {
    let times = send_times(4.5, 91, &[]).await;
    let ideal = Duration::from_secs_f64(90.0 / 4.5);
    let last = *times.last().unwrap();
    // Periods are whole nanoseconds: 90 of them may be up to 90 ns short.
    assert!(last.abs_diff(ideal) < Duration::from_micros(1), "{last:?}");
}

#[tokio::test]
async fn pause_delays_every_request_and_is_never_shortened() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    limiter.pause_for(Duration::from_secs(30));
    limiter.pause_for(Duration::from_secs(2));
    let _first = limiter.acquire().await;
    assert_eq!(clock.now(), Duration::from_secs(30));
    let _second = limiter.acquire().await;
    assert_eq!(clock.now(), Duration::from_secs(30));
}

/// Sends requests one after the other, each with a response after `round_trip`, to a server that enforces a rolling second
/// and, with `reports_remaining`, reports what remains of it. Returns the total time and the number of throttled requests.
async fn send_beside(
    others: &[Duration],
    requests: usize,
    reports_remaining: bool,
) -> (Duration, usize, RateUsage) {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(4.5).unwrap(), clock.clone()));
    let round_trip = Duration::from_millis(10);
    let mut others = others.iter().copied().peekable();
    let mut served: Vec<Duration> = Vec::new();
    let in_the_second = |served: &[Duration], at: Duration| {
        served.iter().rev().take_while(|time| **time + Duration::from_secs(1) > at).count()
    };
    let (mut done, mut throttled) = (0, 0);
    while done < requests {
        let permit = limiter.acquire().await;
        let arrival = clock.now();
        while let Some(other) = others.next_if(|other| *other <= arrival) {
            if in_the_second(&served, other) < 5 {
                served.push(other);
            }
        }
        let is_served = in_the_second(&served, arrival) < 5;
        if is_served {
            served.push(arrival);
            done += 1;
        } else {
            throttled += 1;
        }
        clock.advance(round_trip);
        let remaining = u32::try_from(5 - in_the_second(&served, arrival)).unwrap();
        permit
            .response_received(!is_served, reports_remaining.then_some(Allowance { remaining, limit: None }));
        if !is_served {
            limiter.pause_for(Duration::from_secs(1));
        }
    }
    (clock.now(), throttled, limiter.usage())
}

#[tokio::test]
async fn without_other_clients_reported_remaining_requests_cause_no_wait() {
    for reports_remaining in [false, true] {
        let (took, throttled, usage) = send_beside(&[], 91, reports_remaining).await;
        assert_eq!((throttled, usage.waits), (0, 0));
        assert!(took.as_secs_f64() <= 1.01 * 90.0 / 4.5, "{took:?}");
    }
}

/// The other client sends two requests per second, at random times.
#[tokio::test]
async fn beside_another_client_little_time_is_lost_and_few_requests_are_throttled() {
    for reports_remaining in [false, true] {
        let (mut took, mut throttled, mut rate) = (0.0, 0, 0.0);
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut at = 0.0;
            let pauses = std::iter::from_fn(|| {
                at += random.f64();
                Some(Duration::from_secs_f64(at))
            });
            let others: Vec<_> = pauses.take(400).collect();
            let (time, times, usage) = send_beside(&others, 80, reports_remaining).await;
            took += time.as_secs_f64() / 40.0;
            throttled += times;
            rate += usage.requests_per_second / 40.0;
            assert!(usage.waits > 0 && !usage.waited.is_zero(), "{usage:?}");
        }
        assert!(took <= 1.2 * 80.0 / 3.0, "{reports_remaining}: {took} s");
        assert!((2.0..4.2).contains(&rate), "{reports_remaining}: {rate} requests per second");
        assert!(
            throttled <= 40 * 8,
            "{reports_remaining}: {throttled} throttled requests in 40 runs of 80 requests"
        );
    }
}

#[tokio::test]
async fn sixth_request_waits_for_the_first_response_and_one_more_second() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(5.0).unwrap(), clock.clone()));
    let first = limiter.acquire().await;
    for _ in 0..4 {
        limiter.acquire().await.response_received(false, None);
    }
    let mut sixth = std::pin::pin!(limiter.acquire());
    tokio::select! {
        biased;
        _ = &mut sixth => panic!("the first may not have arrived yet"),
        () = clock.sleep(Duration::from_secs(30)) => {}
    }
    let completed_at = clock.now();
    first.response_received(false, None);
    let _sixth = sixth.await;
    // The others completed at once, which makes that usual: the first can have arrived as late as now.
    assert_eq!(clock.now(), completed_at + Duration::from_millis(1_010));
}

#[tokio::test]
async fn request_without_a_response_does_not_block_the_next() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(1.0).unwrap(), clock.clone()));
    let lost = limiter.acquire().await;
    clock.advance(Duration::from_secs(20));
    drop(lost);
    let _next = limiter.acquire().await;
    assert_eq!(clock.now(), Duration::from_millis(21_010));
}

#[tokio::test]
async fn rate_recovers_when_other_clients_stop() {
    let others: Vec<_> = (0..40).map(|number| Duration::from_millis(500 * number)).collect();
    let (_, _, during) = send_beside(&others, 45, true).await;
    let (_, _, after) = send_beside(&others, 200, true).await;
    assert!(during.requests_per_second < 4.0, "{during:?}");
    assert!((after.requests_per_second - 4.5).abs() < 1e-9, "{after:?}");
}

#[tokio::test]
async fn warning_about_other_clients_is_logged_once_a_minute() {
    let log = CapturedLog::start(tracing::Level::WARN);
    let others: Vec<_> = (0..300).map(|number| Duration::from_millis(500 * number)).collect();
    // 80 pages take less than a minute, 240 more than one.
    for (requests, times) in [(80, 1), (240, 2)] {
        let before = log.text().lines().count();
        send_beside(&others, requests, true).await;
        let text = log.text();
        assert_eq!(text.lines().count() - before, times, "{text}");
        assert!(text.contains("use --requests-per-second to lower our share"), "{text}");
    }
}

#[tokio::test]
async fn other_clients_are_seen_from_their_first_requests_on() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(5.0).unwrap(), clock.clone()));
    // What remains after one own request, and whether other clients have been seen by then.
    for (remaining, is_seen) in [(4, false), (0, true), (4, true)] {
        limiter.acquire().await.response_received(false, Some(Allowance { remaining, limit: None }));
        assert_eq!(limiter.usage().others_seen, is_seen, "{remaining} remaining");
        clock.advance(Duration::from_secs(10));
    }
}

#[tokio::test]
async fn overlapping_pauses_count_as_one_wait() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(4.5).unwrap(), clock.clone()));
    limiter.pause_for(Duration::from_secs(2));
    clock.advance(Duration::from_secs(1));
    limiter.pause_for(Duration::from_secs(3));
    limiter.pause_for(Duration::from_secs(1));
    assert_eq!(limiter.remaining_pause(), Duration::from_secs(3));
    let RateUsage { waits, waited, .. } = limiter.usage();
    assert_eq!((waits, waited), (1, Duration::from_secs(4)));
    drop(limiter.acquire().await);
    limiter.pause_for(Duration::from_secs(1));
    let RateUsage { waits, waited, .. } = limiter.usage();
    assert_eq!((waits, waited), (2, Duration::from_secs(5)));
}

#[tokio::test]
async fn limit_reported_by_the_service_is_used() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(4.5).unwrap(), clock.clone()));
    limiter.acquire().await.response_received(false, Some(Allowance { remaining: 0, limit: Some(2) }));
    let rate = limiter.usage().requests_per_second;
    assert!((1.0..=2.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn implausible_allowance_is_ignored() {
    for (remaining, limit) in [(0, 300), (10, 300), (6, 5)] {
        let clock = Clock::virtual_at(Duration::ZERO);
        let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(4.5).unwrap(), clock.clone()));
        for _ in 0..20 {
            limiter
                .acquire()
                .await
                .response_received(false, Some(Allowance { remaining, limit: Some(limit) }));
        }
        assert!((limiter.usage().requests_per_second - 4.5).abs() < 1e-9, "{remaining} of {limit}");
        assert_eq!(limiter.usage().waits, 0, "{remaining} of {limit}");
    }
}

/// The pause after the response to the last of `own` requests, which reports what remains of five per second.
async fn pause_after(own: usize, remaining: u32) -> Duration {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(1_000.0).unwrap(), clock));
    for _ in 1..own {
        limiter.acquire().await.response_received(false, None);
    }
    let allowance = Allowance { remaining, limit: Some(5) };
    limiter.acquire().await.response_received(false, Some(allowance));
    limiter.remaining_pause()
}

#[tokio::test]
async fn requests_pause_if_nothing_remains_because_of_other_clients() {
    assert_eq!(pause_after(1, 0).await, Duration::from_secs(1));
    assert_eq!(pause_after(1, 1).await, Duration::ZERO, "one request remains");
    assert_eq!(pause_after(5, 0).await, Duration::ZERO, "all requests were our own");
}

#[tokio::test]
async fn requests_before_a_slow_one_are_not_attributed_to_other_clients() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let limiter = Arc::new(RateLimiter::with_rate(RequestRate::new(5.0).unwrap(), clock.clone()));
    limiter.acquire().await.response_received(false, None);
    let slow = limiter.acquire().await;
    clock.advance(Duration::from_secs(5));
    slow.response_received(false, Some(Allowance { remaining: 3, limit: None }));
    assert!((limiter.usage().requests_per_second - 5.0).abs() < 1e-9, "{:?}", limiter.usage());
}

#[tokio::test]
async fn pause_of_zero_is_not_a_wait() {
    let limiter = RateLimiter::unlimited(Clock::virtual_at(Duration::ZERO));
    limiter.pause_for(Duration::ZERO);
    assert_eq!(limiter.usage().waits, 0);
}

#[test]
fn invalid_rates_are_rejected() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
        assert_eq!(RequestRate::new(rate), None, "{rate}");
    }
    assert!(RequestRate::new(1_000_000.0).is_some());
}

proptest! {
    #[test]
    fn no_rolling_second_exceeds_the_rounded_up_rate(
        rate in 0.2f64..40.0,
        pauses in proptest::collection::vec(0u64..1_500, 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pauses: Vec<_> = pauses.into_iter().map(Duration::from_millis).collect();
        let times = runtime.block_on(send_times(rate, 80, &pauses));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates of this test are small")]
        let max = rate.ceil() as usize;
        prop_assert!(max_in_a_rolling_second(&times) <= max);
    }
}
