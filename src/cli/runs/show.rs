//! `yotpo-td runs show`: what is known of one run, as JSON.
//!
//! Owns the view: what is printed is not the state file, whose form may change, and has no cursor, which is the service's and may
//! say something of a customer.

use serde::Serialize;

use super::list::RunStatus;
use super::{RunsCommand, RunsError, UsageError, printable};
use crate::checkpoint::{FinishedAs, FinishedRun, LockState, RunState, StateStore};
use crate::identity::{Mode, RunId, SessionName, StoreId};
use crate::run::session_of;
use crate::telemetry::write_result;
use crate::yotpo::EndedBy;

/// The word for the run that was saved last.
pub(super) const LATEST: &str = "latest";

/// An unfinished run as it is shown.
#[derive(Serialize)]
struct UnfinishedView<'a> {
    status: RunStatus,
    run_id: &'a RunId,
    store_id: &'a StoreId,
    database: &'a str,
    table: &'a str,
    mode: Mode,
    pid: Option<u32>,
    phase: &'static str,
    pages: u64,
    rows: u64,
    parts: u64,
    rejected_customers: u64,
    customers_with_loyalty_data: u64,
    error_records: u64,
    session: Option<SessionName>,
    ingestion_time: Option<u64>,
    job_id: Option<&'a str>,
    page_size: u8,
    run_id_given: bool,
    started_at: String,
    saved_at: String,
}

/// A finished run as it is shown.
#[derive(Serialize)]
struct FinishedView<'a> {
    status: RunStatus,
    run_id: &'a RunId,
    store_id: Option<&'a StoreId>,
    mode: Option<Mode>,
    outcome: FinishedAs,
    joined: bool,
    pages: u64,
    customers: u64,
    rows: Option<u64>,
    customers_with_loyalty_data: u64,
    error_records: u64,
    ended_by: Option<EndedBy>,
    ingestion_time: Option<u64>,
    job_id: Option<&'a str>,
    started_at: String,
    finished_at: String,
}

/// A run of a state file.
enum Found {
    Unfinished(Box<RunState>, LockState),
    Finished(FinishedRun),
}

impl RunsCommand<'_> {
    pub(super) fn show(&self) -> Result<(), RunsError> {
        let wanted = self.matches.get_one::<String>("run").map_or(LATEST, String::as_str);
        let mut runs = self.all_runs()?;
        runs.sort_by_key(|run| std::cmp::Reverse(run.saved_at()));
        let found = runs.iter().find(|run| wanted == LATEST || run.run_id().as_str() == wanted);
        let found = found.ok_or_else(|| match wanted {
            LATEST => UsageError::NoRuns.into(),
            wanted => self.no_such_run(UsageError::NoSuchRun(printable(wanted))),
        })?;
        write_result(&format!("{:#}\n", found.view()));
        Ok(())
    }

    /// Whether a state file has this run.
    pub(super) fn is_known(&self, run_id: &str) -> bool {
        self.all_runs().is_ok_and(|runs| runs.iter().any(|run| run.run_id().as_str() == run_id))
    }

    /// Unfinished and finished runs. A state file that cannot be read is reported by `runs list`.
    fn all_runs(&self) -> Result<Vec<Found>, RunsError> {
        let mut runs = Vec::new();
        for store in StateStore::all(&self.state_directory()?)? {
            if let (Ok(run), Ok(history)) = (store.run(), store.history()) {
                let lock = LockState::of(&store.lock_path()).unwrap_or(LockState::Free);
                runs.extend(run.map(|run| Found::Unfinished(Box::new(run), lock)));
                runs.extend(history.into_iter().map(Found::Finished));
            }
        }
        Ok(runs)
    }
}

impl Found {
    fn run_id(&self) -> &RunId {
        match self {
            Self::Unfinished(run, _) => &run.run_id,
            Self::Finished(run) => &run.run_id,
        }
    }

    fn saved_at(&self) -> u64 {
        match self {
            Self::Unfinished(run, _) => run.updated_at,
            Self::Finished(run) => run.finished_at,
        }
    }

    fn view(&self) -> serde_json::Value {
        let view = match self {
            Self::Unfinished(run, lock) => serde_json::to_value(unfinished(run, lock)),
            Self::Finished(run) => serde_json::to_value(finished(run)),
        };
        view.unwrap_or_default()
    }
}

fn time(seconds: u64) -> String {
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(moment).to_string()
}

