//! `yotpo-td sync`.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::ArgMatches;
use tracing::{Instrument as _, Span};

use super::Panicked;
use super::embedded_sandbox::{self, EmbeddedSandbox};
use super::failure::{Failure, NextCommand, RunLabels, local_code};
use super::invocation::{Invocation, layers, layers_without_flags, start_logging};
use super::runtime::{MachineDenied, client_runtime, serving_runtime};
use super::setting_flags::flags;
use super::summary::{self, Facts, Left, counting_query};
use crate::checkpoint::{Holder, LockError, LockState, StateStore, TargetLock};
use crate::clock::Clock;
use crate::config::keys::FRESH;
use crate::config::{Layers, OutputSettings, Settings, Source, SummaryFormat, output_settings};
use crate::diagnosis::{Code, Diagnosis, next_step};
use crate::free_space::{NO_SPACE_HINT, NoSpace};
use crate::identity::{RunId, Target};
use crate::run::{
    LoadSettings, Outcome, RecoveryState, RowsInQuestion, RunFailure, RunReport, STATE_DIRECTORY_HINT, run,
};
use crate::services::assemble;
use crate::shutdown::{self, Signal};
use crate::spans;
use crate::telemetry::{Heartbeat, HeartbeatThread, Phase, Progress, ProgressBar, write_stdout};
use crate::transfer::check_quarantine_space;

const NOTHING_KEPT: &str = "nothing: a sandbox run keeps nothing, and the next one starts over";

/// Runs the command.
pub(super) fn sync(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = layers(invocation, matches);
    let bar = ProgressBar::hidden();
    start_logging(&layers, &bar);
    let is_fresh = |(source, value): (Source, &str)| {
        source != Source::Flag && matches!(value.trim(), "on" | "true" | "1")
    };
    let is_fresh_elsewhere = flags(matches).get(FRESH.key).is_none_or(|value| value != "off")
        && layers_without_flags(invocation, matches).get(&FRESH).is_some_and(is_fresh);
    let command = SyncCommand {
        invocation,
        matches,
        bar,
        is_fresh_elsewhere,
        clock: Clock::machine(),
        progress: Arc::default(),
        output: OnceLock::new(),
        loading: OnceLock::new(),
        left: OnceLock::new(),
        run: OnceLock::new(),
    };
    let runtime = if embedded_sandbox::is_wanted(matches) { serving_runtime() } else { client_runtime() };
    if !embedded_sandbox::is_wanted(matches) {
        // The sandbox has other names, and changes them when it starts.
        command.output.get_or_init(|| output_settings(&layers));
    }
    let result = runtime.map_or_else(
        |error| {
            let diagnosis = Diagnosis::new(Code::MachineDenied, Some(MachineDenied::HINT.to_owned()));
            Err(Failure::before_start(error, diagnosis, invocation))
        },
        |runtime| {
            let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(command.start(layers))))
                .unwrap_or_else(|_panic| Err(command.ended_abruptly(Panicked, Panicked::diagnosis())));
            // Pages that are still being compressed are of no use any more.
            runtime.shutdown_background();
            result
        },
    );
    // Log lines and the closing words follow; a panic leaves the line where it was.
    command.bar.finish();
    result.inspect_err(|failure| command.summarize(failure))
}

struct SyncCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    bar: ProgressBar,
    /// Whether the environment or the settings file says `fresh`.
    is_fresh_elsewhere: bool,
    clock: Clock,
    progress: Arc<Progress>,
    /// Where the summary goes, as soon as it is known.
    output: OnceLock<OutputSettings>,
    /// What is being loaded, as soon as something may be.
    loading: OnceLock<Loading>,
    /// What a run left that had started and failed.
    left: OnceLock<Left>,
    /// The span of the run, for what is said after it.
    run: OnceLock<Span>,
}

/// A run that has begun, for failures that arise outside of it.
struct Loading {
    store: Arc<StateStore>,
    load: LoadSettings,
}

