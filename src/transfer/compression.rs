//! Rows are compressed on threads of their own, as many batches of pages at once as there are threads.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::batch::{Batch, RejectedCustomer};
use super::ledger::PageEnd;
use crate::clock::Clock;
use crate::part::{Chunk, ChunkEncoder, CompressionLevel, DeflateError};

/// Idle encoders, so that their buffers are reused. There are never more of them than batches in flight.
#[derive(Clone, Debug)]
pub(super) struct CompressionPool {
    clock: Clock,
    level: CompressionLevel,
    idle: Arc<Mutex<Vec<ChunkEncoder>>>,
    /// A place for each batch that is compressed at the same time.
    places: Arc<Semaphore>,
}

/// Rows on their way to become a chunk; chunks are awaited in the order of the pages.
#[derive(Debug)]
pub(super) struct PendingChunk(AbortOnDropHandle<Result<CompressedChunk, CompressionFailed>>);

/// A defect of this program, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompressionFailed(pub(super) &'static str);

/// Rows that became a chunk.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    pub(super) chunk: Chunk,
    pub(super) rejected: Vec<RejectedCustomer>,
    /// None when more chunks of the same page follow.
    pub(super) end: Option<PageEnd>,
}

impl CompressionPool {
    /// Compression on so many threads.
    pub(super) fn new(level: CompressionLevel, threads: usize, clock: Clock) -> Self {
        Self { clock, level, idle: Arc::default(), places: Arc::new(Semaphore::new(threads)) }
    }

    /// Compresses a batch as soon as a thread is free, in the order of the calls.
    pub(super) fn start(&self, batch: Batch) -> PendingChunk {
        let pool = self.clone();
        let compressing = async move {
            let places = Arc::clone(&pool.places);
            // Nobody closes it.
            let _place = places.acquire().await;
            let clock = pool.clock.clone();
            match clock.blocking(move || pool.compress(batch)).await {
                Ok(Ok(compressed)) => Ok(compressed),
                Ok(Err(_deflate)) => Err(CompressionFailed("rows could not be compressed")),
                Err(_panicked) => Err(CompressionFailed("compressing rows panicked")),
            }
        };
        PendingChunk(AbortOnDropHandle::new(tokio::spawn(compressing.in_current_span())))
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
    pub(super) async fn finished(self) -> Result<CompressedChunk, CompressionFailed> {
        self.0.await.unwrap_or(Err(CompressionFailed("compressing rows was cancelled")))
    }
}
