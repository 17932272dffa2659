//! Collects pages into batches for the compression threads.
//!
//! Owns when a batch is complete. A batch never exceeds the maximum rows of a part; the capacity of the channel bounds the
//! number of batches in memory.

use tokio::sync::mpsc;

use super::batch::{Batch, RejectedCustomer};
use super::compression::{CompressionPool, PendingChunk};
use super::ledger::PageEnd;
use super::settings::PartSettings;
use crate::row::Rows;

/// Bytes of rows that complete a batch. Measured (docs/performance.md): more saves nothing, less costs a wake-up and a restart
/// of deflate for each page.
const MAX_BATCH_BYTES: usize = 512 * 1024;
/// Pages that complete a batch, however small they are.
const MAX_BATCH_PAGES: usize = 64;
/// Minimum number of batches in a part, by uncompressed size. Parts are closed only between batches and must come close to the
/// configured size.
const BATCHES_PER_PART_BY_SIZE: usize = 8;
/// Minimum number of batches in a part, by rows.
const BATCHES_PER_PART_BY_ROWS: usize = 100;

/// Sizes that complete a batch.
struct Thresholds {
    rows: usize,
    bytes: usize,
}

/// The receiver is closed and reports why.
#[derive(Debug)]
pub(super) struct ReceiverClosed;

/// Collects pages into batches and sends them to the compression threads.
pub(super) struct Batcher {
    compression: CompressionPool,
    /// Maximum rows of a batch.
    max_rows: usize,
    thresholds: Thresholds,
    pending: Batch,
    chunks: mpsc::Sender<PendingChunk>,
}

impl Batcher {
    /// Creates a batcher for parts with these settings.
    pub(super) fn new(
        compression: CompressionPool,
        parts: &PartSettings,
        chunks: mpsc::Sender<PendingChunk>,
    ) -> Self {
        let max_rows = parts.max_rows.get();
        let thresholds = Thresholds { rows: max_rows / BATCHES_PER_PART_BY_ROWS, bytes: batch_bytes(parts) };
        Self { compression, max_rows, thresholds, pending: Batch::default(), chunks }
    }

    pub(super) async fn add(
        &mut self,
        mut rows: Rows,
        rejected: Vec<RejectedCustomer>,
        end: PageEnd,
    ) -> Result<(), ReceiverClosed> {
        if rows.is_empty() && rejected.is_empty() {
            return Ok(());
        }
        let is_first = end.position.page() == 1;
        while !rows.is_empty() {
            if self.pending.row_count + rows.len().min(self.max_rows) > self.max_rows {
                self.flush().await?;
            }
            self.pending.add(rows.split_to(self.max_rows));
        }
        self.pending.end_page(rejected, end);
        // The first page is sent immediately: it shows that there are customers, so that a session can be opened.
        if is_first || self.thresholds.are_reached(&self.pending) { self.flush().await } else { Ok(()) }
    }

    /// Batches that are being compressed, or wait for the receiver.
    pub(super) fn queued(&self) -> usize {
        self.chunks.max_capacity() - self.chunks.capacity()
    }

    /// Flushes the last batch.
    pub(super) async fn finish(mut self) {
        // A closed receiver does not need it.
        let _ = self.flush().await;
    }

    async fn flush(&mut self) -> Result<(), ReceiverClosed> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Reserves capacity before compression starts, so that no more batches are in flight than the channel holds.
        let permit = self.chunks.reserve().await.map_err(|_closed| ReceiverClosed)?;
        permit.send(self.compression.start(std::mem::take(&mut self.pending)));
        Ok(())
    }
}

/// Bytes of rows that complete a batch for parts with these settings. A batch may exceed them by one page.
pub(super) fn batch_bytes(parts: &PartSettings) -> usize {
    MAX_BATCH_BYTES.min(parts.closing_size / BATCHES_PER_PART_BY_SIZE)
}

