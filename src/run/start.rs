//! How a run starts: from scratch, or from the point where an interrupted run stopped.
//!
//! Carries out what [`plan_start`] decides about a saved run. It does not know what other attempts did.

use std::sync::Arc;

use tracing::Instrument as _;

use super::abandon::{abandon, abandon_earlier_attempts, lifetime};
use super::context::{Run, Services, restored};
use super::error::RunError;
use super::legacy::{is_wanted, leave_legacy_run, legacy_run};
use super::resumption::{StartPlan, is_usable, plan_start};
use super::settings::{LoadSettings, ResumePolicy};
use crate::checkpoint::{FormatError, LegacyRun, RunState, StateError, StateStore};
use crate::identity::{Mode, RunId};
use crate::run::decide::{Attempt, Purpose};
use crate::shutdown::StopRequests;
use crate::spans;
use crate::telemetry::Progress;

/// How a run starts.
pub(super) enum Start {
    /// An attempt starts.
    Attempt {
        /// The state of the run.
        state: Box<RunState>,
        /// The state on disk.
        saved: Option<Box<RunState>>,
        /// Whether it uses the set of an interrupted run.
        resumed: bool,
    },
    /// Nothing starts: the interrupted run of an earlier release has loaded its rows.
    LegacyDone(Box<LegacyRun>),
}

/// Decides how to start, and abandons what cannot be resumed.
pub(super) async fn decide_start(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    progress: &Arc<Progress>,
    generated: RunId,
    stop: &StopRequests,
) -> Result<Start, RunError> {
    let run_id = settings.resume.run_id.clone().unwrap_or(generated);
    if let Some(legacy) = legacy_run(store)?
        && leave_legacy_run(services, store, &legacy).instrument(spans::abandon(&legacy.run_id)).await?
        && is_wanted(&legacy, settings)
    {
        spans::record_run_id(&legacy.run_id);
        return Ok(Start::LegacyDone(legacy.into()));
    }
    let saved = saved_run(store, settings)?;
    let plan = plan_start(saved.as_ref(), settings, services.clock.unix_time().as_secs());
    let abandoned = match (plan, saved) {
        (StartPlan::Resume { uses_set }, Some(state)) => {
            spans::record_run_id(&state.run_id);
            report_start(&state, uses_set);
            let saved = Some(state.clone().into());
            return Ok(Start::Attempt { state: state.into(), saved, resumed: uses_set });
        }
        (StartPlan::Abandon { reason }, Some(state)) => {
            let interrupted = spans::abandon(&state.run_id);
            interrupted.in_scope(|| tracing::warn!(reason, "an interrupted run is not resumed"));
            let work = async {
                let run = Run::new(services, settings, store, progress, state.clone(), Some(state), false);
                Box::pin(abandon(&run, stop)).await.map(|was_loaded| (run.names.run_id, was_loaded))
            };
            Some(Box::pin(work.instrument(interrupted)).await?)
        }
        (StartPlan::Fresh, _) | (_, None) => None,
    };
    spans::record_run_id(&run_id);
    let state = new_state(services, settings, run_id);
    if settings.resume.policy == ResumePolicy::Never && state.keeps_marker {
        let was_loaded = match abandoned {
            Some((run_id, was_loaded)) if run_id == state.run_id => was_loaded,
            _ => {
                Box::pin(abandon_earlier_attempts(services, settings, store, progress, &state, stop)).await?
            }
        };
        if was_loaded {
            return Err(RunError::AlreadyLoaded { run_id: state.run_id });
        }
    }
    Ok(Start::Attempt { state: state.into(), saved: None, resumed: false })
}

/// The attempt that loads the run, with the set that an earlier process left.
pub(super) fn load_attempt(run: &Run<'_>) -> Attempt {
    let state = run.journal.state();
    let mut attempt = Attempt::new(state.mode, Purpose::Load, lifetime(run.settings));
    if run.settings.without_table_ids {
        attempt = attempt.accepting_unknown_tables();
    }
    match state.set {
        Some(set) if is_usable(&state, run.settings) => attempt.resuming(restored(&set)),
        Some(set) => attempt.discarding(restored(&set)),
        None => attempt,
    }
}

