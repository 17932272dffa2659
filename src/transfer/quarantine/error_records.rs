//! The file for the error records of a session. It is written while they are received, because they may not fit in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::error::QuarantineError;
use crate::checkpoint::{PrivateFileError, open_private};
use crate::clock::Clock;
use crate::failpoint;
use crate::http::{BodySink, RestartableSink};

/// Size of the buffer before it is written.
const BUFFER_SIZE: usize = 256 * 1024;

/// A file that receives error records.
#[derive(Debug)]
pub struct ErrorRecordsFile {
    clock: Clock,
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl ErrorRecordsFile {
    pub(super) fn new(path: PathBuf, clock: Clock) -> Self {
        Self { clock, path, file: None, buffer: Vec::new() }
    }

    /// Writes all remaining records to the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn finish(mut self) -> Result<(), QuarantineError> {
        self.flush(true).await
    }

    async fn flush(&mut self, is_last: bool) -> Result<(), QuarantineError> {
        let buffer = std::mem::take(&mut self.buffer);
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let work = move || {
            failpoint::write("write quarantine")?;
            file.write_all(&buffer)?;
            if is_last {
                file.sync_all()?;
            }
            Ok(file)
        };
        self.file = Some(self.blocking(work).await?);
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PrivateFileError> + Send + 'static,
    ) -> Result<T, QuarantineError> {
        let result = self.clock.blocking(work).await;
        let result = result.unwrap_or_else(|_panicked| Err(io::Error::other("writing panicked").into()));
        result.map_err(|source| QuarantineError { path: self.path.clone(), source })
    }
}

impl BodySink for ErrorRecordsFile {
    type Error = QuarantineError;

    async fn write(&mut self, piece: Bytes) -> Result<(), QuarantineError> {
        self.buffer.extend_from_slice(&piece);
        if self.buffer.len() >= BUFFER_SIZE { self.flush(false).await } else { Ok(()) }
    }
}

impl RestartableSink for ErrorRecordsFile {
    async fn restart(&mut self) -> Result<(), QuarantineError> {
        self.buffer.clear();
        self.file = None;
        let path = self.path.clone();
        let open = move || {
            let file = open_private(&path, OpenOptions::new().create(true).truncate(false).write(true))?;
            file.set_len(0)?;
            Ok(file)
        };
        self.file = Some(self.blocking(open).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &std::path::Path) -> ErrorRecordsFile {
        ErrorRecordsFile::new(path.to_owned(), Clock::machine())
    }

    #[tokio::test]
    async fn a_full_buffer_is_written_before_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let size = || std::fs::metadata(&path).unwrap().len();
        let mut file = file(&path);
        file.restart().await.unwrap();
        file.write(Bytes::from(vec![b'a'; BUFFER_SIZE - 1])).await.unwrap();
        assert_eq!(size(), 0);
        file.write(Bytes::from_static(b"bc")).await.unwrap();
        assert_eq!(size(), BUFFER_SIZE as u64 + 1);
        file.write(Bytes::from_static(b"rest")).await.unwrap();
        assert_eq!(size(), BUFFER_SIZE as u64 + 1);
        file.finish().await.unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!((written.len(), &written[BUFFER_SIZE - 1..]), (BUFFER_SIZE + 5, &b"bcrest"[..]));
    }

    #[tokio::test]
    async fn a_restart_discards_what_is_in_the_file_and_in_the_buffer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let mut file = file(&path);
        file.restart().await.unwrap();
        file.write(Bytes::from(vec![b'a'; BUFFER_SIZE])).await.unwrap();
        file.write(Bytes::from_static(b"buffered")).await.unwrap();
        file.restart().await.unwrap();
        file.write(Bytes::from_static(b"records")).await.unwrap();
        file.finish().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"records");
    }

    #[tokio::test]
    async fn there_is_no_file_before_the_first_attempt() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        file(&path).finish().await.unwrap();
        assert!(!path.exists());
    }
}
