//! Compresses batches in parallel on dedicated threads.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::batch::{Batch, RejectedCustomer};
use super::ledger::PageEnd;
use crate::clock::Clock;
use crate::part::{Chunk, ChunkEncoder, CompressionLevel, DeflateError};

/// A pool of encoders whose buffers are reused. There are never more encoders than batches in flight.
#[derive(Clone, Debug)]
pub(super) struct CompressionPool {
    clock: Clock,
    level: CompressionLevel,
    idle: Arc<Mutex<Vec<ChunkEncoder>>>,
    /// One permit for each batch that may be compressed concurrently.
    permits: Arc<Semaphore>,
}

/// A chunk that is being compressed. Chunks are awaited in the order of the pages.
#[derive(Debug)]
pub(super) struct PendingChunk(AbortOnDropHandle<Result<CompressedChunk, CompressionError>>);

/// A description of a bug in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompressionError(pub(super) &'static str);

/// A compressed batch.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    pub(super) chunk: Chunk,
    pub(super) rejected: Vec<RejectedCustomer>,
    /// Where the last page ends; `None` if more chunks of it follow.
    pub(super) end: Option<PageEnd>,
}

impl CompressionPool {
    /// Creates a pool that compresses on `threads` threads.
    pub(super) fn new(level: CompressionLevel, threads: usize, clock: Clock) -> Self {
        Self { clock, level, idle: Arc::default(), permits: Arc::new(Semaphore::new(threads)) }
    }

    /// Compresses a batch as soon as a thread is free, in the order of the calls.
    pub(super) fn start(&self, batch: Batch) -> PendingChunk {
        let pool = self.clone();
        let compression = async move {
            let permits = Arc::clone(&pool.permits);
            // The semaphore is never closed.
            let _permit = permits.acquire().await;
            let clock = pool.clock.clone();
            match clock.blocking(move || pool.compress(batch)).await {
                Ok(Ok(compressed)) => Ok(compressed),
                Ok(Err(_deflate)) => Err(CompressionError("could not compress rows")),
                Err(_panicked) => Err(CompressionError("the compression of rows panicked")),
            }
        };
        PendingChunk(AbortOnDropHandle::new(tokio::spawn(compression.in_current_span())))
    }

    fn compress(&self, batch: Batch) -> Result<CompressedChunk, DeflateError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = idle.unwrap_or_else(|| ChunkEncoder::new(self.level));
        batch.rows.iter().for_each(|rows| encoder.add(rows));
        let chunk = encoder.finish();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
        Ok(CompressedChunk { chunk: chunk?, rejected: batch.rejected, end: batch.end })
    }
}

impl PendingChunk {
    /// Waits for the chunk.
    pub(super) async fn finished(self) -> Result<CompressedChunk, CompressionError> {
        self.0.await.unwrap_or(Err(CompressionError("the compression of rows was cancelled")))
    }
}
