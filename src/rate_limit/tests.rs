use super::*;
use proptest::prelude::*;

async fn admissions(rate: f64, count: usize, pauses: &[Duration]) -> Vec<Duration> {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(rate).unwrap(), clock.clone()));
    let mut admitted = Vec::new();
    for index in 0..count {
        gate.admit().await.answered(false, None);
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
    let gate = Arc::new(Gate::unlimited(clock.clone()));
    gate.hold(Duration::from_secs(30));
    gate.hold(Duration::from_secs(2));
    let _first = gate.admit().await;
    assert_eq!(clock.now(), Duration::from_secs(30));
    let _second = gate.admit().await;
    assert_eq!(clock.now(), Duration::from_secs(30));
}

/// Requests one after the other, each answered after `on_the_way`; a server says what is left of a rolling second.
/// Gives how long they took and how many were refused.
async fn beside(others: &[Duration], requests: usize, tells: bool) -> (Duration, usize, RateUse) {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(4.5).unwrap(), clock.clone()));
    let on_the_way = Duration::from_millis(10);
    let mut others = others.iter().copied().peekable();
    let mut served: Vec<Duration> = Vec::new();
    let in_the_second = |served: &[Duration], at: Duration| {
        served.iter().rev().take_while(|time| **time + Duration::from_secs(1) > at).count()
    };
    let (mut done, mut refused) = (0, 0);
    while done < requests {
        let admission = gate.admit().await;
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
            refused += 1;
        }
        clock.advance(on_the_way);
        let remaining = u32::try_from(5 - in_the_second(&served, arrival)).unwrap();
        admission.answered(!is_served, tells.then_some(Allowance { remaining, limit: None }));
        if !is_served {
            gate.hold(Duration::from_secs(1));
        }
    }
    (clock.now(), refused, gate.rate_use())
}

#[tokio::test]
async fn alone_what_the_service_says_is_left_is_no_reason_to_wait() {
    for tells in [false, true] {
        let (took, refused, rate_use) = beside(&[], 91, tells).await;
        assert_eq!((refused, rate_use.waits), (0, 0));
        assert!(took.as_secs_f64() <= 1.01 * 90.0 / 4.5, "{took:?}");
    }
}

/// Beside somebody who makes two requests a second, at any time.
#[tokio::test]
async fn beside_others_little_time_is_lost_and_few_requests_are_refused() {
    for tells in [false, true] {
        let (mut took, mut refused, mut rate) = (0.0, 0, 0.0);
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut at = 0.0;
            let pauses = std::iter::from_fn(|| {
                at += random.f64();
                Some(Duration::from_secs_f64(at))
            });
            let others: Vec<_> = pauses.take(400).collect();
            let (time, times, rate_use) = beside(&others, 80, tells).await;
            took += time.as_secs_f64() / 40.0;
            refused += times;
            rate += rate_use.requests_per_second / 40.0;
            assert!(rate_use.waits > 0 && !rate_use.waited.is_zero(), "{rate_use:?}");
        }
        assert!(took <= 1.2 * 80.0 / 3.0, "{tells}: {took} s");
        assert!((2.0..4.2).contains(&rate), "{tells}: {rate} requests a second");
        assert!(refused <= 40 * 8, "{tells}: {refused} refusals in 40 runs of 80 requests");
    }
}

#[tokio::test]
async fn the_sixth_waits_until_the_first_was_answered_and_a_second_longer() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(5.0).unwrap(), clock.clone()));
    let first = gate.admit().await;
    for _ in 0..4 {
        gate.admit().await.answered(false, None);
    }
    let mut sixth = std::pin::pin!(gate.admit());
    tokio::select! {
        biased;
        _ = &mut sixth => panic!("the first may not have arrived yet"),
        () = clock.sleep(Duration::from_secs(30)) => {}
    }
    let answered_at = clock.now();
    first.answered(false, None);
    let _sixth = sixth.await;
    // The others took no time at all: that is usual, so that the first can have arrived as late as now.
    assert_eq!(clock.now(), answered_at + Duration::from_millis(1_010));
}

#[tokio::test]
async fn a_request_that_is_never_answered_lets_the_next_ones_through() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(1.0).unwrap(), clock.clone()));
    let lost = gate.admit().await;
    clock.advance(Duration::from_secs(20));
    drop(lost);
    let _next = gate.admit().await;
    assert_eq!(clock.now(), Duration::from_millis(21_010));
}

#[tokio::test]
async fn the_rate_recovers_when_others_are_gone() {
    let others: Vec<_> = (0..40).map(|number| Duration::from_millis(500 * number)).collect();
    let (_, _, while_they_are_there) = beside(&others, 45, true).await;
    let (_, _, afterwards) = beside(&others, 200, true).await;
    assert!(while_they_are_there.requests_per_second < 4.0, "{while_they_are_there:?}");
    assert!((afterwards.requests_per_second - 4.5).abs() < 1e-9, "{afterwards:?}");
}

#[tokio::test]
async fn that_others_use_the_limit_is_told_once_a_minute() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(Mutex::new(log.reopen().unwrap()))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let others: Vec<_> = (0..300).map(|number| Duration::from_millis(500 * number)).collect();
    // 80 pages take less than a minute, 240 more than one.
    for (requests, times) in [(80, 1), (240, 2)] {
        let before = std::fs::read_to_string(log.path()).unwrap().lines().count();
        beside(&others, requests, true).await;
        let told = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(told.lines().count() - before, times, "{told}");
        assert!(told.contains("--requests-per-second lowers our share"), "{told}");
    }
}

#[tokio::test]
async fn waits_are_counted_once_however_many_ask_for_them() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(4.5).unwrap(), clock.clone()));
    gate.hold(Duration::from_secs(2));
    clock.advance(Duration::from_secs(1));
    gate.hold(Duration::from_secs(3));
    gate.hold(Duration::from_secs(1));
    assert_eq!(gate.held_for(), Duration::from_secs(3));
    let RateUse { waits, waited, .. } = gate.rate_use();
    assert_eq!((waits, waited), (1, Duration::from_secs(4)));
    drop(gate.admit().await);
    gate.hold(Duration::from_secs(1));
    let RateUse { waits, waited, .. } = gate.rate_use();
    assert_eq!((waits, waited), (2, Duration::from_secs(5)));
}

#[tokio::test]
async fn the_limit_that_the_service_names_counts() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(4.5).unwrap(), clock.clone()));
    gate.admit().await.answered(false, Some(Allowance { remaining: 0, limit: Some(2) }));
    let rate = gate.rate_use().requests_per_second;
    assert!((1.0..=2.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn a_limit_that_is_not_counted_in_seconds_says_nothing_of_others() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let gate = Arc::new(Gate::limited(RequestRate::new(4.5).unwrap(), clock.clone()));
    for _ in 0..20 {
        gate.admit().await.answered(false, Some(Allowance { remaining: 10, limit: Some(300) }));
    }
    assert!((gate.rate_use().requests_per_second - 4.5).abs() < 1e-9);
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
