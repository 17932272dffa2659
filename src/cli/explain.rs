//! `yotpo-td explain`: an error code at length.

use std::fmt::Write as _;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Command};

use crate::diagnosis::Code;
use crate::exit_status::ExitStatus;
use crate::renamed::{NameKind, RENAMED, Renamed};
use crate::telemetry::write_result;

/// Width of the text in characters.
const WIDTH: usize = 100;

/// The command line.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Explain an error code; without one, list all")
        .arg(
            Arg::new("code")
                .value_name("CODE")
                .value_parser(PossibleValuesParser::new(names(RENAMED)))
                .hide_possible_values(true)
                .help("The code on the line 'code: …' of a failed command"),
        )
        .after_long_help(
            "Examples:\n  Explain what a failed run printed:\n    yotpo-td explain guard_tripped",
        )
}

/// Runs the command.
pub(super) fn explain(matches: &ArgMatches) {
    let wanted = matches.get_one::<String>("code");
    write_result(&wanted.map_or_else(list, |name| answer(name, RENAMED)));
}

/// Every name of a code. Former ones are not suggested.
fn names(renamed: &'static [Renamed]) -> impl Iterator<Item = PossibleValue> {
    let former = NameKind::Code.of(renamed).map(|renamed| PossibleValue::new(renamed.old).hide(true));
    Code::ALL.map(Code::name).into_iter().map(PossibleValue::new).chain(former)
}

/// The code that is called `name`, or was.
fn answer(name: &str, renamed: &'static [Renamed]) -> String {
    let former = NameKind::Code.renamed(renamed, name);
    let note = former.map_or_else(String::new, |former| format!("{}.\n\n", former.note()));
    let current = former.map_or(name, |former| former.new);
    let code = Code::ALL.into_iter().find(|code| code.name() == current);
    note + &code.map_or_else(list, at_length)
}

/// A line for each code.
fn list() -> String {
    let width = Code::ALL.map(|code| code.name().len()).into_iter().max().unwrap_or_default();
    let mut text = String::new();
    for code in Code::ALL {
        // A String takes everything.
        let _ = writeln!(text, "{:width$}  {}", code.name(), code.explanation().summary);
    }
    text
}

fn at_length(code: Code) -> String {
    let explanation = code.explanation();
    let status = match code.status() {
        ExitStatus::Interrupted(_) => "129, 130 or 143".to_owned(),
        status => status.code().to_string(),
    };
    let retry =
        if code.is_retryable() { "the same command may succeed later" } else { "not without a change" };
    let paragraph = |text: &str| {
        textwrap::fill(
            &text.replace('`', ""),
            textwrap::Options::new(WIDTH).word_splitter(textwrap::WordSplitter::NoHyphenation),
        )
    };
    format!(
        "{}\n\n{}\n\n{}\n\nexit code: {status}\nretry:     {retry}\n",
        paragraph(&format!("{}: {}", code.name(), explanation.summary)),
        paragraph(explanation.meaning),
        paragraph(explanation.action),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMER: &[Renamed] =
        &[Renamed { kind: NameKind::Code, old: "guard_refused", new: "guard_tripped", removed_in: "0.3.0" }];

    #[test]
    fn a_former_code_is_answered_with_the_code_of_today() {
        let text = answer("guard_refused", FORMER);
        let rest = text.strip_prefix(
            "guard_refused is now guard_tripped; version 0.3.0 does not know the old name.\n\n",
        );
        assert_eq!(rest, Some(at_length(Code::GuardTripped).as_str()));
        assert_eq!(answer("guard_tripped", FORMER), at_length(Code::GuardTripped));
        let former: Vec<_> = names(FORMER)
            .filter(PossibleValue::is_hide_set)
            .map(|value| value.get_name().to_owned())
            .collect();
        assert_eq!(former, ["guard_refused"]);
    }
}
