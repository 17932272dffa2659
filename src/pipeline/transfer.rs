//! From pages to stored parts.

use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::mpsc;

use super::encoding::{EncoderPool, PendingChunk};
use super::error::RunError;
use super::fetch::fetch;
use super::run::Run;
use super::upload::{Totals, Uploader};
use crate::row::IngestionTime;
use crate::signal::{Signal, StopRequests};
use crate::treasure_data::OpenSession;
use crate::yotpo::{PageCursor, Pages};

/// How long uploads under way may take to end after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// What the transfer came to.
pub(super) enum Transferred {
    /// The store has no customers, and nothing was made.
    Nothing,
    /// Every customer is in the session.
    Everything(OpenSession, Totals),
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
    let threads = available_parallelism().map_or(1, std::num::NonZero::get);
    let (sender, mut chunks) = mpsc::channel(threads);
    let encoders = EncoderPool::new(settings.parts.level, time);
    let yotpo = &run.services.yotpo;
    // Behind the last page there is no cursor either: only the pages tell that apart from the beginning.
    let mut pages = if state.pages == 0 {
        Pages::new(yotpo, settings.loyalty_check)
    } else {
        let cursor = state.cursor.as_deref().map(PageCursor::from_plain);
        Pages::resume(yotpo, cursor, state.pages, state.limit_only)
    };
    run.progress.resume_from(state.pages, state.customers + state.refused_customers, state.parts);
    let mut stopped: Option<Signal> = None;
    let fetching = async {
        tokio::select! {
            biased;
            signal = stop.requested() => stopped = Some(signal),
            result = fetch(&mut pages, encoders, settings.parts.most_rows, run.progress, sender) => result?,
        }
        Ok(())
    };
    let (uploader, ()) = tokio::try_join!(upload(run, session, &mut chunks), fetching)?;
    match (uploader, stopped) {
        (None, None) => Ok(Transferred::Nothing),
        (None, Some(signal)) => Err(RunError::Interrupted(signal)),
        (Some((mut uploader, _)), Some(signal)) => {
            // What is stored in time is saved; the rest is fetched again by the run that goes on.
            match run.services.clock.deadline(STOP_GRACE, uploader.drain()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an upload failed while stopping"),
            }
            Err(RunError::Interrupted(signal))
        }
        (Some((uploader, session)), None) => Ok(Transferred::Everything(session, uploader.finish().await?)),
    }
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
