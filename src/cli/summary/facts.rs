//! What a summary says, whether the run succeeded or failed.

use std::path::Path;
use std::time::Duration;

use crate::checkpoint::RunState;
use crate::cli::failure::Failure;
use crate::config::OutputSettings;
use crate::export::{CompleteExport, Manifest};
use crate::identity::{Mode, Target};
use crate::run::{
    DryRunReport, ExportReport, ExportSettings, LoadSettings, Outcome, RecoveryState, Resumption, RowSource,
    RunFailure, RunReport, session_of,
};
use crate::telemetry::{Phase, ProgressSnapshot};

/// What a summary says.
pub(in crate::cli) struct Facts<'a> {
    /// How the run ended: the name in JSON.
    pub(super) outcome: &'static str,
    /// What is true of the run's rows: the name in JSON.
    pub(super) state: &'static str,
    /// The outcome, where it is no failure.
    pub(super) success: Option<Success>,
    pub(super) failure: Option<&'a Failure>,
    pub(super) store_id: Option<String>,
    pub(super) database: Option<String>,
    pub(super) table: Option<String>,
    pub(super) mode: Option<Mode>,
    pub(super) run_id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) job_id: Option<String>,
    /// The phase in which the run failed.
    pub(super) phase: Option<&'static str>,
    pub(super) rows: Option<u64>,
    pub(super) joined: bool,
    pub(super) resumed: bool,
    pub(super) error_records: Option<u64>,
    pub(super) ingestion_time: Option<u64>,
    pub(super) counting_query: Option<String>,
    /// Where an export is.
    pub(super) directory: Option<String>,
    /// The digest that names the export.
    pub(super) export_sha256: Option<String>,
    pub(super) dry_run: Option<DryRunFacts>,
    pub(super) progress: ProgressSnapshot,
    pub(super) duration: Duration,
    pub(super) memory_bound: Option<u64>,
}

/// How a command succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Success {
    /// A run.
    Run(Outcome),
    /// An export.
    Exported,
    /// An export that an earlier process had completed.
    AlreadyExported,
    /// A dry run.
    DryRun,
}

/// What a dry run found.
#[derive(Clone, Debug)]
pub(super) struct DryRunFacts {
    pub(super) resumption: Resumption,
    /// Whether another run of the target is active on this machine.
    pub(super) is_active: bool,
    /// Whether there are more pages than were fetched.
    pub(super) is_partial: bool,
    /// How long fetching everything takes.
    pub(super) expected: Option<Duration>,
}

/// What a run left that had started and failed.
#[derive(Debug)]
pub(in crate::cli) struct Left {
    /// The name in JSON.
    state: &'static str,
    run_id: Option<String>,
    phase: &'static str,
    session: Option<String>,
    job_id: Option<String>,
    /// The `time` of rows that may be in the table.
    ingestion_time: Option<u64>,
    target: Option<Target>,
    memory_bound: Option<u64>,
}

impl Left {
    /// By a run that cleaned up behind itself.
    pub(in crate::cli) fn by(failure: &RunFailure, load: &LoadSettings) -> Self {
        Self {
            state: failure.recovery.name(),
            run_id: Some(failure.run_id.to_string()),
            phase: failure.phase.name(),
            session: failure.session.as_ref().map(ToString::to_string),
            job_id: failure.job_id.clone(),
            ingestion_time: time_in_question(&failure.recovery),
            target: Some(load.target.clone()),
            memory_bound: Some(load.transfer.memory_bound()),
        }
    }

    /// By a run that ended without looking: what its last checkpoint says.
    pub(in crate::cli) fn abruptly(
        recovery: &RecoveryState,
        saved: Option<&RunState>,
        phase: Phase,
        load: &LoadSettings,
    ) -> Self {
        Self {
            state: recovery.name(),
            run_id: saved.map(|saved| saved.run_id.to_string()),
            phase: phase.name(),
            session: saved.and_then(session_of).map(|session| session.to_string()),
            job_id: saved.and_then(|saved| saved.job_id.clone()),
            ingestion_time: time_in_question(recovery),
            target: Some(load.target.clone()),
            memory_bound: Some(load.transfer.memory_bound()),
        }
    }

