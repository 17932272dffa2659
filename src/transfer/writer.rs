//! Parts: built in order, put into the sink several at once, noted in the ledger when they are stored.
//!
//! Owns when a part is closed and what it is called. A part is closed only when rows for the next one are there, so that
//! the last is never empty and can carry the totals. It does not decide whether the last one may be stored.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::compression::{CompressedChunk, PendingChunk};
use super::error::TransferError;
use super::ledger::{Ledger, PageEnd, StoredPart, StoredPrefix};
use super::memory::{part_capacity, parts_in_memory};
use super::quarantine::Quarantine;
use super::settings::TransferSettings;
use super::sink::{PartSink, Put};
use crate::identity::{OwnPart, PartName, PartTotals, PartsDigest};
use crate::part::{Part, PartBuilder};
use crate::spans;
use crate::telemetry::Progress;
use crate::yotpo::Position;

/// What a transfer works with beside its source and its sink.
#[derive(Clone, Copy, Debug)]
pub struct TransferContext<'a> {
    /// How customers are fetched and cut into parts.
    pub settings: &'a TransferSettings,
    /// Counters.
    pub progress: &'a Progress,
    /// Where rejected customers go.
    pub quarantine: &'a Quarantine,
    /// What quarantine files are named after.
    pub quarantine_label: &'a str,
}

/// Builds parts from chunks and puts them into a sink.
pub(super) struct PartWriter<'a, S: PartSink> {
    context: TransferContext<'a>,
    sink: &'a S,
    builder: PartBuilder,
    /// What the part that is being built holds beside its rows.
    rejected: u64,
    end: Option<PageEnd>,
    /// Of the next part.
    position: u64,
    /// Over the names of all parts before it.
    digest: PartsDigest,
    total: Totals,
    ledger: Ledger,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<Option<Stored>, S::Error>>>,
    is_sink_closed: bool,
    /// The last part was closed.
    is_closed: bool,
}

/// What went through the writer, and what went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) rejected: u64,
}

/// How the writing ended.
pub(super) enum Written {
    /// All parts are stored; the digest is over all their names.
    Complete(PartTotals, PartsDigest),
    /// There was no row for a last part.
    NothingFurther,
    /// The sink takes no more parts.
    SinkClosed,
}

/// A part that the sink has.
struct Stored {
    position: u64,
    part: StoredPart,
    body: Bytes,
    row_bytes: u64,
}

impl<'a, S: PartSink> PartWriter<'a, S> {
    /// A writer that continues after what is stored.
    pub(super) fn after(stored: &StoredPrefix, context: TransferContext<'a>, sink: &'a S) -> Self {
        let TransferContext { settings, .. } = context;
        let StoredPrefix { parts, rows, rejected, digest, .. } = *stored;
        Self {
            context,
            sink,
            builder: PartBuilder::with_capacity(part_capacity(&settings.parts), parts_in_memory(settings)),
            rejected: 0,
            end: None,
            position: parts,
            digest,
            total: Totals { rows, rejected },
            ledger: Ledger::after(stored),
            in_flight: FuturesUnordered::new(),
            is_sink_closed: false,
            is_closed: false,
        }
    }

    /// What went through so far.
    pub(super) const fn totals(&self) -> Totals {
        self.total
    }

    /// Whether the sink takes no more parts.
    pub(super) const fn is_sink_closed(&self) -> bool {
        self.is_sink_closed
    }

