//! The command line: flags, help, and what is printed at the end.
//!
//! Owns clap, one file per command, and the one place that prints failures. It makes its flags from [`crate::config::SETTINGS`] and hands
//! everything else to the library; nothing below it knows clap.

mod check;
mod command;
mod command_line_error;
mod compare;
mod completions;
mod config;
mod dry_run;
#[cfg_attr(not(feature = "sandbox"), path = "without_sandbox.rs")]
mod embedded_sandbox;
mod explain;
mod export;
mod failure;
mod invocation;
mod load;
mod loading;
mod man;
mod monitoring;
mod options;
mod preview;
mod report;
mod runs;
mod runtime;
#[cfg(feature = "sandbox")]
mod sandbox;
mod setting_flags;
mod summary;
mod sync;
mod version;

pub use invocation::Invocation;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::failure::{Failure, NextCommand, local_code};
use crate::diagnosis::{Code, Diagnosis};
use crate::exit_status::ExitStatus;
use crate::telemetry::{self, LogFormat, log_format, write_stderr};

/// The whole command line, for the test of the public interface only.
#[doc(hidden)]
pub fn command_line() -> clap::Command {
    command::command()
}

/// Runs the program, and prints why it failed where it did. Never panics: a panic below is a bug and becomes exit code 1.
pub fn main(invocation: &Invocation) -> ExitStatus {
    std::panic::set_hook(Box::new(|info| {
        // The payload may quote data; the place is enough to find the defect.
        let place = info.location().map_or_else(String::new, |location| format!(" at {location}"));
        let text = format!("a bug in yotpo-td: it panicked{place}");
        write_stderr(&match log_format() {
            LogFormat::Text => format!("error: {text}\n"),
            LogFormat::Json => format!("{}\n", serde_json::json!({ "level": "ERROR", "message": text })),
        });
    }));
    let result = catch_unwind(AssertUnwindSafe(|| dispatch(invocation)));
    let result = result.unwrap_or_else(|_panic| {
        let next = NextCommand::again(Code::Bug, || invocation.command_line());
        let saved = "nothing that this command knows of".to_owned();
        Err(Failure { error: Panicked.into(), diagnosis: Panicked::diagnosis(), saved, next, run: None })
    });
    // Before the last words, which are the last line.
    telemetry::finish();
    result.unwrap_or_else(|failure| {
        failure.write(log_format());
        failure.diagnosis.status
    })
}

/// A panic that ended the program.
#[derive(Debug, thiserror::Error)]
#[error("a bug in yotpo-td ended it")]
struct Panicked;

impl Panicked {
    fn diagnosis() -> Diagnosis {
        let hint = "please report it, with the place above and the log at --log-level debug; a version that corrects it is \
                    needed";
        Diagnosis::new(Code::Bug, Some(hint.to_owned()))
    }
}

/// The result of a command that only prints.
#[derive(Debug, thiserror::Error)]
#[error("could not write to stdout")]
struct NotPrinted(#[source] io::Error);

impl NotPrinted {
    fn failure(self, invocation: &Invocation) -> Failure {
        let (code, hint) = local_code(&self, Code::MachineDenied);
        let next = NextCommand::again(code, || invocation.command_line());
        let saved = "nothing: the command only prints".to_owned();
        Failure { error: self.into(), diagnosis: Diagnosis::new(code, hint), saved, next, run: None }
    }
}

/// Runs the command that the words of the command line name.
fn dispatch(invocation: &Invocation) -> Result<ExitStatus, Failure> {
    if let Some(failpoint) = invocation.environment.get("YOTPO_TD_FAILPOINT").and_then(|value| value.to_str())
    {
        crate::failpoint::arm(failpoint);
    }
    let matches = match command::command().try_get_matches_from(&invocation.arguments) {
        Ok(matches) => matches,
        Err(error) => return Ok(command_line_error::print(&error, invocation)),
    };
    match matches.subcommand() {
        Some(("sync", matches)) => sync::sync(invocation, matches)?,
        Some(("load", matches)) => load::load(invocation, matches)?,
        Some(("check", matches)) => check::run(invocation, matches)?,
        Some(("preview", matches)) => preview::run(invocation, matches)?,
        Some(("compare", matches)) => compare::run(invocation, matches)?,
        Some(("config", matches)) => config::config(invocation, matches)?,
        Some(("completions", matches)) => completions::completions(command::command(), matches),
        Some(("explain", matches)) => explain::explain(matches),
        Some(("man", matches)) => man::man(command::command(), invocation, matches)?,
        Some(("runs", matches)) => runs::runs(invocation, matches)?,
        #[cfg(feature = "sandbox")]
        Some(("sandbox", matches)) => sandbox::serve(invocation, matches)?,
        _ => return Ok(ExitStatus::Usage),
    }
    match telemetry::lost_result() {
        Some(error) => Err(NotPrinted(error).failure(invocation)),
        None => Ok(ExitStatus::Success),
    }
}
