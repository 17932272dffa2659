mod for_people;
mod for_programs;

use std::time::Duration;

use super::*;
use crate::cli::failure::{Failure, NextCommand};
use crate::diagnosis::{Code, Diagnosis, NextStep};
use crate::export::{CompleteExport, ExportDirectory, Manifest};
use crate::http::FailureKind;
use crate::identity::{Mode, PartTotals, Sha256Sum, Target};
use crate::rate_limit::RateUsage;
use crate::retry::RequestCounts;
use crate::run::{
    AbandonSettings, DryRunReport, ExportReport, ExportSettings, LoadSettings, Outcome, RecoveryState,
    ResumePolicy, Resumption, RunError, RunFailure, RunReport,
};
use crate::telemetry::{ProgressSnapshot, ServiceUse};
use crate::treasure_data::Polling;
use crate::yotpo::{EndedBy, LoyaltyCounts, Position};

const RUN_ID: &str = "20261123T040000Z-9f1c02ab";
const TIME: u64 = 1_795_406_400;

fn settings() -> LoadSettings {
    let target = Target {
        store: "my_store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
        database: "shop".parse().unwrap(),
        table: "customers".parse().unwrap(),
    };
    let account = AbandonSettings {
        state_directory: "/state".into(),
        polling: Polling { interval: Duration::ZERO, timeout: Duration::ZERO },
        run_lifetime: Duration::ZERO,
        without_table_ids: false,
    };
    LoadSettings::to_abandon(target, Mode::Append, None, account)
}

fn export_settings() -> ExportSettings {
    let LoadSettings { target, transfer, .. } = settings();
    ExportSettings {
        store: target.store,
        yotpo_endpoint: target.yotpo_endpoint,
        transfer,
        quarantine_directory: None,
        policy: ResumePolicy::Never,
        run_id: None,
    }
}

fn output() -> OutputSettings {
    OutputSettings {
        summary: SummaryFormat::Text,
        file: None,
        metrics_file: None,
        metrics_listen: None,
        metrics_push: None,
        report: None,
        store: Some("my_store".parse().unwrap()),
        database: Some("shop".parse().unwrap()),
        table: Some("customers".parse().unwrap()),
        mode: Some(Mode::Append),
        run_id: None,
    }
}

/// A run that fetched for a minute and resumed another one.
fn progress() -> ProgressSnapshot {
    let millis = Duration::from_millis;
    let yotpo = RequestCounts {
        requests: 12,
        retries: 3,
        throttled: 2,
        retries_by_cause: [(FailureKind::Throttled, 2), (FailureKind::Timeout, 1)].into_iter().collect(),
    };
    let treasure_data = RequestCounts {
        requests: 1_005,
        retries: 1,
        throttled: 0,
        retries_by_cause: [(FailureKind::Timeout, 1)].into_iter().collect(),
    };
    let rate = RateUsage {
        requests_per_second: 4.5,
        waits: 1,
        waited: millis(2_000),
        delayed: millis(30_000),
        others_per_second: 0.5,
        others_seen: true,
        ..RateUsage::default()
    };
    let fetching = millis(60_000);
    let waiting = millis(500_000);
    let nothing = Duration::ZERO;
    ProgressSnapshot {
        phase: Phase::CleaningUp,
        phase_since: Duration::from_secs(600),
        started: Some(Duration::from_secs(1)),
        durations: [millis(120), fetching, millis(1), millis(1_500), nothing, nothing, nothing, waiting],
        usage: ServiceUse { yotpo, yotpo_response_bytes: 2_048, rate, treasure_data, has_token: true },
        pages: 3,
        customers: 1_250,
        customers_before: 1_000,
        customers_with_loyalty_data: 40,
        ended_by: Some(EndedBy::LastPage),
        parts: 2,
        uploaded_bytes: 4_096,
        row_bytes: 10_240,
        seen_twice: 1,
        is_estimate: true,
        ..ProgressSnapshot::default()
    }
}

fn success() -> RunReport {
    RunReport {
        outcome: Outcome::Committed,
        joined: false,
        rows: Some(1_249),
        run_id: RUN_ID.parse().unwrap(),
        session: Some("the_session".parse().unwrap()),
        job_id: Some("77".to_owned()),
        ingestion_time: Some(TIME),
        resumed: true,
        error_records: 1,
        progress: progress(),
        yotpo: RequestCounts::default(),
        rate: RateUsage::default(),
        treasure_data: RequestCounts::default(),
        duration: Duration::from_micros(62_000_600),
    }
}

/// An export in a directory that is removed with the first value.
fn export() -> (tempfile::TempDir, ExportReport) {
    let parent = tempfile::tempdir().unwrap();
    let manifest = Manifest {
        run_id: RUN_ID.parse().unwrap(),
        store_id: "my_store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        time: TIME,
        is_complete: true,
        started_at: TIME,
        updated_at: TIME,
        page_size: 100,
        position: Position::End { page: 3, ended_by: EndedBy::LastPage },
        loyalty: LoyaltyCounts::default(),
        rows: 1_250,
        rejected_customers: 2,
        parts: Vec::new(),
    };
    let directory = ExportDirectory::create(&parent.path().join("export")).unwrap();
    let report = ExportReport {
        export: CompleteExport { directory, manifest, sha256: Sha256Sum::of(b"manifest") },
        was_complete: false,
        resumed: false,
        progress: ProgressSnapshot { seen_twice: 0, ..progress() },
        duration: Duration::from_secs(62),
    };
    (parent, report)
}

fn dry_run(resumption: Resumption) -> DryRunReport {
    DryRunReport {
        resumption,
        totals: PartTotals { parts: 2, valid: 1_248, rejected: 2 },
        is_partial: true,
        expected: Some(Duration::from_secs(90)),
        progress: ProgressSnapshot { usage: ServiceUse::default(), ..progress() },
        duration: Duration::ZERO,
    }
}

fn failure() -> Failure {
    let step = NextStep { resumes: true, after_correction: false };
    let command = "yotpo-td sync".to_owned();
    Failure {
        error: std::io::Error::from(std::io::ErrorKind::BrokenPipe).into(),
        diagnosis: Diagnosis::new(Code::TreasureDataFailed, Some("look there".to_owned())),
        saved: "1,000 rows in 2 parts".to_owned(),
        next: Some(NextCommand { step, command }),
        run: None,
    }
}

/// What a run of `settings` left that may be committed.
fn left(settings: &LoadSettings) -> Left {
    let failure = RunFailure {
        run_id: RUN_ID.parse().unwrap(),
        error: RunError::Denied,
        phase: Phase::CleaningUp,
        recovery: RecoveryState::MaybeCommitted { ingestion_time: TIME },
        rows_in_question: None,
        is_shared: false,
        session: Some("the_session".parse().unwrap()),
        job_id: Some("77".to_owned()),
    };
    Left::by(&failure, settings)
}

/// Now, 2.5 seconds after the last phase of [`progress`] began.
const NOW: Duration = Duration::from_millis(602_500);
