//! `yotpo-td sync --to DIR`: a store into a directory.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::ArgMatches;
use tracing::{Instrument as _, Span};

use super::Panicked;
use super::embedded_sandbox;
use super::failure::{Failure, NextCommand, diagnosis_before_start, local_code};
use super::invocation::{Invocation, is_fresh_elsewhere};
use super::loading::{ForcedExit, NotLocked, StoppedWaiting, holder_words, show_progress, take_lock};
use super::monitoring::Monitoring;
use super::report::Report;
use super::runtime::{client_runtime, run_to_end, serving_runtime};
use super::summary::{self, Facts, Left};
use crate::checkpoint::LockError;
use crate::clock::Clock;
use crate::config::{Layers, OutputSettings, SettingsToExport, StoreSettings, output_settings};
use crate::diagnosis::{Code, Diagnosis, code_of_export};
use crate::export::{ExportDirectory, ExportError, Manifest};
use crate::identity::RunId;
use crate::paths::{is_inside, shown};
use crate::run::{ExportContext, ExportFailure, ExportReport, RecoveryState, ResumePolicy, RunError, export};
use crate::services::assemble_store;
use crate::shutdown;
use crate::spans;
use crate::telemetry::{Phase, Progress, ProgressBar, words};
use crate::transfer::check_quarantine_space;

const NOTHING_SAVED: &str = "this command exported nothing";

/// The command.
pub(super) struct ExportCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    bar: ProgressBar,
    path: &'a Path,
    clock: Clock,
    progress: Arc<Progress>,
    /// Where the summary goes, as soon as it is known.
    output: OnceLock<OutputSettings>,
    /// Where the export is written, as soon as something may be.
    writing: OnceLock<ExportDirectory>,
    /// What an export left that had started and failed.
    left: OnceLock<Left>,
    /// The span of the run, for what is said after it.
    run: OnceLock<Span>,
    monitoring: Monitoring,
    report: Report,
}

/// A file that this command would write is in the export directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "{flag} {} is in the export directory {}, which holds nothing but the export",
    shown(path),
    shown(directory)
)]
struct InExport {
    flag: &'static str,
    path: PathBuf,
    directory: PathBuf,
}

/// Another process exports to the same directory.
#[derive(Debug, thiserror::Error)]
#[error("another export to {directory} is active: {holder}")]
struct AlreadyActive {
    directory: String,
    holder: String,
}

impl<'a> ExportCommand<'a> {
    /// A command that has not started.
    pub(super) fn new(
        invocation: &'a Invocation,
        matches: &'a ArgMatches,
        bar: ProgressBar,
        path: &'a Path,
    ) -> Self {
        Self {
            invocation,
            matches,
            bar,
            path,
            clock: Clock::machine(),
            progress: Arc::default(),
            output: OnceLock::new(),
            writing: OnceLock::new(),
            left: OnceLock::new(),
            run: OnceLock::new(),
            monitoring: Monitoring::default(),
            report: Report::default(),
        }
    }

    /// Runs the command.
    pub(super) fn run(self, layers: Layers) -> Result<(), Failure> {
        let is_sandbox = embedded_sandbox::is_wanted(self.matches);
        if !is_sandbox {
            // The sandbox has other names, and changes them when it starts. What is wrong is reported when it is used.
            let _ = self.set_output(&layers);
        }
        let runtime = if is_sandbox { serving_runtime() } else { client_runtime() };
        let result = run_to_end(runtime, self.invocation, self.start(layers), || {
            self.ended_abruptly(Panicked, Panicked::diagnosis())
        });
        // Log lines and the closing words follow; a panic leaves the line where it was.
        self.bar.finish();
        if let Err(failure) = &result {
            self.summarize(failure);
        }
        self.report.finish(&result, self.output.get());
        self.monitoring.finish(&result);
        result
    }

    async fn start(&self, mut layers: Layers) -> Result<(), Failure> {
        let sandbox = embedded_sandbox::start_if_wanted(self.matches, &mut layers, &self.clock)
            .await
            .map_err(|error| self.failed_before_start(error, Code::MachineDenied))?;
        let result = self.export_as_set(layers).await;
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        result
    }

