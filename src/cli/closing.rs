//! The closing words of a failed run: what happened, why, what to do, and last what was saved and what goes on.

use std::error::Error;
use std::fmt::Write as _;

use crate::clock::Clock;
use crate::diagnosis::Diagnosis;
use crate::telemetry::LogFormat;
use crate::telemetry::write_stderr;

/// What was saved when nobody could look any more.
pub(super) const LAST_CHECKPOINT: &str =
    "what the last checkpoint says; nothing was committed that it does not know of";

/// What is said when a run failed.
#[derive(Debug)]
pub(super) struct Closing<'a> {
    /// What failed.
    pub(super) error: &'a dyn Error,
    /// What that means.
    pub(super) diagnosis: Diagnosis,
    /// What was saved.
    pub(super) saved: String,
    /// The command that goes on; `None` when the next step is not to run it again.
    pub(super) next_command: Option<String>,
    /// Which run it is about, where there is one.
    pub(super) run: Option<RunLabels>,
}

/// What tells a run from others, in logs and summaries.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct RunLabels {
    pub(super) run_id: String,
    pub(super) store_id: String,
    pub(super) database: String,
    pub(super) table: String,
    /// What the run was doing.
    pub(super) phase: &'static str,
}

impl Closing<'_> {
    /// Writes it to stderr; the last line is the one that says what was saved and what goes on.
    pub(super) fn write(&self, format: LogFormat) {
        let text = match format {
            LogFormat::Text => self.text(),
            LogFormat::Json => self.json(),
        };
        write_stderr(&text);
    }

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in causes(self.error) {
            // A String takes everything.
            let _ = writeln!(text, "  because: {cause}");
        }
        let Diagnosis { code, status, hint } = &self.diagnosis;
        if let Some(hint) = hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        let again = if code.is_retryable() { ", the same command may succeed later" } else { "" };
        let _ = writeln!(text, "code: {} (exit code {}{again})", code.name(), status.code());
        let _ = match &self.next_command {
            Some(command) => writeln!(text, "saved: {}; to go on: {command}", self.saved),
            None => writeln!(text, "saved: {}", self.saved),
        };
        text
    }

    fn json(&self) -> String {
        let Diagnosis { code, status, hint } = &self.diagnosis;
        let mut line = serde_json::json!({
            "timestamp": timestamp(),
            "level": "ERROR",
            "message": "run failed",
            "error": self.error.to_string(),
            "causes": causes(self.error),
            "hint": hint,
            "saved": self.saved,
            "next_command": self.next_command,
            "code": code.name(),
            "retryable": code.is_retryable(),
            "exit_code": status.code(),
        });
        if let (Some(line), Ok(serde_json::Value::Object(run))) =
            (line.as_object_mut(), serde_json::to_value(&self.run))
        {
            line.extend(run);
        }
        format!("{line}\n")
    }
}

/// Now, as log lines have it.
fn timestamp() -> String {
    let now = std::time::UNIX_EPOCH + Clock::machine().unix_time();
    humantime::format_rfc3339_micros(now).to_string()
}

/// The chain behind an error. Links that say the same as the one before (transparent wrappers) are told once.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if text != told && !text.is_empty() {
            chain.push(text.clone());
        }
        told = text;
        source = cause.source();
    }
    chain
}
