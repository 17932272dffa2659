//! Runs of releases that had no ballots. They are never resumed.

use super::context::Services;
use super::error::RunError;
use super::settings::{LoadSettings, ResumePolicy};
use crate::checkpoint::{LegacyPhase, LegacyRun, StateError, StateStore};
use crate::identity::Mode;
use crate::treasure_data::SessionStatus;

pub(super) fn legacy_run(store: &StateStore) -> Result<Option<LegacyRun>, RunError> {
    match store.legacy_run() {
        // A damaged state is handled where the run is read.
        Err(StateError::Format { .. }) => Ok(None),
        result => Ok(result?),
    }
}

/// Whether the settings ask for the rows of an earlier release's run.
pub(super) fn is_wanted(legacy: &LegacyRun, settings: &LoadSettings) -> bool {
    let is_named = settings.resume.run_id.as_ref().is_none_or(|id| *id == legacy.run_id);
    is_named && legacy.mode == settings.mode && settings.resume.policy != ResumePolicy::Never
}

/// Removes a run of an earlier release if its commit was not requested yet; otherwise only reads its status. Returns
/// `true` if its rows are in the table.
pub(super) async fn leave_legacy_run(
    services: &Services,
    store: &StateStore,
    legacy: &LegacyRun,
) -> Result<bool, RunError> {
    let LegacyRun { run_id, session, phase, mode, ingestion_time, .. } = legacy;
    let unknown = || {
        let (session, run_id) = (session.clone(), run_id.clone());
        Err(RunError::LegacyCommit { session, run_id, ingestion_time: *ingestion_time })
    };
    let client = &services.treasure_data;
    let is_committed =
        client.session(session).await?.is_some_and(|state| state.status == SessionStatus::Committed);
    let is_done = match (phase, mode) {
        (LegacyPhase::Renamed | LegacyPhase::Cleaned, _) | (LegacyPhase::Committed, Mode::Append) => true,
        (LegacyPhase::Committing, Mode::Append) if is_committed => true,
        (LegacyPhase::Committing | LegacyPhase::Committed, _) => {
            return unknown();
        }
        _ if is_committed => return unknown(),
        _ => false,
    };
    if is_done {
        tracing::info!("the run of an earlier release has loaded its rows");
    } else {
        tracing::warn!("a run of an earlier release cannot be resumed, starting over");
        client.delete_session(session).await?;
        if let Some(table) = &legacy.temporary_table {
            client.delete_table(&legacy.target.database, table).await?;
        }
    }
    store.forget_run()?;
    Ok(is_done)
}
