use std::cell::RefCell;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use tokio::task::yield_now;
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn virtual_clock() -> Clock {
    Clock::virtual_at(Duration::ZERO)
}

/// More rounds of the runtime than the clock ever waits.
async fn many_rounds() {
    rounds(5_000).await;
}

async fn rounds(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Whether time advances within this many rounds of the runtime.
async fn advances_within(count: usize, clock: &Clock) -> bool {
    tokio::select! {
        biased;
        () = clock.sleep(seconds(1)) => true,
        () = rounds(count) => false,
    }
}

/// Whether time advances at all.
async fn advances(clock: &Clock) -> bool {
    advances_within(5_000, clock).await
}

#[tokio::test]
async fn a_sleep_advances_both_times_without_waiting() {
    let clock = Clock::virtual_at(seconds(1_000));
    clock.sleep(seconds(3_600)).await;
    assert_eq!((clock.now(), clock.unix_time()), (seconds(3_600), seconds(4_600)));
}

#[tokio::test]
async fn concurrent_sleeps_end_in_order_and_at_their_times() {
    let clock = virtual_clock();
    let ended = RefCell::new(Vec::new());
    let sleeper = async |name: &'static str, steps: &[u64]| {
        for step in steps {
            clock.sleep(seconds(*step)).await;
            ended.borrow_mut().push((name, clock.now().as_secs()));
        }
    };
    tokio::join!(sleeper("slow", &[30, 30]), sleeper("fast", &[20, 20, 25]), sleeper("once", &[20]));
    assert_eq!(
        ended.into_inner(),
        [("fast", 20), ("once", 20), ("slow", 30), ("fast", 40), ("slow", 60), ("fast", 65)]
    );
}

#[tokio::test]
async fn tasks_woken_by_a_sleep_become_idle_before_the_next_sleep_of_the_same_moment_ends() {
    let clock = virtual_clock();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let woken = tokio::spawn({
        let clock = clock.clone();
        async move {
            receiver.recv().await.unwrap();
            rounds(20).await;
            // Ends before the other sleep, although it starts later.
            clock.sleep(seconds(5)).await;
            clock.now()
        }
    });
    let other = async {
        clock.sleep(seconds(60)).await;
        clock.now()
    };
    clock.sleep(seconds(10)).await;
    sender.send(()).await.unwrap();
    let (other, woken) = tokio::join!(other, woken);
    assert_eq!((woken.unwrap(), other), (seconds(15), seconds(70)));
}

#[tokio::test]
async fn time_does_not_advance_while_something_is_busy() {
    let clock = virtual_clock();
    for view in [clock.clone(), clock.for_new_process()] {
        let (before, busy) = (clock.now(), view.busy());
        let sleeping = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(seconds(1)).await }
        });
        many_rounds().await;
        assert_eq!((clock.now(), sleeping.is_finished()), (before, false));
        drop(busy);
        sleeping.await.unwrap();
        assert_eq!(clock.now(), before + seconds(1));
    }
}

#[test]
fn a_clock_continues_on_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let clock = virtual_clock();
    let (first, busy) = (runtime(), clock.busy());
    assert!(!first.block_on(advances(&clock)), "something is busy");
    // Not before this runtime is gone.
    let sleeping = clock.clone();
    first.spawn(async move { sleeping.sleep(seconds(60)).await });
    first.block_on(many_rounds());
    drop((first, busy));
    assert!(runtime().block_on(advances(&clock)));
}

#[tokio::test]
async fn a_dropped_sleep_has_no_effect() {
    let clock = virtual_clock();
    let cancelled = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(seconds(3_600)).await }
    });
    tokio::select! {
        () = clock.sleep(seconds(7_200)) => panic!("the other sleep ends first"),
        () = clock.sleep(seconds(1)) => {}
    }
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    many_rounds().await;
    clock.sleep(seconds(1)).await;
    assert_eq!(clock.now(), seconds(2));
}

#[tokio::test]
async fn a_deadline_passes_at_its_time_unless_the_work_is_done_before() {
    let clock = virtual_clock();
    let limit = seconds(30);
    assert_eq!(clock.deadline(limit, clock.sleep(seconds(29))).await, Ok(()));
    let (late, other) = tokio::join!(clock.deadline(limit, pending::<()>()), async {
        clock.sleep(seconds(10)).await;
        clock.now()
    });
    assert_eq!((late, other), (Err(DeadlineElapsed(limit)), seconds(39)));
    assert_eq!(clock.now(), seconds(59));
    many_rounds().await;
    assert_eq!(clock.now(), seconds(59), "the first deadline has no effect");
}

