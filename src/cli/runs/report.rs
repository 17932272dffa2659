//! `yotpo-td runs report`: the page of an earlier run, from what was recorded of it on this machine.
//!
//! Owns which recording is meant. A run that several processes worked on has several: one of each attempt.

use std::io;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::show::LATEST;
use super::{RunsCommand, RunsError, UsageError, printable};
use crate::cli::failure::local_code;
use crate::cli::summary::write_file;
use crate::diagnosis::{Code, Diagnosis};
use crate::identity::RunId;
use crate::report::{
    MAX_RECORDINGS, Place, RecordingError, RecordingFile, ReportError, RunRecording, render,
};
use crate::telemetry::{try_write_stdout, write_stderr};

/// The page could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// To a file.
    #[error("could not write the report to {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// To stdout.
    #[error("could not write the report to stdout")]
    Stdout(#[source] io::Error),
}

/// The command line.
pub(in crate::cli) fn command(run: Arg) -> Command {
    Command::new("report")
        .about("Show how a run went, as one page of HTML")
        .after_help(format!(
            "Every run of sync and load is recorded in the state directory, counts only: the last {MAX_RECORDINGS} attempts of \
             each target, also those that failed. sync --report FILE writes the same page when the run ends."
        ))
        .arg(
            run.help("Id of the run; by default that of the latest attempt").default_value(LATEST),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("File for the page, which is replaced; by default stdout"),
        )
        .arg(
            Arg::new("attempt")
                .long("attempt")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Which recorded attempt of the run, from 1; by default the latest"),
        )
}

impl RunsCommand<'_> {
    pub(super) fn report(&self) -> Result<(), RunsError> {
        let wanted = self.matches.get_one::<String>("run").map_or(LATEST, String::as_str);
        let attempts = self.attempts(wanted)?;
        let of = attempts.len();
        let number = match self.matches.get_one::<u64>("attempt") {
            Some(number) => usize::try_from(*number).unwrap_or(usize::MAX),
            None => of,
        };
        let recording = number
            .checked_sub(1)
            .and_then(|place| attempts.get(place))
            .ok_or(UsageError::NoSuchAttempt { number, recorded: of as u64 })?;
        let page = render(recording, Some(Place { number, of }))?;
        Ok(write(&page, self.matches)?)
    }

    /// The recordings of the wanted run, the newest last; at least one.
    fn attempts(&self, wanted: &str) -> Result<Vec<RunRecording>, RunsError> {
        let directory = self.state_directory()?;
        let mut read: Vec<_> = RecordingFile::all(&directory)?.iter().map(RecordingFile::read).collect();
        let run_id = if wanted == LATEST {
            match read.pop() {
                None => return Err(nothing_recorded()),
                Some(Err(damaged)) => return Err(damaged.into()),
                Some(Ok(latest)) => {
                    let run_id = latest.run_id.clone();
                    read.push(Ok(latest));
                    run_id
                }
            }
        } else {
            // What is no run id is not the id of a recording.
            wanted.parse::<RunId>().ok()
        };
        let mut known: Vec<_> = Vec::new();
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for recording in read {
            match recording {
                Ok(recording) if recording.run_id == run_id && run_id.is_some() => found.push(recording),
                Ok(recording) => known.extend(recording.run_id),
                Err(error) => unreadable.push(error),
            }
        }
        if found.is_empty() {
            // The wanted one may be what cannot be read.
            return Err(match unreadable.into_iter().next() {
                Some(error) => error.into(),
                None => self.not_recorded(wanted, &known),
            });
        }
        for error in unreadable {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            write_stderr(&format!("warning: {error}{cause}\n"));
        }
        Ok(found)
    }

    /// Why there is no recording of a run.
    fn not_recorded(&self, wanted: &str, known: &[RunId]) -> RunsError {
        let wanted = printable(wanted);
        let is_known = self.is_known(&wanted);
        let error = if is_known { UsageError::NotRecorded(wanted) } else { UsageError::NoSuchRun(wanted) };
        let mut others: Vec<_> = known.iter().map(RunId::as_str).collect();
        others.dedup();
        let recorded = match &others[..] {
            [] => "no run is recorded".to_owned(),
            others => format!("recorded are: {}", others.join(", ")),
        };
        let hint = if is_known {
            format!(
                "it ran with a release that recorded nothing, its process was killed, or newer attempts have displaced it; \
                 yotpo-td runs show prints what is saved of it; {recorded}"
            )
        } else {
            recorded
        };
        RunsError { error: error.into(), diagnosis: Diagnosis::new(Code::SettingsInvalid, Some(hint)) }
    }
}

fn write(page: &str, matches: &ArgMatches) -> Result<(), NotWritten> {
    match matches.get_one::<PathBuf>("output") {
        Some(path) => {
            write_file(path, page).map_err(|source| NotWritten::File { path: path.clone(), source })
        }
        None => try_write_stdout(page).map_err(NotWritten::Stdout),
    }
}

impl From<RecordingError> for RunsError {
    fn from(error: RecordingError) -> Self {
        let hint = match &error {
            RecordingError::Format { path, .. } => format!(
                "delete {}: it is only needed for the report of its run, and no run is affected",
                path.display()
            ),
            _ => crate::run::STATE_DIRECTORY_HINT.to_owned(),
        };
        let (code, full) = local_code(&error, Code::StateFailed);
        let diagnosis = Diagnosis::new(code, full.or(Some(hint)));
        Self { error: error.into(), diagnosis }
    }
}

impl From<ReportError> for RunsError {
    fn from(error: ReportError) -> Self {
        let hint = "please report it, with the recording from the state directory; it has no customer data"
            .to_owned();
        Self { error: error.into(), diagnosis: Diagnosis::new(Code::Bug, Some(hint)) }
    }
}

impl From<NotWritten> for RunsError {
    fn from(error: NotWritten) -> Self {
        let (code, full) = local_code(&error, Code::MachineDenied);
        let hint = "choose another file with --output; its directory must exist".to_owned();
        Self { error: error.into(), diagnosis: Diagnosis::new(code, full.or(Some(hint))) }
    }
}

/// Why there is no recording at all.
fn nothing_recorded() -> RunsError {
    let hint = "an attempt is recorded when it ends; one that was killed is not, and yotpo-td runs list shows what it left";
    RunsError {
        error: UsageError::NoRecordings.into(),
        diagnosis: Diagnosis::new(Code::SettingsInvalid, Some(hint.to_owned())),
    }
}
