//! The state folder and the state file of each target.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::format::{FormatError, Saved, decode, encode};
use super::permissions::{PrivateFileError, UntrustedPath, check_folder, make_folder, open_private};
use super::state::{FinishedRun, LegacyRun, RunState, remember};
use crate::failpoint;
use crate::free_space::{self, Need, NoSpace};
use crate::identity::Target;

/// Largest state file in bytes that is read, and so the largest that is written.
const LARGEST_STATE: u64 = 1024 * 1024;

/// Bytes that must be free in the state directory before a run starts. A state is a few KiB, with a page cursor and the last
/// ten runs in it; a save writes the new one beside the old one; file systems give whole blocks. 64 KiB hold this ten times.
const MIN_FREE: u64 = 64 * 1024;

const READ: &str = "read the state";

/// The state file of one target.
#[derive(Clone, Debug)]
pub struct StateStore {
    folder: PathBuf,
    path: PathBuf,
}

/// The state could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The content.
    #[error("the state file {} cannot be followed", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Somebody else could have written the state.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// It would not be read again.
    #[error("the state needs {size} bytes, more than the {LARGEST_STATE} that are read again")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
    /// The state could not be written as JSON.
    #[error("the state could not be written down")]
    Encode(#[source] serde_json::Error),
}

impl StateError {
    fn from_private(error: PrivateFileError, failed: impl FnOnce(io::Error) -> Self) -> Self {
        match error {
            PrivateFileError::Untrusted(error) => error.into(),
            PrivateFileError::Io(error) => failed(error),
        }
    }
}

impl StateStore {
    /// The store of `target` in `folder`; the folder is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made, or somebody else could change what is in it.
    pub fn open(folder: &Path, target: &Target) -> Result<Self, StateError> {
        let failed = |action| move |source| StateError::Io { action, path: folder.into(), source };
        make_folder(folder).map_err(failed("make the state folder"))?;
        check_folder(folder)
            .map_err(|error| StateError::from_private(error, failed("check the state folder")))?;
        let name = format!("{}.state", target.file_stem());
        Ok(Self { folder: folder.into(), path: folder.join(name) })
    }

    /// A store for a file that was found in a state folder.
    pub fn at(path: &Path) -> Self {
        Self { folder: path.parent().unwrap_or(Path::new(".")).into(), path: path.into() }
    }

