//! Loading as a command: `sync` and `load` differ only in where the rows come from.
//!
//! Owns the order around a run (free space, lock, clients, progress, signals), and what is reported about its end.

mod ending;
mod lock;
mod reporting;

pub(super) use self::ending::{ForcedExit, SandboxDiskFull, StoppedWaiting, disk_full, holder_words};
pub(super) use self::lock::{NotLocked, take_lock};

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Span;

use self::ending::AlreadyRunning;
use super::embedded_sandbox::EmbeddedSandbox;
use super::failure::{Failure, NextCommand, RunLabels, diagnosis_before_start};
use super::invocation::Invocation;
use super::monitoring::Monitoring;
use super::report::Report;
use super::summary::{self, Facts, Left, counting_query};
use crate::checkpoint::{Holder, LockError, LockState, StateStore};
use crate::clock::Clock;
use crate::config::{OutputSettings, SummaryFormat};
use crate::diagnosis::{Code, Diagnosis};
use crate::free_space::{NO_SPACE_HINT, NoSpace};
use crate::identity::{RunId, Target};
use crate::run::decide::Ending;
use crate::run::{
    LoadSettings, Outcome, RecoveryState, RowSource, RowsInQuestion, RunError, RunFailure, RunReport,
    Services, run,
};
use crate::services::ServicesError;
use crate::shutdown::{self, StopRequests};
use crate::spans;
use crate::telemetry::{Heartbeat, HeartbeatThread, Phase, Progress, ProgressBar, words, write_stdout};
use crate::transfer::check_quarantine_space;

/// Fetching the store again does not change an export.
const EXPORT_GUARD_HINT: &str = "look at the store in Yotpo: when the export is right, override the guard (--min-rows-ratio, \
     --allow-empty); otherwise export again";

/// The id of a load follows from its export, so that the same command is the same run.
const EXPORT_SUPERSEDED_HINT: &str =
    "another load has replaced the table since; to load this export again, name the load with a new --run-id";

const NOTHING_KEPT: &str = "nothing: a sandbox run keeps nothing, and the next one starts over";

/// A command that loads.
pub(super) struct LoadCommand<'a> {
    pub(super) invocation: &'a Invocation,
    /// Whether both services are in this process, and end with it.
    pub(super) is_sandbox: bool,
    pub(super) bar: ProgressBar,
    /// Whether the environment or the settings file says `fresh`.
    pub(super) is_fresh_elsewhere: bool,
    pub(super) clock: Clock,
    pub(super) progress: Arc<Progress>,
    /// Where the summary goes, as soon as it is known.
    pub(super) output: OnceLock<OutputSettings>,
    /// What is being loaded, as soon as something may be.
    loading: OnceLock<Loading>,
    /// What a run left that had started and failed.
    left: OnceLock<Left>,
    /// The span of the run, for what is said after it.
    pub(super) run: OnceLock<Span>,
    pub(super) monitoring: Monitoring,
    report: Report,
}

/// What is loaded, and with which clients.
pub(super) struct Load<'a> {
    pub(super) settings: &'a LoadSettings,
    pub(super) wait_for_active: Duration,
    pub(super) summary: SummaryFormat,
    /// Makes the clients; the number makes the jitter of their retries.
    pub(super) assemble: &'a dyn Fn(u64) -> Result<Services, ServicesError>,
    pub(super) sandbox: Option<&'a EmbeddedSandbox>,
    pub(super) stop: &'a StopRequests,
}

/// A run that has begun, for failures that arise outside of it.
struct Loading {
    store: Arc<StateStore>,
    load: LoadSettings,
}

impl<'a> LoadCommand<'a> {
    /// A command that has not started.
    pub(super) fn new(
        invocation: &'a Invocation,
        bar: ProgressBar,
        is_sandbox: bool,
        is_fresh_elsewhere: bool,
    ) -> Self {
        Self {
            invocation,
            is_sandbox,
            bar,
            is_fresh_elsewhere,
            clock: Clock::machine(),
            progress: Arc::default(),
            output: OnceLock::new(),
            loading: OnceLock::new(),
            left: OnceLock::new(),
            run: OnceLock::new(),
            monitoring: Monitoring::default(),
            report: Report::default(),
        }
    }

