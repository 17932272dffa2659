//! Abandoning a run: making sure that it loads nothing, or completing it when it is too late for that.

use std::sync::Arc;

use tracing::Instrument as _;

use super::cleanup::{finished_before, remove_run, remove_set};
use super::context::{Run, RunNames, Services, restored};
use super::error::RunError;
use super::resumption::is_named;
use super::settings::LoadSettings;
use super::steps::Executor;
use crate::checkpoint::{RunState, StateStore};
use crate::identity::RunSession;
use crate::run::decide::{Attempt, Ending, Lifetime, Purpose};
use crate::shutdown::StopRequests;
use crate::spans;
use crate::telemetry::Progress;

/// Makes sure that a run loads nothing. Returns `true` if it was too late and its rows are in the table. Deletes its
/// state.
///
/// # Errors
/// When this cannot be decided now.
pub async fn abandon_run(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    state: RunState,
    stop: &StopRequests,
) -> Result<bool, RunError> {
    let span = spans::run(&state.target, state.mode);
    let work = async {
        spans::record_run_id(&state.run_id);
        let progress = Arc::new(Progress::default());
        let run = Run::new(services, settings, store, &progress, state.clone(), Some(state), false);
        Box::pin(abandon(&run, stop)).await
    };
    Box::pin(work.instrument(span)).await
}

/// Makes sure that the run in the journal loads nothing, or completes it when it is too late for that. Returns `true` if
/// it was too late and its rows are in the table. Deletes its state.
pub(super) async fn abandon(run: &Run<'_>, stop: &StopRequests) -> Result<bool, RunError> {
    let state = run.journal.state();
    if let Some(winner) = finished_before(&state) {
        remove_run(run, Some(&winner)).await?;
        run.journal.forget().await?;
        return Ok(true);
    }
    let mut attempt = Attempt::new(state.mode, Purpose::Abandon, lifetime(run.settings));
    if run.settings.without_table_ids {
        attempt = attempt.accepting_unknown_tables();
    }
    let mut executor = Executor::new(run, &attempt, stop);
    let ending = executor.run_to_end().await?;
    let winner = match ending {
        Ending::Abandoned => {
            if let Some(set) = state.set {
                remove_set(run, &restored(&set)).await?;
            }
            tracing::info!("the run was abandoned and will not load anything");
            None
        }
        Ending::Loaded { winner, .. } => {
            tracing::warn!(
                ingestion_time = run.journal.state().ingestion_time(winner.nonce),
                "it was too late to abandon the run: its rows are in the table"
            );
            Some(winner)
        }
        // No attempt can load anything any more. This is an error only for a run whose id is used again.
        Ending::Superseded | Ending::RunTooOld | Ending::WinnerGone | Ending::WinnerChanged
            if !is_named(&state, run.settings) =>
        {
            let ending = executor.unsuccessful(ending);
            tracing::warn!(reason = %ending, "the run is abandoned and will not load anything");
            None
        }
        ending => return Err(executor.unsuccessful(ending)),
    };
    if !state.keeps_marker {
        remove_run(run, winner.as_ref()).await?;
        if let Some(own) = executor.attempt().own().filter(|_| winner.is_none()) {
            remove_set(run, own).await?;
        }
    }
    run.journal.forget().await?;
    Ok(winner.is_some())
}

/// `--fresh` with a run id: abandons what other attempts of the run did, if anything. Returns `true` if the run is
/// loaded.
pub(super) async fn abandon_earlier_attempts(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    progress: &Arc<Progress>,
    state: &RunState,
    stop: &StopRequests,
) -> Result<bool, RunError> {
    let names = RunNames::of(state);
    let sessions = services.treasure_data.sessions().await?;
    let parsed = sessions.iter().filter_map(|session| RunSession::parse(&session.name));
    if !parsed.into_iter().any(|session| names.is_of_run(&session)) {
        return Ok(false);
    }
    let run = Run::new(services, settings, store, progress, state.clone(), None, false);
    Box::pin(abandon(&run, stop)).await
}

/// Commits are allowed for another fifth of the lifetime after the last proposal.
pub(super) fn lifetime(settings: &LoadSettings) -> Lifetime {
    let propose = settings.run_lifetime.as_secs();
    Lifetime { propose, commit: propose.saturating_add(propose / 5) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Mode;
    use crate::run::fixture::unreachable_settings;

    #[test]
    fn what_was_proposed_in_time_may_be_committed_for_another_fifth_of_the_lifetime() {
        let mut settings = unreachable_settings(Mode::Append, "/state".into());
        for (seconds, commit) in [(500, 600), (u64::MAX, u64::MAX)] {
            settings.run_lifetime = std::time::Duration::from_secs(seconds);
            assert_eq!(lifetime(&settings), Lifetime { propose: seconds, commit });
        }
    }
}
