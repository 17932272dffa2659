//! Taking the lock of a run before it starts.

use std::path::Path;
use std::time::Duration;

use crate::checkpoint::{Holder, LockError, ProcessLock};
use crate::clock::Clock;
use crate::identity::RunId;
use crate::shutdown::{Signal, StopRequests};

/// Why a lock was not taken.
pub(in crate::cli) enum NotLocked {
    /// A signal came first.
    Stopped(Signal),
    /// Another process holds it, or it cannot be used.
    Lock(LockError),
}

/// Takes the lock at `path` for the run `run_id`, and waits up to `limit` for a process that holds it.
pub(in crate::cli) async fn take_lock(
    path: &Path,
    run_id: &RunId,
    clock: &Clock,
    limit: Duration,
    stop: &StopRequests,
) -> Result<ProcessLock, NotLocked> {
    let started_at = clock.unix_time().as_secs();
    let holder = Holder { pid: std::process::id(), run_id: run_id.to_string(), started_at };
    tokio::select! {
        biased;
        signal = stop.graceful() => Err(NotLocked::Stopped(signal)),
        lock = ProcessLock::take_within(path, &holder, clock, limit) => lock.map_err(NotLocked::Lock),
    }
}
