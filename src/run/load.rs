//! One run on this machine: its start, its attempt and its result.

use std::sync::Arc;

use tracing::Instrument as _;

use super::cleanup::{finished_before, remove_run, remove_set};
use super::context::{Run, Services, restored, saved, session_of};
use super::error::RunError;
use super::guards::{customers_of_last_run, warn_of_stricter_limits};
use super::recovery::{RecoveryState, RowsInQuestion, RunFailure, of_saved, recover};
use super::report::{
    Ended, Outcome, RunReport, WinnerFacts, error_records, finished, loaded, report, report_of_legacy, rows,
};
use super::settings::{LoadSettings, RowSource};
use super::start::{Start, decide_start, load_attempt};
use super::steps::Executor;
use crate::checkpoint::{RunPhase, RunState, StateStore};
use crate::housekeeping::sweep_stale_runs;
use crate::http::error_type;
use crate::identity::RunId;
use crate::run::decide::{Attempt, Ending, OwnSet, Winner};
use crate::shutdown::{StopRequests, cancel_on_stop, with_shutdown_grace};
use crate::spans;
use crate::telemetry::{LastSuccess, Phase, Progress, ProgressSnapshot};

const NOT_ALL_REMOVED: &str = "all rows are loaded, but the cleanup of the run failed";

/// Loads every customer of the store, or nothing. The caller holds the target's lock.
///
/// `generated` is the run's id unless an interrupted run is resumed or the settings contain an id.
///
/// # Errors
/// Why it failed, and what it left behind.
pub async fn run(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    generated: RunId,
    progress: &Arc<Progress>,
    stop: &StopRequests,
) -> Result<RunReport, RunFailure> {
    let started = services.clock.now();
    watch(services, store, progress);
    let is_shared = settings.resume.run_id.is_some();
    let run_id = settings.resume.run_id.clone().unwrap_or_else(|| generated.clone());
    let start =
        cancel_on_stop(stop, Box::pin(decide_start(services, settings, store, progress, generated, stop)))
            .await;
    let (state, saved, resumed) = match start {
        Ok(Start::Attempt { state, saved, resumed }) => (*state, saved.map(|saved| *saved), resumed),
        Ok(Start::LegacyDone(legacy)) => return Ok(report_of_legacy(services, progress, &legacy, started)),
        Err(error) => return Err(failed_to_start(run_id, error, store, progress, is_shared)),
    };
    if resumed {
        progress.resume_from(counted_before(&state));
    }
    let mut run = Run::new(services, settings, store, progress, state, saved, resumed);
    let mut may_start_over = resumed;
    loop {
        // This future holds most of a run's state. It is on the heap to keep the futures of all callers small.
        match Box::pin(complete(&run, stop)).await {
            Ok(ended) => {
                let now = services.clock.now();
                progress.finish(now);
                return Ok(report(&run, ended, now.saturating_sub(started)));
            }
            Err(error) if may_start_over && lost_its_cursor(&run, &error) => {
                tracing::warn!("Yotpo no longer accepts the saved cursor, starting over");
                may_start_over = false;
                if let Err(error) = start_over(&mut run).await {
                    return Err(failed(&run, error, is_shared).await);
                }
            }
            Err(error) => return Err(failed(&run, error, is_shared).await),
        }
    }
}

/// Connects the progress of the run to what its clients count, and to the last finished run, for an estimate.
fn watch(services: &Services, store: &StateStore, progress: &Progress) {
    let clients = services.clone();
    progress.read_usage_from(move || clients.usage());
    let clients = services.clone();
    progress.read_clients_from(move || clients.clients());
    let history = store.history().unwrap_or_default();
    if let Some(last) = history.first() {
        progress.note_last_success(LastSuccess { finished_at: last.finished_at, rows: last.rows });
    }
    if let Some(customers) = customers_of_last_run(&history) {
        progress.expect(customers);
    }
    progress.enter(Phase::Starting, services.clock.now());
}

/// What earlier processes of the run counted.
fn counted_before(state: &RunState) -> ProgressSnapshot {
    ProgressSnapshot {
        pages: state.position.page(),
        customers: state.rows + state.rejected_customers,
        customers_with_loyalty_data: state.loyalty.with_loyalty_data(),
        parts: state.parts,
        ended_by: state.position.ended_by(),
        ..ProgressSnapshot::default()
    }
}

