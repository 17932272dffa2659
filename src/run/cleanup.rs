//! Removing what attempts of a run created: one set, or everything that is left of the run.

use super::context::{Run, restored};
use super::error::RunError;
use super::survey::as_winner;
use crate::checkpoint::{RunPhase, RunState};
use crate::identity::{Mode, RunSession};
use crate::run::decide::{OwnSet, Winner};

/// Removes the session and the tables of a set that this attempt made.
pub(super) async fn remove_set(run: &Run<'_>, own: &OwnSet) -> Result<(), RunError> {
    let set = own.as_winner();
    run.client().delete_session(&run.names.session(&set)).await?;
    if run.names.mode == Mode::Replace {
        let database = &run.settings.target.database;
        if own.table.is_some() {
            run.client().delete_table(database, &run.names.loaded_table(&set)).await?;
        }
        run.client().delete_table(database, &run.names.scratch_table(own)).await?;
    }
    Ok(())
}

/// Removes the ballots, then all sets, of a run that no other machine knows. The temporary table of `winner` no longer
/// exists.
pub(super) async fn remove_run(run: &Run<'_>, winner: Option<&Winner>) -> Result<(), RunError> {
    let mut sets = Vec::new();
    for session in run.client().sessions().await? {
        match RunSession::parse(&session.name).filter(|session| run.names.is_of_run(session)) {
            Some(RunSession::Ballot(ballot)) => run.client().delete_session(&ballot.render()).await?,
            Some(RunSession::Own(own)) => sets.push(as_winner(&own)),
            _ => {}
        }
    }
    for set in sets {
        run.client().delete_session(&run.names.session(&set)).await?;
        if set.table.is_some() && winner.is_none_or(|winner| winner.nonce != set.nonce) {
            run.client().delete_table(&run.settings.target.database, &run.names.loaded_table(&set)).await?;
        }
    }
    Ok(())
}

/// The winner of a run that an earlier process finished except for the cleanup, so parts of its evidence may be removed.
/// A run with `--run-id` keeps its marker.
pub(super) fn finished_before(state: &RunState) -> Option<Winner> {
    let is_over = state.phase == RunPhase::Finished && !state.keeps_marker;
    state.set.filter(|_| is_over).map(|set| restored(&set).as_winner())
}