    /// Notes where summary, metrics and report go, and starts to report and to record. None of them goes into the export directory,
    /// where the next export would find it.
    fn set_output(&self, layers: &Layers) -> Result<(), Failure> {
        let mut output = output_settings(layers);
        let in_export = |file: &mut PathBuf| is_inside(file, self.path);
        let summary = output.file.take_if(in_export).map(|path| ("--summary-file", path));
        let metrics = output.metrics_file.take_if(in_export).map(|path| ("--metrics-file", path));
        let report = output.report.take_if(in_export).map(|path| ("--report", path));
        let output = self.output.get_or_init(|| output);
        self.monitoring.start(output, &self.progress, &self.clock, true, false);
        self.report.start(&self.progress, &self.clock);
        summary.or(metrics).or(report).map_or(Ok(()), |(flag, path)| Err(self.misplaced(flag, &path)))
    }

    fn misplaced(&self, flag: &'static str, path: &Path) -> Failure {
        let error = InExport { flag, path: path.into(), directory: self.path.into() };
        let hint = format!("name a path outside of that directory with {flag}");
        self.not_started(error, Diagnosis::new(Code::SettingsInvalid, Some(hint)))
    }

    async fn export_as_set(&self, layers: Layers) -> Result<(), Failure> {
        self.set_output(&layers)?;
        let settings = SettingsToExport::from_layers(layers)
            .map_err(|error| self.failed_before_start(error, Code::SettingsInvalid))?;
        let quarantine = settings.export.quarantine_directory.as_deref();
        if let Some(quarantine) = quarantine.filter(|quarantine| is_inside(quarantine, self.path)) {
            return Err(self.misplaced("--quarantine-dir", quarantine));
        }
        let StoreSettings { connections, retry, .. } = &settings.store;
        self.monitoring.set_limits(connections, retry, Duration::ZERO, settings.wait_for_active);
        let run = self.run.get_or_init(|| spans::export(&settings.export.store)).clone();
        // On the heap: it is large, and would be moved about.
        Box::pin(self.export(&settings).instrument(run)).await
    }

