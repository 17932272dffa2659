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
