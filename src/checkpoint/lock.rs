//! One run at a time for each target.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::permissions::{PrivateFileError, UntrustedPath, open_private};
use super::store::StateStore;

/// Largest lock file that is read.
const LARGEST_LOCK: u64 = 64 * 1024;

/// The lock of a target; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct TargetLock {
    _file: File,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The run's id.
    pub run_id: String,
    /// When it took the lock, Unix seconds.
    pub started_at: u64,
}

/// The lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another run for this target is active")]
    Held {
        /// Who, when it can be told.
        holder: Option<Holder>,
    },
    /// Somebody else could have written the lock file.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// The disk.
    #[error("could not lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl TargetLock {
    /// Takes the lock of the store's target for `holder`, or says who has it.
    ///
    /// # Errors
    /// When another process has it, or the lock file cannot be used.
    pub fn take(store: &StateStore, holder: &Holder) -> Result<Self, LockError> {
        let path = store.lock_path();
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_private(&path, &mut options).map_err(|error| match error {
            PrivateFileError::Untrusted(error) => error.into(),
            PrivateFileError::Io(source) => failed(source),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { holder: read_holder(&file) }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let text = serde_json::to_string(holder).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.take(LARGEST_LOCK).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::tests::example;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(folder.path(), &example().target).unwrap();
        let first = Holder { pid: 4711, run_id: "first".to_owned(), started_at: 12 };
        let second = Holder { pid: 4712, run_id: "a longer id than the first".to_owned(), started_at: 13 };
        let lock = TargetLock::take(&store, &first).unwrap();
        match TargetLock::take(&store, &second) {
            Err(LockError::Held { holder }) => assert_eq!(holder, Some(first.clone())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        let lock = TargetLock::take(&store, &second).unwrap();
        drop(lock);
        let _third = TargetLock::take(&store, &first).unwrap();
        assert!(
            matches!(TargetLock::take(&store, &second), Err(LockError::Held { holder: Some(holder) }) if holder == first)
        );
    }
}
