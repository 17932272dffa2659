//! Uploaded parts on disk.
//!
//! Owns the folder and the life of its files: a file is removed when nobody refers to it any more, the folder when the
//! sandbox goes away. No part is ever held in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names files in the spool folder.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    next: AtomicU64,
}

/// A finished file; clones refer to the same one.
#[derive(Clone, Debug)]
pub(super) struct SpoolFile(Arc<Owned>);

/// A file that is being written.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: File,
    owned: Owned,
}

#[derive(Debug)]
struct Owned {
    path: PathBuf,
    size: u64,
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), next: AtomicU64::new(0) }
    }

    pub(super) fn create(&self) -> std::io::Result<SpoolWriter> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number:08}.part"));
        let file = File::create_new(&path)?;
        Ok(SpoolWriter { file, owned: Owned { path, size: 0 } })
    }
}

impl SpoolWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
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
    pub(super) fn open(&self) -> std::io::Result<File> {
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
