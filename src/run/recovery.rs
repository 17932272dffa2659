//! What a failed run leaves behind, and what may be reported about it.
//!
//! Owns the facts in the closing line. Invariant: a table is called unchanged only if no other process can have loaded
//! rows of this run into it.

use std::time::Duration;

use super::cleanup::remove_run;
use super::context::{Run, RunNames, restored};
use super::error::RunError;
use super::sink::SessionSink;
use crate::checkpoint::{FinishedRun, RunPhase, RunState, SavedSet, StateStore};
use crate::identity::{RunId, SessionName};
use crate::run::decide::Ending;
use crate::telemetry::Phase;
use crate::telemetry::words::count;

/// Maximum time for cleaning up after a failed run.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);
/// Maximum time for cleaning up after a signal, when a person or a scheduler waits for the program to stop.
const INTERRUPTED_CLEANUP_LIMIT: Duration = Duration::from_secs(3);

/// What a failed run leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryState {
    /// Nothing was created in Treasure Data.
    NothingCreated,
    /// What was created was deleted.
    Deleted,
    /// Not everything that was created could be deleted.
    CleanupFailed(SessionName),
    /// A run with the same settings resumes from here.
    Resumable {
        /// The session.
        session: SessionName,
        /// Rows that need not be fetched again.
        rows: u64,
        /// Stored parts.
        parts: u64,
    },
    /// An export with the same settings resumes from here.
    ResumableExport {
        /// Rows that need not be fetched again.
        rows: u64,
        /// Stored parts.
        parts: u64,
    },
    /// This or another attempt may commit a set of this run: its rows may be in the table now or soon.
    MaybeCommitted {
        /// The `time` of the rows.
        ingestion_time: u64,
    },
    /// The state file, which describes what an earlier attempt left, cannot be read.
    StateUnreadable,
    /// What is left is unknown.
    Unknown,
}

/// A run that failed, and what it leaves behind.
#[derive(Debug)]
pub struct RunFailure {
    /// The run's id.
    pub run_id: RunId,
    /// Why it failed.
    pub error: RunError,
    /// What it was doing.
    pub phase: Phase,
    /// What is left.
    pub recovery: RecoveryState,
    /// Rows that may or may not be in the table.
    pub rows_in_question: Option<RowsInQuestion>,
    /// Whether other attempts of the run may be active or may have loaded it: then the state of the table is unknown.
    pub is_shared: bool,
    /// The session of its set, if it has begun one.
    pub session: Option<SessionName>,
    /// Its load job, if it is known.
    pub job_id: Option<String>,
}

/// Rows that can be counted in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsInQuestion {
    /// Their `time`.
    pub ingestion_time: u64,
    /// How many there should be, if known.
    pub expected: Option<u64>,
}

impl RowsInQuestion {
    /// The rows of the run's set, if it has one; otherwise the rows that an earlier process loaded.
    pub(super) fn of(state: &RunState, history: &[FinishedRun]) -> Option<Self> {
        let Some(set) = state.set else {
            let finished = history.iter().find(|finished| finished.run_id == state.run_id)?;
            return Some(Self { ingestion_time: finished.ingestion_time?, expected: finished.rows });
        };
        let expected = set.totals.map(|totals| totals.valid.saturating_sub(state.error_records));
        Some(Self { ingestion_time: state.ingestion_time(set.nonce), expected })
    }
}

impl RecoveryState {
    /// Its name in summaries.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NothingCreated => "nothing_created",
            Self::Deleted => "deleted",
            Self::CleanupFailed(_) => "cleanup_failed",
            Self::Resumable { .. } | Self::ResumableExport { .. } => "resumable",
            Self::MaybeCommitted { .. } => "maybe_committed",
            Self::StateUnreadable => "state_unreadable",
            Self::Unknown => "unknown",
        }
    }

    /// What a process leaves behind that exits immediately, from its state file: every step is saved before it begins.
    pub fn at_last_checkpoint(store: &StateStore) -> Self {
        match store.run() {
            Ok(saved) => of_saved(saved.as_ref(), None),
            Err(_unreadable) => Self::StateUnreadable,
        }
    }

    /// The state of the table and what is saved, as a sentence for the closing line; `target` is `database.table`.
    pub fn describe(&self, target: &str, is_shared: bool) -> String {
        let unchanged = if is_shared {
            format!("this attempt loaded nothing into {target}")
        } else {
            format!("nothing was loaded, {target} is unchanged")
        };
        match self {
            Self::NothingCreated => unchanged,
            Self::Deleted => format!("{unchanged} and its session was deleted"),
            Self::CleanupFailed(session) => {
                format!("{unchanged}; session {session} was not deleted, the next run deletes it")
            }
            Self::Resumable { session, rows, parts } => {
                let (rows, parts) = (count(*rows, "row", "rows"), count(*parts, "part", "parts"));
                format!("{rows} in {parts} of session {session}; {unchanged}")
            }
            Self::ResumableExport { rows, parts } => {
                let (rows, parts) = (count(*rows, "row", "rows"), count(*parts, "part", "parts"));
                format!("{rows} in {parts} of the export; {unchanged}")
            }
            Self::MaybeCommitted { ingestion_time } => format!(
                "the rows with time {ingestion_time} may be in {target} now or soon, and are never loaded twice"
            ),
            Self::StateUnreadable => format!(
                "this attempt loaded nothing into {target}; could not read what an earlier one saved or loaded"
            ),
            Self::Unknown => format!("it is unknown what {target} contains"),
        }
    }
}

