//! `yotpo-td runs list`: the unfinished runs of this machine, and the last finished ones of each target.

use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;

use super::{RunsCommand, RunsError, age};
use crate::checkpoint::{FinishedRun, RunState, StateStore};
use crate::telemetry::{write_stderr, write_stdout};

impl RunsCommand<'_> {
    pub(super) fn list(&self) -> Result<(), RunsError> {
        let directory = self.state_directory()?;
        let now = self.clock.unix_time().as_secs();
        let mut text = String::new();
        for store in StateStore::all(&directory)? {
            match (store.run(), store.history()) {
                (Ok(run), Ok(history)) => {
                    if let Some(run) = run {
                        text.push_str(&unfinished(&run, now));
                    }
                    for run in history {
                        text.push_str(&finished(&run, store.path(), now));
                    }
                }
                (Err(error), _) | (_, Err(error)) => {
                    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                    write_stderr(&format!("warning: {error}{cause}\n"));
                }
            }
        }
        if text.is_empty() {
            write_stderr(&format!("no runs in {}\n", directory.display()));
        }
        write_stdout(&text);
        Ok(())
    }
}

fn unfinished(run: &RunState, now: u64) -> String {
    let RunState { run_id, phase, position, rows, .. } = run;
    let pages = position.page();
    let phase = phase.name();
    let mut text = String::new();
    // A String takes everything.
    let _ = writeln!(
        text,
        "unfinished  {}  {run_id}  {phase}, {pages} pages, {rows} rows stored, saved {} ago",
        run.target.label(),
        age(run.updated_at, now)
    );
    text
}

fn finished(run: &FinishedRun, path: &Path, now: u64) -> String {
    let FinishedRun { run_id, rows, pages, finished_at, .. } = run;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let target = name.rsplit_once('.').map_or(name, |(target, _)| target);
    let ended = age(*finished_at, now);
    let rows = rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    format!("finished    {target}  {run_id}  {pages} pages, {rows} rows loaded, ended {ended} ago\n")
}
