//! `yotpo-td runs`: looking at interrupted runs, and removing what dead runs left.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;

use super::Invocation;
use super::assembly::assemble_account;
use super::closing::Closing;
use super::runtime::client_runtime;
use super::sync::layers;
use crate::checkpoint::{Holder, LastSuccess, LockError, RunState, StateError, StateStore, TargetLock};
use crate::clock::Clock;
use crate::config::{AccountSettings, SettingsError, state_folder_from_layers};
use crate::exit_status::ExitStatus;
use crate::http::{CallError, NoRootCertificates, Trust};
use crate::pipeline::{
    Orphan, OrphanKind, RunError, STATE_FOLDER_HINT, abandon, find_orphans, remove_orphan,
};
use crate::telemetry::{LogSettings, ProgressBar, init_logs, write_stderr, write_stdout};
use crate::treasure_data::TreasureDataError;

/// Runs the command.
pub(super) fn runs(invocation: &Invocation, matches: &ArgMatches) -> ExitStatus {
    let Some((name, matches)) = matches.subcommand() else { return ExitStatus::Usage };
    let logs = LogSettings::from_layers(&layers(invocation, matches));
    init_logs(&logs, &ProgressBar::hidden());
    let command = RunsCommand { invocation, matches, clock: Clock::machine(), trust: Trust::of_system() };
    let result = match name {
        "list" => command.list(),
        "show" => command.show(),
        "abandon" => command.abandon(),
        _ => command.clean(),
    };
    match result {
        Ok(()) => ExitStatus::Success,
        Err(failure) => {
            let untrusted = CallError::is_untrusted(failure.error.as_ref());
            let without_certificates =
                command.trust.failure().filter(|_| untrusted).cloned().map(RunsFailure::from);
            let RunsFailure { error, hint, status } = without_certificates.unwrap_or(failure);
            let saved = "all that was there, but for what the lines above say was removed".to_owned();
            // What was typed wrong is not typed again.
            let next_command = (status != ExitStatus::Usage).then(|| invocation.command_line());
            Closing { error: error.as_ref(), hint, saved, next_command, status }.write(logs.format);
            status
        }
    }
}

struct RunsCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    clock: Clock,
    trust: Trust,
}

struct RunsFailure {
    error: Box<dyn Error>,
    hint: Option<String>,
    status: ExitStatus,
}

/// What went wrong on the command line of `runs`.
#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("no unfinished run has the id {0}")]
    NoSuchRun(String),
    #[error("run {0} is not given up without an answer: say --yes, or answer y on a terminal")]
    NotConfirmed(String),
    #[error("--older-than: {0:?} is no time such as 7d, 12h or 0s")]
    OlderThan(String),
    #[error("the run was made at {saved}, but the settings lead to {settings}")]
    OtherAccount { saved: String, settings: String },
}

