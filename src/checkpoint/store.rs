//! The state folder and the state file of each target.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::format::{FormatError, Saved, decode, encode};
use super::state::{FinishedRun, LegacyRun, RunState, remember};
use crate::failpoint;
use crate::identity::Target;

/// Largest state file that is read.
const LARGEST_STATE: u64 = 1024 * 1024;

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
    /// A symbolic link stands where the state should be.
    #[error("{} is a symbolic link, which is never followed", path.display())]
    SymbolicLink {
        /// The link.
        path: PathBuf,
    },
    /// The state could not be written as JSON.
    #[error("the state could not be written down")]
    Encode(#[source] serde_json::Error),
}

impl StateStore {
    /// The store of `target` in `folder`; the folder is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, target: &Target) -> Result<Self, StateError> {
        make_folder(folder).map_err(|source| StateError::Io {
            action: "make the state folder",
            path: folder.into(),
            source,
        })?;
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
    /// When the folder cannot be read.
    pub fn all(folder: &Path) -> Result<Vec<Self>, StateError> {
        let failed = |source| StateError::Io { action: "read the state folder", path: folder.into(), source };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
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
    /// When the file cannot be read, is a symbolic link, or is damaged.
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
        self.refuse_symbolic_link()?;
        let mut bytes = Vec::new();
        let read = private_file()
            .read(true)
            .open(&self.path)
            .and_then(|file| file.take(LARGEST_STATE + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => decode(&bytes).map_err(|source| StateError::Format { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Saved::default()),
            Err(error) => Err(self.failed("read the state", error)),
        }
    }

    /// Temporary file, fsync, rename, fsync of the folder: there is always one whole state.
    fn save(&self, saved: &Saved) -> Result<(), StateError> {
        self.refuse_symbolic_link()?;
        let bytes = encode(saved).map_err(StateError::Encode)?;
        let temporary = self.path.with_extension("state.new");
        self.write(&temporary, &bytes).map_err(|source| self.failed("save the state in", source))
    }

    fn write(&self, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
        match std::fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Gone, or left by a run that was killed while it saved.
            _ => {}
        }
        let mut file = private_file().write(true).create_new(true).open(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        failpoint::hit("before rename");
        std::fs::rename(temporary, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }

    fn refuse_symbolic_link(&self) -> Result<(), StateError> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_symlink() => {
                Err(StateError::SymbolicLink { path: self.path.clone() })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StateError {
        StateError::Io { action, path: self.path.clone(), source }
    }
}

/// Only the user may look into the folder.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Only the user may read a file that is made, and a symbolic link is never followed.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::tests::{example, finished};

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

    #[cfg(unix)]
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
        assert!(matches!(store.run(), Err(StateError::SymbolicLink { .. })));
        assert!(matches!(store.save_run(&example()), Err(StateError::SymbolicLink { .. })));
    }
}
