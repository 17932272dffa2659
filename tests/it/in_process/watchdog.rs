//! Runtimes for tests on virtual time, with a watchdog: a test that hangs fails.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Real time that a test may take; on virtual time everything is over in a moment.
const WATCHDOG: Duration = Duration::from_secs(100);

/// Runs a test on its own runtime; a test that hangs fails.
pub(crate) fn on_virtual_time<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    watched(WATCHDOG, move || block_on(work()));
}

/// Runs `work` for every case on all processors, and reports all failed cases.
pub(crate) fn in_parallel<C, F>(limit: Duration, cases: Vec<C>, work: F)
where
    C: Sync + Send + 'static,
    F: AsyncFn(&C) + Sync + Send + 'static,
{
    watched(limit, move || {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let attempt = std::panic::AssertUnwindSafe(|| block_on(work(case)));
                        if let Err(panic) = std::panic::catch_unwind(attempt) {
                            failures.lock().unwrap().push(message(panic.as_ref()));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap();
        let shown: Vec<_> = failures.iter().take(20).cloned().collect();
        assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), shown.join("\n"));
    });
}

pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn watched(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || {
        work();
        sender.send(()).unwrap();
    });
    match receiver.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("the test hangs: no end after {limit:?} of real time"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(work)
}