impl RunsCommand<'_> {
    fn list(&self) -> Result<(), RunsFailure> {
        let folder = self.state_folder()?;
        let now = self.clock.unix_time().as_secs();
        let mut text = String::new();
        for store in StateStore::all(&folder)? {
            match (store.run(), store.last_success()) {
                (Ok(run), Ok(success)) => {
                    if let Some(run) = run {
                        text.push_str(&unfinished(&run, now));
                    }
                    if let Some(success) = success {
                        text.push_str(&finished(&success, store.path(), now));
                    }
                }
                (Err(error), _) | (_, Err(error)) => {
                    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                    write_stderr(&format!("warning: {error}{cause}\n"));
                }
            }
        }
        if text.is_empty() {
            write_stderr(&format!("no runs in {}\n", folder.display()));
        }
        write_stdout(&text);
        Ok(())
    }

    fn show(&self) -> Result<(), RunsFailure> {
        let (_, run) = self.find()?;
        let mut value = serde_json::to_value(&run).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            // It is the service's and may say something of a customer; the state file has it.
            let known = fields.remove("cursor").is_some_and(|cursor| !cursor.is_null());
            fields.insert("has_cursor".to_owned(), known.into());
        }
        write_stdout(&format!("{value:#}\n"));
        Ok(())
    }

    fn abandon(&self) -> Result<(), RunsFailure> {
        let account = self.account()?;
        let (store, run) = self.find()?;
        let endpoint = account.treasure_data.endpoint.to_string();
        if run.target.treasure_data_endpoint != endpoint {
            let saved = run.target.treasure_data_endpoint;
            return Err(UsageError::OtherAccount { saved, settings: endpoint }.into());
        }
        let holder = Holder {
            pid: std::process::id(),
            run_id: run.run_id.clone(),
            started_at: self.clock.unix_time().as_secs(),
        };
        let _lock = TargetLock::take(&store, &holder)?;
        self.confirm(&run)?;
        let client =
            assemble_account(&account, &self.clock, &self.trust, fastrand::u64(..)).map_err(local)?;
        let runtime = client_runtime().map_err(|error| local(error.into()))?;
        runtime.block_on(abandon(&client, account.polling, &run))?;
        store.forget_run()?;
        write_stdout(&format!("gave up run {} of {}\n", run.run_id, run.target.label()));
        Ok(())
    }

    fn clean(&self) -> Result<(), RunsFailure> {
        let account = self.account()?;
        let text = self.matches.get_one::<String>("older-than").cloned().unwrap_or_default();
        let age = humantime::parse_duration(&text).map_err(|_| UsageError::OlderThan(text))?;
        let folder = self.state_folder()?;
        let mut unfinished = Vec::new();
        for store in StateStore::all(&folder)? {
            unfinished.extend(store.run().ok().flatten());
        }
        let client =
            assemble_account(&account, &self.clock, &self.trust, fastrand::u64(..)).map_err(local)?;
        let runtime = client_runtime().map_err(|error| local(error.into()))?;
        let databases: Vec<_> = account.database.into_iter().collect();
        let now = self.clock.unix_time().as_secs();
        runtime.block_on(async {
            for orphan in find_orphans(&client, &databases).await? {
                let verdict = verdict(&orphan, &unfinished, now, age);
                if verdict == Verdict::Remove && !self.matches.get_flag("dry-run") {
                    remove_orphan(&client, &orphan).await?;
                }
                write_stdout(&line(&orphan, verdict, now, self.matches.get_flag("dry-run")));
            }
            Ok::<(), RunError>(())
        })?;
        Ok(())
    }

    /// stdin is only read here, and only when it is a terminal.
    fn confirm(&self, run: &RunState) -> Result<(), UsageError> {
        if self.matches.get_flag("yes") {
            return Ok(());
        }
        let refused = || UsageError::NotConfirmed(run.run_id.clone());
        if !std::io::stdin().is_terminal() {
            return Err(refused());
        }
        let RunState { run_id, customers, parts, .. } = run;
        let question = format!(
            "give up run {run_id} of {} with {customers} customers in {parts} stored parts? [y/N] ",
            run.target.label()
        );
        write_stderr(&question);
        // What cannot be flushed was not seen, and then nobody answers.
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(|_| refused())?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
    }

    fn find(&self) -> Result<(StateStore, RunState), RunsFailure> {
        let wanted = self.matches.get_one::<String>("run").cloned().unwrap_or_default();
        for store in StateStore::all(&self.state_folder()?)? {
            if let Ok(Some(run)) = store.run()
                && run.run_id == wanted
            {
                return Ok((store, run));
            }
        }
        Err(UsageError::NoSuchRun(
            wanted.chars().filter(|character| !character.is_control()).take(80).collect(),
        )
        .into())
    }

    fn state_folder(&self) -> Result<std::path::PathBuf, SettingsError> {
        state_folder_from_layers(layers(self.invocation, self.matches))
    }

    fn account(&self) -> Result<AccountSettings, SettingsError> {
        AccountSettings::from_layers(layers(self.invocation, self.matches))
    }
}

fn unfinished(run: &RunState, now: u64) -> String {
    let RunState { run_id, phase, pages, customers, .. } = run;
    let phase =
        serde_json::to_value(phase).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default();
    let mut text = String::new();
    // A String takes everything.
    let _ = writeln!(
        text,
        "unfinished  {}  {run_id}  {phase}, {pages} pages, {customers} rows stored, saved {} ago",
        run.target.label(),
        age(run.updated_at, now)
    );
    text
}

