//! What the program was started with: the words of the command line and the environment.
//!
//! Owns the commands that a failure suggests, and the layers of settings that the invocation gives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;

use super::setting_flags::flags;
use crate::config::keys::FRESH;
use crate::config::{Layers, SettingsFile, Source, log_settings, without_user_information};
use crate::paths::is_typeable;
use crate::telemetry::{self, ProgressBar, TraceVariables};

/// What the program was started with.
#[derive(Debug)]
pub struct Invocation {
    /// The words of the command line, the program's name first.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: BTreeMap<String, OsString>,
}

/// How to set what is missing, and where each setting of `command` is explained.
pub(super) fn settings_hint(command: &str) -> String {
    format!(
        "yotpo-td {command} --help explains each setting: a flag, a variable or a line of a file (yotpo-td config template prints one)"
    )
}

impl Invocation {
    /// Of this process. Variables whose names are no Unicode are none of ours.
    pub fn of_process() -> Self {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { arguments: std::env::args_os().collect(), environment: environment.collect() }
    }

    /// The terminal, as `TERM` names it.
    pub(super) fn terminal(&self) -> Option<&str> {
        self.environment.get("TERM").and_then(|term| term.to_str())
    }

    /// How to set what is missing, and where each setting of the command is explained.
    pub(super) fn settings_hint(&self) -> String {
        let command = self.arguments.get(1).and_then(|word| word.to_str()).filter(|word| *word == "load");
        settings_hint(command.unwrap_or("sync"))
    }

    /// The command line to type again; `None` if it cannot be typed.
    pub(super) fn command_line(&self) -> Option<String> {
        command_line(self.arguments.iter())
    }

    /// The command line that resumes what is saved: `--fresh` would give it up, wherever it is set.
    pub(super) fn resuming_command_line(&self, is_fresh_elsewhere: bool) -> Option<String> {
        let is_fresh = |word: &OsString| {
            let word = word.to_str();
            word == Some("--fresh")
                || word.and_then(|word| word.strip_prefix("--fresh=")).and_then(fresh) == Some(true)
        };
        let opposite = is_fresh_elsewhere.then(|| OsString::from("--fresh=off"));
        let (options, operands) = self.options_and_operands();
        command_line(options.iter().filter(|word| !is_fresh(word)).chain(&opposite).chain(operands))
    }

    /// The words up to `--`, after which nothing is an option, and the others.
    fn options_and_operands(&self) -> (&[OsString], &[OsString]) {
        let end = self.arguments.iter().position(|word| word == "--").unwrap_or(self.arguments.len());
        self.arguments.split_at(end)
    }

    /// The command line that loads as the run `run_id`, whatever run it names itself.
    pub(super) fn command_line_of_run(&self, run_id: &str) -> Option<String> {
        let flag = "--run-id";
        let mut is_value = false;
        let is_other = |word: &&OsString| {
            let was_value = std::mem::replace(&mut is_value, *word == flag);
            let names_run = was_value || *word == flag;
            !names_run && !word.to_str().is_some_and(|word| word.starts_with("--run-id="))
        };
        let named = [OsString::from(flag), OsString::from(run_id)];
        let (options, operands) = self.options_and_operands();
        command_line(options.iter().filter(is_other).chain(&named).chain(operands))
    }
}

/// The command line to type again, quoted for a shell. A password in an address, which is refused, is not repeated: the
/// line ends up in logs. `None` if a word cannot be copied from there.
fn command_line<'a>(arguments: impl Iterator<Item = &'a OsString>) -> Option<String> {
    let typed =
        |word: &'a OsString| word.to_str().filter(|word| is_typeable(word)).map(without_user_information);
    let words = arguments.map(typed).collect::<Option<Vec<_>>>()?;
    // The program as it was started: it need not be on PATH.
    let program = words.first().filter(|program| !program.is_empty()).map_or("yotpo-td", String::as_str);
    let words = std::iter::once(program).chain(words.iter().skip(1).map(String::as_str));
    shlex::try_join(words).ok()
}

/// Flags, environment and the settings file that one of them names.
pub(super) fn layers(invocation: &Invocation, matches: &ArgMatches) -> Layers {
    layers_of(invocation, matches, &flags(matches))
}

/// Starts to log, and reports a settings file that nobody named.
pub(super) fn start_logging(layers: &Layers, bar: &ProgressBar) {
    start_telemetry(layers, &TraceVariables::default(), bar);
}

/// As [`start_logging`], for a command whose runs have traces.
pub(super) fn start_logging_and_tracing(layers: &Layers, bar: &ProgressBar) {
    start_telemetry(layers, &TraceVariables::read(|name| layers.variable(name)), bar);
}

fn start_telemetry(layers: &Layers, traces: &TraceVariables, bar: &ProgressBar) {
    telemetry::init(&log_settings(layers), traces, bar);
    for name in layers.former_names() {
        name.warn();
    }
    if let Some(SettingsFile::Found(path)) = layers.settings_file() {
        tracing::info!(path = %path.display(), "settings file found");
    }
}

/// What holds when the flags are taken away.
fn layers_without_flags(invocation: &Invocation, matches: &ArgMatches) -> Layers {
    layers_of(invocation, matches, &BTreeMap::new())
}

/// Whether the environment or the settings file says `fresh`.
pub(super) fn is_fresh_elsewhere(invocation: &Invocation, matches: &ArgMatches) -> bool {
    let is_fresh = |(source, value): (Source, &str)| source != Source::Flag && fresh(value) == Some(true);
    flags(matches).get(FRESH.key).is_none_or(|value| fresh(value) != Some(false))
        && layers_without_flags(invocation, matches).get(&FRESH).is_some_and(is_fresh)
}

