//! Rows are encoded and compressed on threads of their own, as many batches of pages at once as there are threads.

use std::sync::{Arc, Mutex, PoisonError};

use bytestring::ByteString;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::error::RunError;
use super::fetch::{Batch, Piece};
use super::ledger::PageEnd;
use crate::part::{Chunk, ChunkEncoder, CompressionLevel, DeflateError};
use crate::row::{IngestionTime, RowError};

/// Encoders at rest, so that their buffers are reused. There are never more than batches under way.
#[derive(Clone, Debug)]
pub(super) struct EncoderPool {
    level: CompressionLevel,
    time: IngestionTime,
    idle: Arc<Mutex<Vec<ChunkEncoder>>>,
    /// A place for each batch that is encoded at the same time.
    places: Arc<Semaphore>,
}

/// Customers on their way to become a chunk; chunks are awaited in the order of the pages.
#[derive(Debug)]
pub(super) struct PendingChunk(AbortOnDropHandle<Result<EncodedChunk, RunError>>);

/// Customers that became a chunk.
#[derive(Debug)]
pub(super) struct EncodedChunk {
    pub(super) chunk: Chunk,
    pub(super) refused: Vec<RefusedCustomer>,
    /// None when more chunks of the same page follow.
    pub(super) end: Option<PageEnd>,
}

/// A customer that no row can be made of.
pub(super) struct RefusedCustomer {
    /// Number of its page, from 1.
    pub(super) page: u64,
    /// Its place on the page, from 1.
    pub(super) position: usize,
    pub(super) reason: RowError,
    /// Its JSON text: customer data, only ever for the quarantine.
    pub(super) customer: ByteString,
}

impl EncoderPool {
    /// Encoders on so many threads.
    pub(super) fn new(level: CompressionLevel, time: IngestionTime, threads: usize) -> Self {
        Self { level, time, idle: Arc::default(), places: Arc::new(Semaphore::new(threads)) }
    }

    /// Encodes a batch as soon as a thread is free, in the order of the calls.
    pub(super) fn start(&self, batch: Batch) -> PendingChunk {
        let pool = self.clone();
        PendingChunk(AbortOnDropHandle::new(tokio::spawn(async move {
            let places = Arc::clone(&pool.places);
            // Nobody closes it.
            let _place = places.acquire().await;
            match tokio::task::spawn_blocking(move || pool.encode(batch)).await {
                Ok(Ok(encoded)) => Ok(encoded),
                Ok(Err(_deflate)) => Err(RunError::Bug("rows could not be compressed")),
                Err(_panicked) => Err(RunError::Bug("encoding a page panicked")),
            }
        })))
    }

    fn encode(&self, batch: Batch) -> Result<EncodedChunk, DeflateError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = idle.unwrap_or_else(|| ChunkEncoder::new(self.level, self.time));
        let result = encode(&mut encoder, batch);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
        result
    }
}

/// Encodes what can be encoded.
fn encode(encoder: &mut ChunkEncoder, batch: Batch) -> Result<EncodedChunk, DeflateError> {
    let mut refused = Vec::new();
    for Piece { page, first, customers } in &batch.pieces {
        for (place, customer) in (first + 1..).zip(customers) {
            if let Err(reason) = encoder.add(customer) {
                let (page, customer) = (*page, customer.clone());
                refused.push(RefusedCustomer { page, position: place, reason, customer });
            }
        }
    }
    Ok(EncodedChunk { chunk: encoder.finish()?, refused, end: batch.end })
}

impl PendingChunk {
    /// Waits for the chunk.
    pub(super) async fn finished(self) -> Result<EncodedChunk, RunError> {
        self.0.await.unwrap_or(Err(RunError::Bug("encoding a page was broken off")))
    }
}

impl std::fmt::Debug for RefusedCustomer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RefusedCustomer(page {}, position {}, {})", self.page, self.position, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(page: u64, first: usize, customers: &[&str]) -> Piece {
        Piece { page, first, customers: customers.iter().map(|text| ByteString::from(*text)).collect() }
    }

    #[tokio::test]
    async fn customers_that_cannot_become_rows_are_put_aside_and_the_others_go_on() {
        let pool = EncoderPool::new(CompressionLevel::FASTEST, IngestionTime::MAX, 1);
        let mut batch = Batch::default();
        batch.pieces.push(piece(3, 100, &[r#"{"a":1}"#, "null", r#"{"a":2}"#, "[]"]));
        batch.pieces.push(piece(4, 0, &["7", r#"{"a":3}"#]));
        let encoded = pool.start(batch).finished().await.unwrap();
        assert_eq!(encoded.chunk.rows(), 3);
        let refused: Vec<_> =
            encoded.refused.iter().map(|refused| (refused.page, refused.position)).collect();
        assert_eq!(refused, [(3, 102), (3, 104), (4, 1)]);
        assert!(!format!("{encoded:?}").contains("null"));
    }
}
