//! Where the end of a command that loads is reported: its summary, its metrics and its report.

use tracing::Span;

use super::{LoadCommand, Loading};
use crate::cli::failure::Failure;
use crate::cli::summary::{self, Facts};
use crate::config::OutputSettings;
use crate::run::ResumePolicy;

impl LoadCommand<'_> {
    /// Notes where summary, metrics and report go, and starts to report and to record. The first caller decides.
    pub(in crate::cli) fn report_to(&self, output: OutputSettings, reads_store: bool) {
        let output = self.output.get_or_init(|| output);
        self.monitoring.start(output, &self.progress, &self.clock, reads_store, true);
        self.report.start(&self.progress, &self.clock);
    }

    /// Reports the end of the command, after the line of the terminal is removed.
    pub(in crate::cli) fn finish(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        // Log lines and the closing words follow; a panic leaves the line where it was.
        self.bar.finish();
        if let Err(failure) = &result {
            self.summarize(failure);
        }
        self.report.finish(&result, self.output.get());
        self.note_resumable_until();
        self.monitoring.finish(&result);
        result
    }

    /// Until when a run that was interrupted can be resumed, for the metrics.
    fn note_resumable_until(&self) {
        let Some(Loading { store, load }) = self.loading.get() else { return };
        let Ok(Some(saved)) = store.run() else { return };
        let of_lifetime = saved.started_at.saturating_add(load.run_lifetime.as_secs());
        self.monitoring.interrupted(match load.resume.policy {
            ResumePolicy::Within(age) => of_lifetime.min(saved.updated_at.saturating_add(age.as_secs())),
            ResumePolicy::Never => of_lifetime,
        });
    }

    /// Writes the summary of a run that failed, or never started.
    fn summarize(&self, failure: &Failure) {
        failure.record_in_trace(self.run.get());
        let Some(output) = self.output.get() else { return };
        let now = self.clock.now();
        self.progress.finish(now);
        let facts = Facts::of_failure(failure, output, self.left.get(), &self.progress.snapshot(), now);
        self.report.summarized(&facts);
        self.run.get().unwrap_or(&Span::none()).in_scope(|| summary::write(&facts, output));
    }
}
