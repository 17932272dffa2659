//! The files of recordings in the state directory: one for each of the last ten attempts of a target.
//!
//! Owns their names, how many there are, and that they are private like the state (0600, checked, replaced in one step). Two
//! processes may keep recordings at the same time: each writes a separate file, and a file that the other one removed is no error.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::format::{RecordingFormatError, decode, encode};
use super::recording::RunRecording;
use crate::checkpoint::{
    PrivateFileError, UntrustedPath, check_directory, open_private, replace_private_file,
};
use crate::paths::directory_of;

/// Recordings of each target, as many as its history has runs.
pub const MAX_RECORDINGS: usize = 10;
/// Maximum size of a file in bytes, for reading and thus also for writing.
const MAX_SIZE: u64 = 256 * 1024;
const EXTENSION: &str = "recording";
/// What a process that was killed while it wrote leaves is removed after this time.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// A recording could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or directory could not be read or written.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The content is invalid.
    #[error("the recording {} cannot be used", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordingFormatError,
    },
    /// Another user could have written it.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// It is larger than what is read back.
    #[error("the recording has {size} bytes, more than the maximum of {MAX_SIZE}")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
    /// It could not be written as JSON.
    #[error("could not encode the recording")]
    Encode(#[source] serde_json::Error),
}

/// A file that holds a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingFile {
    path: PathBuf,
    /// When its attempt started, Unix seconds: the file's name says so.
    started_at: u64,
    /// When it was written, if this is known: the order of attempts that started in the same second. Process ids start over.
    modified: Option<SystemTime>,
}

/// Where the recordings of one target are kept: next to its state file.
#[derive(Clone, Debug)]
pub struct RecordingArchive {
    directory: PathBuf,
    /// The name of the state file, without its extension.
    stem: String,
}

impl RecordingArchive {
    /// Next to this state file.
    pub fn next_to(state_file: &Path) -> Self {
        let stem = state_file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self { directory: directory_of(state_file).into(), stem: stem.unwrap_or_default() }
    }

    /// Keeps a recording, and removes the oldest ones. `pid` distinguishes attempts of the same second.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn keep(&self, recording: &RunRecording, pid: u32) -> Result<(), RecordingError> {
        let bytes = encode(recording).map_err(RecordingError::Encode)?;
        if !u64::try_from(bytes.len()).is_ok_and(|size| size <= MAX_SIZE) {
            return Err(RecordingError::TooLarge { size: bytes.len() });
        }
        let path = self.directory.join(format!("{}.{}-{pid}.{EXTENSION}", self.stem, recording.started_at));
        replace_private_file(&path, &bytes, "write recording")
            .map_err(|error| of_private(error, "keep the recording", &path))?;
        self.remove_oldest(Duration::from_secs(recording.finished_at))
    }

    /// Removes what is not needed any more at `now`, Unix time.
    fn remove_oldest(&self, now: Duration) -> Result<(), RecordingError> {
        let of_target = |file: &RecordingFile| stem_of(&file.path).is_some_and(|(stem, _)| stem == self.stem);
        let mut files: Vec<_> = files_in(&self.directory)?.into_iter().filter(of_target).collect();
        let excess = files.len().saturating_sub(MAX_RECORDINGS);
        for file in files.drain(..excess) {
            remove(&file.path)?;
        }
        for path in self.abandoned(now)? {
            remove(&path)?;
        }
        Ok(())
    }

    /// Temporary files of this target that nobody writes any more.
    fn abandoned(&self, now: Duration) -> Result<Vec<PathBuf>, RecordingError> {
        let suffix = format!(".{EXTENSION}.new");
        let is_old = |path: &Path| {
            let modified = modified(path).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            modified.is_some_and(|at| now.saturating_sub(at) > ABANDONED_AFTER)
        };
        let mut paths = entries(&self.directory)?;
        paths.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.strip_suffix(&suffix).is_some_and(|name| name.starts_with(&self.stem)) && is_old(path)
        });
        Ok(paths)
    }
}