#[tokio::test]
async fn time_does_not_advance_during_blocking_work_even_if_nothing_waits_for_it() {
    let clock = virtual_clock();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let mut work = Box::pin(clock.blocking(move || finished.recv().is_ok()));
    assert!(futures_util::poll!(&mut work).is_pending());
    let sleeping = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(seconds(1)).await }
    });
    many_rounds().await;
    drop(work);
    many_rounds().await;
    assert_eq!((clock.now(), sleeping.is_finished()), (Duration::ZERO, false));
    finish.send(()).unwrap();
    sleeping.await.unwrap();
    assert_eq!(clock.blocking(|| 7).await.unwrap(), 7);
}

#[tokio::test]
async fn no_deadline_passes_while_a_request_is_in_flight() {
    let clock = virtual_clock();
    let request = async {
        let flight = clock.flight().await;
        many_rounds().await;
        let arrival = clock.arrive(flight.header().map(|id| id.to_string()).as_deref());
        many_rounds().await;
        drop(arrival);
        many_rounds().await;
        flight.finish().await;
    };
    assert_eq!(clock.deadline(seconds(1), request).await, Ok(()));
    assert_eq!(clock.now(), Duration::ZERO);
}

#[tokio::test]
async fn a_service_that_sleeps_or_hangs_lets_time_pass() {
    let clock = virtual_clock();
    let limit = seconds(60);
    let slow = async {
        let flight = clock.flight().await;
        let mut arrival = clock.arrive(flight.header().map(|id| id.to_string()).as_deref());
        arrival.sleep(seconds(40)).await;
        many_rounds().await;
        flight.finish().await;
    };
    assert_eq!(clock.deadline(limit, slow).await, Ok(()));
    assert_eq!(clock.now(), seconds(40));
    let hanging = async {
        let flight = clock.flight().await;
        let mut arrival = clock.arrive(flight.header().map(|id| id.to_string()).as_deref());
        match arrival.hang().await {}
    };
    assert_eq!(clock.deadline(limit, hanging).await, Err::<(), _>(DeadlineElapsed(limit)));
    assert_eq!(clock.now(), seconds(100));
}

#[tokio::test]
async fn time_waits_for_the_sender_after_the_service_has_handled_a_request() {
    let clock = virtual_clock();
    let flight = clock.flight().await;
    let mut arrival = clock.arrive(Some(&flight.header().unwrap().to_string()));
    arrival.sleep(seconds(40)).await;
    arrival.handled();
    assert!(!advances(&clock).await, "the response is not read yet");
    flight.finish().await;
    assert!(advances(&clock).await);
    drop(arrival);
}

#[tokio::test]
async fn time_waits_again_for_a_request_whose_sender_continues() {
    let clock = virtual_clock();
    let process = clock.for_new_process();
    let flight = process.flight().await;
    process.suspend();
    assert!(advances(&clock).await);
    process.resume();
    assert!(!advances(&clock).await);
    flight.finish().await;
    assert!(advances(&clock).await);
}

#[tokio::test]
async fn requests_of_a_dead_client_arrive_before_time_advances() {
    let clock = virtual_clock();
    let flight = clock.flight().await;
    let header = flight.header().unwrap().to_string();
    drop(flight);
    let processed = tokio::spawn({
        let clock = clock.clone();
        async move {
            rounds(500).await;
            let arrival = clock.arrive(Some(&header));
            many_rounds().await;
            drop(arrival);
            clock.now()
        }
    });
    clock.sleep(seconds(1)).await;
    assert_eq!(processed.await.unwrap(), Duration::ZERO);
    // A request that was never sent delays nothing, and one that was is not waited for.
    drop(clock.flight().await);
    clock.sleep(seconds(1)).await;
    assert_eq!(clock.now(), seconds(2));
    let flight = clock.flight().await;
    drop(clock.arrive(Some(&flight.header().unwrap().to_string())));
    drop(flight);
    assert!(advances_within(500, &clock).await);
}

#[tokio::test]
async fn waiting_until_idle_completes_everything_that_needs_no_time() {
    let clock = virtual_clock();
    let busy = clock.busy();
    let work = tokio::spawn(async move {
        many_rounds().await;
        drop(busy);
    });
    let sleeping = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(seconds(1)).await }
    });
    clock.wait_until_idle().await;
    assert_eq!((work.is_finished(), sleeping.is_finished(), clock.now()), (true, false, Duration::ZERO));
}

