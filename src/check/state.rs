//! Reads what earlier runs of the target saved on this machine. It creates and changes nothing.

use super::finding::{CheckId, Finding};
use crate::checkpoint::{FinishedRun, LockState, StateError, StateStore};
use crate::config::Settings;
use crate::paths::{printable, shown};
use crate::run::may_be_set_aside;
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
    if let Ok(LockState::Held(holder)) = LockState::of(&store.lock_path()) {
        let which = holder.map_or_else(
            || "another process".to_owned(),
            |holder| format!("run {} (process {})", printable(&holder.run_id), holder.pid),
        );
        let seen = format!("{which} is active for this target; its state is in {shown}");
        let hint = "a run started now would exit with 8 (run_active), unless --wait-for-active lets it wait";
        let last = store.history().ok().and_then(|history| history.into_iter().find(|run| run.pages > 0));
        return (Finding::warning(id, seen, hint), last);
    }
    let history = match store.history() {
        Ok(history) => history,
        Err(error @ StateError::Format { source, .. }) => {
            let seen = super::finding::describe(&error);
            return if may_be_set_aside(source, &settings.load) {
                let hint = "a run sets the damaged file aside and starts over";
                (Finding::warning(id, seen, hint), None)
            } else {
                (Finding::failed(id, error), None)
            };
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

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;
    use crate::checkpoint::FinishedAs;

    fn finished(run_id: &str, pages: u64) -> FinishedRun {
        FinishedRun {
            run_id: run_id.parse().unwrap(),
            store_id: None,
            mode: None,
            outcome: FinishedAs::Committed,
            joined: pages == 0,
            ingestion_time: None,
            rows: None,
            customers: 100 * pages,
            customers_with_loyalty_data: 0,
            pages,
            error_records: 0,
            ended_by: None,
            job_id: None,
            started_at: 1_795_320_000,
            finished_at: 1_795_320_005,
        }
    }

    #[test]
    fn the_last_run_is_the_newest_one_that_fetched_pages() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (finding, last) = check_state(&settings);
        assert!(finding.seen.ends_with(" has no run of this target"), "{}", finding.seen);
        assert_eq!(last, None);
        let store = StateStore::open(directory.path(), &settings.load.target).unwrap();
        for run in [finished("oldest", 5), finished("newer", 7), finished("joined", 0)] {
            store.save_finished(run).unwrap();
        }
        let (finding, last) = check_state(&settings);
        assert!(finding.seen.ends_with(" has 3 finished runs of this target"), "{}", finding.seen);
        assert_eq!(last, Some(finished("newer", 7)));
    }
}
