//! The closing words of a failed run: what happened, why, what to do, and last what was saved and what goes on.

use std::error::Error;
use std::fmt::Write as _;

use crate::config::LogFormat;
use crate::exit_status::ExitStatus;
use crate::telemetry::write_stderr;

/// What was saved when nobody could look any more.
pub(super) const LAST_CHECKPOINT: &str =
    "what the last checkpoint says; nothing was committed that it does not know of";

/// What is said when a run failed.
#[derive(Debug)]
pub(super) struct Closing<'a> {
    /// What failed.
    pub(super) error: &'a dyn Error,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// What was saved.
    pub(super) saved: String,
    /// The command that goes on; `None` when the next step is not to run it again.
    pub(super) next_command: Option<String>,
    /// The exit code.
    pub(super) status: ExitStatus,
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
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        let _ = match &self.next_command {
            Some(command) => writeln!(text, "saved: {}; to go on: {command}", self.saved),
            None => writeln!(text, "saved: {}", self.saved),
        };
        text
    }

    fn json(&self) -> String {
        let line = serde_json::json!({
            "level": "ERROR",
            "message": "run failed",
            "error": self.error.to_string(),
            "causes": causes(self.error),
            "hint": self.hint,
            "saved": self.saved,
            "next_command": self.next_command,
            "exit_code": self.status.code(),
        });
        format!("{line}\n")
    }
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