    /// Takes chunks until there are no more, or the sink is closed. The last part is not closed: see [`Self::finish`].
    pub(super) async fn take_all(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<(), TransferError<S::Error>> {
        while !self.is_sink_closed
            && let Some(pending) = self.next(chunks).await?
        {
            let chunk = pending.finished().await?;
            self.add(chunk).await?;
        }
        Ok(())
    }

    /// Adds a chunk to the part that is being built.
    pub(super) async fn add(&mut self, compressed: CompressedChunk) -> Result<(), TransferError<S::Error>> {
        let CompressedChunk { chunk, rejected, end } = compressed;
        if chunk.rows() > 0 && self.is_full_for(chunk.rows()) {
            self.close_part(None).await?;
        }
        let TransferContext { settings, quarantine, quarantine_label, .. } = self.context;
        for customer in &rejected {
            self.total.rejected += 1;
            quarantine.write_customer(quarantine_label, customer).await?;
            if self.total.rejected > settings.max_error_records {
                // What is in flight is stored: with the flag that allows this customer, the run is resumed from there.
                self.drain().await?;
                return Err(TransferError::Customer {
                    page: customer.page,
                    position: customer.position,
                    allowed: settings.max_error_records,
                    source: customer.reason,
                });
            }
        }
        self.rejected += u64::try_from(rejected.len()).unwrap_or(u64::MAX);
        self.total.rows += chunk.rows();
        self.end = end;
        self.builder.append(&chunk);
        Ok(())
    }

    fn is_full_for(&self, rows: u64) -> bool {
        let parts = &self.context.settings.parts;
        let max_rows = u64::try_from(parts.max_rows.get()).unwrap_or(u64::MAX);
        self.builder.compressed_len() >= parts.closing_size || self.builder.rows() + rows > max_rows
    }

    /// Stores the last part, which carries the totals. All others are stored by then.
    pub(super) async fn finish(mut self) -> Result<Written, TransferError<S::Error>> {
        if self.is_sink_closed {
            return Ok(Written::SinkClosed);
        }
        if self.builder.rows() == 0 {
            return Ok(Written::NothingFurther);
        }
        let Totals { rows: valid, rejected } = self.total;
        self.is_closed = true;
        self.close_part(Some(self.total)).await?;
        self.drain().await?;
        if self.is_sink_closed {
            return Ok(Written::SinkClosed);
        }
        Ok(Written::Complete(PartTotals { parts: self.position, valid, rejected }, self.digest))
    }

    /// Stores what was built so far, for a run that will be resumed.
    pub(super) async fn store_rest(mut self) -> Result<(), TransferError<S::Error>> {
        if is_resumable_end(self.end.as_ref()) {
            self.close_part(None).await?;
        }
        self.drain().await
    }

    /// Waits for the parts in flight, without starting another.
    pub(super) async fn drain(&mut self) -> Result<(), TransferError<S::Error>> {
        while let Some(stored) = self.in_flight.next().await {
            self.note(stored).await?;
        }
        Ok(())
    }

    /// The next chunk; parts that are stored meanwhile are noted.
    async fn next(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<Option<PendingChunk>, TransferError<S::Error>> {
        loop {
            tokio::select! {
                biased;
                Some(stored) = self.in_flight.next() => self.note(stored).await?,
                pending = chunks.recv() => return Ok(pending),
            }
        }
    }

    /// Starts to store the part that was built, once a worker is free. The last one carries the totals.
    async fn close_part(&mut self, last: Option<Totals>) -> Result<(), TransferError<S::Error>> {
        if self.builder.is_empty() {
            return Ok(());
        }
        while self.in_flight.len() >= self.context.settings.upload_workers.get() {
            if let Some(stored) = self.in_flight.next().await {
                self.note(stored).await?;
            }
        }
        let part = self.builder.finish();
        let own = OwnPart::new(self.position, &part.body);
        let name = match last {
            None => own.render(),
            Some(Totals { rows, rejected }) => own.last(self.digest, rows, rejected).render(),
        };
        self.digest = self.digest.with(name.as_str());
        let stored = StoredPart {
            rows: part.rows,
            rejected: std::mem::take(&mut self.rejected),
            // Behind the last part there is nothing to resume from: it is saved together with the totals, or not at all.
            end: self.end.take().filter(|_| last.is_none()),
            digest: self.digest,
        };
        let storing = store(self.sink, name, self.position, part, stored);
        self.in_flight.push(Box::pin(storing.instrument(spans::part(self.position))));
        self.position += 1;
        self.context.progress.parts_queued(self.in_flight.len());
        Ok(())
    }

    async fn note(
        &mut self,
        stored: Result<Option<Stored>, S::Error>,
    ) -> Result<(), TransferError<S::Error>> {
        self.context.progress.parts_queued(self.in_flight.len());
        let Some(stored) = stored.map_err(TransferError::Sink)? else {
            self.is_sink_closed = true;
            return Ok(());
        };
        let Stored { position, part, body, row_bytes } = stored;
        let compressed = body.len();
        self.builder.reuse(body);
        tracing::debug!(part = position, bytes = compressed, rows = part.rows, "part stored");
        self.context.progress.part_stored(compressed, row_bytes);
        // The last part is saved with its totals: without them a later process would take it for any other.
        if let Some(prefix) = self.ledger.stored(position, part)
            && !self.is_closed
        {
            self.sink.checkpoint(prefix).await.map_err(TransferError::Sink)?;
        }
        Ok(())
    }
}

/// Puts a part into the sink; none when that takes no more parts.
async fn store<S: PartSink>(
    sink: &S,
    name: PartName,
    position: u64,
    part: Part,
    stored: StoredPart,
) -> Result<Option<Stored>, S::Error> {
    let Part { body, uncompressed_bytes: row_bytes, .. } = part;
    let put = sink.put(&name, body.clone()).await?;
    Ok((put == Put::Stored).then_some(Stored { position, part: stored, body, row_bytes }))
}

/// Whether a part that ends there is worth storing when the run stops: behind the last page nothing would follow it, and
/// the last part must carry the totals.
fn is_resumable_end(end: Option<&PageEnd>) -> bool {
    end.is_some_and(|end| !matches!(end.position, Position::End { .. }))
}
