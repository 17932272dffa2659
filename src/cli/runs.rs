//! `yotpo-td runs`: looking at interrupted runs, and removing what dead runs left.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;

use super::closing::{Closing, NextCommand};
use super::runtime::{MachineDenied, client_runtime};
use super::sync::layers;
use super::{Invocation, local_code};
use crate::checkpoint::{FinishedRun, Holder, LockError, RunState, StateError, StateStore, TargetLock};
use crate::clock::Clock;
use crate::config::{AccountSettings, NamedRun, SettingsError, log_settings, state_folder_from_layers};
use crate::diagnosis::{Code, Diagnosis};
use crate::exit_status::ExitStatus;
use crate::housekeeping::{Orphan, OrphanKind, Verdict, find_orphans, marker_age, remove_orphan};
use crate::run::{AbandonSettings, LoadSettings, RunError, STATE_FOLDER_HINT, Services, abandon_run};
use crate::services::{ServicesError, assemble_account};
use crate::shutdown::StopRequests;
use crate::telemetry::{ProgressBar, init_logs, write_stderr, write_stdout};
use crate::treasure_data::TreasureDataError;

/// Runs the command.
pub(super) fn runs(invocation: &Invocation, matches: &ArgMatches) -> ExitStatus {
    let Some((name, matches)) = matches.subcommand() else { return ExitStatus::Usage };
    let logs = log_settings(&layers(invocation, matches));
    init_logs(&logs, &ProgressBar::hidden());
    let command = RunsCommand { invocation, matches, clock: Clock::machine() };
    let result = match name {
        "list" => command.list(),
        "show" => command.show(),
        "abandon" => command.abandon(),
        _ => command.clean(),
    };
    match result {
        Ok(()) => ExitStatus::Success,
        Err(failure) => {
            let RunsFailure { error, diagnosis } = failure;
            let status = diagnosis.status;
            let saved = if diagnosis.code == Code::SettingsInvalid {
                "all that was there: nothing was removed"
            } else {
                "all that was there, but for what the lines above say was removed"
            };
            let next = NextCommand::again(diagnosis.code, || invocation.command_line());
            Closing { error: error.as_ref(), diagnosis, saved: saved.to_owned(), next, run: None }
                .write(logs.format);
            status
        }
    }
}

struct RunsCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    clock: Clock,
}

struct RunsFailure {
    error: Box<dyn Error>,
    diagnosis: Diagnosis,
}