    /// All state files in a folder; none when the folder is missing.
    ///
    /// # Errors
    /// When the folder cannot be read, or somebody else could change what is in it.
    pub fn all(folder: &Path) -> Result<Vec<Self>, StateError> {
        let failed = |source| StateError::Io { action: "read the state folder", path: folder.into(), source };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        check_folder(folder).map_err(|error| StateError::from_private(error, failed))?;
        let mut stores = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "state") {
                stores.push(Self::at(&path));
            }
        }
        stores.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(stores)
    }

    /// Makes sure that the folder has room for what a run saves.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_space(&self) -> Result<(), NoSpace> {
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        // The new state is written beside the old one; the lock, and both.
        let need = Need { bytes: MIN_FREE.max(size.saturating_mul(2)), files: 3 };
        free_space::check("the state directory", &self.folder, need)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the target's lock.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// The unfinished run; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read, could have been written by somebody else, or is damaged.
    pub fn run(&self) -> Result<Option<RunState>, StateError> {
        Ok(self.load()?.run)
    }

    /// The unfinished run of an earlier release, when that is what the file holds.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn legacy_run(&self) -> Result<Option<LegacyRun>, StateError> {
        Ok(self.load()?.legacy)
    }

    /// Runs that ended well, the newest first.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn history(&self) -> Result<Vec<FinishedRun>, StateError> {
        Ok(self.load()?.history)
    }

    /// Saves a run; what ended before stays.
    ///
    /// # Errors
    /// When it cannot be made durable; the file then holds what it held before.
    pub fn save_run(&self, run: &RunState) -> Result<(), StateError> {
        let history = self.load()?.history;
        self.save(&Saved { run: Some(run.clone()), legacy: None, history })
    }

    /// Saves that a run ended well: nothing of it is left to resume.
    ///
    /// # Errors
    /// As [`Self::save_run`].
    pub fn save_finished(&self, finished: FinishedRun) -> Result<(), StateError> {
        let mut history = self.load()?.history;
        remember(&mut history, finished);
        self.save(&Saved { run: None, legacy: None, history })
    }

    /// Forgets the run; what ended before stays.
    ///
    /// # Errors
    /// As [`Self::save_run`].
    pub fn forget_run(&self) -> Result<(), StateError> {
        let history = self.load()?.history;
        self.save(&Saved { run: None, legacy: None, history })
    }

    /// Moves a state that cannot be followed out of the way, beside itself.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn set_aside(&self) -> Result<PathBuf, StateError> {
        let aside = self.path.with_extension("damaged");
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => Ok(aside),
            Err(source) => Err(self.failed("set aside the damaged state", source)),
        }
    }

    fn load(&self) -> Result<Saved, StateError> {
        let Some(file) = self.open_file()? else { return Ok(Saved::default()) };
        let mut bytes = Vec::new();
        file.take(LARGEST_STATE + 1).read_to_end(&mut bytes).map_err(|error| self.failed(READ, error))?;
        decode(&bytes).map_err(|source| StateError::Format { path: self.path.clone(), source })
    }

    /// The file, if there is one.
    fn open_file(&self) -> Result<Option<File>, StateError> {
        match open_private(&self.path, OpenOptions::new().read(true)) {
            Ok(file) => Ok(Some(file)),
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::from_private(error, |source| self.failed(READ, source))),
        }
    }

    /// Temporary file, fsync, rename, fsync of the folder: there is always one whole state.
    fn save(&self, saved: &Saved) -> Result<(), StateError> {
        let bytes = encode(saved).map_err(StateError::Encode)?;
        if !u64::try_from(bytes.len()).is_ok_and(|size| size <= LARGEST_STATE) {
            return Err(StateError::TooLarge { size: bytes.len() });
        }
        let temporary = self.path.with_extension("state.new");
        let failed = |source| self.failed("save the state in", source);
        self.write(&temporary, &bytes).map_err(|error| StateError::from_private(error, failed))
    }

    fn write(&self, temporary: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
        match std::fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            // Gone, or left by a run that was killed while it saved.
            _ => {}
        }
        let mut file = open_private(temporary, OpenOptions::new().write(true).create_new(true))?;
        let written = failpoint::write("write state")
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            // On a disk that is full, half a state is of use to nobody; that it cannot be removed changes nothing.
            let _ = std::fs::remove_file(temporary);
            return Err(error.into());
        }
        failpoint::hit("before rename");
        std::fs::rename(temporary, &self.path)?;
        Ok(sync_folder(&self.folder)?)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StateError {
        StateError::Io { action, path: self.path.clone(), source }
    }
}

/// Makes a rename durable, where the filesystem offers that for folders: some answer EINVAL or ENOTSUP, and a rename is
/// then as durable as it gets there.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if is_not_offered(&error) => Ok(()),
        result => result,
    }
}

