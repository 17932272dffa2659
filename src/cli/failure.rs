//! How a command failed: what happened, why, what to do, and last what was saved and which command helps.

use std::error::Error;
use std::fmt::Write as _;

use tracing::Span;

use super::embedded_sandbox::EmbeddedSandboxError;
use super::invocation::Invocation;
use crate::clock::Clock;
use crate::diagnosis::{Code, Diagnosis, NextStep, next_step};
use crate::free_space::{NO_SPACE_HINT, is_lack_of_space};
use crate::renamed::{NameKind, RENAMED};
use crate::run::{RecoveryState, STATE_DIRECTORY_HINT};
use crate::spans;
use crate::telemetry::{LogFormat, SANDBOX, SANDBOX_FIELD, is_sandbox, marked, trace_id, write_stderr};

/// How a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What failed.
    pub(super) error: Box<dyn Error + Send + Sync>,
    /// What that means.
    pub(super) diagnosis: Diagnosis,
    /// What was saved.
    pub(super) saved: String,
    /// The command that helps; `None` when the next step is not to give it again.
    pub(super) next: Option<NextCommand>,
    /// Which run it is about, where there is one.
    pub(super) run: Option<RunLabels>,
}

const SANDBOX_HINT: &str =
    "the sandbox needs a temporary directory (TMPDIR) that it can write to, and free ports on loopback";

const NOTHING_STARTED: &str = "nothing was started";

/// A command, and how it helps.
#[derive(Clone, Debug)]
pub(super) struct NextCommand {
    pub(super) step: NextStep,
    pub(super) command: String,
}

impl NextCommand {
    /// The command that failed with `code`, where it helps although nothing of a run is left.
    pub(super) fn again(code: Code, command: impl FnOnce() -> Option<String>) -> Option<Self> {
        let step = next_step(code, &RecoveryState::NothingCreated)?;
        Some(Self { step, command: command()? })
    }

    /// The command after a failure that left `recovery`, where it can be typed and helps.
    pub(super) fn after(
        diagnosis: &Diagnosis,
        recovery: &RecoveryState,
        invocation: &Invocation,
        is_fresh_elsewhere: bool,
    ) -> Option<Self> {
        let step = next_step(diagnosis.code, recovery)?;
        let step = NextStep { after_correction: step.after_correction && diagnosis.needs_correction, ..step };
        let command = if step.resumes {
            invocation.resuming_command_line(is_fresh_elsewhere)
        } else {
            invocation.command_line()
        };
        Some(Self { step, command: command? })
    }
}

/// What identifies a run in logs and summaries.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct RunLabels {
    pub(super) run_id: String,
    pub(super) store_id: String,
    pub(super) database: String,
    pub(super) table: String,
    /// What the run was doing.
    pub(super) phase: &'static str,
}

impl Failure {
    /// The failure of a command that started nothing.
    pub(super) fn before_start(
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
        invocation: &Invocation,
    ) -> Self {
        let next = NextCommand::again(diagnosis.code, || invocation.command_line());
        Self { error: error.into(), diagnosis, saved: NOTHING_STARTED.to_owned(), next, run: None }
    }

    /// Whether the command started anything.
    pub(super) fn has_started(&self) -> bool {
        self.saved != NOTHING_STARTED
    }

    /// Adds it to the trace of the run, if one had begun.
    pub(super) fn record_in_trace(&self, run: Option<&Span>) {
        if let Some(run) = run {
            spans::record_run_failure(run, self.diagnosis.code.name(), &self.error.to_string());
        }
    }

    /// Writes it to stderr; the last line says what was saved, and which command helps.
    pub(super) fn write(&self, format: LogFormat) {
        for former in NameKind::Code.of(RENAMED).filter(|former| former.new == self.diagnosis.code.name()) {
            former.note().warn();
        }
        let text = match format {
            LogFormat::Text => self.text(),
            LogFormat::Json => self.json(),
        };
        write_stderr(&text);
    }