    /// Loads, and writes the summary of a success.
    pub(super) async fn load(&self, load: Load<'_>) -> Result<(), Failure> {
        let Load { settings, wait_for_active, assemble, sandbox, stop, .. } = load;
        let clock = &self.clock;
        if let Some(run_id) = &settings.resume.run_id {
            spans::record_run_id(run_id);
        }
        let mut random = fastrand::Rng::new();
        let generated = RunId::generate(clock.unix_time(), random.u32(..));
        let store = StateStore::open(&settings.resume.state_directory, &settings.target)
            .map_err(|error| self.failed_before_start(error, Code::StateFailed))?;
        let store = Arc::new(store);
        Self::check_space(&store, settings)
            .map_err(|error| self.failed_before_start(error, Code::DiskFull))?;
        let run_id = settings.resume.run_id.as_ref().unwrap_or(&generated);
        let first_phase = match LockState::of(&store.lock_path()) {
            Ok(LockState::Held(_)) => Phase::Waiting,
            Ok(LockState::Free) | Err(_) => Phase::Starting,
        };
        let heartbeat = self.show_progress(first_phase);
        let lock_path = store.lock_path();
        let lock = take_lock(&lock_path, run_id, clock, wait_for_active, stop);
        let _lock = lock.await.map_err(|error| self.not_locked(&store, error))?;
        if !self.is_sandbox {
            self.report.keep_next_to(store.path(), run_id);
        }
        let services = assemble(random.u64(..)).map_err(|error| {
            let diagnosis = error.diagnosis();
            self.not_started(error, diagnosis)
        })?;
        // It is only set here, and once.
        let _ = self.loading.set(Loading { store: Arc::clone(&store), load: settings.clone() });
        let result = tokio::select! {
            biased;
            // Before the run, which would repeat the upload that found the disk full.
            () = disk_full(sandbox) => {
                let diagnosis = Diagnosis::new(Code::DiskFull, Some(NO_SPACE_HINT.to_owned()));
                return Err(self.ended_abruptly(SandboxDiskFull, diagnosis));
            }
            result = run(&services, settings, &store, generated, &self.progress, stop) => result,
            signal = stop.forced() => {
                return Err(self.ended_abruptly(ForcedExit, Diagnosis::interrupted(signal)));
            }
        };
        drop(heartbeat);
        self.bar.finish();
        match result {
            Ok(report) => {
                self.succeeded(&load, &report);
                Ok(())
            }
            Err(failure) => Err(self.failed(failure, settings)),
        }
    }

    fn succeeded(&self, load: &Load<'_>, report: &RunReport) {
        self.monitoring.succeeded(report.rows);
        if report.outcome == Outcome::AlreadyCommitted
            && let Some(time) = report.ingestion_time
        {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
            let loaded_at = humantime::format_rfc3339_seconds(time).to_string();
            tracing::warn!(
                run_id = %report.run_id,
                loaded_at,
                "this run id was loaded before, so nothing was loaded now; another load needs another run id"
            );
        }
        let facts = Facts::of_success(load.settings, report);
        self.report.summarized(&facts);
        if let Some(output) = self.output.get() {
            summary::write(&facts, output);
        }
        // For people: whatever reads the other formats reads nothing else.
        if let Some(sandbox) = load.sandbox
            && load.summary == SummaryFormat::Text
        {
            write_stdout(&sandbox.sample_rows(&load.settings.target));
        }
    }

    /// Handles signals from now on.
    pub(super) fn listen(&self) -> Result<StopRequests, Failure> {
        shutdown::listen(self.clock.clone())
            .map_err(|error| self.failed_before_start(error, Code::MachineDenied))
    }

    pub(super) fn show_progress(&self, first_phase: Phase) -> Option<HeartbeatThread> {
        self.progress.enter(first_phase, self.clock.now());
        show_progress(self.invocation, &self.bar, &self.progress, &self.clock)
    }

    fn failed(&self, failure: RunFailure, settings: &LoadSettings) -> Failure {
        let target = &settings.target;
        // It is only set where a run ends, and once.
        let _ = self.left.set(Left::by(&failure, settings));
        let RunFailure { run_id, error, phase, recovery, rows_in_question, is_shared, .. } = failure;
        let run = Some(RunLabels {
            run_id: run_id.to_string(),
            store_id: target.store.to_string(),
            database: target.database.to_string(),
            table: target.table.to_string(),
            phase: phase.name(),
        });
        let saved = recovery.describe(&target.label(), is_shared);
        let diagnosis = match (&error, &settings.source) {
            (RunError::Guard(_), RowSource::Export(_)) => {
                Diagnosis::new(Code::GuardTripped, Some(EXPORT_GUARD_HINT.to_owned()))
            }
            (RunError::Ended { ending: Ending::Superseded, .. }, RowSource::Export(_)) => {
                Diagnosis::new(Code::RunSuperseded, Some(EXPORT_SUPERSEDED_HINT.to_owned()))
            }
            _ => error.diagnosis_after(&recovery),
        };
        let diagnosis = match rows_in_question {
            Some(rows) if matches!(diagnosis.code, Code::CommitUnknown | Code::RunTooOld) => {
                diagnosis.with_hint(&self.what_follows(target, rows, &run_id))
            }
            _ => diagnosis,
        };
        let next = self.next(&diagnosis, &recovery);
        self.of_sandbox(Failure { error: error.into(), diagnosis, saved, next, run })
    }

