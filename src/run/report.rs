//! The report of a successful run, and its entry in the history.

use std::time::Duration;

use super::context::{Run, Services};
use super::settings::RowSource;
use crate::checkpoint::{FinishedAs, FinishedRun, LegacyRun};
use crate::identity::{RunId, SessionName};
use crate::rate_limit::RateUsage;
use crate::retry::RequestCounts;
use crate::run::decide::Winner;
use crate::telemetry::{Progress, ProgressSnapshot, ServiceUse};

/// How a run succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every customer is in the table.
    Committed,
    /// Every customer was in the table before this process started: the run id was loaded earlier.
    AlreadyCommitted,
    /// The store has no customers, and the table was replaced by an empty one.
    Emptied,
    /// The store has no customers, and nothing was created.
    NothingToLoad,
}

/// Everything in a summary. Facts about rows are those of the set that was committed, even if another attempt made it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether another attempt of this run made the rows that were committed.
    pub joined: bool,
    /// Rows that were added to the table; `None` if Treasure Data does not report them.
    pub rows: Option<u64>,
    /// The run's id.
    pub run_id: RunId,
    /// The bulk import session; `None` if nothing was loaded.
    pub session: Option<SessionName>,
    /// The load job, if known.
    pub job_id: Option<String>,
    /// The `time` of every row, Unix seconds; `None` if nothing was loaded.
    pub ingestion_time: Option<u64>,
    /// Whether the rows are from an interrupted run that was resumed.
    pub resumed: bool,
    /// Records that were left out because they could not be read.
    pub error_records: u64,
    /// What this process fetched, loaded and sent, and how long its phases lasted.
    pub progress: ProgressSnapshot,
    /// Requests to Yotpo.
    pub yotpo: RequestCounts,
    /// How the store's rate limit was used.
    pub rate: RateUsage,
    /// Requests to Treasure Data.
    pub treasure_data: RequestCounts,
    /// Duration of the whole run.
    pub duration: Duration,
}

/// What is known about the winner's session.
#[derive(Clone, Debug, Default)]
pub(super) struct WinnerFacts {
    pub(super) rows: Option<u64>,
    pub(super) error_records: u64,
    pub(super) job_id: Option<String>,
    /// Whether it was committed and in the target when this process first read its status.
    pub(super) was_done_before: bool,
}

/// How a run succeeded.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) joined: bool,
    pub(super) winner: Option<Winner>,
    pub(super) facts: WinnerFacts,
}

pub(super) fn loaded(winner: Winner, joined: bool, facts: WinnerFacts) -> Ended {
    let outcome = match (winner.is_empty(), facts.was_done_before) {
        (true, _) => Outcome::Emptied,
        (false, true) => Outcome::AlreadyCommitted,
        (false, false) => Outcome::Committed,
    };
    Ended { outcome, joined, winner: Some(winner), facts }
}

pub(super) fn finished(run: &Run<'_>, ended: &Ended) -> FinishedRun {
    let state = run.journal.state();
    let progress = run.progress.snapshot();
    let ingestion_time = ingestion_time(run, ended);
    FinishedRun {
        run_id: state.run_id,
        store_id: Some(state.target.store),
        mode: Some(state.mode),
        outcome: match ended.outcome {
            Outcome::Committed | Outcome::AlreadyCommitted => FinishedAs::Committed,
            Outcome::Emptied => FinishedAs::Emptied,
            Outcome::NothingToLoad => FinishedAs::NothingToLoad,
        },
        joined: ended.joined,
        ingestion_time,
        rows: rows(ended),
        customers: progress.customers,
        customers_with_loyalty_data: progress.customers_with_loyalty_data,
        pages: progress.pages,
        error_records: error_records(run, ended),
        ended_by: progress.ended_by,
        job_id: ended.facts.job_id.clone(),
        started_at: state.started_at,
        finished_at: run.services.clock.unix_time().as_secs(),
    }
}

/// The `time` of the rows; `None` if there are none, or if it cannot be known. That is so if the user gave the run's id and another
/// attempt made the rows: it may have loaded an export, or another one.
fn ingestion_time(run: &Run<'_>, ended: &Ended) -> Option<u64> {
    let winner = ended.winner?;
    if let RowSource::Export(export) = &run.settings.source {
        let is_own = !ended.joined && !ended.facts.was_done_before;
        if is_own || run.names.run_id == export.load_run_id() {
            return Some(export.manifest.time);
        }
    }
    (!winner.nonce.loads_export()).then_some(winner.nonce.time())
}

pub(super) fn rows(ended: &Ended) -> Option<u64> {
    match ended.outcome {
        Outcome::Emptied | Outcome::NothingToLoad => Some(0),
        Outcome::Committed | Outcome::AlreadyCommitted => {
            let proven = ended.winner.and_then(|winner| winner.totals).map(|totals| totals.valid);
            ended.facts.rows.or(proven)
        }
    }
}

