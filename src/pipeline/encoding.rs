//! Rows are encoded and compressed on blocking threads, several pages at once.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::error::RunError;
use super::ledger::PageEnd;
use crate::part::{Chunk, ChunkEncoder, CompressionLevel, EncodeError};
use crate::row::{IngestionTime, RowError};

/// Encoders at rest, so that their buffers are reused. There are never more than pages under way.
#[derive(Debug)]
pub(super) struct EncoderPool {
    level: CompressionLevel,
    time: IngestionTime,
    idle: Mutex<Vec<ChunkEncoder>>,
}

/// Customers on their way to become a chunk; chunks are awaited in the order of the pages.
#[derive(Debug)]
pub(super) struct PendingChunk {
    page: u64,
    first: usize,
    end: Option<PageEnd>,
    work: JoinHandle<Result<Encoded, EncodeError>>,
}

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
    pub(super) customer: Bytes,
}

#[derive(Debug)]
struct Encoded {
    chunk: Chunk,
    /// Places among those given, from 0.
    refused: Vec<(usize, RowError, Bytes)>,
}

impl EncoderPool {
    pub(super) fn new(level: CompressionLevel, time: IngestionTime) -> Arc<Self> {
        Arc::new(Self { level, time, idle: Mutex::default() })
    }

    /// Starts to encode customers of a page; `first` is the place of the first on its page, from 0.
    pub(super) fn start(
        self: &Arc<Self>,
        page: u64,
        first: usize,
        customers: Vec<Bytes>,
        end: Option<PageEnd>,
    ) -> PendingChunk {
        let pool = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut encoder = idle.unwrap_or_else(|| ChunkEncoder::new(pool.level, pool.time));
            let result = encode(&mut encoder, customers);
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
            result
        });
        PendingChunk { page, first, end, work }
    }
}

/// Encodes what can be encoded. A customer that cannot is seldom, so starting over for each costs nothing.
fn encode(encoder: &mut ChunkEncoder, customers: Vec<Bytes>) -> Result<Encoded, EncodeError> {
    let mut left: Vec<(usize, Bytes)> = customers.into_iter().enumerate().collect();
    let mut refused = Vec::new();
    loop {
        // What is no UTF-8 is no JSON either, and is refused as such.
        let texts = left.iter().map(|(_, customer)| std::str::from_utf8(customer).unwrap_or_default());
        match encoder.encode(texts) {
            Ok(chunk) => return Ok(Encoded { chunk, refused }),
            Err(EncodeError::Customer { index, source }) if index < left.len() => {
                let (place, customer) = left.remove(index);
                refused.push((place, source, customer));
            }
            Err(error) => return Err(error),
        }
    }
}

impl PendingChunk {
    /// Waits for the chunk.
    pub(super) async fn finished(self) -> Result<EncodedChunk, RunError> {
        let Self { page, first, end, work } = self;
        match work.await {
            Ok(Ok(Encoded { chunk, refused })) => {
                let refused = refused.into_iter().map(|(place, reason, customer)| RefusedCustomer {
                    page,
                    position: first + place + 1,
                    reason,
                    customer,
                });
                Ok(EncodedChunk { chunk, refused: refused.collect(), end })
            }
            Ok(Err(_deflate)) => Err(RunError::Bug("rows could not be compressed")),
            Err(_panicked) => Err(RunError::Bug("encoding a page panicked")),
        }
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

    #[tokio::test]
    async fn customers_that_cannot_become_rows_are_put_aside_and_the_others_go_on() {
        let pool = EncoderPool::new(CompressionLevel::FASTEST, IngestionTime::MAX);
        let page = [r#"{"a":1}"#, "null", r#"{"a":2}"#, "[]"].map(|text| Bytes::from_static(text.as_bytes()));
        let encoded = pool.start(3, 100, page.to_vec(), None).finished().await.unwrap();
        assert_eq!(encoded.chunk.rows(), 2);
        let refused: Vec<_> =
            encoded.refused.iter().map(|refused| (refused.page, refused.position)).collect();
        assert_eq!(refused, [(3, 102), (3, 104)]);
        assert!(!format!("{encoded:?}").contains("null"));
    }
}
