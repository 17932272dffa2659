//! Rows are compressed on threads of their own, as many batches of pages at once as there are threads.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::error::RunError;
use super::fetch::{Batch, RefusedCustomer};
use super::ledger::PageEnd;
use crate::clock::Clock;
use crate::part::{Chunk, ChunkEncoder, CompressionLevel, DeflateError};

/// Encoders at rest, so that their buffers are reused. There are never more than batches under way.
#[derive(Clone, Debug)]
pub(super) struct EncoderPool {
    clock: Clock,
    level: CompressionLevel,
    idle: Arc<Mutex<Vec<ChunkEncoder>>>,
    /// A place for each batch that is encoded at the same time.
    places: Arc<Semaphore>,
}

/// Rows on their way to become a chunk; chunks are awaited in the order of the pages.
#[derive(Debug)]
pub(super) struct PendingChunk(AbortOnDropHandle<Result<EncodedChunk, RunError>>);

/// Rows that became a chunk.
#[derive(Debug)]
pub(super) struct EncodedChunk {
    pub(super) chunk: Chunk,
    pub(super) refused: Vec<RefusedCustomer>,
    /// None when more chunks of the same page follow.
    pub(super) end: Option<PageEnd>,
}

impl EncoderPool {
    /// Encoders on so many threads.
    pub(super) fn new(level: CompressionLevel, threads: usize, clock: Clock) -> Self {
        Self { clock, level, idle: Arc::default(), places: Arc::new(Semaphore::new(threads)) }
    }

    /// Encodes a batch as soon as a thread is free, in the order of the calls.
    pub(super) fn start(&self, batch: Batch) -> PendingChunk {
        let pool = self.clone();
        PendingChunk(AbortOnDropHandle::new(tokio::spawn(async move {
            let places = Arc::clone(&pool.places);
            // Nobody closes it.
            let _place = places.acquire().await;
            let clock = pool.clock.clone();
            match clock.blocking(move || pool.encode(batch)).await {
                Ok(Ok(encoded)) => Ok(encoded),
                Ok(Err(_deflate)) => Err(RunError::Bug("rows could not be compressed")),
                Err(_panicked) => Err(RunError::Bug("compressing rows panicked")),
            }
        })))
    }

    fn encode(&self, batch: Batch) -> Result<EncodedChunk, DeflateError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = idle.unwrap_or_else(|| ChunkEncoder::new(self.level));
        batch.rows.iter().for_each(|rows| encoder.add(rows));
        let chunk = encoder.finish();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
        Ok(EncodedChunk { chunk: chunk?, refused: batch.refused, end: batch.end })
    }
}

impl PendingChunk {
    /// Waits for the chunk.
    pub(super) async fn finished(self) -> Result<EncodedChunk, RunError> {
        self.0.await.unwrap_or(Err(RunError::Bug("compressing rows was broken off")))
    }
}
