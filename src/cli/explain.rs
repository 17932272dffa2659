//! `yotpo-td explain`: an error code at length.

use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use crate::diagnosis::Code;
use crate::exit_status::ExitStatus;
use crate::telemetry::write_stdout;

/// Width of the text in characters.
const WIDTH: usize = 100;

/// The command line.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Explain an error code; without one, list all")
        .arg(
            Arg::new("code")
                .value_name("CODE")
                .value_parser(PossibleValuesParser::new(Code::ALL.map(Code::name)))
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
    let code = wanted.and_then(|name| Code::ALL.into_iter().find(|code| code.name() == name));
    write_stdout(&code.map_or_else(list, at_length));
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