impl RecordingFile {
    /// All recordings in a state directory, the newest last; none if the directory is missing.
    ///
    /// # Errors
    /// When the directory cannot be read, or another user could change what is in it.
    pub fn all(directory: &Path) -> Result<Vec<Self>, RecordingError> {
        match check_directory(directory) {
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            checked => checked.map_err(|error| of_private(error, "read the state directory", directory))?,
        }
        files_in(directory)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or could have been written by another user.
    pub fn read(&self) -> Result<RunRecording, RecordingError> {
        const ACTION: &str = "read the recording";
        let path = &self.path;
        let file = open_private(path, OpenOptions::new().read(true))
            .map_err(|error| of_private(error, ACTION, path))?;
        let mut bytes = Vec::new();
        // What is longer is cut, so its checksum does not match.
        let read = file.take(MAX_SIZE).read_to_end(&mut bytes);
        read.map_err(|source| RecordingError::Io { action: ACTION, path: path.clone(), source })?;
        decode(&bytes).map_err(|source| RecordingError::Format { path: path.clone(), source })
    }
}

fn of_private(error: PrivateFileError, action: &'static str, path: &Path) -> RecordingError {
    match error {
        PrivateFileError::Untrusted(error) => error.into(),
        PrivateFileError::Io(source) => RecordingError::Io { action, path: path.into(), source },
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let failed =
        |source| RecordingError::Io { action: "read the state directory", path: directory.into(), source };
    let listed = std::fs::read_dir(directory).map_err(failed)?;
    listed.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.symlink_metadata().and_then(|found| found.modified()).ok()
}

/// Recordings in the order of their attempts.
fn files_in(directory: &Path) -> Result<Vec<RecordingFile>, RecordingError> {
    let named = |path: PathBuf| {
        Some(RecordingFile { started_at: stem_of(&path)?.1, modified: modified(&path), path })
    };
    let mut files: Vec<_> = entries(directory)?.into_iter().filter_map(named).collect();
    files.sort_by(|one, other| {
        let of = |file: &RecordingFile| (file.started_at, file.modified);
        of(one).cmp(&of(other)).then_with(|| one.path.cmp(&other.path))
    });
    Ok(files)
}

/// The state file's stem and the time in the name of a recording: `STEM.TIME-PID.recording`.
fn stem_of(path: &Path) -> Option<(String, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let (stem, attempt) = name.rsplit_once('.')?;
    let (time, pid) = attempt.split_once('-')?;
    pid.parse::<u32>().ok()?;
    Some((stem.to_owned(), time.parse().ok()?))
}

fn remove(path: &Path) -> Result<(), RecordingError> {
    match std::fs::remove_file(path) {
        // Another process has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| RecordingError::Io {
            action: "remove the recording",
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::format::sealed;
    use super::*;

    #[test]
    fn attempts_of_the_same_second_are_in_the_order_in_which_they_ended() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let written = [
            ("a.99-7.recording", 5_000),
            ("a.100-9999.recording", 1_000),
            ("a.100-10002.recording", 1_001),
            ("a.100-12.recording", 1_002),
        ];
        for (name, seconds) in written {
            let file = std::fs::File::create_new(directory.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
        let files = RecordingFile::all(directory.path()).unwrap();
        let found: Vec<_> =
            files.iter().map(|file| file.path().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(found, written.map(|(name, _)| name));
    }

    #[test]
    fn a_temporary_file_is_abandoned_after_an_hour() {
        let directory = tempfile::tempdir().unwrap();
        let archive = RecordingArchive::next_to(&directory.path().join("a.state"));
        let path = directory.path().join("a.5-5.recording.new");
        let modified = Duration::from_secs(1_795_406_400);
        std::fs::File::create_new(&path).unwrap().set_modified(UNIX_EPOCH + modified).unwrap();
        assert_eq!(archive.abandoned(modified + ABANDONED_AFTER).unwrap(), [""; 0].map(PathBuf::from));
        let later = modified + ABANDONED_AFTER + Duration::from_nanos(1);
        assert_eq!(archive.abandoned(later).unwrap(), [path]);
    }

    #[test]
    fn only_what_is_missing_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let RecordingError::Io { source, .. } = RecordingFile::all(&file.join("below")).unwrap_err() else {
            panic!("a file has nothing below it")
        };
        assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
        remove(&directory.path().join("missing")).unwrap();
        assert!(matches!(
            remove(directory.path()),
            Err(RecordingError::Io { action: "remove the recording", .. })
        ));
    }

    #[test]
    fn a_recording_of_the_maximum_size_is_read_and_no_larger_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let path = directory.path().join("a.5-5.recording");
        let json = serde_json::to_string(&RunRecording::default()).unwrap();
        let maximum = usize::try_from(MAX_SIZE).unwrap();
        let around = sealed("").len();
        for (size, expected) in
            [(maximum, Ok(RunRecording::default())), (maximum + 1, Err(RecordingFormatError::Checksum))]
        {
            let file = sealed(&(json.clone() + &" ".repeat(size - around - json.len())));
            assert_eq!(file.len(), size);
            std::fs::write(&path, file).unwrap();
            let read =
                RecordingFile::all(directory.path()).unwrap().remove(0).read().map_err(|error| match error {
                    RecordingError::Format { source, .. } => source,
                    error => panic!("{error:?}"),
                });
            assert_eq!(read, expected, "{size} bytes");
        }
    }
}
