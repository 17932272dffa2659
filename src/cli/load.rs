//! `yotpo-td load`: an export into a table.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};
use tracing::Instrument as _;

use super::Panicked;
use super::failure::{Failure, local_code};
use super::invocation::{Invocation, is_fresh_elsewhere, layers, start_logging_and_tracing};
use super::loading::{Load, LoadCommand};
use super::runtime::{client_runtime, run_to_end};
use crate::checkpoint::{FinishedRun, StateStore};
use crate::config::keys::{
    ALLOW_EMPTY, COLOR, DATABASE, FRESH, LOG_FORMAT, LOG_LEVEL, MAX_ERROR_RECORDS, MAX_RETRIES, METRICS_FILE,
    METRICS_LISTEN, METRICS_PUSH, MIN_ROWS_RATIO, MODE, PERFORM_TIMEOUT, POLL_INTERVAL, QUARANTINE_DIR,
    REPORT, REQUEST_TIMEOUT, RESUME_WITHIN, RETRY_BASE_DELAY, RETRY_TIMEOUT, RUN_ID, RUN_LIFETIME, SITE,
    STATE_DIR, STORE_ID, SUMMARY, SUMMARY_FILE, TABLE, TD_CONF, TD_ENDPOINT, UPLOAD_WORKERS, WAIT_FOR_ACTIVE,
    WITHOUT_TABLE_IDS, YOTPO_ENDPOINT,
};
use crate::config::{AccountSettings, Layers, Setting, SettingsToLoad, output_settings};
use crate::diagnosis::{Code, Diagnosis, code_of_export};
use crate::export::{CompleteExport, ExportDirectory, ExportError};
use crate::run::{LoadSettings, Services};
use crate::services::assemble_account;
use crate::shutdown::{Signal, StopRequests};
use crate::spans;
use crate::telemetry::{Phase, ProgressBar};

pub(super) const EXAMPLES: &str = "\
Examples:
  Load what sync --to wrote; a retry never loads it twice:
    yotpo-td load customers-20260131 --database my_database --site us01
  Replace the rows of a table with those of the export:
    yotpo-td load customers-20260131 --database my_database --mode replace";

/// The settings that the command takes.
pub(super) const SETTINGS: [Setting; 35] = [
    DATABASE.setting,
    TABLE.setting,
    MODE.setting,
    SITE.setting,
    TD_ENDPOINT.setting,
    TD_CONF.setting,
    STORE_ID.setting,
    YOTPO_ENDPOINT.setting,
    RUN_ID.setting,
    STATE_DIR.setting,
    RESUME_WITHIN.setting,
    FRESH.setting,
    RUN_LIFETIME.setting,
    WAIT_FOR_ACTIVE.setting,
    WITHOUT_TABLE_IDS.setting,
    ALLOW_EMPTY.setting,
    MIN_ROWS_RATIO.setting,
    MAX_ERROR_RECORDS.setting,
    QUARANTINE_DIR.setting,
    UPLOAD_WORKERS.setting,
    MAX_RETRIES.setting,
    RETRY_BASE_DELAY.setting,
    RETRY_TIMEOUT.setting,
    REQUEST_TIMEOUT.setting,
    POLL_INTERVAL.setting,
    PERFORM_TIMEOUT.setting,
    SUMMARY.setting,
    SUMMARY_FILE.setting,
    LOG_FORMAT.setting,
    LOG_LEVEL.setting,
    COLOR.setting,
    METRICS_FILE.setting,
    METRICS_LISTEN.setting,
    METRICS_PUSH.setting,
    REPORT.setting,
];

/// The directory.
pub(super) fn directory_argument() -> Arg {
    Arg::new("directory")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Directory that sync --to wrote")
}

