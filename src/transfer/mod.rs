//! From the pages of a store to stored parts.
//!
//! Owns the order of the pages, back-pressure between the steps, and what is known to be stored after each. Fetching
//! starts before there is a sink: whether there are customers at all decides whether one is needed. Invariants: parts
//! hold every customer that Yotpo listed, once and in order, or the transfer fails; memory is bounded by the settings
//! (see [`TransferSettings::memory_bound`]). It does not know what a sink does with parts, nor what becomes of them.
//!
//! ```text
//! pages, as rows ──► compression (own threads, in parallel) ──► parts (in order) ──► sink (N at once)
//!             bounded channel                                 one part is built at a time    │
//!                                                               contiguous stored parts ──► checkpoint
//! ```

mod batch;
mod batcher;
mod compression;
mod error;
mod fetch;
mod ledger;
mod memory;
mod quarantine;
mod seen_customers;
mod settings;
mod sink;
mod writer;

pub use error::TransferError;
pub use ledger::{PageEnd, StoredPrefix};
pub use memory::MAX_COMPRESSION_THREADS;
pub use quarantine::{ErrorRecordsFile, Quarantine, QuarantineError, check_quarantine_space};
pub use settings::{PartSettings, TransferSettings};
pub use sink::{CompleteParts, PartSink, Put};
pub use writer::TransferContext;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::batcher::Batcher;
use self::compression::{CompressedChunk, CompressionPool, PendingChunk};
use self::fetch::fetch;
use self::memory::{compression_threads, waiting_batches};
use self::writer::{PartWriter, Written};
use crate::clock::Clock;
use crate::shutdown::{Signal, StopRequests};
use crate::telemetry::Progress;
use crate::yotpo::{Pages, YotpoError};

/// Pages that are being fetched.
#[derive(Debug)]
pub struct Transfer {
    fetching: AbortOnDropHandle<FetchEnd>,
    chunks: mpsc::Receiver<PendingChunk>,
    first: Option<CompressedChunk>,
    /// What was stored before.
    before: StoredPrefix,
}

/// How the fetching ended.
#[derive(Debug)]
enum FetchEnd {
    /// All pages are fetched, with so many customers in this process; they ended there.
    Complete(u64, PageEnd),
    /// A stop was requested.
    Stopped(Signal),
    /// Yotpo failed, or what it sent was rejected.
    Failed(YotpoError),
}

/// All that is fetched: some parts may be in flight, and the last one is not complete.
pub struct FetchedParts<'a, S: PartSink> {
    writer: PartWriter<'a, S>,
    end: PageEnd,
}

/// Parts that are all stored but the last.
pub struct LastPart<'a, S: PartSink> {
    writer: PartWriter<'a, S>,
    end: PageEnd,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEnd {
    /// Everything is stored.
    Complete(crate::identity::PartTotals),
    /// Behind what was stored before came no row that a last part could hold.
    NothingFurther,
    /// The sink takes no more parts.
    SinkClosed,
}

impl Transfer {
    /// Starts to fetch `pages`, which stand where `before` ends.
    pub fn start(
        mut pages: Pages,
        before: StoredPrefix,
        settings: &TransferSettings,
        progress: &Arc<Progress>,
        clock: &Clock,
        stop: &StopRequests,
    ) -> Self {
        let threads = compression_threads();
        let (sender, chunks) = mpsc::channel(waiting_batches(threads));
        let compression = CompressionPool::new(settings.parts.level, threads, clock.clone());
        let mut batcher = Batcher::new(compression, &settings.parts, sender);
        let (progress, stop) = (Arc::clone(progress), stop.clone());
        let fetching = async move {
            let end = tokio::select! {
                biased;
                signal = stop.graceful() => FetchEnd::Stopped(signal),
                result = fetch(&mut pages, &mut batcher, &progress) => match result {
                    Ok((customers, end)) => FetchEnd::Complete(customers, end),
                    Err(error) => FetchEnd::Failed(error),
                },
            };
            // No more is requested.
            drop(pages);
            batcher.finish().await;
            end
        };
        let fetching = AbortOnDropHandle::new(tokio::spawn(fetching.in_current_span()));
        Self { fetching, chunks, first: None, before }
    }

    /// Waits for the first customers; `false` when the store has none.
    ///
    /// # Errors
    /// When fetching fails or is stopped before there are any.
    pub async fn has_customers<E>(&mut self) -> Result<bool, TransferError<E>> {
        if let Some(pending) = self.chunks.recv().await {
            self.first = Some(pending.finished().await?);
            return Ok(true);
        }
        match self.end().await? {
            FetchEnd::Complete(0, _) => Ok(false),
            FetchEnd::Complete(..) => Err(TransferError::Bug("customers were fetched and none arrived")),
            FetchEnd::Stopped(signal) => Err(TransferError::Interrupted(signal)),
            FetchEnd::Failed(error) => Err(error.into()),
        }
    }

    async fn end<E>(&mut self) -> Result<FetchEnd, TransferError<E>> {
        (&mut self.fetching).await.map_err(|_panicked| TransferError::Bug("fetching the pages panicked"))
    }

    /// Fetches the rest and puts complete parts into `sink`; `None` when the sink takes no more. What is complete when a
    /// stop is requested or Yotpo fails is stored, so that the run can be resumed from there.
    ///
    /// # Errors
    /// Why not everything could be fetched and stored.
    pub async fn store<'a, S: PartSink>(
        mut self,
        context: TransferContext<'a>,
        sink: &'a S,
    ) -> Result<Option<FetchedParts<'a, S>>, TransferError<S::Error>> {
        let mut writer = PartWriter::after(&self.before, context, sink);
        if let Some(first) = self.first.take() {
            writer.add(first).await?;
        }
        writer.take_all(&mut self.chunks).await?;
        if writer.is_sink_closed() {
            return Ok(None);
        }
        let error = match self.end().await? {
            FetchEnd::Complete(fetched, end) => {
                let totals = writer.totals();
                // Whatever lies between the pages and the parts: what was fetched must have come through.
                if totals.rows + totals.rejected != self.before.rows + self.before.rejected + fetched {
                    return Err(TransferError::Bug("customers were lost between the pages and the parts"));
                }
                return Ok(Some(FetchedParts { writer, end }));
            }
            FetchEnd::Stopped(signal) => TransferError::Interrupted(signal),
            FetchEnd::Failed(error) => error.into(),
        };
        if let Err(error) = writer.store_rest().await {
            tracing::warn!(%error, "what was fetched could not all be stored");
        }
        Err(error)
    }
}

impl<'a, S: PartSink> FetchedParts<'a, S> {
    /// Waits for the parts in flight: nobody would look after them while the caller sends requests of its own.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn stored(mut self) -> Result<LastPart<'a, S>, TransferError<S::Error>> {
        self.writer.drain().await?;
        Ok(LastPart { writer: self.writer, end: self.end })
    }
}

impl<S: PartSink> LastPart<'_, S> {
    /// Rows of all parts, the last one included.
    pub const fn rows(&self) -> u64 {
        self.writer.totals().rows
    }

    /// Stores it, and tells the sink that everything is stored.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn store(self, sink: &S) -> Result<TransferEnd, TransferError<S::Error>> {
        match self.writer.finish().await? {
            Written::Complete(totals, digest) => {
                let complete = CompleteParts { totals, digest, end: self.end };
                sink.complete(complete).await.map_err(TransferError::Sink)?;
                Ok(TransferEnd::Complete(totals))
            }
            Written::NothingFurther => Ok(TransferEnd::NothingFurther),
            Written::SinkClosed => Ok(TransferEnd::SinkClosed),
        }
    }
}