pub(super) fn error_records(run: &Run<'_>, ended: &Ended) -> u64 {
    let rejected = if ended.joined {
        ended.winner.and_then(|winner| winner.totals).map_or(0, |totals| totals.rejected)
    } else {
        run.journal.state().rejected_customers
    };
    rejected + ended.facts.error_records
}

pub(super) fn report(run: &Run<'_>, ended: Ended, duration: Duration) -> RunReport {
    let session = ended.winner.filter(|winner| !winner.is_empty()).map(|winner| run.names.session(&winner));
    let ServiceUse { yotpo, rate, treasure_data, .. } = run.services.usage();
    let ingestion_time = ingestion_time(run, &ended);
    RunReport {
        outcome: ended.outcome,
        joined: ended.joined,
        rows: rows(&ended),
        run_id: run.names.run_id.clone(),
        session,
        ingestion_time,
        // The resumed set may have been replaced by a new one, or by another attempt's.
        resumed: run.resumed.is_some_and(|nonce| ended.winner.is_some_and(|winner| winner.nonce == nonce)),
        error_records: error_records(run, &ended),
        job_id: ended.facts.job_id,
        progress: run.progress.snapshot(),
        yotpo,
        rate,
        treasure_data,
        duration,
    }
}

pub(super) fn report_of_legacy(
    services: &Services,
    progress: &Progress,
    legacy: &LegacyRun,
    started: Duration,
) -> RunReport {
    let ServiceUse { yotpo, rate, treasure_data, .. } = services.usage();
    progress.finish(services.clock.now());
    RunReport {
        outcome: Outcome::AlreadyCommitted,
        joined: true,
        rows: legacy.loaded_rows,
        run_id: legacy.run_id.clone(),
        session: Some(legacy.session.clone()),
        ingestion_time: Some(legacy.ingestion_time),
        resumed: true,
        error_records: 0,
        job_id: None,
        progress: progress.snapshot(),
        yotpo,
        rate,
        treasure_data,
        duration: services.clock.now().saturating_sub(started),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint::RunState;
    use crate::identity::{Mode, Nonce, PartTotals, TableId, TableSuffix};
    use crate::run::fixture::{Fixture, STARTED, export};

    fn winner(suffix: TableSuffix, loads_export: bool) -> Winner {
        let nonce = Nonce::marked(STARTED, 6, loads_export).unwrap();
        let totals = Some(PartTotals { parts: 1, valid: 10, rejected: 3 });
        Winner { nonce, target: TableId::from_api("5"), table: None, suffix, totals }
    }

    fn ended(loads_export: bool, joined: bool, was_done_before: bool) -> Ended {
        let facts = WinnerFacts { was_done_before, error_records: 2, ..WinnerFacts::default() };
        loaded(winner(TableSuffix::Rows, loads_export), joined, facts)
    }

    #[test]
    fn the_time_of_rows_is_reported_only_if_it_is_known() {
        let time = |run: &Run<'_>, ended| ingestion_time(run, &ended);
        let store = Fixture::new(Mode::Append, RowSource::Store);
        let run = store.run(store.state());
        assert_eq!(time(&run, ended(false, true, false)), Some(STARTED));
        // Another attempt loaded an export under this id.
        assert_eq!(time(&run, ended(true, true, false)), None);

        let fixture = Fixture::new(Mode::Append, RowSource::Export(Arc::new(export())));
        let exported = Some(export().manifest.time);
        let named = fixture.run(fixture.state());
        assert_eq!(time(&named, ended(true, false, false)), exported);
        assert_eq!(time(&named, ended(true, true, false)), None);
        assert_eq!(time(&named, ended(true, false, true)), None);
        // The digest of the export is the id, so every attempt loads these rows.
        let mut state = fixture.state();
        state.run_id = export().load_run_id();
        let run = fixture.run(state);
        assert_eq!(time(&run, ended(true, true, false)), exported);
        assert_eq!(time(&run, ended(true, false, true)), exported);
    }

    #[test]
    fn records_that_were_left_out_are_those_of_the_set_that_was_loaded() {
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        let run = fixture.run(RunState { rejected_customers: 1, ..fixture.state() });
        assert_eq!(error_records(&run, &ended(false, false, false)), 3);
        assert_eq!(error_records(&run, &ended(false, true, false)), 5);
    }

    #[test]
    fn a_report_names_the_session_that_was_loaded_if_it_held_rows() {
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        let run = fixture.run(fixture.state());
        let report_of = |suffix| {
            let ended = loaded(winner(suffix, false), false, WinnerFacts::default());
            report(&run, ended, Duration::from_secs(7))
        };
        let committed = report_of(TableSuffix::Rows);
        let session = run.names.session(&winner(TableSuffix::Rows, false));
        assert_eq!((committed.session, committed.outcome), (Some(session), Outcome::Committed));
        let emptied = report_of(TableSuffix::Empty);
        assert_eq!((emptied.session, emptied.outcome, emptied.rows), (None, Outcome::Emptied, Some(0)));
    }
}
