//! `yotpo-td compare`: how two sets of rows differ, as a table or as JSON.
//!
//! Owns the flags of the command, its progress on a terminal or in the log, and how it ends. What is compared is decided in
//! [`crate::compare`].

mod json;
mod table;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::failure::{Failure, NextCommand, local_code};
use super::invocation::{Invocation, layers, start_logging};
use super::options::{is_json, output_flag, with_other_options};
use super::runtime::{MachineDenied, client_runtime};
use super::setting_flags::with_settings;
use crate::clock::Clock;
use crate::compare::{CompareError, CompareProgress, Comparison, Input, compare};
use crate::config::Setting;
use crate::config::keys::{COLOR, LOG_FORMAT, LOG_LEVEL};
use crate::diagnosis::{Code, Diagnosis};
use crate::shutdown::{self, Signal};
use crate::telemetry::{ProgressBar, words, write_result};

const EXAMPLES: &str = "\
Examples:
  Compare the table of the old job with that of sync, both exported as JSON Lines:
    yotpo-td compare old.jsonl new.jsonl
  Compare an export of sync --to and a file, for a program:
    yotpo-td compare export/ customers.jsonl.gz --output json > difference.json";

const DETAILS: &str = "\
A and B are files of rows (MessagePack or JSON Lines, both also as gzip), directories with such files, or exports of sync --to. \
Rows are compared by their content, whatever their order, spelling and time. \
No value is printed, only counts and names of fields.

The exit code is 0 if both have the same customers with the same values, and 7 if they differ.";

const LOG_SETTINGS: [Setting; 3] = [LOG_FORMAT.setting, LOG_LEVEL.setting, COLOR.setting];

const NOTHING_SAVED: &str = "nothing: compare only reads";

/// Time from one log line about the progress to the next.
const INTERVAL: Duration = Duration::from_secs(60);

/// The command line.
pub(super) fn command(exit_codes: &str) -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name).value_name(name).required(true).value_parser(value_parser!(PathBuf)).help(help)
    };
    let command = Command::new("compare")
        .about("Compare two sets of rows by content; reads only")
        .after_help("Forms, examples and exit codes are in --help.")
        .after_long_help(format!("{DETAILS}\n\n{EXAMPLES}\n\n{exit_codes}"))
        .arg(path("A", "File or directory with rows"))
        .arg(path("B", "The same, to compare with"));
    let command = command.next_help_heading("Compare").arg(output_flag());
    with_other_options(with_settings(command, &LOG_SETTINGS))
}

/// The rows differ.
#[derive(Debug, thiserror::Error)]
#[error("the rows differ: {changed} changed, {only_a} only in A, {only_b} only in B")]
struct RowsDiffer {
    changed: String,
    only_a: String,
    only_b: String,
}

/// A signal ended the comparison.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {} before all rows were compared", .0.name())]
struct Stopped(Signal);

/// Runs the command.
pub(super) fn run(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let bar = ProgressBar::hidden();
    start_logging(&layers(invocation, matches), &bar);
    let command = CompareCommand { invocation, matches, bar };
    let runtime = client_runtime().map_err(|error| {
        command.failure(error, Diagnosis::new(Code::MachineDenied, Some(MachineDenied::HINT.to_owned())))
    })?;
    let result = runtime.block_on(command.compare());
    // After a failure, the closing words follow.
    command.bar.finish();
    // After a signal, the threads that read are not waited for.
    runtime.shutdown_background();
    result
}

struct CompareCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    bar: ProgressBar,
}

