//! From pages to stored parts.
//!
//! Owns the fetching task, its end, and the hand-over to the uploads. Fetching starts before there is a session to upload
//! to: whether there are customers at all decides whether one is created.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::context::Run;
use super::encoding::{EncodedChunk, EncoderPool, PendingChunk};
use super::error::RunError;
use super::fetch::{Batches, fetch};
use super::guards::guard;
use super::ledger::PageEnd;
use super::memory::{encoder_threads, waiting_batches};
use super::upload::{Uploaded, Uploader};
use crate::checkpoint::RunPhase;
use crate::clock::Clock;
use crate::identity::SessionName;
use crate::row::IngestionTime;
use crate::run::decide::UploadEnd;
use crate::signal::{Signal, StopRequests};
use crate::yotpo::{Pages, Position, YotpoError};

/// How long what is in flight may take to end after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// Pages that are fetched, from where the journal's state stands.
pub(super) struct Transfer {
    fetching: AbortOnDropHandle<FetchEnd>,
    chunks: mpsc::Receiver<PendingChunk>,
    first: Option<EncodedChunk>,
    /// Customers in the parts that were stored before.
    before: u64,
}

/// How the fetching ended.
enum FetchEnd {
    /// All pages are fetched, with so many customers in this process; they ended there.
    Complete(u64, PageEnd),
    /// A stop was asked for.
    Stopped(Signal),
    /// Yotpo failed, or what it sent was refused.
    Failed(YotpoError),
}

impl Transfer {
    /// Starts to fetch.
    pub(super) fn start(run: &Run<'_>, time: IngestionTime, stop: &StopRequests) -> Result<Self, RunError> {
        let settings = run.settings;
        let state = run.journal.state();
        let threads = encoder_threads();
        let (sender, chunks) = mpsc::channel(waiting_batches(threads));
        let encoders = EncoderPool::new(settings.parts.level, threads, run.services.clock.clone());
        let mut batches = Batches::new(encoders, &settings.parts, sender);
        let Some(yotpo) = run.services.yotpo.clone() else {
            return Err(RunError::Bug("fetching without a store"));
        };
        let mut pages = Pages::resume(yotpo, time, settings.loyalty_check, state.position, state.loyalty);
        let (progress, stop) = (Arc::clone(run.progress), stop.clone());
        let fetching = AbortOnDropHandle::new(tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                signal = stop.requested() => FetchEnd::Stopped(signal),
                result = fetch(&mut pages, &mut batches, &progress) => match result {
                    Ok((customers, end)) => FetchEnd::Complete(customers, end),
                    Err(error) => FetchEnd::Failed(error),
                },
            };
            // No more is asked for.
            drop(pages);
            batches.finish().await;
            end
        }));
        Ok(Self { fetching, chunks, first: None, before: state.rows + state.rejected_customers })
    }

    /// Waits for the first customers; `false` when the store has none.
    pub(super) async fn has_customers(&mut self) -> Result<bool, RunError> {
        if let Some(pending) = self.chunks.recv().await {
            self.first = Some(pending.finished().await?);
            return Ok(true);
        }
        match self.end().await? {
            FetchEnd::Complete(0, _) => Ok(false),
            FetchEnd::Complete(..) => Err(RunError::Bug("customers were fetched and none arrived")),
            FetchEnd::Stopped(signal) => Err(RunError::Interrupted(signal)),
            FetchEnd::Failed(error) => Err(error.into()),
        }
    }

    async fn end(&mut self) -> Result<FetchEnd, RunError> {
        (&mut self.fetching).await.map_err(|_panicked| RunError::Bug("fetching the pages panicked"))
    }

    /// Uploads all that is fetched to `session`, the last part when the guards let it pass. What is complete when a stop is
    /// asked for or Yotpo fails is stored, so that the run can be resumed from there.
    pub(super) async fn upload(
        mut self,
        run: &Run<'_>,
        session: &SessionName,
        stop: &StopRequests,
    ) -> Result<UploadEnd, RunError> {
        let work = async {
            let mut uploader = Uploader::new(run, session.clone());
            if let Some(first) = self.first.take() {
                uploader.add(first).await?;
            }
            uploader.take_all(&mut self.chunks).await?;
            if uploader.is_lost() {
                return Ok(UploadEnd::SessionLost);
            }
            let error = match self.end().await? {
                FetchEnd::Complete(fetched, end) => return self.finish(run, uploader, fetched, end).await,
                FetchEnd::Stopped(signal) => RunError::Interrupted(signal),
                FetchEnd::Failed(error) => error.into(),
            };
            if let Err(error) = uploader.store_rest().await {
                tracing::warn!(%error, "what was fetched could not all be stored");
            }
            Err(error)
        };
        // On the heap: it is the largest future of all, and would be moved about.
        with_shutdown_grace(&run.services.clock, stop, Box::pin(work)).await
    }

    async fn finish(
        &self,
        run: &Run<'_>,
        mut uploader: Uploader<'_>,
        fetched: u64,
        end: PageEnd,
    ) -> Result<UploadEnd, RunError> {
        let totals = uploader.totals();
        // Whatever lies between the pages and the parts: what was fetched must have come through.
        if totals.rows + totals.rejected != self.before + fetched {
            return Err(RunError::Bug("customers were lost between the pages and the parts"));
        }
        // Before the guard's own requests: nobody would look after uploads in flight meanwhile.
        uploader.drain().await?;
        guard(run, totals.rows).await?;
        let (totals, digest) = match uploader.finish().await? {
            Uploaded::Complete(totals, digest) => (totals, digest),
            Uploaded::NothingFurther => return Ok(UploadEnd::NothingFurther),
            Uploaded::SessionLost => return Ok(UploadEnd::SessionLost),
        };
        run.journal
            .update(|state| {
                state.phase = RunPhase::Loading;
                state.position = end.position;
                state.loyalty = end.loyalty;
                state.parts = totals.parts;
                state.parts_digest = digest;
                state.rows = totals.valid;
                state.rejected_customers = totals.rejected;
                if let Some(set) = state.set.as_mut() {
                    set.totals = Some(totals);
                }
            })
            .await?;
        let fetched = run.progress.snapshot();
        tracing::info!(
            pages = fetched.pages,
            customers = fetched.customers,
            parts = fetched.parts,
            "all customers stored"
        );
        Ok(UploadEnd::Complete(totals))
    }
}

/// Whether a part that ends there is worth storing when the run stops: behind the last page nothing would follow it, and
/// the last part must carry the totals.
pub(super) fn is_resumable_end(end: Option<&PageEnd>) -> bool {
    end.is_some_and(|end| !matches!(end.position, Position::End { .. }))
}

/// Does `work`; once a stop is asked for, it only has a grace to come to its end. A failure after that is no more the
/// reason why the run ends.
pub(super) async fn with_shutdown_grace<T>(
    clock: &Clock,
    stop: &StopRequests,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let mut work = pin!(work);
    let signal = tokio::select! {
        biased;
        result = &mut work => return result,
        signal = stop.requested() => signal,
    };
    match clock.deadline(STOP_GRACE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(RunError::Interrupted(signal))) => Err(RunError::Interrupted(signal)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a step failed while stopping");
            Err(RunError::Interrupted(signal))
        }
        Err(elapsed) => {
            tracing::warn!(%elapsed, "a step was cancelled while stopping");
            Err(RunError::Interrupted(signal))
        }
    }
}
