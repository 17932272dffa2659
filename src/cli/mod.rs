//! The command line: flags, help, and what is printed at the end.
//!
//! Owns clap, the two commands and their closing words. It makes its flags from [`crate::config::SETTINGS`] and hands
//! everything else to the library; nothing below it knows clap.

mod closing;
mod command;
mod runs;
mod runtime;
mod sandbox;
mod summary;
mod sync;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::closing::{Closing, NextCommand};
use crate::diagnosis::{Code, Diagnosis};
use crate::exit_status::ExitStatus;
use crate::free_space::{NO_SPACE_HINT, is_lack_of_space};
use crate::telemetry::{LogFormat, log_format, write_stderr, write_stdout};

/// What the program was started with.
#[derive(Debug)]
pub struct Invocation {
    /// The words of the command line, the program's name first.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: BTreeMap<String, OsString>,
}

impl Invocation {
    /// Of this process. Variables whose names are no Unicode are none of ours.
    pub fn of_process() -> Self {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { arguments: std::env::args_os().collect(), environment: environment.collect() }
    }

    /// The command line to type again.
    fn command_line(&self) -> String {
        command_line(self.arguments.iter())
    }

    /// The command line that resumes what is saved: `--fresh` would give it up, wherever it is set.
    fn resuming_command_line(&self, is_fresh_elsewhere: bool) -> String {
        let is_fresh =
            |word: &OsString| word.to_str().is_some_and(|word| word == "--fresh" || word == "--fresh=on");
        let opposite = is_fresh_elsewhere.then(|| OsString::from("--fresh=off"));
        command_line(self.arguments.iter().filter(|word| !is_fresh(word)).chain(&opposite))
    }

    /// The command line that loads as the run `run_id`, whatever run it names itself.
    fn command_line_of_run(&self, run_id: &str) -> String {
        let flag = "--run-id";
        let mut is_value = false;
        let is_other = |word: &&OsString| {
            let was_value = std::mem::replace(&mut is_value, *word == flag);
            let names_run = was_value || *word == flag;
            !names_run && !word.to_str().is_some_and(|word| word.starts_with("--run-id="))
        };
        let named = [OsString::from(flag), OsString::from(run_id)];
        command_line(self.arguments.iter().filter(is_other).chain(&named))
    }
}

/// The command line to type again, quoted for a shell. A password in an address, which is refused, is not repeated: the
/// line ends up in logs.
fn command_line<'a>(arguments: impl Iterator<Item = &'a OsString>) -> String {
    let words: Vec<_> =
        arguments.map(|word| without_user_information(&word.to_string_lossy().replace('\0', ""))).collect();
    let program = words.first().map_or("yotpo-td", |path| path.rsplit('/').next().unwrap_or(path));
    let words = std::iter::once(program).chain(words.iter().skip(1).map(String::as_str));
    shlex::try_join(words).unwrap_or_else(|_nul| "yotpo-td".to_owned())
}

/// `https://user:password@host/` becomes `https://[redacted]@host/`; all else stays.
fn without_user_information(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://[redacted]{}", rest.get(user.len()..).unwrap_or_default()),
        None => word.to_owned(),
    }
}

/// Runs the program and says how it ended. Never panics: a panic below is a bug and becomes exit code 1.
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
    result.unwrap_or_else(|_panic| {
        let closing = Closing {
            error: &Panicked,
            diagnosis: Panicked::diagnosis(),
            saved: "nothing that this command knows of".to_owned(),
            next: NextCommand::again(Code::Bug, || invocation.command_line()),
            run: None,
        };
        closing.write(log_format());
        closing.diagnosis.status
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

/// The code of an error on this machine, and what to do when its disk is full.
fn local_code(error: &(dyn Error + 'static), otherwise: Code) -> (Code, Option<String>) {
    if is_lack_of_space(error) { (Code::DiskFull, Some(NO_SPACE_HINT.to_owned())) } else { (otherwise, None) }
}

fn dispatch(invocation: &Invocation) -> ExitStatus {
    if let Some(failpoint) = invocation.environment.get("YOTPO_TD_FAILPOINT").and_then(|value| value.to_str())
    {
        crate::failpoint::arm(failpoint);
    }
    let matches = match command::command().try_get_matches_from(&invocation.arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            write_stderr(&error.render().to_string());
            return ExitStatus::Usage;
        }
        Err(help) => {
            write_stdout(&help.render().to_string());
            return ExitStatus::Success;
        }
    };
    match matches.subcommand() {
        Some(("sync", matches)) => sync::sync(invocation, matches),
        Some(("runs", matches)) => runs::runs(invocation, matches),
        Some(("sandbox", matches)) => sandbox::serve(invocation, matches),
        _ => ExitStatus::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(words: &[&str]) -> Invocation {
        let arguments = ["/usr/bin/yotpo-td", "sync"].iter().chain(words).map(OsString::from).collect();
        Invocation { arguments, environment: BTreeMap::new() }
    }

    #[test]
    fn a_command_to_type_again_has_no_password_and_is_quoted() {
        let typed = invocation(&["--td-endpoint", "https://user:password@host/a@b", "--state-dir", "a b"]);
        assert_eq!(
            typed.command_line(),
            "yotpo-td sync --td-endpoint 'https://[redacted]@host/a@b' --state-dir 'a b'"
        );
    }

    #[test]
    fn a_command_of_another_run_names_no_other() {
        for words in [
            &["--run-id", "a", "--mode", "replace"][..],
            &["--mode", "replace", "--run-id=a"],
            &["--mode", "replace"],
        ] {
            assert_eq!(
                invocation(words).command_line_of_run("a-2"),
                "yotpo-td sync --mode replace --run-id a-2"
            );
        }
    }

    #[test]
    fn a_command_that_resumes_is_not_fresh() {
        for word in ["--fresh", "--fresh=on"] {
            assert_eq!(invocation(&[word]).resuming_command_line(false), "yotpo-td sync");
        }
        assert_eq!(invocation(&[]).resuming_command_line(true), "yotpo-td sync '--fresh=off'");
    }
}
