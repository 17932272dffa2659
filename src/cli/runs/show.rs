//! `yotpo-td runs show`: what is known of one unfinished run, as JSON.
//!
//! Owns the view: what is printed is not the state file, whose form may change, and has no cursor, which is the service's and may
//! say something of a customer.

use serde::Serialize;

use super::{RunsCommand, RunsError};
use crate::checkpoint::RunState;
use crate::identity::{Mode, RunId, SessionName, StoreId};
use crate::run::session_of;
use crate::telemetry::write_stdout;

/// A run as it is shown.
#[derive(Serialize)]
struct RunView<'a> {
    run_id: &'a RunId,
    store_id: &'a StoreId,
    database: &'a str,
    table: &'a str,
    mode: Mode,
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

impl RunsCommand<'_> {
    pub(super) fn show(&self) -> Result<(), RunsError> {
        let (_, run) = self.find()?;
        let view = serde_json::to_value(view(&run)).unwrap_or_default();
        write_stdout(&format!("{view:#}\n"));
        Ok(())
    }
}

fn view(run: &RunState) -> RunView<'_> {
    let time = |seconds: u64| {
        let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        humantime::format_rfc3339_seconds(moment).to_string()
    };
    RunView {
        run_id: &run.run_id,
        store_id: &run.target.store,
        database: run.target.database.as_str(),
        table: run.target.table.as_str(),
        mode: run.mode,
        phase: run.phase.name(),
        pages: run.position.page(),
        rows: run.rows,
        parts: run.parts,
        rejected_customers: run.rejected_customers,
        customers_with_loyalty_data: run.loyalty.with_loyalty_data(),
        error_records: run.error_records,
        session: session_of(run),
        ingestion_time: run.set.map(|set| set.nonce.time()),
        job_id: run.job_id.as_deref(),
        page_size: run.page_size,
        run_id_given: run.keeps_marker,
        started_at: time(run.started_at),
        saved_at: time(run.updated_at),
    }
}