    /// By an export: what its manifest says.
    pub(in crate::cli) fn of_export(
        recovery: &RecoveryState,
        saved: Option<&Manifest>,
        phase: Phase,
    ) -> Self {
        Self {
            state: recovery.name(),
            run_id: saved.map(|manifest| manifest.run_id.to_string()),
            phase: phase.name(),
            session: None,
            job_id: None,
            ingestion_time: None,
            target: None,
            memory_bound: None,
        }
    }
}

/// Counts the rows of one run, in Treasure Data's Trino.
pub(in crate::cli) fn counting_query(target: &Target, time: u64) -> String {
    let Target { database, table, .. } = target;
    format!("SELECT COUNT(1) FROM {database}.{table} WHERE time = {time}")
}

/// The `time` of the rows that may be in the table.
fn time_in_question(recovery: &RecoveryState) -> Option<u64> {
    match recovery {
        RecoveryState::MaybeCommitted { ingestion_time } => Some(*ingestion_time),
        _ => None,
    }
}

impl<'a> Facts<'a> {
    /// Of a run that succeeded.
    pub(in crate::cli) fn of_success(settings: &LoadSettings, report: &RunReport) -> Self {
        let target = &settings.target;
        let export = match &settings.source {
            RowSource::Store => None,
            RowSource::Export(export) => Some(export),
        };
        let (outcome, state) = match report.outcome {
            Outcome::Committed => ("committed", "loaded"),
            Outcome::AlreadyCommitted => ("already_committed", "loaded"),
            Outcome::Emptied => ("emptied", "loaded"),
            Outcome::NothingToLoad => ("nothing_to_load", "nothing_created"),
        };
        Self {
            outcome,
            state,
            success: Some(Success::Run(report.outcome)),
            failure: None,
            store_id: Some(target.store.to_string()),
            database: Some(target.database.to_string()),
            table: Some(target.table.to_string()),
            mode: Some(settings.mode),
            run_id: Some(report.run_id.to_string()),
            session: report.session.as_ref().map(ToString::to_string),
            job_id: report.job_id.clone(),
            phase: None,
            rows: if report.outcome == Outcome::NothingToLoad { Some(0) } else { report.rows },
            joined: report.joined,
            resumed: report.resumed,
            error_records: Some(report.error_records),
            ingestion_time: report.ingestion_time,
            counting_query: report.ingestion_time.map(|time| counting_query(target, time)),
            directory: export.map(|export| export.directory.path().display().to_string()),
            export_sha256: export.map(|export| export.sha256.to_string()),
            dry_run: None,
            progress: report.progress,
            duration: report.duration,
            memory_bound: Some(settings.transfer.memory_bound()),
        }
    }

    /// Of an export that is complete.
    pub(in crate::cli) fn of_export(settings: &ExportSettings, report: &ExportReport) -> Self {
        let CompleteExport { directory, manifest, sha256 } = &report.export;
        let was_complete = report.was_complete;
        Self {
            outcome: if was_complete { "already_exported" } else { "exported" },
            state: "exported",
            success: Some(if was_complete { Success::AlreadyExported } else { Success::Exported }),
            store_id: Some(manifest.store_id.to_string()),
            run_id: Some(manifest.run_id.to_string()),
            rows: Some(manifest.rows),
            resumed: report.resumed,
            error_records: Some(manifest.rejected_customers),
            ingestion_time: Some(manifest.time),
            directory: Some(directory.path().display().to_string()),
            export_sha256: Some(sha256.to_string()),
            duration: report.duration,
            memory_bound: Some(settings.transfer.memory_bound()),
            ..Self::nothing(&report.progress)
        }
    }