impl Thresholds {
    fn are_reached(&self, batch: &Batch) -> bool {
        batch.row_count >= self.rows || batch.bytes >= self.bytes || batch.pages >= MAX_BATCH_PAGES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::part::CompressionLevel;
    use crate::row::RowError;
    use crate::yotpo::{LoyaltyCounts, PageCursor, Position};

    fn end(page: u64) -> PageEnd {
        let cursor = PageCursor::from_plain(&format!("after {page}"));
        PageEnd { position: Position::After { page, cursor, query: None }, loyalty: LoyaltyCounts::default() }
    }

    fn rows(count: usize) -> Rows {
        vec!["row"; count].into_iter().collect()
    }

    fn rejected(page: u64) -> RejectedCustomer {
        RejectedCustomer { page, position: 1, reason: RowError::NotAnObject, customer: "null".into() }
    }

    fn batcher(max_rows: usize) -> (Batcher, mpsc::Receiver<PendingChunk>) {
        let (sender, chunks) = mpsc::channel(100);
        let compression = CompressionPool::new(CompressionLevel::FASTEST, 1, Clock::machine());
        let thresholds = Thresholds { rows: 1_000, bytes: 1_000 };
        let pending = Batch::default();
        (Batcher { compression, max_rows, thresholds, pending, chunks: sender }, chunks)
    }

    /// The rows, rejected customers and last page of each chunk.
    async fn flushed(mut chunks: mpsc::Receiver<PendingChunk>) -> Vec<(u64, usize, Option<u64>)> {
        let mut found = Vec::new();
        while let Some(pending) = chunks.recv().await {
            let compressed = pending.finished().await.unwrap();
            let end = compressed.end.map(|end| end.position.page());
            found.push((compressed.chunk.rows(), compressed.rejected.len(), end));
        }
        found
    }

    #[tokio::test]
    async fn first_page_is_a_batch_and_later_pages_are_collected() {
        let (mut batcher, chunks) = batcher(10_000);
        for page in 1..=5 {
            assert!(batcher.add(rows(120), Vec::new(), end(page)).await.is_ok());
        }
        batcher.finish().await;
        // A page has 360 bytes.
        assert_eq!(flushed(chunks).await, [(120, 0, Some(1)), (360, 0, Some(4)), (120, 0, Some(5))]);
    }

    #[tokio::test]
    async fn page_with_more_rows_than_a_part_is_split() {
        let (mut batcher, chunks) = batcher(2);
        assert!(batcher.add(rows(1), Vec::new(), end(1)).await.is_ok());
        assert!(batcher.add(rows(1), vec![rejected(2)], end(2)).await.is_ok());
        assert!(batcher.add(rows(5), vec![rejected(3)], end(3)).await.is_ok());
        batcher.finish().await;
        let expected = [(1, 0, Some(1)), (1, 1, Some(2)), (2, 0, None), (2, 0, None), (1, 1, Some(3))];
        assert_eq!(flushed(chunks).await, expected);
    }

    #[tokio::test]
    async fn pages_that_fill_a_part_exactly_are_one_batch() {
        let (mut batcher, chunks) = batcher(4);
        for (page, count) in [(1, 4), (2, 1), (3, 3), (4, 4), (5, 1)] {
            assert!(batcher.add(rows(count), Vec::new(), end(page)).await.is_ok());
        }
        batcher.finish().await;
        assert_eq!(
            flushed(chunks).await,
            [(4, 0, Some(1)), (4, 0, Some(3)), (4, 0, Some(4)), (1, 0, Some(5))]
        );
    }

    #[tokio::test]
    async fn batches_are_queued_until_they_are_received() {
        let (mut batcher, mut chunks) = batcher(2);
        assert_eq!(batcher.queued(), 0);
        assert!(batcher.add(rows(5), Vec::new(), end(1)).await.is_ok());
        assert_eq!(batcher.queued(), 3);
        chunks.recv().await.unwrap();
        assert_eq!(batcher.queued(), 2);
    }

    #[test]
    fn a_part_has_several_batches_of_bounded_size() {
        for (closing_size, expected) in
            [(80, 10), (1 << 20, 128 << 10), (4 << 20, 512 << 10), (1 << 30, 512 << 10)]
        {
            let parts = PartSettings {
                max_rows: std::num::NonZeroUsize::MIN,
                closing_size,
                level: CompressionLevel::FASTEST,
            };
            assert_eq!(batch_bytes(&parts), expected, "parts of {closing_size} bytes");
        }
    }

    #[tokio::test]
    async fn pages_with_only_rejected_customers_are_flushed_at_the_maximum_of_pages() {
        let (mut batcher, chunks) = batcher(2);
        assert!(batcher.add(rows(0), Vec::new(), end(1)).await.is_ok());
        for page in 2..=70 {
            assert!(batcher.add(rows(0), vec![rejected(page)], end(page)).await.is_ok());
        }
        batcher.finish().await;
        assert_eq!(flushed(chunks).await, [(0, 64, Some(65)), (0, 5, Some(70))]);
    }
}
