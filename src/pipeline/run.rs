//! One run on this machine: how it starts, its attempt, and what it ends with.

use std::sync::Arc;
use std::time::Duration;

use super::LoadSettings;
use super::context::{Run, Services, restored, saved};
use super::error::RunError;
use super::guards::warn_of_stricter_limits;
use super::housekeeping::sweep_stale_runs;
use super::outcome::{Outcome, RunReport};
use super::progress::Progress;
use super::recovery::{RecoveryState, RowsInQuestion, RunFailure, recover};
use super::start::{Start, decide_start, load_attempt};
use super::steps::{Executor, WinnerFacts, cancel_on_stop, remove_set};
use super::survey::as_winner;
use super::transfer::with_shutdown_grace;
use crate::checkpoint::{FinishedAs, FinishedRun, LegacyRun, RunPhase, RunState, StateStore};
use crate::identity::{RunId, RunSession};
use crate::run::decide::{Attempt, Ending, OwnSet, Winner};
use crate::signal::StopRequests;

const NOT_ALL_REMOVED: &str = "everything is loaded, but not all that is left of the run could be removed";

/// Loads every customer of the store, or nothing. The caller holds the target's lock.
///
/// `generated` is the run's id unless an interrupted run is resumed or the settings give one.
///
/// # Errors
/// Why it failed, and what is left behind.
pub async fn run(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    generated: RunId,
    progress: &Arc<Progress>,
    stop: &StopRequests,
) -> Result<RunReport, RunFailure> {
    let started = services.clock.now();
    let is_shared = settings.resume.run_id.is_some();
    let run_id = settings.resume.run_id.clone().unwrap_or_else(|| generated.clone());
    let start =
        cancel_on_stop(stop, Box::pin(decide_start(services, settings, store, progress, generated, stop)))
            .await;
    let (state, saved, resumed) = match start {
        Ok(Start::Attempt { state, saved, resumed }) => (*state, saved.map(|saved| *saved), resumed),
        Ok(Start::LegacyDone(legacy)) => return Ok(report_of_legacy(services, progress, &legacy, started)),
        Err(error) => return Err(failed_to_start(run_id, error, store, is_shared)),
    };
    if resumed {
        progress.resume_from(&state);
    }
    let mut run = Run::new(services, settings, store, progress, state, saved, resumed);
    let mut may_start_over = resumed;
    loop {
        // Most of a run's state is in this future: it lives on the heap, as each caller's would not be small either.
        match Box::pin(complete(&run, stop)).await {
            Ok(ended) => return Ok(report(&run, ended, services.clock.now().saturating_sub(started))),
            Err(error) if may_start_over && lost_its_cursor(&run, &error) => {
                tracing::warn!(run_id = %run.names.run_id, "Yotpo no longer accepts the saved cursor, starting over");
                may_start_over = false;
                if let Err(error) = start_over(&mut run).await {
                    return Err(failed(&run, error, is_shared).await);
                }
            }
            Err(error) => return Err(failed(&run, error, is_shared).await),
        }
    }
}

/// Cleans up behind a run that failed, or keeps what the next one can use.
async fn failed(run: &Run<'_>, error: RunError, is_shared: bool) -> RunFailure {
    let history = run.store.history().unwrap_or_default();
    let rows_in_question = RowsInQuestion::of(&run.journal.state(), &history);
    let recovery = recover(run, &error).await;
    RunFailure { run_id: run.names.run_id.clone(), error, recovery, rows_in_question, is_shared }
}

/// How a run ended well.
struct Ended {
    outcome: Outcome,
    joined: bool,
    winner: Option<Winner>,
    facts: WinnerFacts,
}

/// Makes the attempt, and what follows from its end.
async fn complete(run: &Run<'_>, stop: &StopRequests) -> Result<Ended, RunError> {
    let state = run.journal.state();
    let table = run.settings.target.label();
    tracing::info!(run_id = %state.run_id, table, mode = %state.mode, "started");
    if let Some(winner) = finished_before(&state) {
        return with_shutdown_grace(&run.services.clock, stop, end_finished(run, winner)).await;
    }
    let mut executor = Executor::new(run, &load_attempt(run), stop);
    let ending = executor.run_to_end().await?;
    let facts = executor.winner_facts();
    match ending {
        Ending::Loaded { winner, joined } => {
            let ended = loaded(winner, joined, facts);
            if joined {
                warn_of_stricter_limits(run, rows(&ended), error_records(run, &ended));
            }
            let work = async {
                let set = OwnSet::of_winner(&winner);
                run.journal
                    .update(|state| {
                        state.phase = RunPhase::Finished;
                        // A ballot tells less of a set than the machine that made it knows.
                        if state.set.is_none_or(|own| own.nonce != winner.nonce) {
                            state.set = Some(saved(&set));
                        }
                    })
                    .await?;
                clean_up(run, executor.attempt(), &winner).await;
                run.journal.finish(finished(run, &ended)).await
            };
            with_shutdown_grace(&run.services.clock, stop, work).await?;
            Ok(ended)
        }
        Ending::NothingToLoad => {
            let ended = Ended { outcome: Outcome::NothingToLoad, joined: false, winner: None, facts };
            run.journal.finish(finished(run, &ended)).await?;
            Ok(ended)
        }
        ending => Err(unsuccessful(run, executor.attempt(), ending, facts)),
    }
}