/// Cleans up after a failed run, or keeps what the next one can use.
async fn failed(run: &Run<'_>, error: RunError, is_shared: bool) -> RunFailure {
    let history = run.store.history().unwrap_or_default();
    let state = run.journal.state();
    let rows_in_question = RowsInQuestion::of(&state, &history);
    let phase = run.progress.snapshot().phase;
    spans::record_failure(&run.phases.span(), &error_type(&error));
    let recovery = recover(run, &error).instrument(run.phases.enter(Phase::CleaningUp)).await;
    run.progress.finish(run.services.clock.now());
    let run_id = run.names.run_id.clone();
    let (session, job_id) = (session_of(&state), state.job_id);
    RunFailure { run_id, error, phase, recovery, rows_in_question, is_shared, session, job_id }
}

/// Runs the attempt and handles its ending.
async fn complete(run: &Run<'_>, stop: &StopRequests) -> Result<Ended, RunError> {
    let state = run.journal.state();
    tracing::info!("started");
    run.phases.enter(Phase::Starting);
    if let Some(winner) = finished_before(&state) {
        let work = end_finished(run, winner).instrument(run.phases.enter(Phase::CleaningUp));
        return with_shutdown_grace(&run.services.clock, stop, work).await;
    }
    let mut executor = Executor::new(run, &load_attempt(run), stop);
    let ending = executor.run_to_end().await?;
    let facts = executor.winner_facts();
    match ending {
        Ending::Loaded { winner, joined } => {
            check_rows(run, &winner, &facts)?;
            let ended = loaded(winner, joined, facts);
            if joined {
                warn_of_stricter_limits(run, rows(&ended), error_records(run, &ended));
            }
            let work = async {
                let set = OwnSet::of_winner(&winner);
                run.journal
                    .update(|state| {
                        state.phase = RunPhase::Finished;
                        // The machine that made a set knows more about it than the ballot.
                        if state.set.is_none_or(|own| own.nonce != winner.nonce) {
                            state.set = Some(saved(&set));
                        }
                    })
                    .await?;
                let cleaning_up = run.phases.enter(Phase::CleaningUp);
                clean_up(run, executor.attempt(), &winner).instrument(cleaning_up).await;
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
        ending => Err(executor.unsuccessful(ending)),
    }
}

/// A run id that the user gave may name the load of another export, whose rows are then in the table. Their number is all that
/// every attempt knows of them.
fn check_rows(run: &Run<'_>, winner: &Winner, facts: &WinnerFacts) -> Result<(), RunError> {
    let RowSource::Export(export) = &run.settings.source else { return Ok(()) };
    let exported = export.manifest.rows;
    let loaded = match winner.totals {
        _ if winner.is_empty() => Some(0),
        Some(totals) => Some(totals.valid),
        None => facts.rows.map(|rows| rows.saturating_add(facts.error_records)),
    };
    match loaded {
        Some(loaded) if loaded != exported => {
            Err(RunError::OtherRows { run_id: run.names.run_id.clone(), loaded, exported })
        }
        _ => Ok(()),
    }
}

/// Removes what is no longer needed. A failure only leaves orphans.
async fn clean_up(run: &Run<'_>, attempt: &Attempt, winner: &Winner) {
    let cleanup = attempt.cleanup(run.journal.state().keeps_marker);
    let removal = async {
        if let Some(own) = cleanup.own {
            remove_set(run, &own).await?;
        }
        if cleanup.run {
            remove_run(run, Some(winner)).await?;
        } else {
            let (client, fingerprint) = (run.client(), run.names.fingerprint());
            sweep_stale_runs(client, fingerprint, run.now(), run.settings.run_lifetime).await;
        }
        Ok::<(), RunError>(())
    };
    if let Err(error) = removal.await {
        tracing::warn!(%error, "{NOT_ALL_REMOVED}");
    }
}

/// Ends a run that an earlier process finished except for the cleanup.
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

fn lost_its_cursor(run: &Run<'_>, error: &RunError) -> bool {
    let is_uploading = run.journal.state().phase == RunPhase::Uploading;
    matches!(error, RunError::Yotpo(error) if is_uploading && error.is_cursor_rejected())
}

/// Removes the set of an earlier process, which cannot be completed, and starts another one.
async fn start_over(run: &mut Run<'_>) -> Result<(), RunError> {
    if let Some(set) = run.journal.state().set {
        remove_set(run, &restored(&set)).await?;
    }
    run.journal.update(RunState::begin_set).await?;
    run.resumed = None;
    Ok(())
}

/// The failure of a run that did not start: what an earlier run left is unchanged.
fn failed_to_start(
    run_id: RunId,
    error: RunError,
    store: &StateStore,
    progress: &Progress,
    is_shared: bool,
) -> RunFailure {
    let (saved, recovery) = match store.run() {
        Ok(saved) => {
            let recovery = of_saved(saved.as_ref(), Some(&error));
            (saved, recovery)
        }
        Err(_unreadable) => (None, RecoveryState::StateUnreadable),
    };
    let history = store.history().unwrap_or_default();
    let rows_in_question = saved.as_ref().and_then(|saved| RowsInQuestion::of(saved, &history));
    let session = saved.as_ref().and_then(session_of);
    let job_id = saved.as_ref().and_then(|saved| saved.job_id.clone());
    let run_id = saved.map_or(run_id, |saved| saved.run_id);
    let phase = progress.snapshot().phase;
    RunFailure { run_id, error, phase, recovery, rows_in_question, is_shared, session, job_id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Mode, Nonce, PartTotals, TableId, TableSuffix};
    use crate::run::fixture::{Fixture, STARTED, export};
    use crate::yotpo::{EndedBy, LoyaltyCounts, MemberCount, Position};

    #[test]
    fn a_resumed_run_continues_with_the_counts_of_earlier_processes() {
        let mut loyalty = LoyaltyCounts::default();
        loyalty.add_page(MemberCount { customers: 100, with_loyalty_data: 40 });
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        let state = RunState {
            position: Position::End { page: 3, ended_by: EndedBy::ShortPage },
            rows: 290,
            rejected_customers: 7,
            parts: 2,
            loyalty,
            ..fixture.state()
        };
        let expected = ProgressSnapshot {
            pages: 3,
            customers: 297,
            customers_with_loyalty_data: 40,
            parts: 2,
            ended_by: Some(EndedBy::ShortPage),
            ..ProgressSnapshot::default()
        };
        assert_eq!(counted_before(&state), expected);
    }

    #[test]
    fn a_run_that_loaded_another_number_of_rows_than_its_export_has_is_an_error() {
        let (nonce, target) = (Nonce::new(STARTED, 7).unwrap(), TableId::from_api("5"));
        let winner = |valid: Option<u64>, suffix| {
            let totals = valid.map(|valid| PartTotals { parts: 1, valid, rejected: 0 });
            Winner { nonce, target, table: None, suffix, totals }
        };
        let rows = TableSuffix::Rows;
        let facts = |rows| WinnerFacts { rows, error_records: 2, ..WinnerFacts::default() };
        // The export has 10 rows.
        let fixture = Fixture::new(Mode::Append, RowSource::Export(Arc::new(export())));
        let run = fixture.run(fixture.state());
        let loaded = |winner, facts| match check_rows(&run, &winner, &facts) {
            Ok(()) => None,
            Err(RunError::OtherRows { loaded, exported: 10, .. }) => Some(loaded),
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(loaded(winner(Some(10), rows), facts(None)), None);
        assert_eq!(loaded(winner(Some(9), rows), facts(None)), Some(9));
        assert_eq!(loaded(winner(None, rows), facts(Some(8))), None);
        assert_eq!(loaded(winner(None, rows), facts(Some(9))), Some(11));
        assert_eq!(loaded(winner(None, rows), facts(None)), None);
        assert_eq!(loaded(winner(None, TableSuffix::Empty), facts(None)), Some(0));
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        let run = fixture.run(fixture.state());
        assert!(
            check_rows(&run, &winner(Some(9), rows), &facts(None)).is_ok(),
            "a store may have any number"
        );
    }
}
