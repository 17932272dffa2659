//! The threads that network work runs on.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Two threads do all network work; encoding and disk work have their own.
const NETWORK_THREADS: usize = 2;

/// Makes the runtime.
pub(super) fn network_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(NETWORK_THREADS).enable_all().build()
}