fn loaded(winner: Winner, joined: bool, facts: WinnerFacts) -> Ended {
    let outcome = match (winner.is_empty(), facts.was_done_before) {
        (true, _) => Outcome::Emptied,
        (false, true) => Outcome::AlreadyCommitted,
        (false, false) => Outcome::Committed,
    };
    Ended { outcome, joined, winner: Some(winner), facts }
}

pub(super) fn unsuccessful(run: &Run<'_>, attempt: &Attempt, ending: Ending, facts: WinnerFacts) -> RunError {
    let set = attempt.winner().copied().or(attempt.own().map(OwnSet::as_winner));
    let session = set.and_then(|set| run.names.session(&set).ok());
    let job_id = facts.job_id.or(run.journal.state().job_id);
    let target = Box::new(run.settings.target.clone());
    RunError::Ended { ending, session, job_id, target }
}

/// Removes what nobody needs any more. A failure costs nothing but what is left.
async fn clean_up(run: &Run<'_>, attempt: &Attempt, winner: &Winner) {
    let cleanup = attempt.cleanup(run.journal.state().keeps_marker);
    let removal = async {
        if let Some(own) = cleanup.own {
            remove_set(run, &own).await?;
        }
        if cleanup.run {
            remove_run(run, Some(winner)).await?;
        } else {
            sweep_stale_runs(run).await;
        }
        Ok::<(), RunError>(())
    };
    if let Err(error) = removal.await {
        tracing::warn!(%error, "{NOT_ALL_REMOVED}");
    }
}

/// Removes the ballots of a run that nobody else knows, then all sets of it. `winner` has no temporary table any more.
pub(super) async fn remove_run(run: &Run<'_>, winner: Option<&Winner>) -> Result<(), RunError> {
    let mut sets = Vec::new();
    for session in run.client().sessions().await? {
        match RunSession::parse(&session.name).filter(|session| run.names.is_of_run(session)) {
            Some(RunSession::Ballot(ballot)) => run.client().delete_session(&ballot.render()?).await?,
            Some(RunSession::Own(own)) => sets.push(as_winner(&own)),
            _ => {}
        }
    }
    for set in sets {
        run.client().delete_session(&run.names.session(&set)?).await?;
        if set.table.is_some() && winner.is_none_or(|winner| winner.nonce != set.nonce) {
            run.client().delete_table(&run.settings.target.database, &run.names.loaded_table(&set)?).await?;
        }
    }
    Ok(())
}

/// The winner of a run that an earlier process finished but for the cleanup: what it has removed tells nothing any more.
/// A run with an id of the user's keeps what tells of it.
pub(super) fn finished_before(state: &RunState) -> Option<Winner> {
    let is_over = state.phase == RunPhase::Finished && !state.keeps_marker;
    state.set.filter(|_| is_over).map(|set| restored(&set).as_winner())
}

/// Ends a run that an earlier process finished but for the cleanup.
async fn end_finished(run: &Run<'_>, winner: Winner) -> Result<Ended, RunError> {
    let RunState { error_records, job_id, .. } = run.journal.state();
    let rows = winner.totals.map(|totals| totals.valid.saturating_sub(error_records));
    let facts = WinnerFacts { rows, error_records, job_id, was_done_before: false };
    if let Err(error) = remove_run(run, Some(&winner)).await {
        tracing::warn!(%error, "{NOT_ALL_REMOVED}");
    }
    let ended = loaded(winner, false, facts);
    run.journal.finish(finished(run, &ended)).await?;
    Ok(ended)
}

