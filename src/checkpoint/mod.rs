//! What survives a crash: the state of the last run of each target, and the lock that keeps runs apart.
//!
//! Owns the state file (versioned, checksummed, 0600, replaced in one step) and the lock file (held by the process,
//! released by the kernel when it dies). Invariants: a state that was saved is never half-written; a damaged state is
//! reported and never followed; no customer data and no secret is in either file. It does not talk to a service.

mod format;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod lock;
mod state;
mod store;

pub use format::FormatError;
pub use lock::{Holder, LockError, TargetLock};
pub use state::{FinishedAs, FinishedRun, LegacyPhase, LegacyRun, RunPhase, RunState, SavedSet};
pub(crate) use store::private_file;
pub use store::{StateError, StateStore};
