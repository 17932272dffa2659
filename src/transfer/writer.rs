//! Builds parts in order, stores them concurrently in the sink, and records stored parts in the ledger.
//!
//! Owns when a part is closed, and its name. A part is closed only when there are rows for the next one, so the last part is
//! never empty and can contain the totals in its name. It does not decide whether the last part may be stored.

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
use super::sink::{NamedPart, PartSink, Put};
use crate::identity::{OwnPart, PartTotals, PartsDigest};
use crate::part::{Part, PartBuilder};
use crate::spans;
use crate::telemetry::Progress;
use crate::yotpo::Position;

/// The context of a transfer, besides its source and its sink.
#[derive(Clone, Copy, Debug)]
pub struct TransferContext<'a> {
    /// The settings of the transfer.
    pub settings: &'a TransferSettings,
    /// The counters.
    pub progress: &'a Progress,
    /// Receives rejected customers.
    pub quarantine: &'a Quarantine,
    /// The first part of the names of quarantine files.
    pub quarantine_label: &'a str,
}

/// Builds parts from chunks and puts them into a sink.
pub(super) struct PartWriter<'a, S: PartSink> {
    context: TransferContext<'a>,
    sink: &'a S,
    builder: PartBuilder,
    /// Rejected customers in the part that is being built.
    rejected: u64,
    /// Where its last page ends; `None` within a page.
    end: Option<PageEnd>,
    /// Position of the next part.
    position: u64,
    /// Digest over the names of all parts before it.
    digest: PartsDigest,
    total: Totals,
    ledger: Ledger,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<Option<Stored>, S::Error>>>,
    is_sink_closed: bool,
    /// Whether the last part was closed.
    is_closed: bool,
}

/// Totals of this process and of earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) rejected: u64,
}

/// How writing ended.
pub(super) enum Written {
    /// All parts are stored. The digest is over all names.
    Complete(PartTotals, PartsDigest),
    /// There was no row for a last part.
    NoMoreRows,
    /// The sink accepts no more parts.
    SinkClosed,
}

/// A part that the sink has stored.
struct Stored {
    position: u64,
    part: StoredPart,
    body: Bytes,
    row_bytes: u64,
}

impl<'a, S: PartSink> PartWriter<'a, S> {
    /// Creates a writer that continues after the stored parts.
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

    /// The totals so far.
    pub(super) const fn totals(&self) -> Totals {
        self.total
    }

    /// Whether the sink accepts no more parts.
    pub(super) const fn is_sink_closed(&self) -> bool {
        self.is_sink_closed
    }

    /// Adds chunks until there are no more or the sink is closed. Does not close the last part: see [`Self::finish`].
    pub(super) async fn add_all(
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
                // Wait for the parts in flight, so that the run can be resumed after them with the flag that allows this customer.
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

    /// The sink that receives the parts.
    pub(super) const fn sink(&self) -> &'a S {
        self.sink
    }

    /// Stores the last part, which contains the totals in its name. All other parts are already stored.
    pub(super) async fn finish(mut self) -> Result<Written, TransferError<S::Error>> {
        if self.is_sink_closed {
            return Ok(Written::SinkClosed);
        }
        if self.builder.rows() == 0 {
            return Ok(Written::NoMoreRows);
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

    /// Stores the incomplete part of a run that will be resumed.
    pub(super) async fn store_incomplete(mut self) -> Result<(), TransferError<S::Error>> {
        if is_resumable_end(self.end.as_ref()) {
            self.close_part(None).await?;
        }
        self.drain().await
    }

    /// Waits for the parts in flight, without starting another.
    pub(super) async fn drain(&mut self) -> Result<(), TransferError<S::Error>> {
        while let Some(stored) = self.in_flight.next().await {
            self.record(stored).await?;
        }
        Ok(())
    }

    /// Waits for the next chunk and meanwhile records stored parts.
    async fn next(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<Option<PendingChunk>, TransferError<S::Error>> {
        loop {
            tokio::select! {
                biased;
                Some(stored) = self.in_flight.next() => self.record(stored).await?,
                pending = chunks.recv() => return Ok(pending),
            }
        }
    }

    /// Starts to store the part that was built, as soon as a worker is free. `last` contains the totals if it is the last part.
    async fn close_part(&mut self, last: Option<Totals>) -> Result<(), TransferError<S::Error>> {
        if self.builder.is_empty() {
            return Ok(());
        }
        while self.in_flight.len() >= self.context.settings.upload_workers.get() {
            if let Some(stored) = self.in_flight.next().await {
                self.record(stored).await?;
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
            // A run cannot be resumed after the last part: its end is saved together with the totals, or not at all.
            end: self.end.take().filter(|_| last.is_none()),
            digest: self.digest,
        };
        let Part { body, rows, uncompressed_bytes: row_bytes } = part;
        let named =
            NamedPart { name, position: self.position, body, rows, row_bytes, rejected: stored.rejected };
        let storing = store(self.sink, named, stored);
        self.in_flight.push(Box::pin(storing.instrument(spans::part(self.position))));
        self.position += 1;
        self.context.progress.parts_queued(self.in_flight.len());
        Ok(())
    }

    async fn record(
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
        // The last part is saved with its totals. Without them, a later process would not recognise it as the last.
        if let Some(prefix) = self.ledger.record(position, part)
            && !self.is_closed
        {
            self.sink.checkpoint(prefix).await.map_err(TransferError::Sink)?;
        }
        Ok(())
    }
}

/// Stores a part in the sink. Returns `None` if the sink accepts no more parts.
async fn store<S: PartSink>(
    sink: &S,
    named: NamedPart,
    part: StoredPart,
) -> Result<Option<Stored>, S::Error> {
    let put = sink.put(&named).await?;
    let NamedPart { position, body, row_bytes, .. } = named;
    Ok((put == Put::Stored).then_some(Stored { position, part, body, row_bytes }))
}

/// Whether to store an incomplete part with this end when the run stops. Not after the last page: no rows would follow, and the
/// last part must contain the totals.
fn is_resumable_end(end: Option<&PageEnd>) -> bool {
    end.is_some_and(|end| !matches!(end.position, Position::End { .. }))
}

#[cfg(test)]
mod tests;