fn finished(run: &Run<'_>, ended: &Ended) -> FinishedRun {
    let state = run.journal.state();
    let progress = run.progress.snapshot();
    FinishedRun {
        run_id: state.run_id,
        mode: Some(state.mode),
        outcome: match ended.outcome {
            Outcome::Committed | Outcome::AlreadyCommitted => FinishedAs::Committed,
            Outcome::Emptied => FinishedAs::Emptied,
            Outcome::NothingToLoad => FinishedAs::NothingToLoad,
        },
        joined: ended.joined,
        ingestion_time: ended.winner.map(|winner| winner.nonce.time()),
        rows: rows(ended),
        customers: progress.customers,
        customers_with_loyalty_data: progress.customers_with_loyalty_data,
        pages: progress.pages,
        error_records: error_records(run, ended),
        ended_by: progress.ended_by,
        job_id: ended.facts.job_id.clone(),
        started_at: state.started_at,
        finished_at: run.services.clock.unix_time().as_secs(),
    }
}

fn rows(ended: &Ended) -> Option<u64> {
    match ended.outcome {
        Outcome::Emptied | Outcome::NothingToLoad => Some(0),
        Outcome::Committed | Outcome::AlreadyCommitted => {
            let proven = ended.winner.and_then(|winner| winner.totals).map(|totals| totals.valid);
            ended.facts.rows.or(proven)
        }
    }
}

fn error_records(run: &Run<'_>, ended: &Ended) -> u64 {
    let rejected = if ended.joined {
        ended.winner.and_then(|winner| winner.totals).map_or(0, |totals| totals.rejected)
    } else {
        run.journal.state().rejected_customers
    };
    rejected + ended.facts.error_records
}

fn report(run: &Run<'_>, ended: Ended, duration: Duration) -> RunReport {
    let session =
        ended.winner.filter(|winner| !winner.is_empty()).and_then(|winner| run.names.session(&winner).ok());
    RunReport {
        outcome: ended.outcome,
        joined: ended.joined,
        rows: rows(&ended),
        run_id: run.names.run_id.to_string(),
        session: session.map(|session| session.to_string()),
        ingestion_time: ended.winner.map(|winner| winner.nonce.time()),
        // It may have come to nothing, and another set been begun, or another attempt's be joined.
        resumed: run.resumed.is_some_and(|nonce| ended.winner.is_some_and(|winner| winner.nonce == nonce)),
        error_records: error_records(run, &ended),
        job_id: ended.facts.job_id,
        progress: run.progress.snapshot(),
        yotpo: run.services.yotpo.as_ref().map(|yotpo| yotpo.counts()).unwrap_or_default(),
        rate: run.services.yotpo.as_ref().map(|yotpo| yotpo.rate_use()).unwrap_or_default(),
        treasure_data: run.services.treasure_data.counts(),
        duration,
    }
}

fn report_of_legacy(
    services: &Services,
    progress: &Progress,
    legacy: &LegacyRun,
    started: Duration,
) -> RunReport {
    RunReport {
        outcome: Outcome::AlreadyCommitted,
        joined: true,
        rows: legacy.loaded_rows,
        run_id: legacy.run_id.to_string(),
        session: Some(legacy.session.to_string()),
        ingestion_time: Some(legacy.ingestion_time),
        resumed: true,
        error_records: 0,
        job_id: None,
        progress: progress.snapshot(),
        yotpo: services.yotpo.as_ref().map(|yotpo| yotpo.counts()).unwrap_or_default(),
        rate: services.yotpo.as_ref().map(|yotpo| yotpo.rate_use()).unwrap_or_default(),
        treasure_data: services.treasure_data.counts(),
        duration: services.clock.now().saturating_sub(started),
    }
}

fn lost_its_cursor(run: &Run<'_>, error: &RunError) -> bool {
    let is_uploading = run.journal.state().phase == RunPhase::Uploading;
    matches!(error, RunError::Yotpo(error) if is_uploading && error.is_cursor_refused())
}

/// The set of an earlier process cannot be completed: it is removed, and another begun.
async fn start_over(run: &mut Run<'_>) -> Result<(), RunError> {
    if let Some(set) = run.journal.state().set {
        remove_set(run, &restored(&set)).await?;
    }
    run.journal.update(RunState::begin_set).await?;
    run.resumed = None;
    Ok(())
}

/// A run that failed before it began: what an earlier run left is as it was.
fn failed_to_start(run_id: RunId, error: RunError, store: &StateStore, is_shared: bool) -> RunFailure {
    let (saved, recovery) = match store.run() {
        Ok(saved) => {
            let recovery = super::recovery::of_saved(saved.as_ref(), &error);
            (saved, recovery)
        }
        Err(_unreadable) => (None, RecoveryState::StateUnreadable),
    };
    let history = store.history().unwrap_or_default();
    let rows_in_question = saved.as_ref().and_then(|saved| RowsInQuestion::of(saved, &history));
    let run_id = saved.map_or(run_id, |saved| saved.run_id);
    RunFailure { run_id, error, recovery, rows_in_question, is_shared }
}
