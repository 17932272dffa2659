//! A file that a run writes at its end, such as the JSON summary: replaced in one step, readable by its owner alone.

use std::io::{self, Write as _};
use std::path::Path;

use crate::paths::directory_of;

/// Writes `text` to `path`. A reader sees the file before or after, and nothing in between. What is there and no regular file
/// (a link, a device) is not replaced.
pub(in crate::cli) fn write(path: &Path, text: &str) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("there is something else than a regular file"));
    }
    // Next to the old one, on the same file system. Its mode is 0600, and it is removed when anything fails.
    let mut file = tempfile::Builder::new().prefix(".yotpo-td-").tempfile_in(directory_of(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("summary.json");
        fs::write(&path, "a longer text of the run before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "{}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        for other in [link.as_path(), directory.path()] {
            let error = write(other, "{}").unwrap_err().to_string();
            assert_eq!(error, "there is something else than a regular file");
        }
        let absent = write(&directory.path().join("absent/summary.json"), "{}").unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }
}
