//! One process at a time for each target and each export directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::permissions::{PrivateFileError, UntrustedPath, look_at_private, open_private};
use crate::clock::Clock;
use crate::paths::shown;

/// How often to try again to take a lock that another process holds.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a lock may be held by a process that only reads who holds it ([`LockState::of`]).
const READER_DELAY: Duration = Duration::from_millis(50);

/// Maximum size of a lock file in bytes.
const MAX_LOCK_SIZE: u64 = 64 * 1024;

/// The lock of a target or an export directory. The kernel releases it when the process ends for any reason.
#[derive(Debug)]
pub struct ProcessLock {
    _file: File,
}

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The run's id.
    pub run_id: String,
    /// When it acquired the lock, Unix seconds.
    pub started_at: u64,
}

/// The lock could not be acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another run for this target is active")]
    Held {
        /// The holder, if the lock file could be read.
        holder: Option<Holder>,
    },
    /// Another user could have written the lock file.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// The lock file could not be opened or written.
    #[error("could not lock {}", shown(path))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Whether a process holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockState {
    /// None does.
    Free,
    /// One does; which one is unknown if the file cannot be read.
    Held(Option<Holder>),
}

impl LockState {
    /// Of the lock file at `path`. A file that is missing is free. Nothing is changed.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn of(path: &Path) -> Result<Self, LockError> {
        let file = match look_at_private(path) {
            Ok(file) => file,
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::Free);
            }
            Err(PrivateFileError::Untrusted(error)) => return Err(error.into()),
            Err(PrivateFileError::Io(source)) => return Err(LockError::Io { path: path.into(), source }),
        };
        // Shared, and released at once: a run that starts at this moment tries again.
        match file.try_lock_shared() {
            Ok(()) => Ok(Self::Free),
            Err(TryLockError::WouldBlock) => Ok(Self::Held(read_holder(&file))),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path: path.into(), source }),
        }
    }
}

