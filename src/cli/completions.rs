//! `yotpo-td completions`: what a shell needs to complete commands, flags and choices.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::telemetry::write_result;

const EXAMPLES: &str = "\
Examples:
  Install completions for the current user:
    yotpo-td completions bash > ~/.local/share/bash-completion/completions/yotpo-td
    yotpo-td completions zsh > ~/.zfunc/_yotpo-td
    yotpo-td completions fish > ~/.config/fish/completions/yotpo-td.fish";

/// The command line.
pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print a completion script for a shell")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .hide_possible_values(true)
                .help("bash, elvish, fish, powershell or zsh"),
        )
        .after_long_help(EXAMPLES)
}

/// Runs the command, for the whole command line `root`.
pub(super) fn completions(mut root: Command, matches: &ArgMatches) {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut root, "yotpo-td", &mut script);
    write_result(&String::from_utf8_lossy(&script));
}
