//! Fetching: pages in order, gathered into batches for the encoders while the next page is already requested.

use bytestring::ByteString;
use tokio::sync::mpsc;

use super::encoding::{EncoderPool, PendingChunk};
use super::ledger::PageEnd;
use super::progress::Progress;
use super::seen_customers::SeenCustomers;
use super::settings::PartSettings;
use crate::row::{RowError, Rows};
use crate::yotpo::{self, Pages, YotpoError};

/// Bytes of rows at which a batch is full. Measured (docs/performance.md): more saves nothing, less costs a wake-up and
/// a new start of deflate for each page.
const FULL_BATCH: usize = 512 * 1024;
/// Pages at which a batch is full, however small they are.
const MOST_PAGES: usize = 64;
/// A batch has at most this share of a part's size, before it is compressed, and of its rows: parts are only cut between
/// batches, and must come close to what is set.
const BATCHES_IN_A_PART: usize = 8;
const BATCHES_IN_A_PARTS_ROWS: usize = 100;

/// Rows in the order of the pages, to be compressed at one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Those of a page are together, unless they are more than a part may have.
    pub(super) rows: Vec<Rows>,
    /// Of the same pages.
    pub(super) refused: Vec<RefusedCustomer>,
    /// None when more of the last page follows.
    pub(super) end: Option<PageEnd>,
    row_count: usize,
    bytes: usize,
    pages: usize,
}

/// A customer of which no row can be made.
pub(super) struct RefusedCustomer {
    /// Number of its page, from 1.
    pub(super) page: u64,
    /// Its place on the page, from 1.
    pub(super) position: usize,
    pub(super) reason: RowError,
    /// Its JSON text: customer data, only ever for the quarantine.
    pub(super) customer: ByteString,
}

/// When a batch is full.
struct Full {
    rows: usize,
    bytes: usize,
}

/// The other side of the channel is gone; it tells why.
struct Gone;

/// Gathers pages and hands them to the encoders; the channel's capacity bounds the batches in memory.
pub(super) struct Batches {
    encoders: EncoderPool,
    /// Rows that are never exceeded.
    most_rows: usize,
    full: Full,
    gathered: Batch,
    chunks: mpsc::Sender<PendingChunk>,
}

/// Fetches all pages and returns how many customers were on them, and where they ended. Whether it comes to its end or not, the last batch is still
/// with `batches`.
pub(super) async fn fetch(
    pages: &mut Pages,
    batches: &mut Batches,
    progress: &Progress,
) -> Result<(u64, PageEnd), YotpoError> {
    let mut customers = 0;
    let mut seen = SeenCustomers::default();
    while let Some(page) = pages.next_page().await? {
        customers += page.customers() as u64;
        progress.page_fetched(&page);
        let end = PageEnd::reached_by(pages);
        let number = end.position.page();
        let (rows, refused) = page.into_rows();
        for row in rows.iter() {
            seen.note(row);
        }
        let refused = refused.into_iter().map(|refused| RefusedCustomer::on(number, refused)).collect();
        if batches.add(rows, refused, end).await.is_err() {
            // The other side failed, and its error ends this too: what is not complete must never look so.
            return std::future::pending().await;
        }
    }
    let end = PageEnd::reached_by(pages);
    progress.pages_ended(end.position.ended_by());
    progress.customers_came_twice(seen.twice(), seen.is_estimate());
    Ok((customers, end))
}

impl Batches {
    /// Batches for such parts.
    pub(super) fn new(
        encoders: EncoderPool,
        parts: &PartSettings,
        chunks: mpsc::Sender<PendingChunk>,
    ) -> Self {
        let most_rows = parts.most_rows.get();
        let full = Full { rows: most_rows / BATCHES_IN_A_PARTS_ROWS, bytes: full_batch(parts) };
        Self { encoders, most_rows, full, gathered: Batch::default(), chunks }
    }

    async fn add(&mut self, mut rows: Rows, refused: Vec<RefusedCustomer>, end: PageEnd) -> Result<(), Gone> {
        if rows.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let is_first = end.position.page() == 1;
        while !rows.is_empty() {
            if self.gathered.row_count + rows.len().min(self.most_rows) > self.most_rows {
                self.hand_over().await?;
            }
            self.gathered.add(rows.split_to(self.most_rows));
        }
        self.gathered.end_page(refused, end);
        // The first page goes at once: it tells that there is something to load, so that a session can be opened.
        if is_first || self.full.holds_for(&self.gathered) { self.hand_over().await } else { Ok(()) }
    }

    /// Hands over what is left, however little.
    pub(super) async fn finish(mut self) {
        // Nobody is left to miss it.
        let _ = self.hand_over().await;
    }

    async fn hand_over(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        // A place first, so that no more batches are in work than fit.
        let place = self.chunks.reserve().await.map_err(|_closed| Gone)?;
        place.send(self.encoders.start(std::mem::take(&mut self.gathered)));
        Ok(())
    }
}