#[tokio::test]
async fn skipped_sleeps_end_afterwards_in_order() {
    let clock = virtual_clock();
    let ended = RefCell::new(Vec::new());
    let sleeper = async |length| {
        clock.sleep(seconds(length)).await;
        ended.borrow_mut().push((length, clock.now().as_secs()));
    };
    tokio::join!(sleeper(20), sleeper(10), sleeper(70), async { clock.advance(seconds(60)) });
    assert_eq!(ended.into_inner(), [(10, 60), (20, 60), (70, 70)]);
}

#[tokio::test]
async fn a_suspended_process_does_nothing_while_time_advances_for_others() {
    let clock = virtual_clock();
    let process = clock.for_new_process();
    let (steps, log) = tokio::sync::watch::channel("none");
    let work = tokio::spawn({
        let process = process.clone();
        async move {
            process.sleep(seconds(10)).await;
            steps.send_replace("slept");
            process.blocking(|| ()).await.unwrap();
            steps.send_replace("worked");
            let _flight = process.flight().await;
            steps.send_replace("sent");
            process.now()
        }
    });
    process.suspend();
    // What stops time for a running process does not for a suspended one.
    let busy = process.busy();
    clock.sleep(seconds(3_600)).await;
    many_rounds().await;
    assert_eq!((*log.borrow(), process.is_suspended(), clock.now()), ("none", true, seconds(3_600)));
    process.resume();
    assert_eq!(work.await.unwrap(), seconds(3_600));
    assert_eq!(*log.borrow(), "sent");
    drop(busy);
}

#[tokio::test]
async fn a_process_is_suspended_before_or_after_the_given_request() {
    for (moment, sent) in [(SuspendAt::Before(2), 1), (SuspendAt::After(2), 2)] {
        let clock = virtual_clock();
        let process = clock.for_new_process();
        process.suspend_at(moment);
        let (responses, seen) = tokio::sync::watch::channel(0);
        let work = tokio::spawn({
            let process = process.clone();
            async move {
                for number in 1..=3 {
                    let flight = process.flight().await;
                    drop(process.arrive(flight.header().map(|id| id.to_string()).as_deref()));
                    flight.finish().await;
                    responses.send_replace(number);
                }
            }
        });
        clock.sleep(seconds(60)).await;
        let state = (process.is_suspended(), process.requests_sent(), *seen.borrow());
        assert_eq!(state, (true, sent, 1), "{moment:?}");
        process.resume();
        work.await.unwrap();
        assert_eq!((process.requests_sent(), *seen.borrow()), (3, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn machine_clock_follows_paused_tokio_time() {
    let clock = Clock::machine();
    clock.sleep(seconds(5)).await;
    assert_eq!(clock.now(), seconds(5));
    let late = clock.deadline(seconds(1), pending::<()>()).await;
    assert_eq!(late, Err(DeadlineElapsed(seconds(1))));
}

#[tokio::test]
async fn the_machines_clock_has_no_flights() {
    let clock = Clock::machine().for_new_process();
    clock.suspend();
    let flight = clock.flight().await;
    assert_eq!((flight.header(), clock.is_suspended(), clock.requests_sent()), (None, false, 0));
    flight.finish().await;
    clock.wait_until_idle().await;
    assert_eq!(clock.blocking(|| 7).await.unwrap(), 7);
    assert_eq!((clock.is_virtual(), virtual_clock().is_virtual()), (false, true));
}

/// The threads on which a span was entered.
struct EnteredOn(Arc<Mutex<Vec<ThreadId>>>);

impl<S: tracing::Subscriber> Layer<S> for EnteredOn {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[tokio::test]
async fn blocking_work_is_in_the_span_of_its_caller() {
    let entered = Arc::default();
    let subscriber = tracing_subscriber::registry().with(EnteredOn(Arc::clone(&entered)));
    // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    for clock in [Clock::machine(), virtual_clock()] {
        let span = tracing::error_span!("caller");
        let work = clock.blocking(|| thread::current().id());
        let worker = tracing::Instrument::instrument(work, span).await.unwrap();
        assert_ne!(worker, thread::current().id());
        assert!(std::mem::take(&mut *entered.lock().unwrap()).contains(&worker));
    }
}
