//! The summary of a run: on stdout, and as JSON in a file (docs/summary.md).
//!
//! Owns what is printed at the end, whether the run succeeded or failed. Text and JSON show the same facts ([`Facts`]).

mod facts;
mod file;
mod json;
mod text;

pub(super) use self::facts::{Facts, Left, counting_query};

use crate::config::{OutputSettings, SummaryFormat};
use crate::telemetry::write_stdout;

/// Writes the summary where the settings say. A run that failed before its start has no text: its error says everything.
pub(super) fn write(facts: &Facts<'_>, output: &OutputSettings) {
    match output.summary {
        SummaryFormat::Text if facts.has_started() => write_stdout(&text::render(facts)),
        SummaryFormat::Json => write_stdout(&json::render(facts)),
        SummaryFormat::Text | SummaryFormat::None => {}
    }
    let Some(path) = &output.file else { return };
    if let Err(error) = file::write(path, &json::render(facts)) {
        tracing::warn!(path = %path.display(), %error, "the summary could not be written; the run is not affected");
    }
}