/// Runs the command.
pub(super) fn load(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = layers(invocation, matches);
    let bar = ProgressBar::hidden();
    start_logging_and_tracing(&layers, &bar);
    let command = LoadCommand::new(invocation, bar, false, is_fresh_elsewhere(invocation, matches));
    command.report_to(output_settings(&layers), false);
    let directory = matches.get_one::<PathBuf>("directory").cloned().unwrap_or_default();
    let result = run_to_end(client_runtime(), invocation, start(&command, layers, directory), || {
        command.ended_abruptly(Panicked, Panicked::diagnosis())
    });
    command.finish(result)
}

/// The export was loaded so long ago that Treasure Data may no longer know.
#[derive(Debug, thiserror::Error)]
#[error("this export was loaded into {table} before, at {time}")]
struct LoadedBefore {
    table: String,
    time: String,
}

/// Refuses to load an export again whose load is too old for its attempts to be told apart. This machine's history is all that
/// is known of it; a younger one is recognised by what it left in Treasure Data.
fn refuse_old_load(load: &LoadSettings, export: &CompleteExport, now: u64) -> Result<(), LoadedBefore> {
    let run_id = export.load_run_id();
    if load.resume.run_id.as_ref() != Some(&run_id) {
        return Ok(());
    }
    let store = StateStore::existing(&load.resume.state_directory, &load.target);
    // A state that cannot be read is reported by the run.
    let history = store.history().unwrap_or_default();
    let is_old = |run: &&FinishedRun| now.saturating_sub(run.finished_at) > load.run_lifetime.as_secs();
    match history.iter().filter(|run| run.run_id == run_id).find(is_old) {
        Some(run) => {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(run.finished_at);
            let time = humantime::format_rfc3339_seconds(time).to_string();
            Err(LoadedBefore { table: load.target.label(), time })
        }
        None => Ok(()),
    }
}

/// A signal came before anything of the export was loaded.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {} while verifying the export", .0.name())]
struct StoppedVerifying(Signal);

/// The export, of which every part is the one that the manifest lists.
async fn verified(
    command: &LoadCommand<'_>,
    directory: PathBuf,
    stop: &StopRequests,
) -> Result<CompleteExport, Failure> {
    // Until it is known what is loaded: a run has its own.
    let _heartbeat = command.show_progress(Phase::Starting);
    let read = move || -> Result<CompleteExport, ExportError> {
        let export = ExportDirectory::at(&directory)?.complete()?;
        export.verify()?;
        Ok(export)
    };
    let read = tokio::select! {
        biased;
        // Reading goes on in its thread, which ends with the process.
        signal = stop.graceful() => {
            return Err(command.not_started(StoppedVerifying(signal), Diagnosis::interrupted(signal)));
        }
        read = command.clock.blocking(read) => read,
    };
    match read {
        Ok(Ok(export)) => Ok(export),
        Ok(Err(error)) => {
            let (code, hint) = local_code(&error, code_of_export(&error));
            let hint = hint.unwrap_or_else(|| error.hint());
            Err(command.not_started(error, Diagnosis::new(code, Some(hint))))
        }
        Err(_panicked) => Err(command.ended_abruptly(Panicked, Panicked::diagnosis())),
    }
}

