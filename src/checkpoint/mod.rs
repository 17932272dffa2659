//! What survives a crash: the state of the last run of each target, the lock that prevents concurrent runs, and how private
//! files are written.
//!
//! Owns the state file (versioned, checksummed, 0600, replaced in one step) and the lock file (held by the process,
//! released by the kernel when it dies). Invariants: a state that was saved is never half-written; a damaged state is
//! reported and never used, nor is a file that another user could have written; neither file contains customer data or
//! secrets. It does not call any service.

mod durable;
mod format;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod lock;
mod permissions;
mod sealed;
mod state;
mod store;

pub(crate) use durable::{replace_private_file, sync_directory, temporary_path};
pub use format::{FormatError, VERSION as STATE_VERSION};
pub use lock::{Holder, LockError, LockState, ProcessLock};
pub use permissions::{PrivateFileError, UntrustedPath};
pub(crate) use permissions::{check_directory, is_shared, make_directory, open_private, read_private};
pub(crate) use sealed::{SealError, open as open_sealed, seal};
pub use state::{
    ExportOrigin, FinishedAs, FinishedRun, LegacyPhase, LegacyRun, RunPhase, RunState, SavedSet,
};
pub use store::{StateError, StateStore};
