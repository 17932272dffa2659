//! How a run begins: anew, or from where an interrupted one stopped.

use std::sync::Arc;

use super::error::RunError;
use super::identity::{RunId, RunNames};
use super::run::{Services, session_of};
use super::settings::{LoadSettings, ResumePolicy};
use crate::checkpoint::{RunPhase, RunState, StateError, StateStore};
use crate::identity::Mode;
use crate::treasure_data::{Polling, Stage, TreasureDataClient, TreasureDataError};
use crate::yotpo::{LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict};

/// Where a run begins.
#[derive(Debug)]
pub(super) enum Entry {
    /// Nothing of it exists.
    Anew(RunState),
    /// Its session stands here.
    From(RunState, Stage),
}

/// Decides how to begin, and removes what cannot be gone on with.
pub(super) async fn enter(
    services: &Services,
    settings: &LoadSettings,
    store: &StateStore,
    generated: RunId,
) -> Result<Entry, RunError> {
    let saved = match store.run() {
        Ok(saved) => saved,
        Err(error @ StateError::Format { .. }) => {
            let aside = store.set_aside()?;
            tracing::warn!(%error, aside = %aside.display(), "the saved state is damaged and is not followed");
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(state) = saved {
        match reason_against(&state, settings, services.clock.unix_time().as_secs()) {
            None => {
                if let Some(entry) = take_up(services, settings, state, store).await? {
                    return Ok(entry);
                }
            }
            Some(reason) => {
                tracing::warn!(run = state.run_id, reason, "an unfinished run is not gone on with");
                discard(&services.treasure_data, settings.polling, &state).await?;
                store.forget_run()?;
            }
        }
    }
    match &settings.resume.run_id {
        Some(id) => enter_by_id(services, settings, id).await,
        None => Ok(Entry::Anew(new_state(services, settings, &generated)?)),
    }
}

/// The state of a run that begins now.
fn new_state(services: &Services, settings: &LoadSettings, id: &RunId) -> Result<RunState, RunError> {
    let names = RunNames::new(id, &settings.target)?;
    let now = services.clock.unix_time().as_secs();
    Ok(RunState {
        run_id: id.as_str().to_owned(),
        keeps_marker: settings.resume.run_id.is_some(),
        target: settings.target.clone(),
        mode: settings.mode,
        page_size: settings.page_size,
        ingestion_time: now,
        started_at: now,
        updated_at: now,
        session: names.session.as_str().to_owned(),
        temporary_table: match settings.mode {
            Mode::Append => None,
            Mode::Replace => Some(names.temporary_table.as_str().to_owned()),
        },
        phase: RunPhase::Uploading,
        cursor: None,
        limit_only: None,
        ended_by: None,
        loyalty: LoyaltyCounts::default(),
        pages: 0,
        customers: 0,
        parts: 0,
        refused_customers: 0,
        expected_rows: None,
        loaded_rows: None,
        job: None,
    })
}

/// Why a saved run is not gone on with; `None` when it is.
fn reason_against(state: &RunState, settings: &LoadSettings, now: u64) -> Option<String> {
    let ResumePolicy::Within(limit) = settings.resume.policy else {
        return Some("--fresh is set".to_owned());
    };
    if now.saturating_sub(state.updated_at) > limit.as_secs() {
        let limit = humantime::format_duration(limit);
        return Some(format!("it is older than --resume-within {limit}"));
    }
    if state.target != settings.target {
        return Some("it has another target".to_owned());
    }
    if state.mode != settings.mode {
        return Some("it has another --mode".to_owned());
    }
    if state.page_size != settings.page_size && state.phase == RunPhase::Uploading {
        return Some("it has another --page-size".to_owned());
    }
    let is_loyalty_lost = state.loyalty.verdict() == LoyaltyVerdict::Lost;
    if is_loyalty_lost && settings.loyalty_check == LoyaltyCheck::On && state.phase == RunPhase::Uploading {
        // Had Yotpo been corrected since, the rows that are stored would still be without.
        return Some("its rows lack loyalty data".to_owned());
    }
    match &settings.resume.run_id {
        Some(id) if id.as_str() != state.run_id => Some("it has another --run-id".to_owned()),
        _ => None,
    }
}

/// Compares a saved run with its session; `None` when the session is not what the state says, and was removed.
async fn take_up(
    services: &Services,
    settings: &LoadSettings,
    state: RunState,
    store: &StateStore,
) -> Result<Option<Entry>, RunError> {
    let session = session_of(&services.treasure_data, &state)?;
    let stage = session.attach().await?;
    let agrees = match (&stage, state.phase) {
        // Nothing is committed before it is verified: somebody else did, and perhaps not with all rows.
        (Stage::Committed(_) | Stage::Committing(_), phase) if phase < RunPhase::Ready => {
            return Err(TreasureDataError::UnexpectedState {
                session: session.name().clone(),
                found: stage.name(),
                expected: "not committed",
            }
            .into());
        }
        // The session is deleted after all else was done.
        (Stage::Committed(_) | Stage::Committing(_), _)
        | (Stage::Absent, RunPhase::Committed | RunPhase::Renamed | RunPhase::Cleaned) => true,
        (Stage::Absent, RunPhase::Committing) => {
            return Err(RunError::CommitUnknown { session: session.name().clone() });
        }
        (Stage::Absent, _)
        | (Stage::Frozen(_) | Stage::Performing(_) | Stage::Loaded(_), RunPhase::Uploading) => false,
        (Stage::Open(_), RunPhase::Uploading) if state.parts == 0 => false,
        (Stage::Open(open), _) => open.keep_first_parts(state.parts).await?,
        (Stage::Frozen(frozen), _) => frozen.holds_first_parts(state.parts).await?,
        // What was loaded is counted before it is committed.
        (Stage::Performing(_) | Stage::Loaded(_), _) => true,
    };
    if agrees {
        tracing::info!(
            run = state.run_id,
            phase = ?state.phase,
            pages = state.pages,
            customers = state.customers,
            "going on with an interrupted run"
        );
        return Ok(Some(Entry::From(state, stage)));
    }
    if state.parts > 0 {
        tracing::warn!(run = state.run_id, "the session is not what the saved state says, starting over");
    } else {
        tracing::info!(run = state.run_id, "an interrupted run had stored nothing yet, starting over");
    }
    discard(&services.treasure_data, settings.polling, &state).await?;
    store.forget_run()?;
    Ok(None)
}

/// Begins a run whose id the user gave: another machine may have begun it, and its session tells how far it came.
async fn enter_by_id(services: &Services, settings: &LoadSettings, id: &RunId) -> Result<Entry, RunError> {
    let mut state = new_state(services, settings, id)?;
    let session = session_of(&services.treasure_data, &state)?;
    let stage = session.attach().await?;
    state.phase = match &stage {
        Stage::Absent => return Ok(Entry::Anew(state)),
        Stage::Open(_) => {
            tracing::info!(run = %id, "an attempt of this run did not upload everything, starting over");
            session.delete().await?;
            return Ok(Entry::Anew(state));
        }
        // A session is only closed for uploads when every customer is in it.
        Stage::Frozen(_) => RunPhase::Frozen,
        Stage::Performing(_) => RunPhase::Performing,
        Stage::Loaded(_) => RunPhase::Ready,
        Stage::Committing(_) => RunPhase::Committing,
        Stage::Committed(_) => RunPhase::Committed,
    };
    tracing::info!(run = %id, phase = ?state.phase, "going on with a run that was begun elsewhere");
    Ok(Entry::From(state, stage))
}

/// Removes what a run left in Treasure Data. A committed session that is a marker stays.
pub(super) async fn discard(
    client: &Arc<TreasureDataClient>,
    polling: Polling,
    state: &RunState,
) -> Result<(), RunError> {
    let session = session_of(client, state)?;
    let stage = match session.attach().await? {
        // It cannot be stopped, and its end decides what is left.
        Stage::Committing(committing) => match committing.wait(polling).await? {
            Some(committed) => Stage::Committed(committed),
            None => Stage::Absent,
        },
        stage => stage,
    };
    match stage {
        Stage::Committed(_) if state.keeps_marker => {}
        Stage::Committed(_) => {
            tracing::info!(run = state.run_id, "that run had committed its rows");
            session.delete().await?;
        }
        _ => session.delete().await?,
    }
    if let Some(table) = &state.temporary_table {
        client.delete_table(&state.target.database, &table.parse()?).await?;
    }
    Ok(())
}
