//! What clap has to say: help, the version, and what is wrong with the command line.

use std::io::{self, IsTerminal};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::invocation::Invocation;
use crate::config::SECRETS;
use crate::config::keys::COLOR;
use crate::exit_status::ExitStatus;
use crate::telemetry::{ColorChoice, write_stderr, write_stdout};

/// Parts of the names of flags for which people look for a secret.
const SECRET_WORDS: [&str; 5] = ["key", "secret", "token", "password", "credential"];

/// Prints it where it belongs. Help that was asked for is a success.
pub(super) fn print(error: &clap::Error, invocation: &Invocation) -> ExitStatus {
    let is_error = error.use_stderr();
    let is_terminal = if is_error { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let rendered = error.render();
    let text =
        if has_color(invocation, is_terminal) { rendered.ansi().to_string() } else { rendered.to_string() };
    if is_error {
        write_stderr(&[text, note(error).unwrap_or_default()].concat());
        ExitStatus::Usage
    } else {
        write_stdout(&text);
        ExitStatus::Success
    }
}

/// Where secrets come from, for a flag that looks like one.
fn note(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_secret = SECRET_WORDS.iter().any(|word| flag.to_ascii_lowercase().contains(word));
    (error.kind() == ErrorKind::UnknownArgument && is_secret).then(|| {
        let secrets: Vec<_> = SECRETS
            .iter()
            .map(|secret| format!("{} or {}", secret.variable, secret.file_variable()))
            .collect();
        format!(
            "\nnote: secrets cannot be passed as flags, because other users can see the command line; set them in the environment: {}\n",
            secrets.join("; ")
        )
    })
}

/// Whether to use colors, by flag and environment: what is wrong with the command line is known before it is parsed.
fn has_color(invocation: &Invocation, is_terminal: bool) -> bool {
    let variable = |name: &str| invocation.environment.get(name).and_then(|value| value.to_str());
    let flag = format!("--{}", COLOR.key);
    let words: Vec<_> = invocation.arguments.iter().filter_map(|word| word.to_str()).collect();
    let after = |word: &str| word.strip_prefix(&flag)?.strip_prefix('=').map(str::to_owned);
    let separate = words.iter().zip(words.iter().skip(1)).find(|(word, _)| **word == flag);
    let joined = words.iter().find_map(|word| after(word));
    let choice = joined
        .as_deref()
        .or(separate.map(|(_, value)| *value))
        .or_else(|| variable(COLOR.variable))
        .and_then(|text| text.parse().ok())
        .unwrap_or(ColorChoice::Auto);
    choice.has_color(is_terminal, variable("NO_COLOR"), variable("TERM"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::*;

    fn invocation(words: &[&str], variables: &[(&str, &str)]) -> Invocation {
        let arguments = ["yotpo-td", "sync"].iter().chain(words).map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Invocation { arguments, environment: variables.collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn flag_beats_environment_before_anything_is_parsed() {
        for (words, variables, is_terminal, expected) in [
            (&[][..], &[][..], true, true),
            (&[], &[], false, false),
            (&["--color", "never"], &[("YOTPO_TD_COLOR", "always")], true, false),
            (&["--color=always"], &[("YOTPO_TD_COLOR", "never")], false, true),
            (&["--table", "--color"], &[], false, false),
            (&[], &[("YOTPO_TD_COLOR", "always")], false, true),
            (&[], &[("NO_COLOR", "1")], true, false),
            (&["--color=sometimes"], &[("TERM", "dumb")], true, false),
        ] {
            assert_eq!(
                has_color(&invocation(words, variables), is_terminal),
                expected,
                "{words:?} {variables:?}"
            );
        }
    }
}
