//! Transfers the pages of a store into stored parts.
//!
//! Owns the order of the pages, backpressure between the steps, and which parts are known to be stored. Fetching starts before
//! the sink exists: a sink is needed only if there are customers. Invariants: the parts contain every customer that Yotpo
//! listed, once and in order, or the transfer fails; memory is bounded by the settings (see
//! [`TransferSettings::memory_bound`]). It does not know how a sink stores parts, nor what they are used for.
//!
//! ```text
//! pages, as rows ──► compression (parallel threads) ──► parts (in order) ──► sink (N concurrent)
//!             bounded channel                    one part is built at a time    │
//!                                                  contiguous stored parts ──► checkpoint
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
pub use sink::{CompleteParts, NamedPart, PartSink, Put};
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

/// A transfer whose pages are being fetched.
#[derive(Debug)]
pub struct Transfer {
    fetch_task: AbortOnDropHandle<FetchEnd>,
    chunks: mpsc::Receiver<PendingChunk>,
    first: Option<CompressedChunk>,
    /// The parts stored by earlier processes.
    stored_before: StoredPrefix,
}

/// How fetching ended.
#[derive(Debug)]
enum FetchEnd {
    /// All pages were fetched: the number of customers fetched by this process, and the end of the last page.
    Complete(u64, PageEnd),
    /// A stop was requested.
    Stopped(Signal),
    /// A page could not be fetched or was invalid.
    Failed(YotpoError),
}

/// A transfer whose pages are all fetched. Parts may still be in flight, and the last one is incomplete.
pub struct FetchedParts<'a, S: PartSink> {
    writer: PartWriter<'a, S>,
    end: PageEnd,
}

/// A transfer whose parts are all stored except the last.
pub struct LastPart<'a, S: PartSink> {
    writer: PartWriter<'a, S>,
    end: PageEnd,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEnd {
    /// Everything is stored.
    Complete(crate::identity::PartTotals),
    /// No row followed the stored parts, so there is no last part.
    NoMoreRows,
    /// The sink accepts no more parts.
    SinkClosed,
}

impl Transfer {
    /// Starts to fetch `pages`, whose position is the end of `stored_before`.
    pub fn start(
        mut pages: Pages,
        stored_before: StoredPrefix,
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
            // Cancels prefetched requests.
            drop(pages);
            batcher.finish().await;
            end
        };
        let fetch_task = AbortOnDropHandle::new(tokio::spawn(fetching.in_current_span()));
        Self { fetch_task, chunks, first: None, stored_before }
    }

    /// Waits for the first customers. Returns `false` if the store has none.
    ///
    /// # Errors
    /// When fetching fails or is stopped before.
    pub async fn has_customers<E>(&mut self) -> Result<bool, TransferError<E>> {
        if let Some(pending) = self.chunks.recv().await {
            self.first = Some(pending.finished().await?);
            return Ok(true);
        }
        match self.end().await? {
            FetchEnd::Complete(0, _) => Ok(false),
            FetchEnd::Complete(..) => Err(TransferError::Bug("customers were fetched but none arrived")),
            FetchEnd::Stopped(signal) => Err(TransferError::Interrupted(signal)),
            FetchEnd::Failed(error) => Err(error.into()),
        }
    }

    async fn end<E>(&mut self) -> Result<FetchEnd, TransferError<E>> {
        (&mut self.fetch_task).await.map_err(|_panicked| TransferError::Bug("fetching the pages panicked"))
    }

    /// Fetches the remaining pages and stores complete parts in `sink`. Returns `None` if the sink accepts no more parts. When a
    /// stop is requested or Yotpo fails, complete pages are stored, so that the run can be resumed after them.
    ///
    /// # Errors
    /// When not everything could be fetched and stored.
    pub async fn store<'a, S: PartSink>(
        mut self,
        context: TransferContext<'a>,
        sink: &'a S,
    ) -> Result<Option<FetchedParts<'a, S>>, TransferError<S::Error>> {
        let mut writer = PartWriter::after(&self.stored_before, context, sink);
        if let Some(first) = self.first.take() {
            writer.add(first).await?;
        }
        writer.add_all(&mut self.chunks).await?;
        context.progress.batches_queued(0);
        if writer.is_sink_closed() {
            return Ok(None);
        }
        let error = match self.end().await? {
            FetchEnd::Complete(fetched, end) => {
                let totals = writer.totals();
                // All fetched customers must have arrived, whatever is between the pages and the parts.
                if totals.rows + totals.rejected
                    != self.stored_before.rows + self.stored_before.rejected + fetched
                {
                    return Err(TransferError::Bug("customers were lost between the pages and the parts"));
                }
                return Ok(Some(FetchedParts { writer, end }));
            }
            FetchEnd::Stopped(signal) => TransferError::Interrupted(signal),
            FetchEnd::Failed(error) => error.into(),
        };
        if let Err(error) = writer.store_incomplete().await {
            tracing::warn!(%error, "not all fetched rows could be stored");
        }
        Err(error)
    }
}

impl<'a, S: PartSink> FetchedParts<'a, S> {
    /// Waits for the parts in flight, which would not be polled while the caller sends its own requests.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn stored(mut self) -> Result<LastPart<'a, S>, TransferError<S::Error>> {
        self.writer.drain().await?;
        Ok(LastPart { writer: self.writer, end: self.end })
    }
}

impl<S: PartSink> LastPart<'_, S> {
    /// Number of rows in all parts, including the last.
    pub const fn rows(&self) -> u64 {
        self.writer.totals().rows
    }

    /// Stores the last part and completes the sink.
    ///
    /// # Errors
    /// When the sink fails.
    pub async fn store(self) -> Result<TransferEnd, TransferError<S::Error>> {
        let sink = self.writer.sink();
        match self.writer.finish().await? {
            Written::Complete(totals, digest) => {
                let complete = CompleteParts { totals, digest, end: self.end };
                sink.complete(complete).await.map_err(TransferError::Sink)?;
                Ok(TransferEnd::Complete(totals))
            }
            Written::NoMoreRows => Ok(TransferEnd::NoMoreRows),
            Written::SinkClosed => Ok(TransferEnd::SinkClosed),
        }
    }
}
