//! The threads that network work runs on, and what the machine must give for them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::invocation::Invocation;
use crate::diagnosis::{Code, Diagnosis};

/// Threads of the mock servers, which serve while their client works.
const SERVING_THREADS: usize = 2;
/// Further threads that work needs at least: one that compresses or writes, while the others wait for it, and the heartbeat's
/// or that of the progress line.
const FURTHER_THREADS: usize = 2;
/// File descriptors without which connections or files would fail on the way, with words that blame a service. Measured: a
/// run needs 15.
const MIN_FILES: u64 = 32;

/// The machine does not give what work needs.
#[derive(Debug, thiserror::Error)]
pub(super) enum MachineDenied {
    /// No thread.
    #[error("the machine denies yotpo-td a thread")]
    Thread(#[source] io::Error),
    /// Too few file descriptors.
    #[error("the machine allows yotpo-td {allowed} open files, and it needs {MIN_FILES}")]
    Files {
        /// How many.
        allowed: u64,
    },
    /// Something else.
    #[error("the machine denies yotpo-td what it needs to wait for the network")]
    Runtime(#[from] io::Error),
}

impl MachineDenied {
    /// What it means.
    pub(super) fn diagnosis() -> Diagnosis {
        Diagnosis::new(Code::MachineDenied, Some(Self::HINT.to_owned()))
    }

    /// What to do.
    pub(super) const HINT: &str =
        "raise the limit on threads and open files (ulimit -u, ulimit -n, or the container's)";
}

/// The runtime of a client: all network work of a run is on the thread that starts it, so that a page costs no wake-up of
/// another thread; encoding and disk work have their own (docs/performance.md).
pub(super) fn client_runtime() -> Result<Runtime, MachineDenied> {
    check_limits(FURTHER_THREADS)?;
    with_limited_files(Builder::new_current_thread().enable_all().build()?)
}

/// The runtime of a process that runs the mock servers.
pub(super) fn serving_runtime() -> Result<Runtime, MachineDenied> {
    check_limits(SERVING_THREADS + FURTHER_THREADS)?;
    with_limited_files(Builder::new_multi_thread().worker_threads(SERVING_THREADS).enable_all().build()?)
}

/// A write beyond the limit on the size of files (`ulimit -f`) fails from now on, as on a full disk. By default, its signal kills the
/// process without a word. A handler stays as long as the process.
fn with_limited_files(runtime: Runtime) -> Result<Runtime, MachineDenied> {
    let entered = runtime.enter();
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    drop(entered);
    Ok(runtime)
}

/// Checks that so many threads, and files, are available: a later failure could not say what is missing.
fn check_limits(threads: usize) -> Result<(), MachineDenied> {
    {
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(allowed) = allowed.filter(|allowed| *allowed < MIN_FILES) {
            return Err(MachineDenied::Files { allowed });
        }
    }
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // Until all are started, so that they are there at once.
        let _held = gate.lock();
        let probe = |_| thread::Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop);
        (0..threads).try_for_each(probe).map_err(MachineDenied::Thread)
    })
}

/// Runs a command to its end. `panicked` is its failure if it panics.
pub(super) fn run_to_end(
    runtime: Result<Runtime, MachineDenied>,
    invocation: &Invocation,
    work: impl Future<Output = Result<(), Failure>>,
    panicked: impl FnOnce() -> Failure,
) -> Result<(), Failure> {
    let runtime =
        runtime.map_err(|error| Failure::before_start(error, MachineDenied::diagnosis(), invocation))?;
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    let result = result.unwrap_or_else(|_panic| Err(panicked()));
    // Pages that are still being compressed are of no use any more.
    runtime.shutdown_background();
    result
}
