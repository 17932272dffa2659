use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::clock::Clock;
use crate::part::{ChunkEncoder, CompressionLevel};
use crate::row::RowError;
use crate::shutdown::Signal;
use crate::transfer::batch::{Batch, RejectedCustomer};
use crate::transfer::compression::CompressionPool;
use crate::transfer::settings::PartSettings;
use crate::transfer::sink::CompleteParts;
use crate::transfer::{FetchEnd, Transfer};
use crate::yotpo::{EndedBy, LoyaltyCheck, LoyaltyCounts, PageCursor};

/// Keeps parts and checkpoints.
#[derive(Default)]
struct Kept {
    parts: Mutex<Vec<NamedPart>>,
    prefixes: Mutex<Vec<StoredPrefix>>,
}

impl PartSink for Kept {
    type Error = Infallible;

    async fn put(&self, part: &NamedPart) -> Result<Put, Infallible> {
        self.parts.lock().unwrap().push(part.clone());
        Ok(Put::Stored)
    }

    async fn checkpoint(&self, prefix: StoredPrefix) -> Result<(), Infallible> {
        self.prefixes.lock().unwrap().push(prefix);
        Ok(())
    }

    async fn complete(&self, _: CompleteParts) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Accepts no part, because another attempt has decided.
struct Closed;

impl PartSink for Closed {
    type Error = Infallible;

    async fn put(&self, _: &NamedPart) -> Result<Put, Infallible> {
        Ok(Put::SinkClosed)
    }

    async fn checkpoint(&self, prefix: StoredPrefix) -> Result<(), Infallible> {
        unreachable!("nothing was stored: {prefix:?}")
    }

    async fn complete(&self, parts: CompleteParts) -> Result<(), Infallible> {
        unreachable!("nothing was stored: {parts:?}")
    }
}

fn after(page: u64) -> PageEnd {
    let cursor = PageCursor::from_plain(&format!("after {page}"));
    PageEnd { position: Position::After { page, cursor, query: None }, loyalty: LoyaltyCounts::default() }
}

fn last_page(page: u64) -> PageEnd {
    let position = Position::End { page, ended_by: EndedBy::LastPage };
    PageEnd { position, loyalty: LoyaltyCounts::default() }
}

fn chunk(rows: usize, rejected: usize, end: Option<PageEnd>) -> CompressedChunk {
    let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST);
    encoder.add(&vec!["row"; rows].into_iter().collect());
    let customer = |position| RejectedCustomer {
        page: 1,
        position,
        reason: RowError::NotAnObject,
        customer: "null".into(),
    };
    CompressedChunk {
        chunk: encoder.finish().unwrap(),
        rejected: (1..=rejected).map(customer).collect(),
        end,
    }
}

/// Tries something with parts of these sizes, before which nothing is stored.
async fn with_context<T>(
    max_rows: usize,
    closing_size: usize,
    try_it: impl AsyncFnOnce(TransferContext<'_>, StoredPrefix) -> T,
) -> T {
    let settings = TransferSettings {
        page_size: 100,
        parts: PartSettings {
            max_rows: NonZeroUsize::new(max_rows).unwrap(),
            closing_size,
            level: CompressionLevel::FASTEST,
        },
        upload_workers: NonZeroUsize::MIN,
        loyalty_check: LoyaltyCheck::On,
        max_error_records: 10,
    };
    let (progress, quarantine) = (Progress::default(), Quarantine::new(None, Clock::machine()));
    let context = TransferContext {
        settings: &settings,
        progress: &progress,
        quarantine: &quarantine,
        quarantine_label: "run",
    };
    let start = PageEnd { position: Position::Start, loyalty: LoyaltyCounts::default() };
    let nothing = StoredPrefix { parts: 0, rows: 0, rejected: 0, end: start, digest: PartsDigest::default() };
    try_it(context, nothing).await
}

/// What a writer of parts of these sizes stores, which `finish` consumes.
async fn kept(
    max_rows: usize,
    closing_size: usize,
    chunks: impl IntoIterator<Item = CompressedChunk>,
    finish: impl AsyncFnOnce(PartWriter<'_, Kept>),
) -> Kept {
    with_context(max_rows, closing_size, async |context, nothing| {
        let sink = Kept::default();
        let mut writer = PartWriter::after(&nothing, context, &sink);
        for chunk in chunks {
            writer.add(chunk).await.unwrap();
        }
        finish(writer).await;
        sink
    })
    .await
}

/// The rows and rejected customers of each part.
fn counts(kept: &Kept) -> Vec<(u64, u64)> {
    kept.parts.lock().unwrap().iter().map(|part| (part.rows, part.rejected)).collect()
}

async fn complete(writer: PartWriter<'_, Kept>) {
    assert!(matches!(writer.finish().await, Ok(Written::Complete(..))));
}

async fn interrupt(writer: PartWriter<'_, Kept>) {
    writer.store_incomplete().await.unwrap();
}

#[tokio::test]
async fn a_part_is_closed_before_it_would_exceed_the_maximum_of_rows() {
    let chunks = [4, 6, 1, 9, 10, 2, 9].map(|rows| chunk(rows, 0, Some(after(1))));
    let kept = kept(10, 1 << 20, chunks, complete).await;
    assert_eq!(counts(&kept), [(10, 0), (10, 0), (10, 0), (2, 0), (9, 0)]);
}

#[tokio::test]
async fn rejected_customers_after_the_last_rows_belong_to_the_last_part() {
    let chunks = [(3, 0), (3, 1), (0, 1)].map(|(rows, rejected)| chunk(rows, rejected, Some(after(1))));
    // Each part is full with its first rows.
    let kept = kept(10, 1, chunks, complete).await;
    assert_eq!(counts(&kept), [(3, 0), (3, 2)]);
    let parts = kept.parts.into_inner().unwrap();
    let totals: Vec<_> = parts.iter().map(|part| part.name.as_str().contains("_last_2_6_2_")).collect();
    assert_eq!(totals, [false, true], "{parts:?}");
}

#[tokio::test]
async fn an_incomplete_part_is_stored_only_if_the_run_can_be_resumed_after_it() {
    for (end, expected) in [(None, vec![]), (Some(after(7)), vec![after(7)]), (Some(last_page(7)), vec![])] {
        let kept = kept(10, 1 << 20, [chunk(3, 0, end)], interrupt).await;
        assert_eq!(kept.parts.into_inner().unwrap().len(), expected.len());
        let prefixes = kept.prefixes.into_inner().unwrap();
        assert_eq!(prefixes.into_iter().map(|prefix| prefix.end).collect::<Vec<_>>(), expected);
    }
}

/// Whatever happened to the pages: the rows of another attempt are loaded, so this one has not failed.
#[tokio::test]
async fn a_transfer_whose_sink_was_closed_does_not_ask_how_fetching_ended() {
    let result = with_context(1, 1 << 20, async |context, stored_before| {
        let compression = CompressionPool::new(CompressionLevel::FASTEST, 1, Clock::machine());
        let (sender, chunks) = mpsc::channel(3);
        for page in 1..=3 {
            let rows = vec![["row"].into_iter().collect()];
            let batch = Batch { rows, rejected: Vec::new(), end: Some(after(page)), ..Batch::default() };
            sender.send(compression.start(batch)).await.unwrap();
        }
        let fetch_task = AbortOnDropHandle::new(tokio::spawn(async { FetchEnd::Stopped(Signal::Terminate) }));
        let transfer = Transfer { fetch_task, chunks, first: None, stored_before };
        transfer.store(context, &Closed).await.map(|parts| parts.is_some())
    });
    assert!(matches!(result.await, Ok(false)));
}
