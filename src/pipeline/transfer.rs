//! From pages to stored parts.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::encoding::{EncoderPool, PendingChunk};
use super::error::RunError;
use super::fetch::{Batches, fetch};
use super::memory::{encoder_threads, waiting_batches};
use super::run::Run;
use super::upload::{Totals, Uploader};
use crate::clock::Clock;
use crate::row::IngestionTime;
use crate::signal::{Signal, StopRequests};
use crate::treasure_data::OpenSession;
use crate::yotpo::{PageCursor, Pages, YotpoError};

/// How long what is under way may take to end after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// What the transfer came to.
pub(super) enum Transferred {
    /// The store has no customers, and nothing was made.
    Nothing,
    /// Every customer is in the session.
    Everything(OpenSession, Totals),
}

/// How the fetching ended.
enum FetchEnd {
    /// All pages are fetched, with so many customers in this run.
    Complete(u64),
    /// A stop was asked for.
    Stopped(Signal),
    /// Yotpo failed, or what it sent was refused.
    Failed(YotpoError),
}

/// Fetches all pages from where the state stands and uploads their rows. `session` is there when a run is gone on
/// with; else it is opened when the first customers are there, so that an empty store leaves nothing behind.
pub(super) async fn transfer(
    run: &Run<'_>,
    session: Option<OpenSession>,
    stop: &StopRequests,
) -> Result<Transferred, RunError> {
    let settings = run.settings;
    let state = run.journal.state();
    let time = IngestionTime::from_unix_seconds(state.ingestion_time)?;
    let threads = encoder_threads();
    let (sender, mut chunks) = mpsc::channel(waiting_batches(threads));
    let encoders = EncoderPool::new(settings.parts.level, threads, run.services.clock.clone());
    let mut batches = Batches::new(encoders, &settings.parts, sender);
    let yotpo = Arc::clone(&run.services.yotpo);
    // Behind the last page there is no cursor either: only the pages tell that apart from the beginning.
    let mut pages = if state.pages == 0 {
        Pages::new(yotpo, time, settings.loyalty_check)
    } else {
        let cursor = state.cursor.as_deref().map(PageCursor::from_plain);
        Pages::resume(yotpo, time, cursor, state.pages, state.limit_only)
    };
    let fetching = async move {
        let end = tokio::select! {
            biased;
            signal = stop.requested() => FetchEnd::Stopped(signal),
            result = fetch(&mut pages, &mut batches, run.progress) => {
                result.map_or_else(FetchEnd::Failed, FetchEnd::Complete)
            }
        };
        // No more is asked for.
        drop(pages);
        batches.finish().await;
        Ok(end)
    };
    let transferring = async {
        let (uploader, end) = tokio::try_join!(upload(run, session, &mut chunks), fetching)?;
        store_rest(uploader, end, state.customers + state.refused_customers).await
    };
    // On the heap: it is the largest future of all, and would be moved about.
    within_grace(&run.services.clock, stop, Box::pin(transferring)).await
}

/// Does `work`; once a stop is asked for, it only has a grace to come to its end. A failure after that is no more the
/// reason why the run ends.
pub(super) async fn within_grace<T>(
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
            tracing::warn!(%elapsed, "a step was broken off while stopping");
            Err(RunError::Interrupted(signal))
        }
    }
}

/// Stores what was fetched, to the last page: it need not be fetched again by the run that goes on. `before` customers
/// were stored or put aside by an interrupted run.
async fn store_rest(
    uploader: Option<(Uploader<'_>, OpenSession)>,
    end: FetchEnd,
    before: u64,
) -> Result<Transferred, RunError> {
    let (error, uploader) = match (end, uploader) {
        (FetchEnd::Complete(0), None) => return Ok(Transferred::Nothing),
        (FetchEnd::Complete(_), None) => {
            return Err(RunError::Bug("customers were fetched and none arrived"));
        }
        (FetchEnd::Complete(fetched), Some((uploader, session))) => {
            let totals = uploader.finish().await?;
            // Whatever lies between the pages and the parts: what was fetched must have come through.
            if totals.rows + totals.refused != before + fetched {
                return Err(RunError::Bug("customers were lost between the pages and the parts"));
            }
            return Ok(Transferred::Everything(session, totals));
        }
        (FetchEnd::Stopped(signal), uploader) => (RunError::Interrupted(signal), uploader),
        (FetchEnd::Failed(error), uploader) => (RunError::from(error), uploader),
    };
    if let Some((uploader, _)) = uploader
        && error.is_resumable()
        && let Err(error) = uploader.finish().await
    {
        tracing::warn!(%error, "what was fetched could not all be stored");
    }
    Err(error)
}

/// Takes all chunks; none when there was not even one.
async fn upload<'a>(
    run: &'a Run<'_>,
    session: Option<OpenSession>,
    chunks: &mut mpsc::Receiver<PendingChunk>,
) -> Result<Option<(Uploader<'a>, OpenSession)>, RunError> {
    let mut first = None;
    let session = match session {
        Some(session) => session,
        None => {
            let Some(pending) = chunks.recv().await else { return Ok(None) };
            first = Some(pending.finished().await?);
            run.open_session().await?
        }
    };
    let state = run.journal.state();
    let mut uploader =
        Uploader::new(run.settings, session.clone(), &run.journal, &run.quarantine, run.progress, &state);
    if let Some(chunk) = first {
        uploader.add(chunk).await?;
    }
    uploader.take_all(chunks).await?;
    Ok(Some((uploader, session)))
}
