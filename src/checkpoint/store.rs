//! The state directory and the state file of each target.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::durable::replace_private_file;
use super::format::{FormatError, Saved, decode, encode};
use super::permissions::{
    PrivateFileError, UntrustedPath, check_directory, look_at_private, make_directory, read_private,
};
use super::state::{FinishedRun, LegacyRun, RunState, remember};
use crate::free_space::{self, Need, NoSpace};
use crate::identity::Target;
use crate::paths::{directory_of, shell_word, shown};

/// Maximum size of a state file in bytes, for reading and thus also for writing.
const MAX_STATE_SIZE: u64 = 1024 * 1024;

/// Bytes that must be free in the state directory before a run starts. A state is a few KiB, with a page cursor and the
/// last ten runs; a save writes the new one next to the old one; file systems allocate whole blocks. 64 KiB is about ten
/// times as much.
const MIN_FREE: u64 = 64 * 1024;

const READ: &str = "read the state";

/// The state file of one target.
#[derive(Clone, Debug)]
pub struct StateStore {
    directory: PathBuf,
    path: PathBuf,
    access: Access,
}

/// What may be changed by reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Permissions of the file that are too open.
    Repair,
    Nothing,
}

/// The state could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory could not be read or written.
    #[error("could not {action} {}", shown(path))]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The content is invalid.
    #[error("the state file {} cannot be used", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Another user could have written the state.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// It is larger than what is read back.
    #[error("the state has {size} bytes, more than the maximum of {MAX_STATE_SIZE}")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
    /// The state could not be written as JSON.
    #[error("could not encode the state")]
    Encode(#[source] serde_json::Error),
}

impl StateError {
    /// What to do about a file whose content cannot be used.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format { source: FormatError::TooNew { .. }, .. } => {
                Some("use the version of yotpo-td that wrote it, or a newer one".to_owned())
            }
            Self::Format { path, .. } => {
                let remove = shell_word(path).map_or_else(String::new, |file| format!(": rm {file}"));
                Some(format!(
                    "an unfinished run may have added its rows: the newest values of time in the table show it; remove the file \
                     before the next run{remove}"
                ))
            }
            _ => None,
        }
    }

    fn from_private(error: PrivateFileError, failed: impl FnOnce(io::Error) -> Self) -> Self {
        match error {
            PrivateFileError::Untrusted(error) => error.into(),
            PrivateFileError::Io(error) => failed(error),
        }
    }
}

impl StateStore {
    /// The store of `target` in `directory`, which is created if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be created, or another user could change what is in it.
    pub fn open(directory: &Path, target: &Target) -> Result<Self, StateError> {
        let failed = |action| move |source| StateError::Io { action, path: directory.into(), source };
        make_directory(directory).map_err(failed("create the state directory"))?;
        check_directory(directory)
            .map_err(|error| StateError::from_private(error, failed("check the state directory")))?;
        Ok(Self::existing(directory, target))
    }

    /// The store of `target` in a directory that need not exist.
    pub fn existing(directory: &Path, target: &Target) -> Self {
        let name = format!("{}.state", target.file_stem());
        Self { directory: directory.into(), path: directory.join(name), access: Access::Repair }
    }

    /// As [`Self::existing`]; reading it changes nothing, not even permissions.
    pub fn unchanged(directory: &Path, target: &Target) -> Self {
        Self { access: Access::Nothing, ..Self::existing(directory, target) }
    }

    /// A store for a file that was found in a state directory.
    pub fn at(path: &Path) -> Self {
        Self { directory: directory_of(path).into(), path: path.into(), access: Access::Repair }
    }

    /// All state files in a directory; none if the directory is missing.
    ///
    /// # Errors
    /// When the directory cannot be read, or another user could change what is in it.
    pub fn all(directory: &Path) -> Result<Vec<Self>, StateError> {
        let failed =
            |source| StateError::Io { action: "read the state directory", path: directory.into(), source };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        check_directory(directory).map_err(|error| StateError::from_private(error, failed))?;
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

    /// Makes sure that the directory has enough free space for what a run saves.
    ///
    /// # Errors
    /// When it has too little.
    pub fn check_space(&self) -> Result<(), NoSpace> {
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        // The lock, the state, and the new state, which is written next to the old one.
        let need = Need { bytes: MIN_FREE.max(size.saturating_mul(2)), files: 3 };
        free_space::check("the state directory", &self.directory, need)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the target's lock.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// The unfinished run, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or could have been written by another user.
    pub fn run(&self) -> Result<Option<RunState>, StateError> {
        Ok(self.load()?.run)
    }

    /// The unfinished run of an earlier release, if there is one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn legacy_run(&self) -> Result<Option<LegacyRun>, StateError> {
        Ok(self.load()?.legacy)
    }

    /// Successful runs, the newest first.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn history(&self) -> Result<Vec<FinishedRun>, StateError> {
        Ok(self.load()?.history)
    }

    /// Saves a run and keeps the history.
    ///
    /// # Errors
    /// When it cannot be made durable; the file is then unchanged.
    pub fn save_run(&self, run: &RunState) -> Result<(), StateError> {
        let history = self.load()?.history;
        self.save(&Saved { run: Some(run.clone()), legacy: None, history })
    }

    /// Saves that a run succeeded: there is nothing to resume.
    ///
    /// # Errors
    /// As [`Self::save_run`].
    pub fn save_finished(&self, finished: FinishedRun) -> Result<(), StateError> {
        let mut history = self.load()?.history;
        remember(&mut history, finished);
        self.save(&Saved { run: None, legacy: None, history })
    }

    /// Deletes the run and keeps the history.
    ///
    /// # Errors
    /// As [`Self::save_run`].
    pub fn forget_run(&self) -> Result<(), StateError> {
        let history = self.load()?.history;
        self.save(&Saved { run: None, legacy: None, history })
    }

    /// Renames a state file that cannot be used, in the same directory.
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
        file.take(MAX_STATE_SIZE).read_to_end(&mut bytes).map_err(|error| self.failed(READ, error))?;
        decode(&bytes).map_err(|source| StateError::Format { path: self.path.clone(), source })
    }

    /// The file, if there is one.
    fn open_file(&self) -> Result<Option<File>, StateError> {
        let opened = match self.access {
            Access::Repair => read_private(&self.path),
            Access::Nothing => look_at_private(&self.path),
        };
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::from_private(error, |source| self.failed(READ, source))),
        }
    }

    /// Temporary file, fsync, rename, fsync of the directory: there is always one complete state.
    fn save(&self, saved: &Saved) -> Result<(), StateError> {
        let bytes = encode(saved).map_err(StateError::Encode)?;
        if !u64::try_from(bytes.len()).is_ok_and(|size| size <= MAX_STATE_SIZE) {
            return Err(StateError::TooLarge { size: bytes.len() });
        }
        let failed = |source| self.failed("save the state in", source);
        replace_private_file(&self.path, &bytes, "write state")
            .map_err(|error| StateError::from_private(error, failed))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StateError {
        StateError::Io { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