fn is_not_offered(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // The last two are one on Linux.
    let refusals = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|error| refusals.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::tests::{example, finished};
    use crate::yotpo::{PageCursor, Position};

    fn store() -> (tempfile::TempDir, StateStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(&folder.path().join("state"), &example().target).unwrap();
        (folder, store)
    }

    #[test]
    fn what_was_saved_is_there_and_what_ended_before_stays() {
        let (_folder, store) = store();
        assert_eq!(store.run().unwrap(), None);
        store.save_finished(finished("earlier")).unwrap();
        store.save_run(&example()).unwrap();
        assert_eq!(store.run().unwrap(), Some(example()));
        assert_eq!(store.history().unwrap(), [finished("earlier")]);
        store.forget_run().unwrap();
        assert_eq!(store.run().unwrap(), None);
        assert_eq!(store.history().unwrap(), [finished("earlier")]);
        assert_eq!(StateStore::all(store.path.parent().unwrap()).unwrap().len(), 1);
    }

    #[test]
    fn the_last_ten_runs_are_remembered_the_newest_first() {
        let (_folder, store) = store();
        for number in 0..12 {
            store.save_finished(finished(&format!("run{number}"))).unwrap();
        }
        let ids: Vec<_> = store.history().unwrap().into_iter().map(|run| run.run_id.to_string()).collect();
        assert_eq!((ids.len(), ids[0].as_str(), ids[9].as_str()), (10, "run11", "run2"));
    }

    #[test]
    fn a_temporary_file_left_by_a_killed_run_is_replaced() {
        let (_folder, store) = store();
        std::fs::write(store.path.with_extension("state.new"), "half").unwrap();
        store.save_run(&example()).unwrap();
        assert_eq!(store.run().unwrap(), Some(example()));
    }

    #[test]
    fn damage_is_reported_and_can_be_set_aside() {
        let (_folder, store) = store();
        std::fs::write(&store.path, "yotpo-td state 3 00000000\n{}\n").unwrap();
        assert!(matches!(store.run(), Err(StateError::Format { source: FormatError::Checksum, .. })));
        assert!(store.save_run(&example()).is_err(), "a damaged state is not overwritten unseen");
        assert!(store.set_aside().unwrap().exists());
        store.save_run(&example()).unwrap();
    }

    #[test]
    fn a_state_that_would_not_be_read_again_is_not_written() {
        let (_folder, store) = store();
        store.save_run(&example()).unwrap();
        let before = std::fs::read(&store.path).unwrap();
        let of_cursor = |length| {
            let cursor = PageCursor::from_plain(&"x".repeat(length));
            RunState { position: Position::After { page: 1, cursor, query: None }, ..example() }
        };
        let error = store.save_run(&of_cursor(1_200_000)).unwrap_err();
        let StateError::TooLarge { size } = error else { panic!("{error:?}") };
        assert_eq!(
            error.to_string(),
            format!("the state needs {size} bytes, more than the 1048576 that are read again")
        );
        assert_eq!(std::fs::read(&store.path).unwrap(), before);
        // The limit is the same on both sides.
        let largest = 1_200_000 - (size - 1_048_576);
        assert!(matches!(
            store.save_run(&of_cursor(largest + 1)),
            Err(StateError::TooLarge { size: 1_048_577 })
        ));
        store.save_run(&of_cursor(largest)).unwrap();
        assert_eq!(store.run().unwrap(), Some(of_cursor(largest)));
    }

    #[test]
    fn nothing_is_read_from_or_written_to_a_folder_of_everybody() {
        let (_folder, store) = store();
        store.save_run(&example()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&store.folder, mode).unwrap();
        assert!(matches!(StateStore::open(&store.folder, &example().target), Err(StateError::Untrusted(_))));
        assert!(matches!(StateStore::all(&store.folder), Err(StateError::Untrusted(_))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_filesystem_that_cannot_sync_folders_is_no_obstacle() {
        let folder = Path::new("/proc/self");
        let error = File::open(folder).unwrap().sync_all().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "this kernel cannot sync /proc: {error}");
        sync_folder(folder).unwrap();
    }

    #[test]
    fn files_are_private_and_links_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, store) = store();
        store.save_run(&example()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.path), 0o600);
        assert_eq!(mode(store.path.parent().unwrap()), 0o700);
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(&store.path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &store.path).unwrap();
        assert!(matches!(store.run(), Err(StateError::Untrusted(_))));
        assert!(matches!(store.save_run(&example()), Err(StateError::Untrusted(_))));
        assert!(matches!(store.save_finished(finished("earlier")), Err(StateError::Untrusted(_))));
    }
}