impl CompareCommand<'_> {
    async fn compare(&self) -> Result<(), Failure> {
        let clock = Clock::machine();
        let stop = shutdown::listen_and_log(clock.clone(), "stopping").map_err(|error| {
            let (code, hint) = local_code(&error, Code::MachineDenied);
            self.failure(error, Diagnosis::new(code, hint))
        })?;
        let paths = ["A", "B"].map(|name| self.path(name));
        let inputs = match (Input::at(paths[0]), Input::at(paths[1])) {
            (Ok(a), Ok(b)) => [a, b],
            (Err(error), _) | (_, Err(error)) => return Err(self.compare_failure(error)),
        };
        let [files_a, files_b] = inputs.each_ref().map(Input::files);
        tracing::debug!(files_a, files_b, "comparing");
        let progress = Arc::new(CompareProgress::default());
        let reading = Arc::clone(&progress);
        let shown = Arc::clone(&progress);
        let has_line =
            self.bar.show_line(self.invocation.terminal(), move |width| progress_line(&shown, width));
        let result = tokio::select! {
            biased;
            signal = stop.graceful() => {
                progress.stop();
                return Err(self.failure(Stopped(signal), Diagnosis::interrupted(signal)));
            }
            result = clock.blocking(move || compare(&inputs, &reading)) => result,
            never = log_progress(&clock, &progress), if !has_line => match never {},
        };
        match result {
            Ok(Ok(found)) => self.finish(paths, &found),
            Ok(Err(error)) => Err(self.compare_failure(error)),
            // A bug, which `main` reports. Nothing cancels this work while it is waited for.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn path(&self, name: &str) -> &Path {
        self.matches.get_one::<PathBuf>(name).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Prints what was found. It fails if the rows differ.
    fn finish(&self, paths: [&Path; 2], found: &Comparison) -> Result<(), Failure> {
        self.bar.finish();
        let text = if is_json(self.matches) { json::json(paths, found) } else { table::table(paths, found) };
        write_result(&text);
        let Some(diagnosis) = found.diagnosis() else { return Ok(()) };
        let [only_a, only_b] = found.only_in.map(words::number);
        let error = RowsDiffer { changed: words::number(found.changed), only_a, only_b };
        Err(self.failure(error, diagnosis))
    }

    fn compare_failure(&self, error: CompareError) -> Failure {
        let diagnosis = error.diagnosis();
        self.failure(error, diagnosis)
    }

    fn failure(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
        diagnosis: Diagnosis,
    ) -> Failure {
        let next = NextCommand::again(diagnosis.code, || self.invocation.command_line());
        Failure { error: error.into(), diagnosis, saved: NOTHING_SAVED.to_owned(), next, run: None }
    }
}

/// How many rows were read, for a terminal.
fn progress_line(progress: &CompareProgress, width: usize) -> String {
    let phase = if progress.is_second_pass() { "comparing fields" } else { "reading" };
    let [rows_a, rows_b] = progress.rows().map(|rows| words::count(rows, "row", "rows"));
    let line = format!("{phase}  A {rows_a}  B {rows_b}");
    line.chars().take(width).collect()
}

/// Logs once a minute how many rows were read.
async fn log_progress(clock: &Clock, progress: &CompareProgress) -> Infallible {
    loop {
        clock.sleep(INTERVAL).await;
        let [rows_a, rows_b] = progress.rows();
        let phase = if progress.is_second_pass() { "comparing_fields" } else { "reading" };
        tracing::info!(phase, elapsed_seconds = clock.now().as_secs(), rows_a, rows_b, "progress");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The progress of a comparison that reads its one changed row for the second time.
    fn second_pass() -> CompareProgress {
        let directory = tempfile::tempdir().unwrap();
        let inputs = ["10", "20"].map(|points| {
            let path = directory.path().join(points);
            std::fs::write(&path, format!("{{\"external_id\":\"1\",\"points\":{points}}}\n")).unwrap();
            Input::at(&path).unwrap()
        });
        let progress = CompareProgress::default();
        assert_eq!(compare(&inputs, &progress).unwrap().changed, 1);
        progress
    }

    #[test]
    fn a_terminal_shows_the_rows_of_both_sides_in_its_width() {
        let progress = CompareProgress::default();
        assert_eq!(progress_line(&progress, 80), "reading  A 0 rows  B 0 rows");
        assert_eq!(progress_line(&progress, 11), "reading  A ");
        assert_eq!(progress_line(&second_pass(), 80), "comparing fields  A 1 row  B 1 row");
    }

    /// What is logged in two and a half minutes, after the name of the line.
    fn logged(progress: &CompareProgress) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Clock::virtual_at(Duration::from_secs(1_700_000_000));
        tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(async {
                tokio::select! {
                    never = log_progress(&clock, progress) => match never {},
                    () = clock.sleep(Duration::from_secs(150)) => {}
                }
            });
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter_map(|line| line.split_once(": progress"))
            .map(|(_, rest)| rest.to_owned())
            .collect()
    }

    #[test]
    fn progress_is_logged_once_a_minute() {
        let expected = |phase: &str, rows: u64| {
            [60, 120].map(|seconds| {
                format!(r#" phase="{phase}" elapsed_seconds={seconds} rows_a={rows} rows_b={rows}"#)
            })
        };
        assert_eq!(logged(&CompareProgress::default()), expected("reading", 0));
        assert_eq!(logged(&second_pass()), expected("comparing_fields", 1));
    }
}