/// What a value of `fresh` means, in any spelling.
fn fresh(value: &str) -> Option<bool> {
    FRESH.kind.switch(value.trim())
}

fn layers_of(
    invocation: &Invocation,
    matches: &ArgMatches,
    flags: &BTreeMap<&'static str, String>,
) -> Layers {
    let variable = || invocation.environment.get("YOTPO_TD_CONFIG").filter(|path| !path.is_empty());
    let flag = matches.get_one::<String>("config").map(PathBuf::from);
    let config = flag.or_else(|| variable().map(PathBuf::from));
    let file = SettingsFile::choose(config, &invocation.environment);
    Layers::new(flags, invocation.environment.clone(), file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(words: &[&str]) -> Invocation {
        let arguments = ["yotpo-td", "sync"].iter().chain(words).map(OsString::from).collect();
        Invocation { arguments, environment: BTreeMap::new() }
    }

    #[test]
    fn the_terminal_is_the_one_that_its_variable_names() {
        let mut typed = invocation(&[]);
        assert_eq!(typed.terminal(), None);
        typed.environment.insert("TERM".to_owned(), "dumb".into());
        assert_eq!(typed.terminal(), Some("dumb"));
    }

    #[test]
    fn the_hint_on_settings_names_the_command() {
        let mut typed = invocation(&[]);
        for (command, named) in [("load", "load"), ("sync", "sync"), ("runs", "sync")] {
            typed.arguments[1] = command.into();
            let hint = typed.settings_hint();
            assert!(hint.starts_with(&format!("yotpo-td {named} --help explains")), "{command}: {hint}");
        }
    }

    #[test]
    fn a_run_is_fresh_elsewhere_unless_the_flag_says_the_opposite() {
        let is_fresh = |words: &[&str], variable: Option<&str>| {
            let mut typed = invocation(words);
            typed
                .environment
                .extend(variable.map(|value| ("YOTPO_TD_FRESH".to_owned(), OsString::from(value))));
            let matches = crate::cli::command::command().try_get_matches_from(&typed.arguments).unwrap();
            is_fresh_elsewhere(&typed, matches.subcommand_matches("sync").unwrap())
        };
        for value in ["on", "true", "1", " on "] {
            assert!(is_fresh(&[], Some(value)), "{value}");
        }
        for value in ["off", "0", ""] {
            assert!(!is_fresh(&[], Some(value)), "{value}");
        }
        assert!(!is_fresh(&[], None));
        assert!(!is_fresh(&["--fresh"], None), "only the flag says so");
        assert!(is_fresh(&["--fresh"], Some("on")));
        assert!(is_fresh(&["--fresh=on"], Some("on")));
        for opposite in ["--fresh=off", "--fresh=false", "--fresh=0"] {
            assert!(!is_fresh(&[opposite], Some("on")), "{opposite}");
        }
    }

    #[test]
    fn a_command_to_type_again_has_no_password_and_is_quoted() {
        let typed = invocation(&["--td-endpoint", "https://user:password@host/a@b", "--state-dir", "a b"]);
        assert_eq!(
            typed.command_line().unwrap(),
            "yotpo-td sync --td-endpoint 'https://[redacted]@host/a@b' --state-dir 'a b'"
        );
    }

    #[test]
    fn a_command_to_type_again_names_the_program_as_it_was_started() {
        for (program, word) in [
            ("yotpo-td", "yotpo-td"),
            ("./y", "./y"),
            ("/opt/x/yotpo-td", "/opt/x/yotpo-td"),
            ("my tools/yotpo-td", "'my tools/yotpo-td'"),
            ("", "yotpo-td"),
        ] {
            let mut typed = invocation(&[]);
            typed.arguments[0] = program.into();
            assert_eq!(typed.command_line(), Some(format!("{word} sync")));
        }
    }

    #[test]
    fn a_command_of_another_run_names_no_other() {
        for words in [
            &["--run-id", "a", "--mode", "replace"][..],
            &["--mode", "replace", "--run-id=a"],
            &["--mode", "replace"],
        ] {
            assert_eq!(
                invocation(words).command_line_of_run("a-2").unwrap(),
                "yotpo-td sync --mode replace --run-id a-2"
            );
        }
    }

    #[test]
    fn a_command_that_resumes_is_not_fresh() {
        for word in ["--fresh", "--fresh=on", "--fresh=true", "--fresh=1"] {
            assert_eq!(invocation(&[word]).resuming_command_line(false).unwrap(), "yotpo-td sync");
        }
        assert_eq!(invocation(&[]).resuming_command_line(true).unwrap(), "yotpo-td sync '--fresh=off'");
    }

    #[test]
    fn options_are_added_and_removed_before_the_operands() {
        let typed = invocation(&["--fresh", "--run-id", "a", "--", "--fresh"]);
        assert_eq!(typed.resuming_command_line(false).unwrap(), "yotpo-td sync --run-id a -- --fresh");
        assert_eq!(
            typed.resuming_command_line(true).unwrap(),
            "yotpo-td sync --run-id a '--fresh=off' -- --fresh"
        );
        assert_eq!(
            typed.command_line_of_run("a-2").unwrap(),
            "yotpo-td sync --fresh --run-id a-2 -- --fresh"
        );
    }

    #[test]
    fn a_command_that_cannot_be_typed_is_not_suggested() {
        use std::os::unix::ffi::OsStringExt as _;
        for word in
            [OsString::from_vec(b"a\xff".to_vec()), OsString::from("a\nb"), OsString::from("a\x1b[2J")]
        {
            let mut typed = invocation(&["--to"]);
            typed.arguments.push(word);
            assert_eq!(typed.command_line(), None);
            assert_eq!(typed.resuming_command_line(true), None);
            assert_eq!(typed.command_line_of_run("a"), None);
        }
    }
}
