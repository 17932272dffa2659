//! Free space on the disks that a run writes to: checked before it starts, and recognised in errors when it is used up.
//!
//! Owns the decision how much is too little, and which errors mean that a disk is full. A file system that does not
//! report its free space never prevents a start.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use crate::paths::shown;

/// The free space that a directory must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes.
    pub bytes: u64,
    /// Number of files that may be created.
    pub files: u64,
}

/// What a file system reports about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes per block.
    pub block_size: u64,
    /// Blocks in total; 0 on file systems that do not count them.
    pub blocks: u64,
    /// Blocks available to this user.
    pub free_blocks: u64,
    /// Maximum number of files; 0 on file systems without such a limit.
    pub files: u64,
    /// Number of files that this user may still create.
    pub free_files: u64,
}

/// A directory has less free space than needed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {} has too little free space: {lack}", shown(directory))]
pub struct NoSpace {
    /// What the directory is for.
    what: &'static str,
    directory: PathBuf,
    lack: Lack,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Bytes.
    #[error("{} free, {} needed", ByteSize(*free).display().iec(), ByteSize(*needed).display().iec())]
    Bytes {
        /// How many are free.
        free: u64,
        /// How many are needed.
        needed: u64,
    },
    /// Inodes.
    #[error("inodes: {free} free, {needed} needed")]
    Files {
        /// How many are free.
        free: u64,
        /// How many are needed.
        needed: u64,
    },
}

/// What to do about a full disk.
pub const NO_SPACE_HINT: &str = "free space on that disk (df -h shows bytes, df -i inodes), or raise the limit on the size of files (ulimit -f)";

/// Makes sure that `directory` has enough free space; `what` names it in the error. An unknown amount is accepted.
///
/// # Errors
/// When it has too little.
pub fn check(what: &'static str, directory: &Path, need: Need) -> Result<(), NoSpace> {
    let lack = statistics(directory).and_then(|found| lack_of(found, need));
    lack.map_or(Ok(()), |lack| Err(NoSpace { what, directory: directory.into(), lack }))
}

/// What is missing for `need`; `None` if nothing is or the numbers are implausible.
pub fn lack_of(found: FileSystem, need: Need) -> Option<Lack> {
    let FileSystem { block_size, blocks, free_blocks, files, free_files } = found;
    let free = free_blocks.saturating_mul(block_size);
    let counts_blocks = blocks > 0 && block_size > 0 && free_blocks <= blocks;
    if counts_blocks && free < need.bytes {
        return Some(Lack::Bytes { free, needed: need.bytes });
    }
    let counts_files = files > 0 && free_files <= files;
    if counts_files && free_files < need.files {
        return Some(Lack::Files { free: free_files, needed: need.files });
    }
    None
}

fn statistics(directory: &Path) -> Option<FileSystem> {
    let found = rustix::fs::statvfs(directory).ok()?;
    let is_root = rustix::process::geteuid().is_root();
    Some(FileSystem {
        block_size: found.f_frsize,
        blocks: found.f_blocks,
        free_blocks: if is_root { found.f_bfree } else { found.f_bavail },
        files: found.f_files,
        free_files: if is_root { found.f_ffree } else { found.f_favail },
    })
}

/// Whether an error was caused by a full disk or an exhausted quota.
pub fn is_lack_of_space(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NoSpace>() {
            return true;
        }
        if let Some(error) = error.downcast_ref() {
            return is_full(error);
        }
        next = error.source();
    }
    false
}

/// Whether a write failed because the disk is full, or a limit on what this user may write is reached.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { bytes: 64 * 1024, files: 3 };
    const ENOUGH: FileSystem =
        FileSystem { block_size: 4096, blocks: 1_000, free_blocks: 16, files: 100, free_files: 3 };

    #[test]
    fn less_than_needed_is_a_lack_and_exactly_that_is_not() {
        assert_eq!(lack_of(ENOUGH, NEED), None);
        let little = FileSystem { free_blocks: 15, ..ENOUGH };
        assert_eq!(lack_of(little, NEED), Some(Lack::Bytes { free: 61_440, needed: 65_536 }));
        let crowded = FileSystem { free_files: 2, ..ENOUGH };
        assert_eq!(lack_of(crowded, NEED), Some(Lack::Files { free: 2, needed: 3 }));
    }

    #[test]
    fn implausible_numbers_are_accepted() {
        for found in [
            // Network and FUSE file systems that count nothing.
            FileSystem { blocks: 0, free_blocks: 0, files: 0, free_files: 0, ..ENOUGH },
            FileSystem { block_size: 0, free_blocks: 0, ..ENOUGH },
            // -1 as an unsigned number.
            FileSystem { free_blocks: u64::MAX, free_files: u64::MAX, ..ENOUGH },
            // btrfs has no limit on files.
            FileSystem { files: 0, free_files: 0, ..ENOUGH },
        ] {
            assert_eq!(lack_of(found, NEED), None, "{found:?}");
        }
    }

    #[test]
    fn the_message_names_the_directory_and_both_numbers() {
        let lack = Lack::Bytes { free: 4_096, needed: 65_536 };
        let error = NoSpace { what: "the state directory", directory: "/state".into(), lack };
        assert_eq!(
            error.to_string(),
            "the state directory /state has too little free space: 4.0 KiB free, 64.0 KiB needed"
        );
        assert_eq!(Lack::Files { free: 0, needed: 3 }.to_string(), "inodes: 0 free, 3 needed");
    }

    #[test]
    fn a_missing_directory_is_not_reported_here() {
        assert_eq!(check("the state directory", Path::new("/nowhere/at/all"), NEED), Ok(()));
    }

    #[test]
    fn the_lack_of_a_real_file_system_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check("the state directory", directory.path(), NEED), Ok(()));
        let error =
            check("the state directory", directory.path(), Need { bytes: u64::MAX, files: 0 }).unwrap_err();
        assert!(matches!(error.lack, Lack::Bytes { free: 1.., needed: u64::MAX }), "{error}");
    }

    #[test]
    fn a_full_disk_is_recognised_as_the_cause_of_other_errors() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_lack_of_space(&full()));
        assert!(is_lack_of_space(&crate::checkpoint::PrivateFileError::Io(
            io::ErrorKind::QuotaExceeded.into()
        )));
        assert!(is_lack_of_space(&io::Error::from(io::ErrorKind::FileTooLarge)));
        assert!(!is_lack_of_space(&io::Error::from(io::ErrorKind::PermissionDenied)));
    }
}