fn finished(success: &LastSuccess, path: &Path, now: u64) -> String {
    let LastSuccess { run_id, customers, pages, finished_at } = success;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let target = name.rsplit_once('.').map_or(name, |(target, _)| target);
    let ended = age(*finished_at, now);
    format!("finished    {target}  {run_id}  {pages} pages, {customers} rows loaded, ended {ended} ago\n")
}

fn age(since: u64, now: u64) -> String {
    humantime::format_duration(Duration::from_secs(now.saturating_sub(since))).to_string()
}

/// What becomes of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Remove,
    Young,
    UnknownAge,
    Unfinished,
}

fn verdict(orphan: &Orphan, unfinished: &[RunState], now: u64, limit: Duration) -> Verdict {
    let in_use = |run: &RunState| {
        run.session == orphan.name || run.temporary_table.as_deref() == Some(orphan.name.as_str())
    };
    match orphan.since {
        _ if unfinished.iter().any(in_use) => Verdict::Unfinished,
        _ if limit.is_zero() => Verdict::Remove,
        None => Verdict::UnknownAge,
        Some(since) if now.saturating_sub(since) >= limit.as_secs() => Verdict::Remove,
        Some(_) => Verdict::Young,
    }
}

fn line(orphan: &Orphan, verdict: Verdict, now: u64, dry_run: bool) -> String {
    let Orphan { name, kind, place, status, since } = orphan;
    let kind = match kind {
        OrphanKind::Session => "session",
        OrphanKind::TemporaryTable => "temporary table",
    };
    let age = since.map_or_else(|| "age unknown".to_owned(), |since| format!("{} old", age(since, now)));
    let done = match verdict {
        Verdict::Remove if dry_run => "would be removed",
        Verdict::Remove => "removed",
        Verdict::Young => "left alone: too young",
        Verdict::UnknownAge => "left alone: age unknown, --older-than 0s removes it",
        Verdict::Unfinished => "left alone: of an unfinished run, see runs list",
    };
    format!("{kind} {name} ({place}, {status}, {age}): {done}\n")
}

fn local(error: Box<dyn Error + Send + Sync>) -> RunsFailure {
    RunsFailure { error, hint: None, status: ExitStatus::LocalFailed }
}

impl From<SettingsError> for RunsFailure {
    fn from(error: SettingsError) -> Self {
        Self { error: error.into(), hint: None, status: ExitStatus::Usage }
    }
}

impl From<UsageError> for RunsFailure {
    fn from(error: UsageError) -> Self {
        let hint = Some("yotpo-td runs list shows what there is".to_owned());
        Self { error: error.into(), hint, status: ExitStatus::Usage }
    }
}

impl From<NoRootCertificates> for RunsFailure {
    fn from(error: NoRootCertificates) -> Self {
        let hint = Some(NoRootCertificates::HINT.to_owned());
        Self { error: error.into(), hint, status: ExitStatus::LocalFailed }
    }
}

impl From<StateError> for RunsFailure {
    fn from(error: StateError) -> Self {
        RunError::from(error).into()
    }
}

impl From<LockError> for RunsFailure {
    fn from(error: LockError) -> Self {
        let (status, hint) = match error {
            LockError::Held { .. } => {
                (ExitStatus::AlreadyRunning, "stop that run with SIGTERM first; its checkpoint stays")
            }
            LockError::Untrusted(_) | LockError::Io { .. } => (ExitStatus::LocalFailed, STATE_FOLDER_HINT),
        };
        let hint = Some(hint.to_owned());
        Self { error: error.into(), hint, status }
    }
}

impl From<RunError> for RunsFailure {
    fn from(error: RunError) -> Self {
        Self { hint: error.hint(), status: error.exit_status(), error: error.into() }
    }
}

impl From<TreasureDataError> for RunsFailure {
    fn from(error: TreasureDataError) -> Self {
        RunError::from(error).into()
    }
}
