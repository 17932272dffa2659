//! Fetching: pages in order, gathered into batches for the encoders while the next page is already requested.

use bytestring::ByteString;
use tokio::sync::mpsc;

use super::encoding::{EncoderPool, PendingChunk};
use super::ledger::PageEnd;
use super::progress::Progress;
use super::settings::PartSettings;
use crate::yotpo::{Pages, YotpoError};

/// JSON in bytes at which a batch is full. Measured (docs/performance.md): more saves nothing, less costs a wake-up and
/// a new start of deflate for each page.
const FULL_BATCH: usize = 512 * 1024;
/// Pages at which a batch is full, however small they are.
const MOST_PAGES: usize = 64;
/// A batch's JSON is at most this share of a part's size, and its rows are of a part's: parts are only cut between
/// batches, and must come close to what is set.
const BATCHES_IN_A_PART: usize = 8;
const BATCHES_IN_A_PARTS_ROWS: usize = 100;

/// Customers in the order of the pages, to be encoded at one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Piece>,
    /// None when more of the last page follows.
    pub(super) end: Option<PageEnd>,
    rows: usize,
    bytes: usize,
}

/// Customers of one page.
pub(super) struct Piece {
    /// Number of the page, from 1.
    pub(super) page: u64,
    /// The place of the first on its page, from 0.
    pub(super) first: usize,
    pub(super) customers: Vec<ByteString>,
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

/// Fetches all pages and tells how many customers were on them. Whether it comes to its end or not, the last batch is still
/// with `batches`.
pub(super) async fn fetch(
    pages: &mut Pages,
    batches: &mut Batches,
    progress: &Progress,
) -> Result<u64, YotpoError> {
    let mut customers = 0;
    while let Some(page) = pages.next_page().await? {
        customers += page.customers().len() as u64;
        progress.page_fetched(page.customers().len());
        let end = PageEnd {
            page: pages.number(),
            cursor: page.next().map(|cursor| cursor.as_str().to_owned()),
            limit_only: pages.limit_only(),
        };
        if batches.add(page.into_customers(), end).await.is_err() {
            // The other side failed, and its error ends this too: what is not complete must never look so.
            return std::future::pending().await;
        }
    }
    Ok(customers)
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

    async fn add(&mut self, mut customers: Vec<ByteString>, end: PageEnd) -> Result<(), Gone> {
        let page = end.page;
        let mut first = 0;
        while !customers.is_empty() {
            if self.gathered.rows + customers.len().min(self.most_rows) > self.most_rows {
                self.hand_over().await?;
            }
            let rest = customers.split_off(customers.len().min(self.most_rows));
            let piece = Piece { page, first, customers };
            first += piece.customers.len();
            let is_last = rest.is_empty();
            self.gathered.add(piece, is_last.then(|| end.clone()));
            customers = rest;
        }
        // The first page goes at once: it tells that there is something to load, so that a session can be opened.
        if page == 1 || self.full.holds_for(&self.gathered) { self.hand_over().await } else { Ok(()) }
    }

    /// Hands over what is left, however little.
    pub(super) async fn finish(mut self) {
        // Nobody is left to miss it.
        let _ = self.hand_over().await;
    }

    async fn hand_over(&mut self) -> Result<(), Gone> {
        if self.gathered.pieces.is_empty() {
            return Ok(());
        }
        // A place first, so that no more batches are in work than fit.
        let place = self.chunks.reserve().await.map_err(|_closed| Gone)?;
        place.send(self.encoders.start(std::mem::take(&mut self.gathered)));
        Ok(())
    }
}

/// JSON in bytes at which a batch for such parts is full; it may exceed it by a page.
pub(super) fn full_batch(parts: &PartSettings) -> usize {
    FULL_BATCH.min(parts.closing_size / BATCHES_IN_A_PART)
}

impl Full {
    fn holds_for(&self, batch: &Batch) -> bool {
        batch.rows >= self.rows || batch.bytes >= self.bytes || batch.pieces.len() >= MOST_PAGES
    }
}

impl Batch {
    fn add(&mut self, piece: Piece, end: Option<PageEnd>) {
        self.rows += piece.customers.len();
        self.bytes += piece.customers.iter().map(|customer| customer.len()).sum::<usize>();
        self.pieces.push(piece);
        self.end = end;
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Piece(page {}, {} customers)", self.page, self.customers.len())
    }
}
