//! Parts: built in order, uploaded several at once, noted in the ledger when they are stored.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::LoadSettings;
use super::PartSettings;
use super::encoding::{EncodedChunk, PendingChunk};
use super::error::RunError;
use super::fetch::full_batch;
use super::journal::Journal;
use super::ledger::{Ledger, PageEnd, StoredPart};
use super::progress::Progress;
use super::quarantine::Quarantine;
use crate::checkpoint::RunState;
use crate::identity::PartName;
use crate::part::{Part, PartBuilder};
use crate::treasure_data::{OpenSession, TreasureDataError};

/// Builds parts from chunks and uploads them.
pub(super) struct Uploader<'a> {
    settings: &'a LoadSettings,
    session: OpenSession,
    journal: &'a Journal,
    quarantine: &'a Quarantine,
    progress: &'a Progress,
    builder: PartBuilder,
    /// What the part that is being built holds beside its rows.
    refused: u64,
    end: Option<PageEnd>,
    /// Of the next part.
    position: u64,
    total: Totals,
    ledger: Ledger,
    uploads: FuturesUnordered<BoxFuture<'a, Result<Stored, TreasureDataError>>>,
}

/// What went through the uploader, and what went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) refused: u64,
    pub(super) parts: u64,
}

/// A part that Treasure Data has.
struct Stored {
    position: u64,
    part: StoredPart,
    body: Bytes,
    row_bytes: u64,
}

impl<'a> Uploader<'a> {
    /// An uploader behind what `state` says is stored.
    pub(super) fn new(
        settings: &'a LoadSettings,
        session: OpenSession,
        journal: &'a Journal,
        quarantine: &'a Quarantine,
        progress: &'a Progress,
        state: &RunState,
    ) -> Self {
        Self {
            settings,
            session,
            journal,
            quarantine,
            progress,
            builder: PartBuilder::with_capacity(part_capacity(&settings.parts), parts_in_memory(settings)),
            refused: 0,
            end: None,
            position: state.parts,
            total: Totals { rows: state.customers, refused: state.refused_customers, parts: state.parts },
            ledger: Ledger::new(state.parts, state.customers, state.refused_customers),
            uploads: FuturesUnordered::new(),
        }
    }

    /// Takes chunks until there are no more. The last part is not closed: see [`Self::finish`].
    pub(super) async fn take_all(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<(), RunError> {
        while let Some(pending) = self.next(chunks).await? {
            let chunk = pending.finished().await?;
            self.add(chunk).await?;
        }
        Ok(())
    }

    /// Adds a chunk to the part that is being built.
    pub(super) async fn add(&mut self, encoded: EncodedChunk) -> Result<(), RunError> {
        let EncodedChunk { chunk, refused, end } = encoded;
        let most_rows = u64::try_from(self.settings.parts.most_rows.get()).unwrap_or(u64::MAX);
        if self.builder.rows() + chunk.rows() > most_rows {
            self.close_part().await?;
        }
        for customer in &refused {
            self.total.refused += 1;
            self.quarantine.put_aside(customer).await?;
            if self.total.refused > self.settings.max_error_records {
                return Err(RunError::Customer {
                    page: customer.page,
                    position: customer.position,
                    allowed: self.settings.max_error_records,
                    source: customer.reason,
                });
            }
        }
        self.refused += u64::try_from(refused.len()).unwrap_or(u64::MAX);
        self.total.rows += chunk.rows();
        self.end = end;
        self.builder.append(&chunk);
        if self.builder.compressed_len() >= self.settings.parts.closing_size
            || self.builder.rows() >= most_rows
        {
            self.close_part().await?;
        }
        Ok(())
    }

    /// Uploads the last part and waits until all are stored.
    pub(super) async fn finish(mut self) -> Result<Totals, RunError> {
        self.close_part().await?;
        self.drain().await?;
        Ok(self.total)
    }

    /// Waits for the uploads under way, without starting another.
    pub(super) async fn drain(&mut self) -> Result<(), RunError> {
        while let Some(stored) = self.uploads.next().await {
            self.note(stored?).await?;
        }
        Ok(())
    }

    /// The next chunk; uploads that end meanwhile are noted.
    async fn next(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<Option<PendingChunk>, RunError> {
        loop {
            tokio::select! {
                biased;
                Some(stored) = self.uploads.next() => self.note(stored?).await?,
                pending = chunks.recv() => return Ok(pending),
            }
        }
    }

    /// Starts the upload of the part that was built, once a worker is free.
    async fn close_part(&mut self) -> Result<(), RunError> {
        if self.builder.is_empty() {
            return Ok(());
        }
        while self.uploads.len() >= self.settings.upload_workers.get() {
            if let Some(stored) = self.uploads.next().await {
                self.note(stored?).await?;
            }
        }
        let part = self.builder.finish();
        let stored =
            StoredPart { rows: part.rows, refused: std::mem::take(&mut self.refused), end: self.end.take() };
        self.uploads.push(Box::pin(store(self.session.clone(), self.position, part, stored)));
        self.position += 1;
        self.total.parts = self.position;
        Ok(())
    }

    async fn note(&mut self, stored: Stored) -> Result<(), RunError> {
        let Stored { position, part, body, row_bytes } = stored;
        let compressed = body.len();
        self.builder.reuse(body);
        tracing::debug!(part = %PartName::at(position), bytes = compressed, rows = part.rows, "part stored");
        self.progress.part_stored(compressed, row_bytes);
        if let Some(prefix) = self.ledger.stored(position, part) {
            self.journal
                .update(|state| {
                    state.parts = prefix.parts;
                    state.customers = prefix.rows;
                    state.refused_customers = prefix.refused;
                    prefix.end.save_in(state);
                })
                .await?;
        }
        Ok(())
    }
}

async fn store(
    session: OpenSession,
    position: u64,
    part: Part,
    stored: StoredPart,
) -> Result<Stored, TreasureDataError> {
    let Part { body, uncompressed_bytes: row_bytes, .. } = part;
    session.upload(&PartName::at(position), body.clone()).await?;
    Ok(Stored { position, part: stored, body, row_bytes })
}

/// Parts that are built or uploaded at once.
pub(super) fn parts_in_memory(settings: &LoadSettings) -> usize {
    settings.upload_workers.get() + 1
}

/// Bytes that a part usually comes to: it may exceed its closing size by a batch, compressed. What is beyond that only
/// costs a move in memory.
pub(super) fn part_capacity(parts: &PartSettings) -> usize {
    parts.closing_size + full_batch(parts) / 2
}
