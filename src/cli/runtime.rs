//! The threads that network work runs on.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads of the look-alikes, which serve while their client works.
const SERVING_THREADS: usize = 2;

/// The runtime of a client: all network work of a run is on the thread that starts it, so that a page costs no wake-up of
/// another thread; encoding and disk work have their own (docs/performance.md).
pub(super) fn client_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The runtime of whatever serves the look-alikes.
pub(super) fn serving_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(SERVING_THREADS).enable_all().build()
}
