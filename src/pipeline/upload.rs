//! Parts: built in order, uploaded several at once, noted in the ledger when they are stored.
//!
//! Owns when a part is closed and what it is called. A part is closed only when rows for the next one are there, so that
//! the last is never empty and can carry the totals. It does not decide whether the last one may be uploaded.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::LoadSettings;
use super::PartSettings;
use super::context::Run;
use super::encoding::{EncodedChunk, PendingChunk};
use super::error::RunError;
use super::fetch::full_batch;
use super::ledger::{Ledger, PageEnd, StoredPart};
use super::transfer::is_resumable_end;
use crate::identity::{OwnPart, PartName, PartTotals, PartsDigest, SessionName};
use crate::part::{Part, PartBuilder};
use crate::treasure_data::TreasureDataError;

/// Builds parts from chunks and uploads them.
pub(super) struct Uploader<'a> {
    run: &'a Run<'a>,
    session: SessionName,
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
    uploads: FuturesUnordered<BoxFuture<'a, Result<Option<Stored>, TreasureDataError>>>,
    /// The session takes no parts any more.
    is_lost: bool,
    /// The last part was closed.
    is_closed: bool,
}

/// What went through the uploader, and what went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) rejected: u64,
}

/// How the uploads ended.
pub(super) enum Uploaded {
    /// All parts are stored; the digest is over all their names.
    Complete(PartTotals, PartsDigest),
    /// There was no row for a last part.
    NothingFurther,
    /// The session takes no parts any more.
    SessionLost,
}

/// A part that Treasure Data has.
struct Stored {
    position: u64,
    part: StoredPart,
    body: Bytes,
    row_bytes: u64,
}

impl<'a> Uploader<'a> {
    /// An uploader behind what the journal says is stored.
    pub(super) fn new(run: &'a Run<'a>, session: SessionName) -> Self {
        let settings = run.settings;
        let state = run.journal.state();
        Self {
            run,
            session,
            builder: PartBuilder::with_capacity(part_capacity(&settings.parts), parts_in_memory(settings)),
            rejected: 0,
            end: None,
            position: state.parts,
            digest: state.parts_digest,
            total: Totals { rows: state.rows, rejected: state.rejected_customers },
            ledger: Ledger::new(state.parts, state.rows, state.rejected_customers),
            uploads: FuturesUnordered::new(),
            is_lost: false,
            is_closed: false,
        }
    }

    /// What went through so far.
    pub(super) const fn totals(&self) -> Totals {
        self.total
    }

    /// Whether the session takes no parts any more.
    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Takes chunks until there are no more, or the session is lost. The last part is not closed: see [`Self::finish`].
    pub(super) async fn take_all(
        &mut self,
        chunks: &mut mpsc::Receiver<PendingChunk>,
    ) -> Result<(), RunError> {
        while !self.is_lost
            && let Some(pending) = self.next(chunks).await?
        {
            let chunk = pending.finished().await?;
            self.add(chunk).await?;
        }
        Ok(())
    }

    /// Adds a chunk to the part that is being built.
    pub(super) async fn add(&mut self, encoded: EncodedChunk) -> Result<(), RunError> {
        let EncodedChunk { chunk, refused, end } = encoded;
        if chunk.rows() > 0 && self.is_full_for(chunk.rows()) {
            self.close_part(None).await?;
        }
        for customer in &refused {
            self.total.rejected += 1;
            self.run.quarantine.put_aside(&self.session, customer).await?;
            if self.total.rejected > self.run.settings.max_error_records {
                // What is in flight is stored: with the flag that lets this customer pass, the run is resumed from there.
                self.drain().await?;
                return Err(RunError::Customer {
                    page: customer.page,
                    position: customer.position,
                    allowed: self.run.settings.max_error_records,
                    source: customer.reason,
                });
            }
        }
        self.rejected += u64::try_from(refused.len()).unwrap_or(u64::MAX);
        self.total.rows += chunk.rows();
        self.end = end;
        self.builder.append(&chunk);
        Ok(())
    }