    /// Of a dry run.
    pub(in crate::cli) fn of_dry_run(
        settings: &LoadSettings,
        report: &DryRunReport,
        is_active: bool,
    ) -> Self {
        let target = &settings.target;
        let DryRunReport { resumption, totals, is_partial, expected, progress, duration } = report;
        Self {
            outcome: "dry_run",
            state: "nothing_created",
            success: Some(Success::DryRun),
            store_id: Some(target.store.to_string()),
            database: Some(target.database.to_string()),
            table: Some(target.table.to_string()),
            mode: Some(settings.mode),
            run_id: settings.resume.run_id.as_ref().map(ToString::to_string),
            rows: Some(totals.valid),
            error_records: Some(totals.rejected),
            dry_run: Some(DryRunFacts {
                resumption: resumption.clone(),
                is_active,
                is_partial: *is_partial,
                expected: *expected,
            }),
            duration: *duration,
            memory_bound: Some(settings.transfer.memory_bound()),
            ..Self::nothing(progress)
        }
    }

    fn nothing(progress: &ProgressSnapshot) -> Self {
        Self {
            outcome: "failed",
            state: "not_started",
            success: None,
            failure: None,
            store_id: None,
            database: None,
            table: None,
            mode: None,
            run_id: None,
            session: None,
            job_id: None,
            phase: None,
            rows: None,
            joined: false,
            resumed: false,
            error_records: None,
            ingestion_time: None,
            counting_query: None,
            directory: None,
            export_sha256: None,
            dry_run: None,
            progress: *progress,
            duration: Duration::ZERO,
            memory_bound: None,
        }
    }

    /// Of a run that failed; without `left`, before it started. `now` is the time of the run's clock.
    pub(in crate::cli) fn of_failure(
        failure: &'a Failure,
        output: &OutputSettings,
        left: Option<&Left>,
        progress: &ProgressSnapshot,
        now: Duration,
    ) -> Self {
        let text = |name: Option<&str>| name.map(str::to_owned);
        let waited = |(phase, _): &(Phase, Duration)| *phase != Phase::Waiting;
        Self {
            state: left.map_or("not_started", |left| left.state),
            failure: Some(failure),
            store_id: output.store.as_ref().map(ToString::to_string),
            database: output.database.as_ref().map(ToString::to_string),
            table: output.table.as_ref().map(ToString::to_string),
            mode: output.mode,
            run_id: left
                .and_then(|left| left.run_id.clone())
                .or_else(|| output.run_id.as_ref().map(ToString::to_string)),
            session: text(left.and_then(|left| left.session.as_deref())),
            job_id: text(left.and_then(|left| left.job_id.as_deref())),
            phase: left.map(|left| left.phase),
            resumed: progress.customers_before > 0,
            ingestion_time: left.and_then(|left| left.ingestion_time),
            counting_query: left
                .and_then(|left| Some(counting_query(left.target.as_ref()?, left.ingestion_time?))),
            duration: progress.phase_durations(now).filter(waited).map(|(_, duration)| duration).sum(),
            memory_bound: left.and_then(|left| left.memory_bound),
            ..Self::nothing(progress)
        }
    }

    /// The command writes to a directory, not to a table.
    pub(in crate::cli) fn is_into_directory(&mut self, directory: &Path) {
        (self.database, self.table, self.mode) = (None, None, None);
        self.directory = Some(directory.display().to_string());
    }

    /// Whether anything was started.
    pub(super) fn has_started(&self) -> bool {
        self.state != "not_started"
    }

    /// Phases with their durations; the run has ended, so that all are complete.
    pub(super) fn phases(&self) -> impl Iterator<Item = (Phase, Duration)> {
        self.progress.phase_durations(self.progress.phase_since)
    }

    /// The share of the fetching time in which the next request waited for the rate limiter; `None` before fetching.
    pub(super) fn delayed_share(&self) -> Option<f64> {
        let fetching = self.phases().find(|(phase, _)| *phase == Phase::Fetching)?.1;
        let share = self.progress.usage.rate.delayed.as_secs_f64() / fetching.as_secs_f64();
        share.is_finite().then_some(share.min(1.0))
    }
}