fn report_start(state: &RunState, resumed: bool) {
    let rows = state.rows;
    if resumed {
        tracing::info!(
            pages = state.position.page(),
            rows,
            "an interrupted run is saved, and is resumed unless it was abandoned elsewhere"
        );
    } else if state.has_stored_parts() {
        tracing::info!("the interrupted run stored customers without loyalty data, starting over");
    } else {
        tracing::info!("the interrupted run had stored nothing, starting over");
    }
}

fn new_state(services: &Services, settings: &LoadSettings, run_id: RunId) -> RunState {
    let now = services.clock.unix_time().as_secs();
    let keeps_marker = settings.resume.run_id.is_some();
    let state = RunState::new(
        run_id,
        keeps_marker,
        settings.target.clone(),
        settings.mode,
        settings.transfer.page_size,
        now,
    );
    RunState { export: settings.source.origin(), ..state }
}

/// The saved run. A damaged state is set aside and not used, where the run that it held cannot be loaded a second time by that.
fn saved_run(store: &StateStore, settings: &LoadSettings) -> Result<Option<RunState>, RunError> {
    match store.run() {
        Ok(saved) => Ok(saved),
        Err(error @ StateError::Format { source, .. }) if may_be_set_aside(source, settings) => {
            let aside = store.set_aside()?;
            tracing::warn!(%error, aside = %aside.display(), "the saved state is damaged and was set aside");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a run may begin although the state cannot be read. Without a run id, the rows of an unfinished `append` may be in the
/// table, and nothing else says so. A newer version of this program can still read what it has written.
pub fn may_be_set_aside(problem: FormatError, settings: &LoadSettings) -> bool {
    let is_damaged = !matches!(problem, FormatError::TooNew { .. });
    is_damaged && (settings.mode == Mode::Replace || settings.resume.run_id.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SavedSet;
    use crate::identity::PartTotals;
    use crate::run::fixture::{Fixture, STARTED, export};
    use crate::run::settings::RowSource;

    #[test]
    fn a_new_run_is_saved_with_what_it_loads() {
        for source in [RowSource::Store, RowSource::Export(Arc::new(export()))] {
            let origin = source.origin();
            let Fixture { services, mut settings, .. } = Fixture::new(Mode::Replace, source);
            settings.resume.run_id = Some("weekly".parse().unwrap());
            let state = new_state(&services, &settings, "weekly".parse().unwrap());
            let RunState { run_id, keeps_marker, mode, started_at, .. } = &state;
            assert_eq!((run_id.as_str(), *keeps_marker), ("weekly", true));
            assert_eq!((*mode, *started_at), (Mode::Replace, STARTED));
            assert_eq!((state.export, state.target), (origin, settings.target));
        }
    }

    #[test]
    fn a_saved_set_is_continued_if_it_can_be_used_and_removed_otherwise() {
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        let attempt = |state: RunState| load_attempt(&fixture.run(state));
        let begun = fixture.state();
        let set = begun.set.unwrap();
        let fresh = attempt(RunState { set: None, ..begun.clone() });
        assert_eq!(fresh.own(), None);
        assert_eq!(attempt(begun.clone()), fresh.discarding(restored(&set)));
        let stored = RunState { parts: 1, rows: 100, ..begun.clone() };
        assert_eq!(attempt(stored), fresh.resuming(restored(&set)));
        let totals = Some(PartTotals { parts: 1, valid: 100, rejected: 0 });
        let complete = SavedSet { totals, ..set };
        let state = RunState { set: Some(complete), ..begun };
        assert_eq!(attempt(state), fresh.resuming(restored(&complete)));
    }
}