/// Bytes of rows at which a batch for such parts is full; it may exceed it by a page.
pub(super) fn full_batch(parts: &PartSettings) -> usize {
    FULL_BATCH.min(parts.closing_size / BATCHES_IN_A_PART)
}

impl Full {
    fn holds_for(&self, batch: &Batch) -> bool {
        batch.row_count >= self.rows || batch.bytes >= self.bytes || batch.pages >= MOST_PAGES
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refused.is_empty()
    }

    fn add(&mut self, rows: Rows) {
        self.row_count += rows.len();
        self.bytes += rows.bytes().len();
        self.rows.push(rows);
        self.end = None;
    }

    /// All rows of a page are added.
    fn end_page(&mut self, refused: Vec<RefusedCustomer>, end: PageEnd) {
        self.bytes += refused.iter().map(|refused| refused.customer.len()).sum::<usize>();
        self.refused.extend(refused);
        self.pages += 1;
        self.end = Some(end);
    }
}

impl RefusedCustomer {
    fn on(page: u64, refused: yotpo::RefusedCustomer) -> Self {
        let yotpo::RefusedCustomer { position, reason, customer } = refused;
        Self { page, position, reason, customer }
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
    use crate::clock::Clock;
    use crate::part::CompressionLevel;
    use crate::yotpo::{LoyaltyCounts, PageCursor, Position};

    fn end(page: u64) -> PageEnd {
        let cursor = PageCursor::from_plain(&format!("behind {page}"));
        PageEnd { position: Position::After { page, cursor, query: None }, loyalty: LoyaltyCounts::default() }
    }

    fn rows(count: usize) -> Rows {
        vec!["row"; count].into_iter().collect()
    }

    fn refused(page: u64) -> RefusedCustomer {
        RefusedCustomer { page, position: 1, reason: RowError::NotAnObject, customer: "null".into() }
    }

    fn batches(most_rows: usize) -> (Batches, mpsc::Receiver<PendingChunk>) {
        let (sender, chunks) = mpsc::channel(100);
        let encoders = EncoderPool::new(CompressionLevel::FASTEST, 1, Clock::machine());
        let full = Full { rows: 1_000, bytes: 1_000 };
        let gathered = Batch::default();
        (Batches { encoders, most_rows, full, gathered, chunks: sender }, chunks)
    }

    /// Rows, refused customers and the last page of each chunk.
    async fn handed_over(mut chunks: mpsc::Receiver<PendingChunk>) -> Vec<(u64, usize, Option<u64>)> {
        let mut found = Vec::new();
        while let Some(pending) = chunks.recv().await {
            let encoded = pending.finished().await.unwrap();
            let end = encoded.end.map(|end| end.position.page());
            found.push((encoded.chunk.rows(), encoded.refused.len(), end));
        }
        found
    }

    #[tokio::test]
    async fn the_first_page_goes_alone_and_the_others_together_until_there_are_enough_bytes() {
        let (mut batches, chunks) = batches(10_000);
        for page in 1..=5 {
            assert!(batches.add(rows(120), Vec::new(), end(page)).await.is_ok());
        }
        batches.finish().await;
        // 360 bytes a page.
        assert_eq!(handed_over(chunks).await, [(120, 0, Some(1)), (360, 0, Some(4)), (120, 0, Some(5))]);
    }

    #[tokio::test]
    async fn a_page_with_more_rows_than_a_part_may_have_is_taken_apart() {
        let (mut batches, chunks) = batches(2);
        assert!(batches.add(rows(1), Vec::new(), end(1)).await.is_ok());
        assert!(batches.add(rows(1), vec![refused(2)], end(2)).await.is_ok());
        assert!(batches.add(rows(5), vec![refused(3)], end(3)).await.is_ok());
        batches.finish().await;
        let expected = [(1, 0, Some(1)), (1, 1, Some(2)), (2, 0, None), (2, 0, None), (1, 1, Some(3))];
        assert_eq!(handed_over(chunks).await, expected);
    }

    #[tokio::test]
    async fn pages_without_rows_are_handed_over_for_what_was_refused_and_never_too_many() {
        let (mut batches, chunks) = batches(2);
        assert!(batches.add(rows(0), Vec::new(), end(1)).await.is_ok());
        for page in 2..=70 {
            assert!(batches.add(rows(0), vec![refused(page)], end(page)).await.is_ok());
        }
        batches.finish().await;
        assert_eq!(handed_over(chunks).await, [(0, 64, Some(65)), (0, 5, Some(70))]);
    }

    #[test]
    fn debug_output_hides_the_customer() {
        assert_eq!(
            format!("{:?}", refused(3)),
            "RefusedCustomer(page 3, position 1, customer is not a JSON object)"
        );
    }
}