impl ProcessLock {
    /// Acquires the lock file at `path` for `holder`, or reports who holds it.
    ///
    /// # Errors
    /// When another process holds it, or the lock file cannot be used.
    pub fn take(path: &Path, holder: &Holder) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.into(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_private(path, &mut options).map_err(|error| match error {
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

    /// Acquires the lock like [`Self::take`], but waits up to `limit` while another process holds it. The start of the
    /// wait is logged. `holder.started_at` is set to the time at which the lock is acquired.
    ///
    /// # Errors
    /// When another process still holds it at the end, or immediately if the lock file cannot be used.
    pub async fn take_within(
        path: &Path,
        holder: &Holder,
        clock: &Clock,
        limit: Duration,
    ) -> Result<Self, LockError> {
        let started = clock.now();
        let patience = limit.max(READER_DELAY);
        let mut is_logged = limit.is_zero();
        loop {
            let holder = Holder { started_at: clock.unix_time().as_secs(), ..holder.clone() };
            let active = match Self::take(path, &holder) {
                Err(LockError::Held { holder }) => holder,
                result => return result,
            };
            let left = patience.saturating_sub(clock.now().saturating_sub(started));
            if left.is_zero() {
                return Err(LockError::Held { holder: active });
            }
            if !std::mem::replace(&mut is_logged, true) {
                report_wait(active.as_ref(), limit);
            }
            clock.sleep(POLL_INTERVAL.min(left)).await;
        }
    }
}

fn report_wait(active: Option<&Holder>, limit: Duration) {
    let pid = active.map(|holder| holder.pid);
    let active_run_id = active.map(|holder| holder.run_id.as_str());
    let limit = humantime::format_duration(limit).to_string();
    tracing::info!(pid, active_run_id, limit, "waiting for another run of this target to end");
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.take(MAX_LOCK_SIZE).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;
    use crate::checkpoint::StateStore;
    use crate::checkpoint::format::tests::example;

    #[test]
    fn a_second_run_gets_the_holder_of_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open(directory.path(), &example().target).unwrap();
        let first = Holder { pid: 4711, run_id: "first".to_owned(), started_at: 12 };
        let second = Holder { pid: 4712, run_id: "a longer id than the first".to_owned(), started_at: 13 };
        let lock = ProcessLock::take(&store.lock_path(), &first).unwrap();
        match ProcessLock::take(&store.lock_path(), &second) {
            Err(LockError::Held { holder }) => assert_eq!(holder, Some(first.clone())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        let lock = ProcessLock::take(&store.lock_path(), &second).unwrap();
        drop(lock);
        let _third = ProcessLock::take(&store.lock_path(), &first).unwrap();
        assert!(
            matches!(ProcessLock::take(&store.lock_path(), &second), Err(LockError::Held { holder: Some(holder) }) if holder == first)
        );
    }

    fn holder(run_id: &str) -> Holder {
        Holder { pid: 4711, run_id: run_id.to_owned(), started_at: 12 }
    }

    /// A store whose lock is held, and virtual time.
    fn taken() -> (tempfile::TempDir, StateStore, ProcessLock, Clock) {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open(directory.path(), &example().target).unwrap();
        let lock = ProcessLock::take(&store.lock_path(), &holder("first")).unwrap();
        (directory, store, lock, Clock::virtual_at(Duration::from_secs(1_000)))
    }

    #[tokio::test]
    async fn waiting_for_a_lock_ends_at_the_limit() {
        for limit in [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(90_500)] {
            let (_directory, store, _lock, clock) = taken();
            let result = ProcessLock::take_within(&store.lock_path(), &holder("second"), &clock, limit).await;
            let Err(LockError::Held { holder: Some(active) }) = result else { panic!("{result:?}") };
            assert_eq!(active, holder("first"));
            assert_eq!(clock.now(), limit.max(READER_DELAY));
        }
    }

    #[tokio::test]
    async fn who_holds_a_lock_can_be_read_without_taking_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open(directory.path(), &example().target).unwrap();
        assert_eq!(LockState::of(&store.lock_path()).unwrap(), LockState::Free);
        assert!(!store.lock_path().exists());
        let lock = ProcessLock::take(&store.lock_path(), &holder("first")).unwrap();
        assert_eq!(LockState::of(&store.lock_path()).unwrap(), LockState::Held(Some(holder("first"))));
        drop(lock);
        assert_eq!(LockState::of(&store.lock_path()).unwrap(), LockState::Free);
        let _lock = ProcessLock::take(&store.lock_path(), &holder("second")).unwrap();
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_not_taken_for_a_free_one() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("missing");
        assert_eq!(LockState::of(&missing).unwrap(), LockState::Free);
        std::fs::write(&missing, "a file").unwrap();
        let below_a_file = missing.join("lock");
        let error = LockState::of(&below_a_file).unwrap_err();
        let LockError::Io { path, source } = error else { panic!("{error:?}") };
        assert_eq!((path, source.kind()), (below_a_file, io::ErrorKind::NotADirectory));
    }

    #[tokio::test]
    async fn a_process_that_reads_who_holds_the_lock_does_not_fail_a_run() {
        let (_directory, store, lock, clock) = taken();
        drop(lock);
        let reader = File::open(store.lock_path()).unwrap();
        reader.try_lock_shared().unwrap();
        let reading = async {
            clock.sleep(READER_DELAY / 2).await;
            drop(reader);
        };
        let second = holder("second");
        let path = store.lock_path();
        let (result, ()) =
            tokio::join!(ProcessLock::take_within(&path, &second, &clock, Duration::ZERO), reading);
        assert!(result.is_ok(), "{result:?}");
    }

    #[tokio::test]
    async fn a_released_lock_is_acquired_within_a_second() {
        let (_directory, store, lock, clock) = taken();
        let end_of_the_first = Duration::from_millis(20_500);
        let first = async {
            while clock.now() < end_of_the_first {
                tokio::task::yield_now().await;
            }
            drop(lock);
        };
        let second = holder("second");
        let limit = Duration::from_secs(3_600);
        let path = store.lock_path();
        let (result, ()) = tokio::join!(ProcessLock::take_within(&path, &second, &clock, limit), first);
        let _lock = result.unwrap();
        assert!(clock.now() <= end_of_the_first + 2 * POLL_INTERVAL, "{:?}", clock.now());
        let third = ProcessLock::take(&store.lock_path(), &holder("third"));
        let Err(LockError::Held { holder: Some(active) }) = third else { panic!("{third:?}") };
        assert_eq!(active.run_id, "second");
        assert_eq!(active.started_at, 1_000 + clock.now().as_secs(), "when it acquired the lock");
    }

    #[tokio::test]
    async fn a_wait_is_logged_once_with_the_holder_and_the_limit() {
        let log = CapturedLog::start(tracing::Level::INFO);
        let (_directory, store, _lock, clock) = taken();
        let limit = Duration::from_secs(90);
        ProcessLock::take_within(&store.lock_path(), &holder("second"), &clock, limit).await.unwrap_err();
        let log = log.text();
        assert_eq!(log.lines().count(), 1, "{log}");
        let expected =
            "waiting for another run of this target to end pid=4711 active_run_id=\"first\" limit=\"1m 30s\"";
        assert!(log.contains("INFO") && log.contains(expected), "{log}");
    }
}