    async fn export(&self, settings: &SettingsToExport) -> Result<(), Failure> {
        let clock = &self.clock;
        let mut random = fastrand::Rng::new();
        let generated = RunId::generate(clock.unix_time(), random.u32(..));
        let directory = ExportDirectory::create(self.path).map_err(|error| self.unusable(error))?;
        let transfer = &settings.export.transfer;
        let parts = transfer.upload_workers.get().saturating_add(1);
        let quarantine = settings.export.quarantine_directory.as_deref();
        // Nothing is written to an export that is complete.
        let is_kept = settings.export.policy != ResumePolicy::Never
            && matches!(directory.manifest(), Ok(Some(manifest)) if manifest.is_complete);
        let space = if is_kept { Ok(()) } else { directory.check_space(transfer.parts.closing_size, parts) };
        space
            .and_then(|()| quarantine.map_or(Ok(()), check_quarantine_space))
            .map_err(|error| self.failed_before_start(error, Code::DiskFull))?;
        let run_id = settings.export.run_id.as_ref().unwrap_or(&generated);
        let stop = shutdown::listen(clock.clone())
            .map_err(|error| self.failed_before_start(error, Code::MachineDenied))?;
        self.progress.enter(Phase::Starting, clock.now());
        let heartbeat = show_progress(self.invocation, &self.bar, &self.progress, clock);
        let lock_path = directory.lock_path();
        let lock = take_lock(&lock_path, run_id, clock, settings.wait_for_active, &stop);
        let _lock = lock.await.map_err(|error| self.not_locked(error))?;
        let yotpo = assemble_store(&settings.store, clock, random.u64(..)).map_err(|error| {
            let diagnosis = error.diagnosis();
            self.not_started(error, diagnosis)
        })?;
        // It is only set here, and once.
        let _ = self.writing.set(directory.clone());
        let context = ExportContext {
            yotpo: &yotpo,
            clock,
            settings: &settings.export,
            directory: &directory,
            progress: &self.progress,
            stop: &stop,
        };
        let result = tokio::select! {
            biased;
            result = export(context, generated) => result,
            signal = stop.forced() => {
                return Err(self.ended_abruptly(ForcedExit, Diagnosis::interrupted(signal)));
            }
        };
        drop(heartbeat);
        self.bar.finish();
        match result {
            Ok(report) => {
                self.succeeded(settings, &report);
                Ok(())
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    fn succeeded(&self, settings: &SettingsToExport, report: &ExportReport) {
        self.monitoring.succeeded(Some(report.export.manifest.rows));
        if report.was_complete {
            let manifest = &report.export.manifest;
            let time = std::time::UNIX_EPOCH + Duration::from_secs(manifest.time);
            let exported_at = humantime::format_rfc3339_seconds(time).to_string();
            tracing::warn!(
                run_id = %manifest.run_id,
                exported_at,
                "this directory holds a complete export, nothing was fetched now; a directory holds one export"
            );
        }
        let facts = Facts::of_export(&settings.export, report);
        self.report.summarized(&facts);
        if let Some(output) = self.output.get() {
            summary::write(&facts, output);
        }
    }

    fn failed(&self, failure: ExportFailure) -> Failure {
        let ExportFailure { error, phase, saved } = failure;
        let diagnosis = error.diagnosis();
        if matches!(&error, RunError::Export(error) if error.is_usage()) {
            return self.not_started(error, diagnosis);
        }
        self.leave(error, diagnosis, phase, saved.as_deref())
    }

    /// The program ends without waiting for what the export is doing: only the manifest says what is left.
    fn ended_abruptly(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
    ) -> Failure {
        let Some(directory) = self.writing.get() else { return self.not_started(error, diagnosis) };
        let saved = directory.resumable();
        self.leave(error, diagnosis, self.progress.snapshot().phase, saved.as_ref())
    }

    /// The failure of an export that had started.
    fn leave(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
        phase: Phase,
        saved: Option<&Manifest>,
    ) -> Failure {
        let recovery = saved.map_or(RecoveryState::NothingCreated, |manifest| {
            RecoveryState::ResumableExport { rows: manifest.rows, parts: manifest.totals().parts }
        });
        // It is only set where an export ends, and once.
        let _ = self.left.set(Left::of_export(&recovery, saved, phase));
        let saved = saved.map_or_else(
            || NOTHING_SAVED.to_owned(),
            |manifest| {
                let rows = words::count(manifest.rows, "row", "rows");
                let parts = words::count(manifest.totals().parts, "part", "parts");
                format!("{rows} in {parts} in {}", shown(self.path))
            },
        );
        let is_fresh_elsewhere = is_fresh_elsewhere(self.invocation, self.matches);
        let next = NextCommand::after(&diagnosis, &recovery, self.invocation, is_fresh_elsewhere);
        // The next sandbox has another address, so that nothing is resumed from this one.
        let next = next.filter(|_| !embedded_sandbox::is_wanted(self.matches));
        Failure { error: error.into(), diagnosis, saved, next, run: None }
    }

    /// Writes the summary of an export that failed, or never started.
    fn summarize(&self, failure: &Failure) {
        failure.record_in_trace(self.run.get());
        let Some(output) = self.output.get() else { return };
        let now = self.clock.now();
        self.progress.finish(now);
        let mut facts = Facts::of_failure(failure, output, self.left.get(), &self.progress.snapshot(), now);
        facts.is_into_directory(self.path);
        self.report.summarized(&facts);
        self.run.get().unwrap_or(&Span::none()).in_scope(|| summary::write(&facts, output));
    }

    fn not_locked(&self, error: NotLocked) -> Failure {
        match error {
            NotLocked::Stopped(signal) => {
                self.not_started(StoppedWaiting(signal), Diagnosis::interrupted(signal))
            }
            NotLocked::Lock(LockError::Held { holder }) => {
                let holder = holder_words(holder.as_ref());
                let error = AlreadyActive { directory: shown(self.path), holder };
                let hint =
                    "wait for it (--wait-for-active), or stop it with SIGTERM; what it has exported stays";
                self.not_started(error, Diagnosis::new(Code::RunActive, Some(hint.to_owned())))
            }
            NotLocked::Lock(error) => self.failed_before_start(error, Code::ExportUnusable),
        }
    }

    fn unusable(&self, error: ExportError) -> Failure {
        let (code, hint) = local_code(&error, code_of_export(&error));
        let hint = hint.unwrap_or_else(|| error.hint());
        self.not_started(error, Diagnosis::new(code, Some(hint)))
    }

    fn failed_before_start(&self, error: impl Into<Box<dyn Error + Send + Sync>>, code: Code) -> Failure {
        let error = error.into();
        let diagnosis = diagnosis_before_start(error.as_ref(), code, self.invocation);
        self.not_started(error, diagnosis)
    }

    fn not_started(&self, error: impl Into<Box<dyn Error + Send + Sync>>, diagnosis: Diagnosis) -> Failure {
        Failure::before_start(error, diagnosis, self.invocation)
    }
}