/// What went wrong on the command line of `runs`.
#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("no unfinished run has the id {0}")]
    NoSuchRun(String),
    #[error("run {0} is not abandoned without an answer: say --yes, or answer y on a terminal")]
    NotConfirmed(String),
    #[error(
        "--older-than {0} is shorter than the 8 days at the default --run-lifetime for which other machines may need what is \
             there; nothing was removed: say --yes, or answer y on a terminal"
    )]
    NotConfirmedAge(String),
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
            match (store.run(), store.history()) {
                (Ok(run), Ok(history)) => {
                    if let Some(run) = run {
                        text.push_str(&unfinished(&run, now));
                    }
                    for run in history {
                        text.push_str(&finished(&run, store.path(), now));
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
        // A cursor is the service's and may say something of a customer; the state file has it.
        if let Some(cursor) = value.pointer_mut("/position/after/cursor") {
            *cursor = "(kept in the state file)".into();
        }
        write_stdout(&format!("{value:#}\n"));
        Ok(())
    }

    fn abandon(&self) -> Result<(), RunsFailure> {
        let account = self.account()?;
        let (store, run) = self.find_or_name()?;
        let endpoint = account.treasure_data.endpoint.to_string();
        if run.target.treasure_data_endpoint != endpoint {
            let saved = run.target.treasure_data_endpoint;
            return Err(UsageError::OtherAccount { saved, settings: endpoint }.into());
        }
        let holder = Holder {
            pid: std::process::id(),
            run_id: run.run_id.to_string(),
            started_at: self.clock.unix_time().as_secs(),
        };
        let _lock = TargetLock::take(&store, &holder)?;
        self.confirm_abandoning(&run)?;
        let treasure_data = assemble_account(&account, &self.clock, fastrand::u64(..))?;
        let runtime = client_runtime()?;
        let services = Services { yotpo: None, treasure_data, clock: self.clock.clone() };
        let settings = AbandonSettings {
            state_folder: self.state_folder()?,
            polling: account.polling,
            run_lifetime: account.run_lifetime,
            without_table_ids: account.without_table_ids,
        };
        let given = run.keeps_marker.then(|| run.run_id.clone());
        let settings = LoadSettings::to_abandon(run.target.clone(), run.mode, given, settings);
        let (_sender, stop) = StopRequests::channel();
        let (run_id, label) = (run.run_id.clone(), run.target.label());
        let too_late = runtime.block_on(abandon_run(&services, &settings, &Arc::new(store), run, &stop))?;
        write_stdout(&if too_late {
            format!("too late: the rows of run {run_id} are in {label}\n")
        } else {
            format!(
                "abandoned run {run_id} of {label}: it loads nothing any more; starting it again loads it anew\n"
            )
        });
        Ok(())
    }

    /// The run that is meant: an unfinished one of this machine, or one of any machine that `--run-id` and the settings
    /// name.
    fn find_or_name(&self) -> Result<(StateStore, RunState), RunsFailure> {
        if self.matches.get_one::<String>("run").is_some() {
            return self.find();
        }
        let NamedRun { target, mode, run_id } = NamedRun::from_layers(layers(self.invocation, self.matches))?;
        let store = StateStore::open(&self.state_folder()?, &target)?;
        let now = self.clock.unix_time().as_secs();
        let saved = store.run()?.filter(|run| run.run_id == run_id);
        let run = saved.unwrap_or_else(|| RunState::new(run_id, true, target, mode, 100, now));
        Ok((store, run))
    }

    fn clean(&self) -> Result<(), RunsFailure> {
        let account = self.account()?;
        let text = self.matches.get_one::<String>("older-than").cloned().unwrap_or_default();
        let age = humantime::parse_duration(&text).map_err(|_| UsageError::OlderThan(text.clone()))?;
        let folder = self.state_folder()?;
        let mut unfinished = Vec::new();
        for store in StateStore::all(&folder)? {
            unfinished.extend(store.run().ok().flatten());
        }
        let client = assemble_account(&account, &self.clock, fastrand::u64(..))?;
        let runtime = client_runtime()?;
        let keep = marker_age(account.run_lifetime);
        if age < keep && !self.matches.get_flag("dry-run") {
            let question = format!("remove what earlier releases left as soon as it is {text} old? [y/N] ");
            self.confirm(&question, UsageError::NotConfirmedAge(text))?;
        }
        let databases: Vec<_> = account.database.into_iter().collect();
        let now = self.clock.unix_time().as_secs();
        runtime.block_on(async {
            for orphan in find_orphans(&client, &databases).await? {
                let verdict = orphan.verdict(&unfinished, now, age, keep);
                if verdict == Verdict::Remove && !self.matches.get_flag("dry-run") {
                    remove_orphan(&client, &orphan).await?;
                }
                write_stdout(&line(&orphan, verdict, now, self.matches.get_flag("dry-run")));
            }
            Ok::<(), TreasureDataError>(())
        })?;
        Ok(())
    }

    fn confirm_abandoning(&self, run: &RunState) -> Result<(), UsageError> {
        let RunState { run_id, rows, parts, .. } = run;
        let question = format!(
            "abandon run {run_id} of {} with {rows} rows in {parts} stored parts on this machine? [y/N] ",
            run.target.label()
        );
        self.confirm(&question, UsageError::NotConfirmed(run_id.to_string()))
    }

    /// stdin is only read here, and only when it is a terminal.
    fn confirm(&self, question: &str, refused: UsageError) -> Result<(), UsageError> {
        if self.matches.get_flag("yes") {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(refused);
        }
        write_stderr(question);
        // What cannot be flushed was not seen, and then nobody answers.
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused) }
    }

    fn find(&self) -> Result<(StateStore, RunState), RunsFailure> {
        let wanted = self.matches.get_one::<String>("run").cloned().unwrap_or_default();
        for store in StateStore::all(&self.state_folder()?)? {
            if let Ok(Some(run)) = store.run()
                && run.run_id.as_str() == wanted
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
    let RunState { run_id, phase, position, rows, .. } = run;
    let pages = position.page();
    let phase =
        serde_json::to_value(phase).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default();
    let mut text = String::new();
    // A String takes everything.
    let _ = writeln!(
        text,
        "unfinished  {}  {run_id}  {phase}, {pages} pages, {rows} rows stored, saved {} ago",
        run.target.label(),
        age(run.updated_at, now)
    );
    text
}

fn finished(run: &FinishedRun, path: &Path, now: u64) -> String {
    let FinishedRun { run_id, rows, pages, finished_at, .. } = run;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let target = name.rsplit_once('.').map_or(name, |(target, _)| target);
    let ended = age(*finished_at, now);
    let rows = rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    format!("finished    {target}  {run_id}  {pages} pages, {rows} rows loaded, ended {ended} ago\n")
}

fn age(since: u64, now: u64) -> String {
    humantime::format_duration(Duration::from_secs(now.saturating_sub(since))).to_string()
}

fn line(orphan: &Orphan, verdict: Verdict, now: u64, dry_run: bool) -> String {
    let Orphan { object, kind, place, status, since } = orphan;
    let name = object.name();
    let kind = match kind {
        OrphanKind::Ballot => "ballot",
        OrphanKind::Session => "session",
        OrphanKind::TemporaryTable => "temporary table",
        OrphanKind::Legacy => "left by an earlier release:",
    };
    let age = since.map_or_else(|| "age unknown".to_owned(), |since| format!("{} old", age(since, now)));
    let done = match verdict {
        Verdict::Remove if dry_run => "would be removed",
        Verdict::Remove => "removed",
        Verdict::Young => "left alone: too young",
        Verdict::UnknownAge => "left alone: age unknown, Treasure Data removes it after a week",
        Verdict::Unfinished => "left alone: of an unfinished run, see runs list",
    };
    format!("{kind} {name} ({place}, {status}, {age}): {done}\n")
}

impl From<SettingsError> for RunsFailure {
    fn from(error: SettingsError) -> Self {
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, None) }
    }
}