    /// As people read it on stderr.
    pub(super) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in causes(self.error.as_ref()) {
            // A String takes everything.
            let _ = writeln!(text, "  because: {cause}");
        }
        let Diagnosis { code, status, hint, .. } = &self.diagnosis;
        if let Some(hint) = hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        // What failed may name the table; what was saved of a sandbox run never does.
        let mut text = marked(&text);
        let again = if code.is_retryable() { ", the same command may succeed later" } else { "" };
        let _ = writeln!(text, "code: {} (exit code {}{again})", code.name(), status.code());
        let _ = match &self.next {
            Some(NextCommand { step, command }) => {
                writeln!(text, "saved: {}; {}: {command}", self.saved, step.words())
            }
            None => writeln!(text, "saved: {}", self.saved),
        };
        text
    }

    fn json(&self) -> String {
        let Diagnosis { code, status, hint, .. } = &self.diagnosis;
        let mut line = serde_json::json!({
            "timestamp": timestamp(),
            "level": "ERROR",
            "message": "run failed",
            "error": self.error.to_string(),
            "causes": causes(self.error.as_ref()),
            "hint": hint,
            "saved": self.saved,
            "code": code.name(),
            "retryable": code.is_retryable(),
            "exit_code": status.code(),
        });
        if let (Some(trace_id), Some(line)) = (trace_id(), line.as_object_mut()) {
            line.insert("trace_id".to_owned(), trace_id.into());
        }
        self.add_common_fields(&mut line);
        json_line(line)
    }

    /// What logs and summaries both have: which command helps, and which run it was.
    pub(super) fn add_common_fields(&self, object: &mut serde_json::Value) {
        let Some(object) = object.as_object_mut() else { return };
        let step = self.next.as_ref().map(|next| next.step);
        for (key, value) in [
            ("next_command", self.next.as_ref().map(|next| next.command.as_str()).into()),
            ("next_step", step.map(|step| if step.resumes { "resume" } else { "retry" }).into()),
            ("after_correction", step.map(|step| step.after_correction).into()),
        ] {
            object.insert(key.to_owned(), value);
        }
        if let Ok(serde_json::Value::Object(run)) = serde_json::to_value(&self.run) {
            object.extend(run);
        }
    }
}

/// A JSON object as a line, marked where it is a sandbox run's.
pub(super) fn json_line(mut object: serde_json::Value) -> String {
    if let Some(object) = object.as_object_mut().filter(|_| is_sandbox()) {
        object.insert(SANDBOX_FIELD.to_owned(), SANDBOX.into());
    }
    format!("{object}\n")
}

/// Now, as log lines have it.
pub(super) fn timestamp() -> String {
    let now = std::time::UNIX_EPOCH + Clock::machine().unix_time();
    humantime::format_rfc3339_micros(now).to_string()
}

/// The chain behind an error. Links that say the same as the one before (transparent wrappers) are reported once.
pub(super) fn causes(error: &dyn Error) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if text != last && !text.is_empty() {
            chain.push(text.clone());
        }
        last = text;
        source = cause.source();
    }
    chain
}

/// An error and the chain behind it, for a field of a log line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    [vec![error.to_string()], causes(error)].concat().join(": ")
}

/// The diagnosis of an error before anything was started, with the hint of the code unless a disk is full.
pub(super) fn diagnosis_before_start(
    error: &(dyn Error + 'static),
    code: Code,
    invocation: &Invocation,
) -> Diagnosis {
    let (code, hint) = local_code(error, code);
    let otherwise = match code {
        Code::SettingsInvalid => Some(invocation.settings_hint()),
        Code::StateFailed => Some(STATE_DIRECTORY_HINT.to_owned()),
        _ => error.downcast_ref::<EmbeddedSandboxError>().map(|_| SANDBOX_HINT.to_owned()),
    };
    Diagnosis::new(code, hint.or(otherwise))
}

/// The code of an error on this machine, and what to do when its disk is full.
pub(super) fn local_code(error: &(dyn Error + 'static), otherwise: Code) -> (Code, Option<String>) {
    if is_lack_of_space(error) { (Code::DiskFull, Some(NO_SPACE_HINT.to_owned())) } else { (otherwise, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with this text, and the one behind it.
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn causes_are_neither_repeated_nor_empty() {
        let chain = |texts: &[&'static str]| {
            let link = |source, text: &&'static str| Some(Box::new(Link { text, source }));
            causes(texts.iter().rev().fold(None, link).unwrap().as_ref())
        };
        assert_eq!(chain(&["no page", "no connection", "refused"]), ["no connection", "refused"]);
        assert_eq!(chain(&["no page", "no page", "refused", "refused"]), ["refused"]);
        assert_eq!(chain(&["no page", "", "refused"]), ["refused"]);
        assert_eq!(chain(&["no page"]), [""; 0]);
    }
}
