//! Gathering pages into batches for the compression threads.
//!
//! Owns when a batch is full. Batches never exceed the rows that a part may have; the channel's capacity bounds how many
//! there are in memory.

use tokio::sync::mpsc;

use super::batch::{Batch, RejectedCustomer};
use super::compression::{CompressionPool, PendingChunk};
use super::ledger::PageEnd;
use super::settings::PartSettings;
use crate::row::Rows;

/// Bytes of rows at which a batch is full. Measured (docs/performance.md): more saves nothing, less costs a wake-up and
/// a new start of deflate for each page.
const FULL_BATCH: usize = 512 * 1024;
/// Pages at which a batch is full, however small they are.
const MAX_PAGES: usize = 64;
/// A batch has at most this share of a part's size, before it is compressed, and of its rows: parts are only cut between
/// batches, and must come close to what is set.
const BATCHES_IN_A_PART: usize = 8;
const BATCHES_IN_A_PARTS_ROWS: usize = 100;

/// When a batch is full.
struct Full {
    rows: usize,
    bytes: usize,
}

/// The receiving end is closed; it reports why.
#[derive(Debug)]
pub(super) struct ReceiverClosed;

/// Gathers pages and passes them to the compression threads.
pub(super) struct Batcher {
    compression: CompressionPool,
    /// Rows that are never exceeded.
    max_rows: usize,
    full: Full,
    gathered: Batch,
    chunks: mpsc::Sender<PendingChunk>,
}

impl Batcher {
    /// Batches for such parts.
    pub(super) fn new(
        compression: CompressionPool,
        parts: &PartSettings,
        chunks: mpsc::Sender<PendingChunk>,
    ) -> Self {
        let max_rows = parts.max_rows.get();
        let full = Full { rows: max_rows / BATCHES_IN_A_PARTS_ROWS, bytes: full_batch(parts) };
        Self { compression, max_rows, full, gathered: Batch::default(), chunks }
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
            if self.gathered.row_count + rows.len().min(self.max_rows) > self.max_rows {
                self.flush().await?;
            }
            self.gathered.add(rows.split_to(self.max_rows));
        }
        self.gathered.end_page(rejected, end);
        // The first page goes at once: it says that there is something to load, so that a session can be opened.
        if is_first || self.full.holds_for(&self.gathered) { self.flush().await } else { Ok(()) }
    }

    /// Flushes what is left, however little.
    pub(super) async fn finish(mut self) {
        // A closed receiver does not miss it.
        let _ = self.flush().await;
    }

    async fn flush(&mut self) -> Result<(), ReceiverClosed> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        // A place first, so that no more batches are in work than fit.
        let place = self.chunks.reserve().await.map_err(|_closed| ReceiverClosed)?;
        place.send(self.compression.start(std::mem::take(&mut self.gathered)));
        Ok(())
    }
}

/// Bytes of rows at which a batch for such parts is full; it may exceed it by a page.
pub(super) fn full_batch(parts: &PartSettings) -> usize {
    FULL_BATCH.min(parts.closing_size / BATCHES_IN_A_PART)
}

impl Full {
    fn holds_for(&self, batch: &Batch) -> bool {
        batch.row_count >= self.rows || batch.bytes >= self.bytes || batch.pages >= MAX_PAGES
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
        let cursor = PageCursor::from_plain(&format!("behind {page}"));
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
        let full = Full { rows: 1_000, bytes: 1_000 };
        let gathered = Batch::default();
        (Batcher { compression, max_rows, full, gathered, chunks: sender }, chunks)
    }

    /// Rows, rejected customers and the last page of each chunk.
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
    async fn the_first_page_goes_alone_and_the_others_together_until_there_are_enough_bytes() {
        let (mut batcher, chunks) = batcher(10_000);
        for page in 1..=5 {
            assert!(batcher.add(rows(120), Vec::new(), end(page)).await.is_ok());
        }
        batcher.finish().await;
        // 360 bytes a page.
        assert_eq!(flushed(chunks).await, [(120, 0, Some(1)), (360, 0, Some(4)), (120, 0, Some(5))]);
    }

    #[tokio::test]
    async fn a_page_with_more_rows_than_a_part_may_have_is_taken_apart() {
        let (mut batcher, chunks) = batcher(2);
        assert!(batcher.add(rows(1), Vec::new(), end(1)).await.is_ok());
        assert!(batcher.add(rows(1), vec![rejected(2)], end(2)).await.is_ok());
        assert!(batcher.add(rows(5), vec![rejected(3)], end(3)).await.is_ok());
        batcher.finish().await;
        let expected = [(1, 0, Some(1)), (1, 1, Some(2)), (2, 0, None), (2, 0, None), (1, 1, Some(3))];
        assert_eq!(flushed(chunks).await, expected);
    }

    #[tokio::test]
    async fn pages_without_rows_are_flushed_for_what_was_rejected_and_never_too_many() {
        let (mut batcher, chunks) = batcher(2);
        assert!(batcher.add(rows(0), Vec::new(), end(1)).await.is_ok());
        for page in 2..=70 {
            assert!(batcher.add(rows(0), vec![rejected(page)], end(page)).await.is_ok());
        }
        batcher.finish().await;
        assert_eq!(flushed(chunks).await, [(0, 64, Some(65)), (0, 5, Some(70))]);
    }
}