fn unfinished<'a>(run: &'a RunState, lock: &LockState) -> UnfinishedView<'a> {
    let (status, holder) = match lock {
        LockState::Held(holder) => (RunStatus::Running, holder.as_ref()),
        LockState::Free => (RunStatus::Interrupted, None),
    };
    UnfinishedView {
        status,
        run_id: &run.run_id,
        store_id: &run.target.store,
        database: run.target.database.as_str(),
        table: run.target.table.as_str(),
        mode: run.mode,
        pid: holder.map(|holder| holder.pid),
        phase: run.phase.name(),
        pages: run.position.page(),
        rows: run.rows,
        parts: run.parts,
        rejected_customers: run.rejected_customers,
        customers_with_loyalty_data: run.loyalty.with_loyalty_data(),
        error_records: run.error_records,
        session: session_of(run),
        ingestion_time: run.set.map(|set| run.ingestion_time(set.nonce)),
        job_id: run.job_id.as_deref(),
        page_size: run.page_size,
        run_id_given: run.keeps_marker,
        started_at: time(run.started_at),
        saved_at: time(run.updated_at),
    }
}

fn finished(run: &FinishedRun) -> FinishedView<'_> {
    FinishedView {
        status: RunStatus::Finished,
        run_id: &run.run_id,
        store_id: run.store_id.as_ref(),
        mode: run.mode,
        outcome: run.outcome,
        joined: run.joined,
        pages: run.pages,
        customers: run.customers,
        rows: run.rows,
        customers_with_loyalty_data: run.customers_with_loyalty_data,
        error_records: run.error_records,
        ended_by: run.ended_by,
        ingestion_time: run.ingestion_time,
        job_id: run.job_id.as_deref(),
        started_at: time(run.started_at),
        finished_at: time(run.finished_at),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checkpoint::Holder;
    use crate::identity::Target;

    const STARTED: u64 = 1_795_406_400;

    fn unfinished() -> RunState {
        let target = Target {
            store: "my_store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
            database: "shop".parse().unwrap(),
            table: "customers".parse().unwrap(),
        };
        let run = RunState::new("later".parse().unwrap(), true, target, Mode::Replace, 50, STARTED);
        RunState { updated_at: STARTED + 90, rows: 7, parts: 2, ..run }
    }

    fn finished() -> FinishedRun {
        FinishedRun {
            run_id: "earlier".parse().unwrap(),
            store_id: Some("my_store".parse().unwrap()),
            mode: Some(Mode::Append),
            outcome: FinishedAs::Committed,
            joined: false,
            ingestion_time: Some(STARTED),
            rows: Some(10),
            customers: 11,
            customers_with_loyalty_data: 4,
            pages: 2,
            error_records: 1,
            ended_by: Some(EndedBy::LastPage),
            job_id: Some("77".to_owned()),
            started_at: STARTED,
            finished_at: STARTED + 60,
        }
    }

    #[test]
    fn a_run_is_as_old_as_what_was_saved_last_of_it() {
        let runs = [Found::Unfinished(Box::new(unfinished()), LockState::Free), Found::Finished(finished())];
        assert_eq!(runs.map(|run| run.saved_at()), [STARTED + 90, STARTED + 60]);
    }

    #[test]
    fn an_unfinished_run_is_shown_with_its_process() {
        let holder = Holder { pid: 12, run_id: "later".to_owned(), started_at: STARTED };
        let held = LockState::Held(Some(holder));
        let view = Found::Unfinished(Box::new(unfinished()), held).view();
        assert_eq!((&view["status"], &view["pid"]), (&json!("running"), &json!(12)));
        let view = Found::Unfinished(Box::new(unfinished()), LockState::Free).view();
        assert_eq!((&view["status"], &view["pid"]), (&json!("interrupted"), &json!(null)));
        let times = [&view["started_at"], &view["saved_at"]];
        assert_eq!(times, [&json!("2026-11-23T04:00:00Z"), &json!("2026-11-23T04:01:30Z")]);
    }

    #[test]
    fn a_finished_run_is_shown_with_what_it_loaded() {
        let expected = json!({
            "status": "finished",
            "run_id": "earlier",
            "store_id": "my_store",
            "mode": "append",
            "outcome": "committed",
            "joined": false,
            "pages": 2,
            "customers": 11,
            "rows": 10,
            "customers_with_loyalty_data": 4,
            "error_records": 1,
            "ended_by": "last_page",
            "ingestion_time": STARTED,
            "job_id": "77",
            "started_at": "2026-11-23T04:00:00Z",
            "finished_at": "2026-11-23T04:01:00Z",
        });
        assert_eq!(Found::Finished(finished()).view(), expected);
    }
}