impl From<UsageError> for RunsFailure {
    fn from(error: UsageError) -> Self {
        let hint = matches!(error, UsageError::NoSuchRun(_))
            .then(|| "yotpo-td runs list shows what there is".to_owned());
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, hint) }
    }
}

impl From<MachineDenied> for RunsFailure {
    fn from(error: MachineDenied) -> Self {
        let hint = Some(MachineDenied::HINT.to_owned());
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::MachineDenied, hint) }
    }
}

impl From<ServicesError> for RunsFailure {
    fn from(error: ServicesError) -> Self {
        Self { diagnosis: error.diagnosis(), error: error.into() }
    }
}

impl From<StateError> for RunsFailure {
    fn from(error: StateError) -> Self {
        RunError::from(error).into()
    }
}

impl From<LockError> for RunsFailure {
    fn from(error: LockError) -> Self {
        let (code, hint) = match error {
            LockError::Held { .. } => {
                (Code::RunActive, "stop that run with SIGTERM first; its checkpoint stays")
            }
            LockError::Untrusted(_) | LockError::Io { .. } => (Code::StateFailed, STATE_FOLDER_HINT),
        };
        let (code, full) = local_code(&error, code);
        let diagnosis = Diagnosis::new(code, full.or_else(|| Some(hint.to_owned())));
        Self { error: error.into(), diagnosis }
    }
}

impl From<RunError> for RunsFailure {
    fn from(error: RunError) -> Self {
        Self { diagnosis: error.diagnosis(), error: error.into() }
    }
}

impl From<TreasureDataError> for RunsFailure {
    fn from(error: TreasureDataError) -> Self {
        RunError::from(error).into()
    }
}
