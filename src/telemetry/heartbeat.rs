//! The heartbeat: a log line a minute that says how far the run is, in every phase.
//!
//! Owns its fields (docs/logs.md) and when it beats. It has a separate thread with a timer, so it beats while the
//! network thread is busy or waits. Tests await [`Heartbeat::beat`] on virtual time instead.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::Span;

use super::observer::{Observation, Observer};
use super::progress::Progress;
use crate::clock::Clock;

/// Time from beat to beat.
const INTERVAL: Duration = Duration::from_secs(60);

/// Logs the progress of a run at a fixed interval.
#[derive(Debug)]
pub struct Heartbeat {
    observer: Observer,
    clock: Clock,
    interval: Duration,
    run: Span,
}

/// A heartbeat in a separate thread. It stops when this is dropped: no line follows.
#[derive(Debug)]
pub struct HeartbeatThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Heartbeat {
    /// Of a run whose lines have the fields of the current span.
    pub fn new(progress: &Arc<Progress>, clock: &Clock) -> Self {
        let observer = Observer::new(Arc::clone(progress), clock.clone());
        Self { observer, clock: clock.clone(), interval: INTERVAL, run: Span::current() }
    }

    /// Beats until it is dropped.
    pub async fn beat(mut self) {
        loop {
            self.clock.sleep(self.interval).await;
            let seen = self.observer.observe();
            log(&self.run, &seen);
        }
    }

    /// Beats in a separate thread.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(self) -> io::Result<HeartbeatThread> {
        let (stop, stopped) = oneshot::channel::<()>();
        // A timer alone needs no file descriptor.
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = self.beat() => {}
                }
            });
        };
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(work)?;
        Ok(HeartbeatThread { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for HeartbeatThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing depends on a heartbeat that panicked.
            let _ = thread.join();
        }
    }
}

fn log(run: &Span, seen: &Observation) {
    let now = &seen.facts;
    let usage = &now.usage;
    tracing::info!(
        parent: run,
        phase = now.phase.name(),
        phase_seconds = seen.in_phase.as_secs(),
        elapsed_seconds = seen.elapsed.as_secs(),
        customers = now.customers,
        pages = now.pages,
        parts = now.parts,
        parts_queued = now.parts_queued,
        requests_per_second = tenths(seen.requests_per_second),
        limit_per_second = tenths(usage.rate.requests_per_second),
        retries = usage.retries(),
        throttled = usage.yotpo.throttled + usage.treasure_data.throttled,
        waits = usage.rate.waits,
        waited_seconds = usage.rate.waited.as_secs(),
        job_id = seen.job_id.as_deref(),
        load_job = now.load_job.name(),
        eta_seconds = seen.eta.map(|eta| eta.as_secs()),
        "progress"
    );
}

/// Rounded to one decimal.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::*;
    use crate::telemetry::subscriber::log_layer;
    use crate::telemetry::tests::assert_passes_alone;
    use crate::telemetry::{LogFormat, LogSettings};

    #[test]
    fn it_beats_while_the_thread_of_the_run_is_busy_and_not_after_its_end() {
        assert_passes_alone(concat!(module_path!(), "::beats_in_a_process_of_their_own"));
    }

    #[test]
    #[ignore = "run by it_beats_while_the_thread_of_the_run_is_busy_and_not_after_its_end: sets the process's subscriber"]
    fn beats_in_a_process_of_their_own() {
        let (sender, lines) = mpsc::channel();
        let settings = LogSettings { format: LogFormat::Text, filter: "info".to_owned(), colour: false };
        let layer = log_layer(&settings, move |line| sender.send(line.to_owned()).unwrap());
        tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
        let (progress, clock) = (Arc::new(Progress::default()), Clock::machine());
        let run = tracing::info_span!("run", run_id = "nightly", table = "customers");
        let heartbeat = run.in_scope(|| Heartbeat::new(&progress, &clock));
        let heartbeat = Heartbeat { interval: Duration::from_millis(1), ..heartbeat }.start().unwrap();
        // This thread does nothing but wait for lines.
        for _ in 0..3 {
            let line = lines.recv_timeout(Duration::from_secs(60)).expect("a beat");
            assert!(line.contains(" INFO progress phase=starting phase_seconds=0 "), "{line}");
            assert!(line.contains(" run_id=nightly table=customers"), "{line}");
        }
        drop(heartbeat);
        while lines.try_recv().is_ok() {}
        assert!(lines.recv_timeout(Duration::from_millis(20)).is_err(), "a beat after the end");
    }

    #[test]
    fn its_thread_has_ended_when_it_is_dropped() {
        let progress = Arc::default();
        drop(Heartbeat::new(&progress, &Clock::machine()).start().unwrap());
        assert_eq!(Arc::strong_count(&progress), 1);
    }
}