/// What to do with what a failed run left.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leftover {
    /// Nothing: it is kept.
    Stays(RecoveryState),
    /// Another run's rows are in the table: this run is deleted from the state.
    Superseded,
    /// No run can use the set.
    Unusable(SavedSet),
}

/// Decides what is kept for a later run, from the state and from the error, if it is known.
fn leftover(state: &RunState, error: Option<&RunError>) -> Leftover {
    match error {
        Some(
            RunError::LegacyCommit { .. }
            | RunError::Ended {
                ending:
                    Ending::WinnerGone | Ending::WinnerChanged | Ending::ForeignBallot | Ending::OtherProtocol(_),
                ..
            },
        ) => return Leftover::Stays(RecoveryState::Unknown),
        Some(RunError::Ended { ending: Ending::Superseded, .. }) => return Leftover::Superseded,
        _ => {}
    }
    let Some(set) = state.set else { return Leftover::Stays(RecoveryState::NothingCreated) };
    if state.phase >= RunPhase::Proposed || set.proposed {
        return Leftover::Stays(RecoveryState::MaybeCommitted {
            ingestion_time: state.ingestion_time(set.nonce),
        });
    }
    if state.has_stored_parts() && !error.is_some_and(RunError::condemns_set) {
        let session = RunNames::of(state).session(&restored(&set).as_winner());
        let RunState { rows, parts, .. } = *state;
        return Leftover::Stays(RecoveryState::Resumable { session, rows, parts });
    }
    Leftover::Unusable(set)
}

/// Keeps what a later run can use after a failure with `error`, and removes everything else.
pub(super) async fn recover(run: &Run<'_>, error: &RunError) -> RecoveryState {
    let state_failed = matches!(error, RunError::State(_));
    // Every step is saved before it begins, so after a failed save the last saved state is what exists.
    let Some(state) = (if state_failed { run.journal.saved() } else { Some(run.journal.state()) }) else {
        return RecoveryState::NothingCreated;
    };
    let own = match leftover(&state, Some(error)) {
        Leftover::Stays(recovery) => return recovery,
        Leftover::Superseded => {
            if let Err(error) = forget_superseded(run, &state).await {
                tracing::warn!(%error, "could not remove everything that the run created");
            }
            return RecoveryState::Unknown;
        }
        Leftover::Unusable(set) => restored(&set),
    };
    let sink = SessionSink::new(run, own);
    let session = sink.session().clone();
    let limit = match error {
        RunError::Interrupted(_) => INTERRUPTED_CLEANUP_LIMIT,
        _ => CLEANUP_LIMIT,
    };
    let removal = async {
        sink.abort().await?;
        match run.journal.forget().await {
            // The next run finds a set without a session, and starts over.
            Err(_) if state_failed => Ok(()),
            forgotten => forgotten,
        }
    };
    match run.services.clock.deadline(limit, removal).await {
        // Without the table, no session was created.
        Ok(Ok(())) if matches!(error, RunError::Ended { ending: Ending::NoTarget, .. }) => {
            RecoveryState::NothingCreated
        }
        Ok(Ok(())) => RecoveryState::Deleted,
        Ok(Err(error)) => {
            tracing::warn!(%session, %error, "could not remove everything that the run created");
            RecoveryState::CleanupFailed(session)
        }
        Err(elapsed) => {
            tracing::warn!(%session, error = %elapsed, "could not remove everything that the run created");
            RecoveryState::CleanupFailed(session)
        }
    }
}

/// Another run's rows are in the table, so there is nothing to resume. Other attempts with this run id still find the
/// decision.
async fn forget_superseded(run: &Run<'_>, state: &RunState) -> Result<(), RunError> {
    if !state.keeps_marker {
        remove_run(run, None).await?;
    }
    run.journal.forget().await
}

