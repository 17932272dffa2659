//! `yotpo-td runs`: shows interrupted runs, and removes what they left.
//!
//! Owns what the commands share: which run is meant, the question before something is removed, and how they fail.

mod abandon;
mod clean;
mod list;
mod report;
mod show;

pub(super) use self::report::command as report_command;

use std::error::Error;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use clap::ArgMatches;

use super::failure::{Failure, NextCommand, local_code};
use super::invocation::{Invocation, layers, start_logging_and_tracing};
use super::runtime::MachineDenied;
use crate::checkpoint::{LockError, RunState, StateError, StateStore};
use crate::clock::Clock;
use crate::config::keys::STATE_DIR;
use crate::config::{AccountSettings, SettingsError, state_directory_from_layers};
use crate::diagnosis::{Code, Diagnosis};
use crate::identity::RunId;
use crate::paths::is_typeable;
use crate::run::{RunError, STATE_DIRECTORY_HINT};
use crate::services::ServicesError;
use crate::telemetry::{ProgressBar, words, write_stderr};
use crate::treasure_data::TreasureDataError;

/// Runs the command.
pub(super) fn runs(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    // clap requires a subcommand.
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    start_logging_and_tracing(&layers(invocation, matches), &ProgressBar::hidden());
    let command = RunsCommand { invocation, matches, clock: Clock::machine() };
    let result = match name {
        "list" => command.list(),
        "show" => command.show(),
        "report" => command.report(),
        "abandon" => command.abandon(),
        _ => command.clean(),
    };
    result.map_err(|RunsError { error, diagnosis }| {
        let removes = matches!(name, "abandon" | "clean");
        let saved = if diagnosis.code == Code::SettingsInvalid || !removes {
            "everything; nothing was removed"
        } else {
            "everything except what was removed, as listed above if anything was"
        };
        let next = NextCommand::again(diagnosis.code, || invocation.command_line());
        Failure { error, diagnosis, saved: saved.to_owned(), next, run: None }
    })
}

struct RunsCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    clock: Clock,
}

/// How one of the commands failed.
struct RunsError {
    error: Box<dyn Error + Send + Sync>,
    diagnosis: Diagnosis,
}

/// What went wrong on the command line of `runs`.
#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("no run has the id {0}")]
    NoSuchRun(String),
    #[error("no unfinished run has the id {0}")]
    NoUnfinishedRun(String),
    #[error("there is no run yet")]
    NoRuns,
    #[error("no run is recorded in the state directory")]
    NoRecordings,
    #[error("run {0} was not recorded on this machine")]
    NotRecorded(String),
    #[error("there is no attempt {number}: {} of the run {} recorded", words::count(*recorded, "attempt", "attempts"), if *recorded == 1 { "is" } else { "are" })]
    NoSuchAttempt { number: usize, recorded: u64 },
    #[error("abandoning run {0} needs confirmation: use --yes, or enter y on a terminal")]
    NotConfirmed(String),
    #[error("removing needs confirmation: use --yes, or enter y on a terminal")]
    NotConfirmedRemoval,
    #[error("--older-than: {0:?} is no time such as 7d, 12h or 0s")]
    OlderThan(String),
    #[error("the run was made at {saved}, but the settings lead to {settings}")]
    OtherAccount { saved: String, settings: String },
    #[error("the state directory has the unfinished run {saved} of {label}, whose state would be lost")]
    OtherRunSaved { saved: RunId, label: String },
}

/// What a user wrote, shortened and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

