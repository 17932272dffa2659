//! Stores uploaded parts on disk.
//!
//! Owns the directory and the lifetime of its files: a file is removed with its last reference, the directory with the
//! sandbox. Also detects a full disk. No part is kept in memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use crate::failpoint;
use crate::free_space::{self, Need, NoSpace, is_full};

/// Required space per customer in bytes: generated customers need 130, compressed at level 2.
const BYTES_PER_CUSTOMER: u64 = 256;
/// Minimum required space in bytes: for one part, and for rows that tests insert into tables.
const MIN_BYTES: u64 = 1024 * 1024;
/// Required number of free files: one per part.
const FILES: u64 = 16;

/// Checks that the directory has enough space to load this many customers once.
pub(super) fn check_space(directory: &Path, customers: u64) -> Result<(), NoSpace> {
    let bytes = customers.saturating_mul(BYTES_PER_CUSTOMER).saturating_add(MIN_BYTES);
    free_space::check("the sandbox's temporary directory", directory, Need { bytes, files: FILES })
}

/// Creates files in the spool directory.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    next: AtomicU64,
    full: CancellationToken,
}

/// A finished file; clones refer to the same one.
#[derive(Clone, Debug)]
pub(super) struct SpoolFile(Arc<OwnedFile>);

/// A file that is being written.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: File,
    owned: OwnedFile,
    full: CancellationToken,
}

#[derive(Debug)]
struct OwnedFile {
    path: PathBuf,
    size: u64,
}

impl Spool {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), next: AtomicU64::new(0), full: CancellationToken::new() }
    }

    pub(super) fn create(&self) -> io::Result<SpoolWriter> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number:08}.part"));
        let file = detect_full_disk(&self.full, File::create_new(&path))?;
        Ok(SpoolWriter { file, owned: OwnedFile { path, size: 0 }, full: self.full.clone() })
    }

    /// Cancelled when the disk is full.
    pub(super) const fn full(&self) -> &CancellationToken {
        &self.full
    }
}

/// Detects a full disk, and logs it once.
fn detect_full_disk<T>(full: &CancellationToken, result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result
        && is_full(error)
        && !full.is_cancelled()
    {
        tracing::error!("the sandbox's disk is full, no more parts can be stored");
        full.cancel();
    }
    result
}

impl SpoolWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = failpoint::write("write spool").and_then(|()| self.file.write_all(bytes));
        detect_full_disk(&self.full, written)?;
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

impl Drop for OwnedFile {
    fn drop(&mut self) {
        // The directory may already be removed; there is nothing left to do.
        drop(std::fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_removed_with_its_last_reference() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path());
        let mut writer = spool.create().unwrap();
        writer.write(b"abc").unwrap();
        let file = writer.finish();
        let other = file.clone();
        drop(file);
        assert_eq!((other.size(), other.open().is_ok()), (3, true));
        drop(other);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