    fn is_full_for(&self, rows: u64) -> bool {
        let max_rows = u64::try_from(self.run.settings.parts.most_rows.get()).unwrap_or(u64::MAX);
        self.builder.compressed_len() >= self.run.settings.parts.closing_size
            || self.builder.rows() + rows > max_rows
    }

    /// Uploads the last part, which carries the totals. All others are stored by then.
    pub(super) async fn finish(mut self) -> Result<Uploaded, RunError> {
        if self.is_lost {
            return Ok(Uploaded::SessionLost);
        }
        if self.builder.rows() == 0 {
            return Ok(Uploaded::NothingFurther);
        }
        let Totals { rows: valid, rejected } = self.total;
        self.is_closed = true;
        self.close_part(Some(self.total)).await?;
        self.drain().await?;
        if self.is_lost {
            return Ok(Uploaded::SessionLost);
        }
        Ok(Uploaded::Complete(PartTotals { parts: self.position, valid, rejected }, self.digest))
    }

    /// Stores what was built so far, for a run that will be resumed.
    pub(super) async fn store_rest(mut self) -> Result<(), RunError> {
        if is_resumable_end(self.end.as_ref()) {
            self.close_part(None).await?;
        }
        self.drain().await
    }

    /// Waits for the uploads in flight, without starting another.
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

    /// Starts the upload of the part that was built, once a worker is free. The last one carries the totals.
    async fn close_part(&mut self, last: Option<Totals>) -> Result<(), RunError> {
        if self.builder.is_empty() {
            return Ok(());
        }
        while self.uploads.len() >= self.run.settings.upload_workers.get() {
            if let Some(stored) = self.uploads.next().await {
                self.note(stored?).await?;
            }
        }
        let part = self.builder.finish();
        let own = OwnPart::new(self.position, &part.body);
        let name = match last {
            None => own.render()?,
            Some(Totals { rows, rejected }) => own.last(self.digest, rows, rejected).render()?,
        };
        self.digest = self.digest.with(name.as_str());
        let stored = StoredPart {
            rows: part.rows,
            refused: std::mem::take(&mut self.rejected),
            // Behind the last part there is nothing to resume from: it is saved together with the totals, or not at all.
            end: self.end.take().filter(|_| last.is_none()),
            digest: self.digest,
        };
        self.uploads.push(Box::pin(store(self.run, self.session.clone(), name, self.position, part, stored)));
        self.position += 1;
        Ok(())
    }

    async fn note(&mut self, stored: Option<Stored>) -> Result<(), RunError> {
        let Some(Stored { position, part, body, row_bytes }) = stored else {
            self.is_lost = true;
            return Ok(());
        };
        let compressed = body.len();
        self.builder.reuse(body);
        tracing::debug!(part = position, bytes = compressed, rows = part.rows, "part stored");
        self.run.progress.part_stored(compressed, row_bytes);
        // The last part is saved with its totals: without them a later process would take it for any other.
        if let Some(prefix) = self.ledger.stored(position, part)
            && !self.is_closed
        {
            self.run
                .journal
                .update(|state| {
                    state.parts = prefix.parts;
                    state.parts_digest = prefix.digest;
                    state.rows = prefix.rows;
                    state.rejected_customers = prefix.refused;
                    state.position = prefix.end.position;
                    state.loyalty = prefix.end.loyalty;
                })
                .await?;
        }
        Ok(())
    }
}

/// Uploads a part; none when the session takes no parts any more.
async fn store(
    run: &Run<'_>,
    session: SessionName,
    name: PartName,
    position: u64,
    part: Part,
    stored: StoredPart,
) -> Result<Option<Stored>, TreasureDataError> {
    let Part { body, uncompressed_bytes: row_bytes, .. } = part;
    let is_stored = run.client().upload_part(&session, &name, body.clone()).await?;
    Ok(is_stored.then_some(Stored { position, part: stored, body, row_bytes }))
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