    /// How to find out whether the run's rows are in the table, and what to do then.
    fn what_follows(&self, target: &Target, rows: RowsInQuestion, run_id: &RunId) -> String {
        let expected = rows.expected.map_or_else(|| "all".to_owned(), words::number);
        let other = run_id.successor();
        let command = self.invocation.command_line_of_run(other.as_str());
        format!(
            "{} -- {expected} when they are there: then nothing is to be done; when they are not, load them as another run{}",
            counting_query(target, rows.ingestion_time),
            command.map_or_else(|| format!(", with --run-id {other}"), |command| format!(": {command}"))
        )
    }

    /// The command that helps, where one does.
    fn next(&self, diagnosis: &Diagnosis, recovery: &RecoveryState) -> Option<NextCommand> {
        NextCommand::after(diagnosis, recovery, self.invocation, self.is_fresh_elsewhere)
    }

    fn not_locked(&self, store: &StateStore, error: NotLocked) -> Failure {
        match error {
            NotLocked::Stopped(signal) => {
                self.not_started(StoppedWaiting(signal), Diagnosis::interrupted(signal))
            }
            NotLocked::Lock(LockError::Held { holder }) => self.already_running(store, holder.as_ref()),
            NotLocked::Lock(error) => self.failed_before_start(error, Code::StateFailed),
        }
    }

    fn already_running(&self, store: &StateStore, holder: Option<&Holder>) -> Failure {
        let progress = match store.run() {
            Ok(Some(state)) => {
                let parts = state.parts;
                format!("{} pages with {} rows in {parts} stored parts", state.position.page(), state.rows)
            }
            Ok(None) => "no part stored yet".to_owned(),
            Err(_) => "its progress cannot be read".to_owned(),
        };
        let holder = holder_words(holder);
        let error = AlreadyRunning { holder, progress };
        let hint =
            Some("wait for it (--wait-for-active), or stop it with SIGTERM; its checkpoint stays".to_owned());
        self.not_started(error, Diagnosis::new(Code::RunActive, hint))
    }

    /// The program ends without waiting for what the run is doing: only the last checkpoint says what is left.
    pub(super) fn ended_abruptly(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
    ) -> Failure {
        let Some(Loading { store, load }) = self.loading.get() else {
            return self.not_started(error, diagnosis);
        };
        let recovery = RecoveryState::at_last_checkpoint(store);
        let phase = self.progress.snapshot().phase;
        let _ = self.left.set(Left::abruptly(&recovery, store.run().ok().flatten().as_ref(), phase, load));
        let saved = recovery.describe(&load.target.label(), load.resume.run_id.is_some());
        let next = self.next(&diagnosis, &recovery);
        self.of_sandbox(Failure { error: error.into(), diagnosis, saved, next, run: None })
    }

    pub(super) fn failed_before_start(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        code: Code,
    ) -> Failure {
        let error = error.into();
        let diagnosis = diagnosis_before_start(error.as_ref(), code, self.invocation);
        self.not_started(error, diagnosis)
    }

    /// Every directory that the run writes to has room.
    fn check_space(store: &StateStore, settings: &LoadSettings) -> Result<(), NoSpace> {
        store.check_space()?;
        settings.quarantine_directory.as_deref().map_or(Ok(()), check_quarantine_space)
    }

    pub(super) fn not_started(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
    ) -> Failure {
        Failure::before_start(error, diagnosis, self.invocation)
    }

    /// The sandbox ends with the process: nothing of it is saved.
    fn of_sandbox(&self, failure: Failure) -> Failure {
        if self.is_sandbox && failure.has_started() {
            Failure { saved: NOTHING_KEPT.to_owned(), next: None, ..failure }
        } else {
            failure
        }
    }
}

/// Shows how far a command is: on a line of the terminal, elsewhere as a heartbeat in the log.
pub(super) fn show_progress(
    invocation: &Invocation,
    bar: &ProgressBar,
    progress: &Arc<Progress>,
    clock: &Clock,
) -> Option<HeartbeatThread> {
    if bar.show(progress, clock, invocation.terminal()) {
        return None;
    }
    let started = Heartbeat::new(progress, clock).start();
    started.inspect_err(|error| tracing::warn!(%error, "there will be no heartbeat in the log")).ok()
}