/// What a saved run left, if the process failed before it began or exited immediately: nothing was removed.
pub(super) fn of_saved(saved: Option<&RunState>, error: Option<&RunError>) -> RecoveryState {
    let Some(state) = saved else {
        return match error {
            Some(RunError::LegacyCommit { .. }) => RecoveryState::Unknown,
            _ => RecoveryState::NothingCreated,
        };
    };
    match leftover(state, error) {
        Leftover::Stays(recovery) => recovery,
        Leftover::Superseded => RecoveryState::Unknown,
        Leftover::Unusable(set) => {
            RecoveryState::CleanupFailed(RunNames::of(state).session(&restored(&set).as_winner()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::StateError;
    use crate::identity::{Mode, Nonce, TableId, TableSuffix, example_target};
    use crate::run::fixture::Fixture;

    const STARTED: u64 = 1_795_406_400;

    /// A run with one stored part of one row.
    fn interrupted() -> RunState {
        let id = "nightly".parse().unwrap();
        let mut state = RunState::new(id, false, example_target("customers"), Mode::Append, 100, STARTED);
        state.set = Some(SavedSet {
            nonce: Nonce::new(STARTED, 7).unwrap(),
            target_id: TableId::from_api("5"),
            table_id: None,
            content: TableSuffix::Rows,
            proposed: false,
            totals: None,
        });
        (state.parts, state.rows) = (1, 1);
        state
    }

    fn ended(ending: Ending) -> RunError {
        RunError::Ended { ending, session: None, job_id: None, target: Box::new(example_target("customers")) }
    }

    #[test]
    fn what_a_set_leaves_depends_on_whether_it_may_be_committed_or_used() {
        let state = interrupted();
        let session = RunNames::of(&state).session(&restored(&state.set.unwrap()).as_winner());
        let resumable = RecoveryState::Resumable { session: session.clone(), rows: 1, parts: 1 };
        assert_eq!(of_saved(Some(&state), None), resumable);
        assert_eq!(of_saved(Some(&state), Some(&RunError::Denied)), resumable);
        assert_eq!(of_saved(Some(&state), Some(&ended(Ending::Superseded))), RecoveryState::Unknown);
        let bug = RunError::Bug("rows out of order");
        assert_eq!(of_saved(Some(&state), Some(&bug)), RecoveryState::CleanupFailed(session));
        // It was proposed, although its phase says nothing of that yet.
        let set = state.set.map(|set| SavedSet { proposed: true, ..set });
        let maybe = RecoveryState::MaybeCommitted { ingestion_time: STARTED };
        assert_eq!(of_saved(Some(&RunState { set, ..interrupted() }), Some(&bug)), maybe);
        let nothing = of_saved(Some(&RunState { set: None, ..interrupted() }), None);
        assert_eq!(nothing, RecoveryState::NothingCreated);
    }

    #[test]
    fn the_last_checkpoint_shows_what_is_left_unless_it_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open(directory.path(), &example_target("customers")).unwrap();
        assert_eq!(RecoveryState::at_last_checkpoint(&store), RecoveryState::NothingCreated);
        store.save_run(&interrupted()).unwrap();
        assert_eq!(RecoveryState::at_last_checkpoint(&store).name(), "resumable");
        std::fs::write(store.path(), "not a state\n").unwrap();
        assert_eq!(RecoveryState::at_last_checkpoint(&store), RecoveryState::StateUnreadable);
    }

    #[test]
    fn the_closing_line_counts_what_is_resumed() {
        let session: SessionName = "yotpo_td_v1_session".parse().unwrap();
        let unchanged = "nothing was loaded, database.customers is unchanged";
        let only = "this attempt loaded nothing into database.customers";
        for (recovery, is_shared, expected) in [
            (
                RecoveryState::Resumable { session: session.clone(), rows: 1, parts: 1 },
                false,
                format!("1 row in 1 part of session {session}; {unchanged}"),
            ),
            (
                RecoveryState::Resumable { session: session.clone(), rows: 20, parts: 2 },
                true,
                format!("20 rows in 2 parts of session {session}; {only}"),
            ),
            (
                RecoveryState::ResumableExport { rows: 1_200, parts: 2 },
                false,
                format!("1,200 rows in 2 parts of the export; {unchanged}"),
            ),
        ] {
            assert_eq!(recovery.describe("database.customers", is_shared), expected);
        }
    }

    #[tokio::test]
    async fn what_a_failed_run_created_is_called_deleted_only_if_its_state_is_deleted_too() {
        let recovered = async |error: RunError, is_damaged: bool| {
            let fixture = Fixture::with_account(Mode::Append, &[("200 OK", "{}")]);
            let run = fixture.saved_run(fixture.state());
            if is_damaged {
                std::fs::write(fixture.store.path(), "not a state\n").unwrap();
            }
            recover(&run, &error).await.name()
        };
        assert_eq!(recovered(RunError::Denied, false).await, "deleted");
        assert_eq!(recovered(RunError::Denied, true).await, "cleanup_failed");
        // The next run finds a set without a session, and starts over.
        let unsaved = || {
            let source = std::io::Error::other("the disk is full");
            RunError::State(StateError::Io { action: "save", path: "/state".into(), source })
        };
        assert_eq!(recovered(unsaved(), true).await, "deleted");
    }
}
