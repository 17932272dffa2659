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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Nonce, TableId, TableSuffix};
    use crate::run::fixture::{Fixture, STARTED};
    use crate::run::settings::RowSource;

    #[tokio::test]
    async fn everything_of_a_run_is_removed_but_the_table_that_became_the_target() {
        let set = |random| Winner {
            nonce: Nonce::new(STARTED, random).unwrap(),
            target: TableId::from_api("5"),
            table: Some(TableId::from_api("6")),
            suffix: TableSuffix::Rows,
            totals: None,
        };
        let (winner, other) = (set(1), set(2));
        let fixture = Fixture::new(Mode::Replace, RowSource::Store);
        let names = fixture.run(fixture.state()).names;
        let (ballot, won, lost) = (names.ballot(0), names.session(&winner), names.session(&other));
        let session = |name: &str| serde_json::json!({"name": name, "table": "t", "status": "committed"});
        let foreign = session("somebody_elses");
        let listed = [session(ballot.as_str()), session(won.as_str()), session(lost.as_str()), foreign];
        let list = serde_json::json!({"bulk_imports": listed}).to_string();
        let removed = async |winner: Option<&Winner>| {
            let mut responses = vec![("200 OK", list.as_str())];
            responses.resize(6, ("200 OK", "{}"));
            let fixture = Fixture::with_account(Mode::Replace, &responses);
            remove_run(&fixture.run(fixture.state()), winner).await.unwrap();
            fixture.requests().split_off(1)
        };
        let delete = |session: &str| format!("POST /v3/bulk_import/delete/{session}");
        let drop_table = |set| format!("POST /v3/table/delete/database/{}", names.loaded_table(set));
        let (ballot, won, lost) = (delete(ballot.as_str()), delete(won.as_str()), delete(lost.as_str()));
        assert_eq!(
            removed(Some(&winner)).await,
            [ballot.clone(), won.clone(), lost.clone(), drop_table(&other)]
        );
        assert_eq!(removed(None).await, [ballot, won, drop_table(&winner), lost, drop_table(&other)]);
    }
}
