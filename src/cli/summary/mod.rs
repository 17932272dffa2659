//! The summary of a run: on stdout, and as JSON in a file (docs/summary.md).
//!
//! Owns what is printed at the end, whether the run succeeded or failed. Text and JSON show the same facts ([`Facts`]).

mod facts;
mod file;
mod json;
#[cfg(test)]
mod tests;
mod text;

pub(super) use self::facts::{Facts, Left, counting_query};
pub(super) use self::file::write as write_file;

use crate::config::{OutputSettings, SummaryFormat};
use crate::report::RunRecording;
use crate::telemetry::{Phase, is_sandbox, peak_resident_bytes, write_stdout};

/// Writes the summary where the settings say.
pub(super) fn write(facts: &Facts<'_>, output: &OutputSettings) {
    if let Some(summary) = on_stdout(facts, output.summary) {
        write_stdout(&summary);
    }
    let Some(path) = &output.file else { return };
    if let Err(error) = file::write(path, &json::render(facts)) {
        tracing::warn!(path = %path.display(), %error, "the summary could not be written; the run is not affected");
    }
}

/// The summary on stdout. A run that failed before its start has no text: its error says everything.
fn on_stdout(facts: &Facts<'_>, format: SummaryFormat) -> Option<String> {
    match format {
        SummaryFormat::Text => facts.has_started().then(|| text::render(facts)),
        SummaryFormat::Json => Some(json::render(facts)),
        SummaryFormat::None => None,
    }
}

/// The same facts for the report. A run that failed before its start has no lines: its error says everything.
pub(super) fn recorded(facts: &Facts<'_>) -> RunRecording {
    let line = |(name, value): (&str, String)| (name.to_owned(), value);
    let table = facts.database.as_ref().zip(facts.table.as_ref());
    let diagnosis = facts.failure.map(|failure| &failure.diagnosis);
    RunRecording {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        is_sandbox: is_sandbox(),
        run_id: facts.run_id.as_ref().and_then(|run_id| run_id.parse().ok()),
        store_id: facts.store_id.clone(),
        destination: facts
            .directory
            .clone()
            .filter(|_| facts.table.is_none())
            .or_else(|| table.map(|(database, table)| format!("{database}.{table}"))),
        outcome: facts.outcome.to_owned(),
        outcome_sentence: text::outcome(facts),
        state: facts.state.to_owned(),
        exit_code: diagnosis.map_or(0, |diagnosis| diagnosis.status.code()),
        code: diagnosis.map(|diagnosis| diagnosis.code.name().to_owned()),
        failed_while: facts.phase.and_then(|name| Phase::ALL.into_iter().find(|phase| phase.name() == name)),
        rows: facts.rows,
        peak_resident_bytes: peak_resident_bytes(),
        memory_bound_bytes: facts.memory_bound,
        summary: if facts.has_started() {
            text::lines(facts).into_iter().map(line).collect()
        } else {
            Vec::new()
        },
        ..RunRecording::default()
    }
}
