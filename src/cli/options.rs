//! Flags that several commands share.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// Flags that belong to no group of settings.
const OTHER_OPTIONS: &str = "Other options";

/// `--config`, how much is logged, and help, after the groups of settings.
pub(super) fn with_other_options(command: Command) -> Command {
    command
        .next_help_heading(OTHER_OPTIONS)
        .arg(Arg::new("config").long("config").value_name("FILE").help("Settings file (TOML)").long_help(
            "Settings file (TOML)\n\nIts keys are the names of the flags.\n\n[env: YOTPO_TD_CONFIG]",
        ))
        .arg(verbosity("verbose", 'v', "Log more: debug, or trace with -vv; --log-level overrides it"))
        .arg(verbosity("quiet", 'q', "Log less: warn, or error with -qq; --log-level overrides it"))
        .disable_help_flag(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print help (see more with '--help')")
                .long_help("Print help (see a summary with '-h')"),
        )
}

/// `--output`, for commands whose result is a table.
pub(super) fn output_flag() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .value_parser(["table", "json"])
        .default_value("table")
        .hide_possible_values(true)
        .help("Format of the output: table or json")
}

/// Whether `--output json` was given.
pub(super) fn is_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|format| format == "json")
}

fn verbosity(name: &'static str, short: char, help: &'static str) -> Arg {
    let other = if name == "quiet" { "verbose" } else { "quiet" };
    Arg::new(name).short(short).long(name).action(ArgAction::Count).conflicts_with(other).help(help)
}
