//! Why a command that loads ends outside of the run.

use std::time::Duration;

use crate::checkpoint::Holder;
use crate::cli::embedded_sandbox::EmbeddedSandbox;
use crate::shutdown::Signal;

/// Another process loads the same target.
#[derive(Debug, thiserror::Error)]
#[error("another run for this target is active: {holder} ({progress})")]
pub(super) struct AlreadyRunning {
    pub(super) holder: String,
    pub(super) progress: String,
}

/// A signal came before it was this run's turn.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {} while waiting for another run to end", .0.name())]
pub(in crate::cli) struct StoppedWaiting(pub(in crate::cli) Signal);

/// Ends when the embedded sandbox has no disk left; never without one.
pub(in crate::cli) async fn disk_full(sandbox: Option<&EmbeddedSandbox>) {
    match sandbox {
        Some(sandbox) => sandbox.disk_full().await,
        None => std::future::pending().await,
    }
}

/// The embedded sandbox cannot store what is loaded.
#[derive(Debug, thiserror::Error)]
#[error("the disk of the sandbox's temporary directory is full")]
pub(in crate::cli) struct SandboxDiskFull;

/// A second signal came.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a second signal, without waiting")]
pub(in crate::cli) struct ForcedExit;

/// Which process holds a lock.
pub(in crate::cli) fn holder_words(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |holder| {
            let started = std::time::UNIX_EPOCH + Duration::from_secs(holder.started_at);
            let started = humantime::format_rfc3339_seconds(started);
            format!("process {} with run {}, started {started}", holder.pid, holder.run_id)
        },
    )
}
