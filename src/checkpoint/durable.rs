//! Private files that are replaced in one step: after a crash or a power failure there is the former file or the whole new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::permissions::{PrivateFileError, open_private};
use crate::failpoint;
use crate::paths::directory_of;

/// Temporary file, fsync, rename, fsync of the directory. `write` names the failpoint of the write.
///
/// # Errors
/// When the file cannot be made durable; what was at `path` is then unchanged.
pub(crate) fn replace_private_file(path: &Path, bytes: &[u8], write: &str) -> Result<(), PrivateFileError> {
    let temporary = temporary_path(path);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        // Removed or absent: a process that was killed during a write leaves one.
        _ => {}
    }
    let mut file = open_private(&temporary, OpenOptions::new().write(true).create_new(true))?;
    let written = failpoint::write(write).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // An incomplete file is useless on a full disk. It does not matter if it cannot be removed.
        let _ = std::fs::remove_file(&temporary);
        return Err(error.into());
    }
    failpoint::hit("before rename");
    std::fs::rename(&temporary, path)?;
    Ok(sync_directory(directory_of(path))?)
}

/// Where a file is written before it is renamed to `path`.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes a rename or a removal durable if the file system can sync directories. Some return EINVAL or ENOTSUP, and offer
/// no better durability.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    unless_unsupported(File::open(directory)?.sync_all())
}

fn unless_unsupported(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // The last two are equal on Linux.
    let refusals = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|error| refusals.contains(&error))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_cannot_sync_directories_is_supported() {
        let directory = Path::new("/proc/self");
        let error = File::open(directory).unwrap().sync_all().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "this kernel cannot sync /proc: {error}");
        sync_directory(directory).unwrap();
    }

    #[test]
    fn a_directory_that_could_not_be_synced_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let error = sync_directory(&place.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        for (errno, expected) in [
            (Errno::IO, Err(io::Error::from(Errno::IO).kind())),
            (Errno::NOSPC, Err(io::ErrorKind::StorageFull)),
            (Errno::INVAL, Ok(())),
            (Errno::NOTSUP, Ok(())),
        ] {
            let synced = unless_unsupported(Err(errno.into())).map_err(|error| error.kind());
            assert_eq!(synced, expected, "{errno}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_temporary_file_that_cannot_be_removed_is_reported_as_such() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, "before").unwrap();
        std::fs::create_dir(temporary_path(&path)).unwrap();
        let error = replace_private_file(&path, b"after", "write state").unwrap_err();
        let PrivateFileError::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }
}