async fn start(command: &LoadCommand<'_>, layers: Layers, directory: PathBuf) -> Result<(), Failure> {
    let stop = command.listen()?;
    let export = Arc::new(verified(command, directory, &stop).await?);
    let settings = SettingsToLoad::from_layers(layers, Arc::clone(&export))
        .map_err(|error| command.failed_before_start(error, Code::SettingsInvalid))?;
    refuse_old_load(&settings.load, &export, command.clock.unix_time().as_secs()).map_err(|error| {
        let hint = "look at the table; to load the export again, name the load with a new --run-id";
        let diagnosis = Diagnosis::new(Code::RunAlreadyLoaded, Some(hint.to_owned()));
        command.not_started(error, diagnosis)
    })?;
    let AccountSettings { connections, retry, .. } = &settings.account;
    command.monitoring.set_limits(
        connections,
        retry,
        settings.load.polling.timeout,
        settings.wait_for_active,
    );
    let run = spans::run(&settings.load.target, settings.load.mode);
    let run = command.run.get_or_init(|| run).clone();
    stop.set_run(&run);
    let load = Load {
        settings: &settings.load,
        wait_for_active: settings.wait_for_active,
        summary: settings.summary,
        assemble: &|seed| {
            let treasure_data = assemble_account(&settings.account, &command.clock, seed)?;
            Ok(Services { yotpo: None, treasure_data, clock: command.clock.clone() })
        },
        sandbox: None,
        stop: &stop,
    };
    // On the heap: it is large, and would be moved about.
    Box::pin(command.load(load).instrument(run)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::FinishedAs;
    use crate::export::Manifest;
    use crate::identity::{Mode, RunId, Sha256Sum, Target};
    use crate::run::AbandonSettings;
    use crate::treasure_data::Polling;
    use crate::yotpo::{EndedBy, LoyaltyCounts, Position};

    const LOADED: u64 = 1_795_406_400;
    const LIFETIME: u64 = 86_400;

    fn settings(state_directory: PathBuf, run_id: RunId) -> LoadSettings {
        let target = Target {
            store: "my_store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
            database: "shop".parse().unwrap(),
            table: "customers".parse().unwrap(),
        };
        let account = AbandonSettings {
            state_directory,
            polling: Polling { interval: Duration::ZERO, timeout: Duration::ZERO },
            run_lifetime: Duration::from_secs(LIFETIME),
            without_table_ids: false,
        };
        LoadSettings::to_abandon(target, Mode::Append, Some(run_id), account)
    }

    fn export(directory: &std::path::Path) -> CompleteExport {
        let manifest = Manifest {
            run_id: "nightly".parse().unwrap(),
            store_id: "my_store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            time: LOADED,
            is_complete: true,
            started_at: LOADED,
            updated_at: LOADED,
            page_size: 100,
            position: Position::End { page: 1, ended_by: EndedBy::LastPage },
            loyalty: LoyaltyCounts::default(),
            rows: 0,
            rejected_customers: 0,
            parts: Vec::new(),
        };
        let directory = ExportDirectory::create(&directory.join("export")).unwrap();
        CompleteExport { directory, manifest, sha256: Sha256Sum::of(b"manifest") }
    }

    fn loaded(run_id: RunId) -> FinishedRun {
        FinishedRun {
            run_id,
            store_id: None,
            mode: Some(Mode::Append),
            outcome: FinishedAs::Committed,
            joined: false,
            ingestion_time: Some(LOADED),
            rows: Some(0),
            customers: 0,
            customers_with_loyalty_data: 0,
            pages: 0,
            error_records: 0,
            ended_by: None,
            job_id: None,
            started_at: LOADED,
            finished_at: LOADED,
        }
    }

    #[test]
    fn an_export_whose_load_is_older_than_the_lifetime_of_runs_is_not_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        let export = export(directory.path());
        let load = settings(directory.path().join("state"), export.load_run_id());
        let refused = |load: &LoadSettings, now| {
            refuse_old_load(load, &export, now).err().map(|error| error.to_string())
        };
        assert_eq!(refused(&load, u64::MAX), None, "it was never loaded");
        let store = StateStore::open(&load.resume.state_directory, &load.target).unwrap();
        store.save_finished(loaded(export.load_run_id())).unwrap();
        assert_eq!(refused(&load, LOADED + LIFETIME), None, "its attempts can still be told apart");
        let message = "this export was loaded into shop.customers before, at 2026-11-23T04:00:00Z".to_owned();
        assert_eq!(refused(&load, LOADED + LIFETIME + 1), Some(message));
        let mut other = load;
        other.resume.run_id = Some("again".parse().unwrap());
        assert_eq!(refused(&other, LOADED + LIFETIME + 1), None, "another run was asked for");
    }
}