impl SyncCommand<'_> {
    async fn start(&self, mut layers: Layers) -> Result<(), Failure> {
        let clock = self.clock.clone();
        let sandbox = if embedded_sandbox::is_wanted(self.matches) {
            let sandbox = EmbeddedSandbox::start(self.matches, &mut layers, clock.clone()).await;
            Some(sandbox.map_err(|error| self.failed_before_start(error, Code::MachineDenied))?)
        } else {
            None
        };
        self.output.get_or_init(|| output_settings(&layers));
        let result = match Settings::from_layers(layers) {
            Ok(settings) => {
                let run = spans::run(&settings.load.target, settings.load.mode);
                let run = self.run.get_or_init(|| run).clone();
                // On the heap: it is large, and would be moved about.
                Box::pin(self.load(&settings, &clock, sandbox.as_ref()).instrument(run)).await
            }
            Err(error) => Err(self.failed_before_start(error, Code::SettingsInvalid)),
        };
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        result
    }

    async fn load(
        &self,
        settings: &Settings,
        clock: &Clock,
        sandbox: Option<&EmbeddedSandbox>,
    ) -> Result<(), Failure> {
        if let Some(run_id) = &settings.load.resume.run_id {
            spans::record_run_id(run_id);
        }
        let mut random = fastrand::Rng::new();
        let generated = RunId::generate(clock.unix_time(), random.u32(..));
        let store = StateStore::open(&settings.load.resume.state_directory, &settings.load.target)
            .map_err(|error| self.failed_before_start(error, Code::StateFailed))?;
        let store = Arc::new(store);
        Self::check_space(&store, &settings.load)
            .map_err(|error| self.failed_before_start(error, Code::DiskFull))?;
        let run_id = settings.load.resume.run_id.as_ref().unwrap_or(&generated).to_string();
        let holder = Holder { pid: std::process::id(), run_id, started_at: clock.unix_time().as_secs() };
        let stop = shutdown::listen(clock.clone())
            .map_err(|error| self.failed_before_start(error, Code::MachineDenied))?;
        let first_phase = match LockState::of(&store) {
            Ok(LockState::Held(_)) => Phase::Waiting,
            Ok(LockState::Free) | Err(_) => Phase::Starting,
        };
        let heartbeat = self.show_progress(first_phase);
        let _lock = tokio::select! {
            biased;
            signal = stop.graceful() => return Err(self.stopped_before_start(signal)),
            lock = TargetLock::take_within(&store, &holder, clock, settings.wait_for_active) => {
                lock.map_err(|error| self.not_locked(&store, error))?
            },
        };
        let services = assemble(settings, clock, random.u64(..)).map_err(|error| {
            let diagnosis = error.diagnosis();
            self.not_started(error, diagnosis)
        })?;
        // It is only set here, and once.
        let _ = self.loading.set(Loading { store: Arc::clone(&store), load: settings.load.clone() });
        let result = tokio::select! {
            biased;
            // Before the run, which would repeat the upload that found the disk full.
            () = disk_full(sandbox) => {
                let diagnosis = Diagnosis::new(Code::DiskFull, Some(NO_SPACE_HINT.to_owned()));
                return Err(self.ended_abruptly(SandboxDiskFull, diagnosis));
            }
            result = run(&services, &settings.load, &store, generated, &self.progress, &stop) => result,
            signal = stop.forced() => {
                return Err(self.ended_abruptly(ForcedExit, Diagnosis::interrupted(signal)));
            }
        };
        drop(heartbeat);
        self.bar.finish();
        match result {
            Ok(report) => {
                self.succeeded(settings, &report, sandbox);
                Ok(())
            }
            Err(failure) => Err(self.failed(failure, settings)),
        }
    }

    fn succeeded(&self, settings: &Settings, report: &RunReport, sandbox: Option<&EmbeddedSandbox>) {
        if report.outcome == Outcome::AlreadyCommitted
            && let Some(time) = report.ingestion_time
        {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
            let loaded_at = humantime::format_rfc3339_seconds(time).to_string();
            tracing::warn!(
                run_id = %report.run_id,
                loaded_at,
                "this run id was loaded before, nothing was loaded now; a run id names one load"
            );
        }
        if let Some(output) = self.output.get() {
            summary::write(&Facts::of_success(settings, report), output);
        }
        // For people: whatever reads the other formats reads nothing else.
        if let Some(sandbox) = sandbox
            && settings.summary == SummaryFormat::Text
        {
            write_stdout(&sandbox.sample_rows(settings));
        }
    }

    /// Shows how far the run is: on a line of the terminal, elsewhere as a heartbeat in the log.
    fn show_progress(&self, first_phase: Phase) -> Option<HeartbeatThread> {
        let Self { progress, clock, .. } = self;
        progress.enter(first_phase, clock.now());
        let term = self.invocation.environment.get("TERM").and_then(|term| term.to_str());
        if self.bar.show(progress, clock, term) {
            return None;
        }
        let started = Heartbeat::new(progress, clock).start();
        started.inspect_err(|error| tracing::warn!(%error, "there will be no heartbeat in the log")).ok()
    }

    /// Writes the summary of a run that failed, or never started.
    fn summarize(&self, failure: &Failure) {
        let Some(output) = self.output.get() else { return };
        let now = self.clock.now();
        self.progress.finish(now);
        let facts = Facts::of_failure(failure, output, self.left.get(), &self.progress.snapshot(), now);
        self.run.get().unwrap_or(&Span::none()).in_scope(|| summary::write(&facts, output));
    }

    fn failed(&self, failure: RunFailure, settings: &Settings) -> Failure {
        let target = &settings.load.target;
        // It is only set where a run ends, and once.
        let _ = self.left.set(Left::by(&failure, &settings.load));
        let RunFailure { run_id, error, phase, recovery, rows_in_question, is_shared, .. } = failure;
        let run = Some(RunLabels {
            run_id: run_id.to_string(),
            store_id: settings.yotpo.store.to_string(),
            database: target.database.to_string(),
            table: target.table.to_string(),
            phase: phase.name(),
        });
        let saved = recovery.describe(&target.label(), is_shared);
        let diagnosis = error.diagnosis();
        let diagnosis = match rows_in_question {
            Some(rows) if matches!(diagnosis.code, Code::CommitUnknown | Code::RunTooOld) => {
                diagnosis.with_hint(&self.what_follows(target, rows, &run_id))
            }
            _ => diagnosis,
        };
        let next = self.next(diagnosis.code, &recovery);
        self.of_sandbox(Failure { error: error.into(), diagnosis, saved, next, run })
    }

    /// How to find out whether the run's rows are in the table, and what to do then.
    fn what_follows(&self, target: &Target, rows: RowsInQuestion, run_id: &RunId) -> String {
        let expected = rows.expected.map_or_else(|| "all".to_owned(), |rows| rows.to_string());
        format!(
            "{} -- {expected} when they are there: then nothing is to be done; when they are not, load them as another run: {}",
            counting_query(target, rows.ingestion_time),
            self.invocation.command_line_of_run(&format!("{run_id}-2"))
        )
    }

    /// The command that helps, where one does.
    fn next(&self, code: Code, recovery: &RecoveryState) -> Option<NextCommand> {
        let step = next_step(code, recovery)?;
        let command = if step.resumes {
            self.invocation.resuming_command_line(self.is_fresh_elsewhere)
        } else {
            self.invocation.command_line()
        };
        Some(NextCommand { step, command })
    }

    fn not_locked(&self, store: &StateStore, error: LockError) -> Failure {
        match error {
            LockError::Held { holder } => self.already_running(store, holder.as_ref()),
            error => self.failed_before_start(error, Code::StateFailed),
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
        let holder = holder.map_or_else(
            || "another process".to_owned(),
            |holder| {
                let started = std::time::UNIX_EPOCH + Duration::from_secs(holder.started_at);
                let started = humantime::format_rfc3339_seconds(started);
                format!("process {} with run {}, started {started}", holder.pid, holder.run_id)
            },
        );
        let error = AlreadyRunning { holder, progress };
        let hint =
            Some("wait for it (--wait-for-active), or stop it with SIGTERM; its checkpoint stays".to_owned());
        self.not_started(error, Diagnosis::new(Code::RunActive, hint))
    }

    fn stopped_before_start(&self, signal: Signal) -> Failure {
        self.not_started(StoppedWaiting(signal), Diagnosis::interrupted(signal))
    }

    /// The program ends without waiting for what the run is doing: only the last checkpoint says what is left.
    fn ended_abruptly(
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
        let next = self.next(diagnosis.code, &recovery);
        self.of_sandbox(Failure { error: error.into(), diagnosis, saved, next, run: None })
    }

    fn failed_before_start(&self, error: impl Into<Box<dyn Error + Send + Sync>>, code: Code) -> Failure {
        let error = error.into();
        let (code, hint) = local_code(error.as_ref(), code);
        let otherwise = match code {
            Code::SettingsInvalid => Some("yotpo-td sync --help lists all settings"),
            Code::StateFailed => Some(STATE_DIRECTORY_HINT),
            _ => None,
        };
        self.not_started(error, Diagnosis::new(code, hint.or(otherwise.map(str::to_owned))))
    }

    /// Every directory that the run writes to has room.
    fn check_space(store: &StateStore, settings: &LoadSettings) -> Result<(), NoSpace> {
        store.check_space()?;
        settings.quarantine_directory.as_deref().map_or(Ok(()), check_quarantine_space)
    }

    fn not_started(&self, error: impl Into<Box<dyn Error + Send + Sync>>, diagnosis: Diagnosis) -> Failure {
        Failure::before_start(error, diagnosis, self.invocation)
    }

    /// The sandbox ends with the process: nothing of it is saved.
    fn of_sandbox(&self, failure: Failure) -> Failure {
        if embedded_sandbox::is_wanted(self.matches) && failure.has_started() {
            Failure { saved: NOTHING_KEPT.to_owned(), next: None, ..failure }
        } else {
            failure
        }
    }
}

/// Another process loads the same target.
#[derive(Debug, thiserror::Error)]
#[error("another run for this target is active: {holder} ({progress})")]
struct AlreadyRunning {
    holder: String,
    progress: String,
}

/// A signal came before it was this run's turn.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {} while waiting for another run to end", .0.name())]
struct StoppedWaiting(Signal);

/// Ends when the embedded sandbox has no disk left; never without one.
async fn disk_full(sandbox: Option<&EmbeddedSandbox>) {
    match sandbox {
        Some(sandbox) => sandbox.disk_full().await,
        None => std::future::pending().await,
    }
}

/// The embedded sandbox cannot store what is loaded.
#[derive(Debug, thiserror::Error)]
#[error("the disk of the sandbox's temporary directory is full")]
struct SandboxDiskFull;

/// A second signal came.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a second signal, without waiting")]
struct ForcedExit;