impl RunsCommand<'_> {
    /// stdin is only read here, and only when it is a terminal.
    fn confirm(&self, question: &str, refused: UsageError) -> Result<(), UsageError> {
        if self.matches.get_flag("yes") {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(refused);
        }
        write_stderr(question);
        // A question that could not be written is not answered.
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused) }
    }

    fn find(&self) -> Result<(StateStore, RunState), RunsError> {
        let wanted = self.matches.get_one::<String>("run").cloned().unwrap_or_default();
        for store in StateStore::all(&self.state_directory()?)? {
            if let Ok(Some(run)) = store.run()
                && run.run_id.as_str() == wanted
            {
                return Ok((store, run));
            }
        }
        Err(self.no_such_run(UsageError::NoUnfinishedRun(printable(&wanted))))
    }

    /// The error for a run that is not there, with the command that lists the others of the same directory.
    fn no_such_run(&self, error: UsageError) -> RunsError {
        let list =
            self.list_command().unwrap_or_else(|| "yotpo-td runs list, with the same flags,".to_owned());
        let hint = Some(format!("{list} shows what there is"));
        RunsError { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, hint) }
    }

    /// `runs list` with the flags that say where the runs are; `None` if they cannot be typed.
    fn list_command(&self) -> Option<String> {
        let place = ["config", STATE_DIR.key].into_iter().filter_map(|name| {
            let value = self.matches.try_get_one::<String>(name).ok()??;
            Some([format!("--{name}"), value.clone()])
        });
        let words = ["yotpo-td", "runs", "list"].map(str::to_owned).into_iter().chain(place.flatten());
        let words: Vec<_> = words.collect();
        shlex::try_join(words.iter().map(String::as_str)).ok().filter(|command| is_typeable(command))
    }

    fn state_directory(&self) -> Result<std::path::PathBuf, SettingsError> {
        state_directory_from_layers(layers(self.invocation, self.matches))
    }

    fn account(&self) -> Result<AccountSettings, SettingsError> {
        AccountSettings::from_layers(layers(self.invocation, self.matches))
    }
}

fn age(since: u64, now: u64) -> String {
    words::duration(Duration::from_secs(now.saturating_sub(since)))
}

impl From<SettingsError> for RunsError {
    fn from(error: SettingsError) -> Self {
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, None) }
    }
}

impl From<UsageError> for RunsError {
    fn from(error: UsageError) -> Self {
        let hint = match error {
            UsageError::OtherRunSaved { .. } => Some(
                "name an empty directory with --state-dir; the state of the other run stays where it is"
                    .to_owned(),
            ),
            UsageError::NoRuns => Some(
                "yotpo-td runs list shows where runs are looked for, and --state-dir names another directory"
                    .to_owned(),
            ),
            UsageError::NoSuchAttempt { .. } => Some(
                "--attempt counts the recorded attempts from 1; without it, the latest is shown".to_owned(),
            ),
            _ => None,
        };
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, hint) }
    }
}

impl From<MachineDenied> for RunsError {
    fn from(error: MachineDenied) -> Self {
        let hint = Some(MachineDenied::HINT.to_owned());
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::MachineDenied, hint) }
    }
}

impl From<ServicesError> for RunsError {
    fn from(error: ServicesError) -> Self {
        Self { diagnosis: error.diagnosis(), error: error.into() }
    }
}

impl From<StateError> for RunsError {
    fn from(error: StateError) -> Self {
        RunError::from(error).into()
    }
}

impl From<LockError> for RunsError {
    fn from(error: LockError) -> Self {
        let (code, hint) = match error {
            LockError::Held { .. } => {
                (Code::RunActive, "stop that run with SIGTERM first; its checkpoint stays")
            }
            LockError::Untrusted(_) | LockError::Io { .. } => (Code::StateFailed, STATE_DIRECTORY_HINT),
        };
        let (code, full) = local_code(&error, code);
        let diagnosis = Diagnosis::new(code, full.or_else(|| Some(hint.to_owned())));
        Self { error: error.into(), diagnosis }
    }
}

impl From<RunError> for RunsError {
    fn from(error: RunError) -> Self {
        let diagnosis = error.diagnosis();
        match error {
            // These commands load nothing, and their errors are not about one run.
            RunError::TreasureData(error) => Self { diagnosis, error: error.into() },
            RunError::State(error) => Self { diagnosis, error: error.into() },
            error => Self { diagnosis, error: error.into() },
        }
    }
}

impl From<TreasureDataError> for RunsError {
    fn from(error: TreasureDataError) -> Self {
        RunError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_recorded_attempts_is_grammatical() {
        let words = |recorded| UsageError::NoSuchAttempt { number: 5, recorded }.to_string();
        assert_eq!(words(1), "there is no attempt 5: 1 attempt of the run is recorded");
        assert_eq!(words(2), "there is no attempt 5: 2 attempts of the run are recorded");
    }
}
