//! Uploaded parts on disk.
//!
//! Owns the folder and the life of its files: a file is removed when nobody refers to it any more, the folder when the
//! sandbox goes away; and whether its disk is full. No part is ever held in memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use crate::failpoint;
use crate::free_space::{self, Need, NoSpace, is_full};

/// What must be free for parts of a customer, in bytes: made-up ones come to 130, compressed at level 2.
const PER_CUSTOMER: u64 = 256;
/// What must be free however few customers there are, in bytes: for one part and what tests put into tables.
const AT_LEAST: u64 = 1024 * 1024;
/// Files that must be free: a part each.
const FILES: u64 = 16;

/// Makes sure that the folder has room for loading so many customers once.
pub(super) fn check_space(folder: &Path, customers: u64) -> Result<(), NoSpace> {
    let bytes = customers.saturating_mul(PER_CUSTOMER).saturating_add(AT_LEAST);
    free_space::check("the sandbox's temporary directory", folder, Need { bytes, files: FILES })
}

/// Names files in the spool folder.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    next: AtomicU64,
    full: CancellationToken,
}

/// A finished file; clones refer to the same one.
#[derive(Clone, Debug)]
pub(super) struct SpoolFile(Arc<Owned>);

/// A file that is being written.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: File,
    owned: Owned,
    full: CancellationToken,
}

#[derive(Debug)]
struct Owned {
    path: PathBuf,
    size: u64,
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), next: AtomicU64::new(0), full: CancellationToken::new() }
    }

    pub(super) fn create(&self) -> io::Result<SpoolWriter> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number:08}.part"));
        let file = note(&self.full, File::create_new(&path))?;
        Ok(SpoolWriter { file, owned: Owned { path, size: 0 }, full: self.full.clone() })
    }

    /// Cancelled when the disk was full.
    pub(super) const fn full(&self) -> &CancellationToken {
        &self.full
    }
}

/// Notes that the disk is full, and says so once.
fn note<T>(full: &CancellationToken, result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result
        && is_full(error)
        && !full.is_cancelled()
    {
        tracing::error!("the sandbox's disk is full: it stores no more parts");
        full.cancel();
    }
    result
}

impl SpoolWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = failpoint::write("write spool").and_then(|()| self.file.write_all(bytes));
        note(&self.full, written)?;
        self.owned.size += bytes.len() as u64;
        Ok(())
    }

    pub(super) const fn size(&self) -> u64 {
        self.owned.size
    }

    pub(super) fn finish(self) -> SpoolFile {
        SpoolFile(Arc::new(self.owned))
    }
}

impl SpoolFile {
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.0.path)
    }

    pub(super) fn size(&self) -> u64 {
        self.0.size
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The folder may be gone already; there is nobody to tell and nothing left to do.
        drop(std::fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_lives_as_long_as_somebody_refers_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let mut writer = spool.create().unwrap();
        writer.write(b"abc").unwrap();
        let file = writer.finish();
        let other = file.clone();
        drop(file);
        assert_eq!((other.size(), other.open().is_ok()), (3, true));
        drop(other);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
