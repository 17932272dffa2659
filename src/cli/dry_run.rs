//! `yotpo-td sync --dry-run`: what a run would do, without doing it.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use clap::ArgMatches;
use tracing::{Instrument as _, Span};

use super::Panicked;
use super::embedded_sandbox;
use super::failure::{Failure, NextCommand, diagnosis_before_start};
use super::invocation::Invocation;
use super::loading::{ForcedExit, show_progress};
use super::report::Report;
use super::runtime::{client_runtime, run_to_end, serving_runtime};
use super::summary::{self, Facts};
use crate::checkpoint::{LockState, StateStore};
use crate::clock::Clock;
use crate::config::{Layers, OutputSettings, SettingsToDryRun, output_settings};
use crate::diagnosis::{Code, Diagnosis};
use crate::run::{DryRunContext, dry_run};
use crate::services::assemble_store;
use crate::shutdown;
use crate::spans;
use crate::telemetry::{Phase, Progress, ProgressBar};

const NOTHING_LOADED: &str = "nothing: a dry run loads and saves nothing";

/// The command.
pub(super) struct DryRunCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    bar: ProgressBar,
    clock: Clock,
    progress: Arc<Progress>,
    /// Where the summary goes, as soon as it is known.
    output: OnceLock<OutputSettings>,
    /// The span of the run, for what is said after it.
    run: OnceLock<Span>,
    report: Report,
}

impl<'a> DryRunCommand<'a> {
    /// A command that has not started.
    pub(super) fn new(invocation: &'a Invocation, matches: &'a ArgMatches, bar: ProgressBar) -> Self {
        Self {
            invocation,
            matches,
            bar,
            clock: Clock::machine(),
            progress: Arc::default(),
            output: OnceLock::new(),
            run: OnceLock::new(),
            report: Report::default(),
        }
    }

    /// Runs the command.
    pub(super) fn run(self, layers: Layers) -> Result<(), Failure> {
        let is_sandbox = embedded_sandbox::is_wanted(self.matches);
        if !is_sandbox {
            // The sandbox has other names, and changes them when it starts.
            self.output.get_or_init(|| output_settings(&layers));
        }
        self.report.start(&self.progress, &self.clock);
        let runtime = if is_sandbox { serving_runtime() } else { client_runtime() };
        let panicked = || self.failed(Panicked, Panicked::diagnosis());
        let result = run_to_end(runtime, self.invocation, self.start(layers), panicked);
        // Log lines and the closing words follow; a panic leaves the line where it was.
        self.bar.finish();
        let result = result.inspect_err(|failure| self.summarize(failure));
        self.report.finish(&result, self.output.get());
        result
    }

    async fn start(&self, mut layers: Layers) -> Result<(), Failure> {
        let sandbox = embedded_sandbox::start_if_wanted(self.matches, &mut layers, &self.clock)
            .await
            .map_err(|error| self.failed_locally(error, Code::MachineDenied))?;
        self.output.get_or_init(|| output_settings(&layers));
        let result = match SettingsToDryRun::from_layers(layers) {
            Ok(settings) => {
                let run = spans::run(&settings.load.target, settings.load.mode);
                let run = self.run.get_or_init(|| run).clone();
                // On the heap: it is large, and would be moved about.
                Box::pin(self.dry_run(&settings).instrument(run)).await
            }
            Err(error) => Err(self.failed_locally(error, Code::SettingsInvalid)),
        };
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        result
    }

    async fn dry_run(&self, settings: &SettingsToDryRun) -> Result<(), Failure> {
        let clock = &self.clock;
        let store = StateStore::unchanged(&settings.load.resume.state_directory, &settings.load.target);
        let stop = shutdown::listen(clock.clone())
            .map_err(|error| self.failed_locally(error, Code::MachineDenied))?;
        self.progress.enter(Phase::Starting, clock.now());
        let heartbeat = show_progress(self.invocation, &self.bar, &self.progress, clock);
        let is_active = matches!(LockState::of(&store.lock_path()), Ok(LockState::Held(_)));
        let yotpo = assemble_store(&settings.store, clock, fastrand::u64(..)).map_err(|error| {
            let diagnosis = error.diagnosis();
            self.failed(error, diagnosis)
        })?;
        let context = DryRunContext {
            yotpo: &yotpo,
            clock,
            settings: &settings.load,
            store: &store,
            max_pages: self.matches.get_one("limit").copied(),
            progress: &self.progress,
            stop: &stop,
        };
        let result = tokio::select! {
            biased;
            result = dry_run(context) => result,
            signal = stop.forced() => return Err(self.failed(ForcedExit, Diagnosis::interrupted(signal))),
        };
        drop(heartbeat);
        self.bar.finish();
        match result {
            Ok(report) => {
                let facts = Facts::of_dry_run(&settings.load, &report, is_active);
                self.report.summarized(&facts);
                if let Some(output) = self.output.get() {
                    summary::write(&facts, output);
                }
                Ok(())
            }
            Err(error) => {
                let diagnosis = error.diagnosis();
                Err(self.failed(error, diagnosis))
            }
        }
    }

    /// Writes the summary of a dry run that failed.
    fn summarize(&self, failure: &Failure) {
        failure.record_in_trace(self.run.get());
        let Some(output) = self.output.get() else { return };
        let now = self.clock.now();
        self.progress.finish(now);
        let facts = Facts::of_failure(failure, output, None, &self.progress.snapshot(), now);
        self.report.summarized(&facts);
        self.run.get().unwrap_or(&Span::none()).in_scope(|| summary::write(&facts, output));
    }

    fn failed_locally(&self, error: impl Into<Box<dyn Error + Send + Sync>>, code: Code) -> Failure {
        let error = error.into();
        let diagnosis = diagnosis_before_start(error.as_ref(), code, self.invocation);
        self.failed(error, diagnosis)
    }

    fn failed(&self, error: impl Into<Box<dyn Error + Send + Sync>>, diagnosis: Diagnosis) -> Failure {
        let next = NextCommand::again(diagnosis.code, || self.invocation.command_line());
        Failure { error: error.into(), diagnosis, saved: NOTHING_LOADED.to_owned(), next, run: None }
    }
}
