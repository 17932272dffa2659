//! `yotpo-td runs list`: the unfinished runs of this machine, and the last finished ones of each target.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{RunsCommand, RunsError};
use crate::checkpoint::{FinishedAs, FinishedRun, LockState, RunState, StateStore};
use crate::cli::options::is_json;
use crate::identity::Mode;
use crate::paths::shown;
use crate::telemetry::{words, write_result, write_stderr};

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunStatus {
    /// A process of this machine works on it.
    Running,
    /// Nothing works on it; the same command resumes it.
    Interrupted,
    /// Its rows are in the table, or there was nothing to load.
    Finished,
}

/// A run as it is listed.
#[derive(Serialize)]
struct ListedRun {
    status: RunStatus,
    run_id: String,
    store_id: Option<String>,
    /// `database.table`.
    target: String,
    mode: Option<&'static str>,
    pid: Option<u32>,
    pages: Option<u64>,
    rows: Option<u64>,
    started_at: u64,
    /// When it was saved or finished.
    updated_at: u64,
    /// How far it is, or how it ended.
    detail: &'static str,
}

const HEADER: [&str; 9] = ["STATUS", "RUN", "STORE", "TARGET", "MODE", "PID", "PAGES", "ROWS", "AGE"];
/// Columns with numbers.
const RIGHT_ALIGNED: [&str; 3] = ["PID", "PAGES", "ROWS"];

impl RunsCommand<'_> {
    pub(super) fn list(&self) -> Result<(), RunsError> {
        let directory = self.state_directory()?;
        let mut runs = Vec::new();
        for store in StateStore::all(&directory)? {
            match of_store(&store) {
                Ok(found) => runs.extend(found),
                Err(error) => {
                    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                    write_stderr(&format!("warning: {error}{cause}\n"));
                }
            }
        }
        let text = if is_json(self.matches) {
            let list = serde_json::to_value(&runs).unwrap_or_default();
            format!("{list:#}\n")
        } else if runs.is_empty() {
            write_stderr(&format!("no runs in {}\n", shown(&directory)));
            String::new()
        } else {
            table(&runs, self.clock.unix_time().as_secs())
        };
        write_result(&text);
        Ok(())
    }
}

fn of_store(store: &StateStore) -> Result<Vec<ListedRun>, Box<dyn Error + Send + Sync>> {
    let (run, history, lock) = (store.run()?, store.history()?, LockState::of(&store.lock_path())?);
    let target = target_of(store.path());
    let mut runs = Vec::new();
    match (&lock, run) {
        (LockState::Held(holder), run) => {
            let saved = run.map(|run| unfinished(&run, RunStatus::Running));
            let started = holder.as_ref().map(|holder| ListedRun {
                status: RunStatus::Running,
                run_id: holder.run_id.clone(),
                store_id: None,
                target: target.clone(),
                mode: None,
                pid: None,
                pages: None,
                rows: None,
                started_at: holder.started_at,
                updated_at: holder.started_at,
                detail: "started",
            });
            let listed = saved.or(started);
            runs.extend(listed.map(|run| ListedRun { pid: holder.as_ref().map(|holder| holder.pid), ..run }));
        }
        (LockState::Free, run) => runs.extend(run.map(|run| unfinished(&run, RunStatus::Interrupted))),
    }
    runs.extend(history.into_iter().map(|run| finished(run, &target)));
    Ok(runs)
}

/// `database.table`, from the name of the state file.
fn target_of(path: &Path) -> String {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(target, _)| target).to_owned()
}

fn unfinished(run: &RunState, status: RunStatus) -> ListedRun {
    ListedRun {
        status,
        run_id: run.run_id.to_string(),
        store_id: Some(run.target.store.to_string()),
        target: run.target.label(),
        mode: Some(run.mode.as_str()),
        pid: None,
        pages: Some(run.position.page()),
        rows: Some(run.rows),
        started_at: run.started_at,
        updated_at: run.updated_at,
        detail: run.phase.name(),
    }
}

fn finished(run: FinishedRun, target: &str) -> ListedRun {
    ListedRun {
        status: RunStatus::Finished,
        run_id: run.run_id.to_string(),
        store_id: run.store_id.map(|store| store.to_string()),
        target: target.to_owned(),
        mode: run.mode.map(Mode::as_str),
        pid: None,
        pages: Some(run.pages),
        rows: run.rows,
        started_at: run.started_at,
        updated_at: run.finished_at,
        detail: match run.outcome {
            FinishedAs::Committed if run.joined => "joined",
            FinishedAs::Committed => "committed",
            FinishedAs::Emptied => "emptied",
            FinishedAs::NothingToLoad => "nothing_to_load",
        },
    }
}

/// A table with a header; what is unknown is a dash.
fn table(runs: &[ListedRun], now: u64) -> String {
    let dash = || "-".to_owned();
    let number = |number: Option<u64>| number.map_or_else(dash, words::number);
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(runs.iter().map(|run| {
        let status = match run.status {
            RunStatus::Running => "running",
            RunStatus::Interrupted => "interrupted",
            RunStatus::Finished => "finished",
        };
        [
            format!("{status} ({})", run.detail),
            run.run_id.clone(),
            run.store_id.clone().unwrap_or_else(dash),
            run.target.clone(),
            run.mode.map_or_else(dash, str::to_owned),
            run.pid.map_or_else(dash, |pid| pid.to_string()),
            number(run.pages),
            number(run.rows),
            words::duration(Duration::from_secs(now.saturating_sub(run.updated_at))),
        ]
    }));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..HEADER.len()).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(HEADER).map(|((cell, width), name)| {
            if RIGHT_ALIGNED.contains(&name) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        // A String takes everything.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}
