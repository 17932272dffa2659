//! Reads what earlier runs of the target saved on this machine. It creates and changes nothing.

use super::finding::{CheckId, Finding};
use crate::checkpoint::{FinishedRun, StateError, StateStore};
use crate::config::Settings;
use crate::paths::shown;
use crate::telemetry::words;

/// Checks the state directory; also returns the last run of the target that fetched customers.
pub(super) fn check_state(settings: &Settings) -> (Finding, Option<FinishedRun>) {
    let id = CheckId::StateDir;
    let (directory, target) = (&settings.load.resume.state_directory, &settings.load.target);
    let shown = shown(directory);
    let store = match StateStore::all(directory) {
        Ok(stores) => stores
            .into_iter()
            .find(|store| store.path().file_stem().is_some_and(|stem| *stem == *target.file_stem())),
        Err(error) => return (Finding::failed(id, error), None),
    };
    let Some(store) = store else {
        let what = if directory.is_dir() {
            "has no run of this target"
        } else {
            "does not exist yet; a run creates it"
        };
        return (Finding::passed(id, format!("{shown} {what}")), None);
    };
    let history = match store.history() {
        Ok(history) => history,
        Err(error @ StateError::Format { .. }) => {
            let seen = super::finding::describe(&error);
            let hint = "a run sets the damaged file aside and starts over";
            return (Finding::warning(id, seen, hint), None);
        }
        Err(error) => return (Finding::failed(id, error), None),
    };
    let last = history.iter().find(|run| run.pages > 0).cloned();
    let seen = match store.run() {
        Ok(Some(run)) => format!(
            "{shown} has an interrupted run of this target ({}, {} stored); sync resumes it",
            run.run_id,
            words::count(run.rows, "row", "rows")
        ),
        _ => format!(
            "{shown} has {} of this target",
            words::count(history.len() as u64, "finished run", "finished runs")
        ),
    };
    (Finding::passed(id, seen), last)
}
