//! The command line and its help.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::options::{output_flag, with_other_options};
use super::setting_flags::with_settings;
use crate::config::keys::{
    CLIENT_SECRET, COLOR, DATABASE, LOG_FORMAT, LOG_LEVEL, LOYALTY_CHECK, MAX_ERROR_RECORDS, MAX_RETRIES,
    MODE, PAGE_SIZE, PERFORM_TIMEOUT, POLL_INTERVAL, REQUEST_TIMEOUT, REQUESTS_PER_SECOND, RETRY_BASE_DELAY,
    RETRY_TIMEOUT, RUN_ID, RUN_LIFETIME, SITE, STATE_DIR, STORE_ID, TABLE, TD_CONF, TD_ENDPOINT,
    WITHOUT_TABLE_IDS, YOTPO_ENDPOINT,
};
use crate::config::{Group, SECRETS, SETTINGS, SecretSetting, Setting};
use crate::exit_status::ExitStatus;

const ABOUT: &str =
    "Load every Yotpo loyalty customer into a Treasure Data table, exactly once or not at all";

const SANDBOX_EXAMPLE: &str = if cfg!(feature = "sandbox") {
    "  Try it without an account, with generated customers:\n    yotpo-td sync --sandbox\n"
} else {
    ""
};

const SYNC_EXAMPLES: &str = "  Append all customers to the table yotpo_customers:
    yotpo-td sync --database my_database --site us01
  Replace the table once a day; a retry on any machine never loads twice:
    yotpo-td sync --database my_database --mode replace --run-id 20260131 --wait-for-active 1h
  See what a run would do, without loading anything:
    yotpo-td sync --database my_database --dry-run
  Write the rows to a directory; yotpo-td load loads them later:
    yotpo-td sync --to customers-20260131";

const RUNS_EXAMPLES: &str = "\
Examples:
  Show what is saved of the interrupted runs on this machine:
    yotpo-td runs list
  See how the latest run went, in a browser:
    yotpo-td runs report --output run.html
  Make sure that what has begun of a run, on any machine, loads nothing:
    yotpo-td runs abandon --run-id 20260131 --database my_database --mode replace
  List the sessions and temporary tables that no run can still need:
    yotpo-td runs clean --database my_database --dry-run";

/// The whole command line.
pub(super) fn command() -> Command {
    let command = Command::new("yotpo-td")
        .version(env!("CARGO_PKG_VERSION"))
        .long_version(super::version::LONG)
        .about(ABOUT)
        .after_help("Exit codes are in --help.")
        .after_long_help(exit_codes())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(110)
        .subcommand(sync_command())
        .subcommand(load_command())
        .subcommand(check_command())
        .subcommand(preview_command())
        .subcommand(super::compare::command(&exit_codes()))
        .subcommand(runs_command())
        .subcommand(super::config::command())
        .subcommand(super::explain::command())
        .subcommand(super::completions::command())
        .subcommand(super::man::command());
    #[cfg(feature = "sandbox")]
    let command = command.subcommand(super::sandbox::command());
    command
}

fn sync_command() -> Command {
    let command = Command::new("sync")
        .about("Load all customers of a store into a table")
        .after_help(format!("{}\n\nVariables, examples and exit codes are in --help.", secrets()))
        .after_long_help(format!(
            "{}\n\nExamples:\n{SANDBOX_EXAMPLE}{SYNC_EXAMPLES}\n\n{}",
            secrets(),
            exit_codes()
        ));
    let command = with_settings(command, SETTINGS);
    let command = command.next_help_heading(Group::Destination.heading()).args(super::sync::flags());
    #[cfg(feature = "sandbox")]
    let command = command.next_help_heading("Sandbox").args(super::sandbox::flags());
    with_other_options(command)
}

fn load_command() -> Command {
    let command = Command::new("load")
        .about("Load an export into a table")
        .arg(super::load::directory_argument())
        .after_help(
            "It needs TD_API_KEY, and nothing of Yotpo. Variables, examples and exit codes are in --help.",
        )
        .after_long_help(format!("{}\n\n{}", super::load::EXAMPLES, exit_codes()));
    with_other_options(with_settings(command, &super::load::SETTINGS))
}

fn check_command() -> Command {
    let command = Command::new("check")
        .about("Check settings, credentials, table and limits; changes nothing")
        .after_help("It takes the settings of sync. Variables, examples and exit codes are in --help.")
        .after_long_help(format!(
            "{}\n\n{}\n\nThe exit code is 0 if no check failed, and otherwise that of the first failed one.\n\n{}",
            secrets(),
            super::check::EXAMPLES,
            exit_codes()
        ));
    let command = command.next_help_heading("Check").args(super::check::flags());
    let command = with_settings(command, SETTINGS);
    #[cfg(feature = "sandbox")]
    let command = command.next_help_heading("Sandbox").args(super::sandbox::flags());
    with_other_options(command)
}

/// Settings that are needed to read a store.
const STORE_SETTINGS: [Setting; 13] = [
    STORE_ID.setting,
    YOTPO_ENDPOINT.setting,
    PAGE_SIZE.setting,
    REQUESTS_PER_SECOND.setting,
    MAX_RETRIES.setting,
    RETRY_BASE_DELAY.setting,
    RETRY_TIMEOUT.setting,
    REQUEST_TIMEOUT.setting,
    LOYALTY_CHECK.setting,
    MAX_ERROR_RECORDS.setting,
    LOG_FORMAT.setting,
    LOG_LEVEL.setting,
    COLOR.setting,
];

fn preview_command() -> Command {
    let command = Command::new("preview")
        .about("Show the first customers as they would be stored; loads nothing")
        .after_help("Variables, examples and exit codes are in --help.")
        .after_long_help(format!(
            "{}\n\n{}\n\n{}",
            secrets_of(&[CLIENT_SECRET]),
            super::preview::EXAMPLES,
            exit_codes()
        ));
    let command = command.next_help_heading("Preview").args(super::preview::flags());
    let command = with_settings(command, &STORE_SETTINGS);
    #[cfg(feature = "sandbox")]
    let command = command.next_help_heading("Sandbox").args(super::sandbox::flags());
    with_other_options(command)
}

/// Settings that every command of `runs` needs.
const STATE_SETTINGS: [Setting; 3] = [STATE_DIR.setting, LOG_LEVEL.setting, COLOR.setting];

/// Settings that `runs` needs to find the state and to talk to Treasure Data.
const ACCOUNT_SETTINGS: [Setting; 15] = [
    STATE_DIR.setting,
    LOG_LEVEL.setting,
    COLOR.setting,
    DATABASE.setting,
    SITE.setting,
    TD_ENDPOINT.setting,
    TD_CONF.setting,
    MAX_RETRIES.setting,
    RETRY_BASE_DELAY.setting,
    RETRY_TIMEOUT.setting,
    REQUEST_TIMEOUT.setting,
    POLL_INTERVAL.setting,
    PERFORM_TIMEOUT.setting,
    RUN_LIFETIME.setting,
    WITHOUT_TABLE_IDS.setting,
];

/// Settings that name a run of any machine, beyond those of the account.
const RUN_SETTINGS: [Setting; 5] =
    [STORE_ID.setting, TABLE.setting, MODE.setting, YOTPO_ENDPOINT.setting, RUN_ID.setting];

fn runs_command() -> Command {
    let run = || Arg::new("run").value_name("RUN");
    let yes = || Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do not ask for confirmation");
    let older_than = Arg::new("older-than")
        .long("older-than")
        .value_name("DURATION")
        .default_value("8d")
        .help("Keep what is younger than this")
        .long_help(
            "Keep what is younger than this\n\n\
             What the attempts of a run may still need is kept for 8 days in any case.",
        );
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .help("Print what would be removed, and remove nothing");
    let list = Command::new("list")
        .about("List unfinished runs and the last ten finished runs of each target")
        .arg(output_flag());
    let show = Command::new("show").about("Show what is saved of one run, as JSON").arg(
        run().help("Id of the run, as shown by 'runs list'; by default the latest").default_value("latest"),
    );
    let abandon = Command::new("abandon")
        .about("Make sure that what has begun of a run loads nothing")
        .after_help(
            "RUN is an unfinished run on this machine. To name a run of any machine, pass --run-id and the settings of \
             its sync: --store-id, --database, --table and --mode.",
        )
        .arg(
            run()
                .help("Id of the run, as shown by 'runs list'")
                .required_unless_present(RUN_ID.key)
                .conflicts_with(RUN_ID.key),
        )
        .arg(yes());
    let clean = Command::new("clean")
        .about("Remove orphaned sessions and temporary tables from Treasure Data")
        .after_help(
            "Only what this program created is removed, and only after confirmation. Temporary tables are looked up in \
             --database.",
        )
        .arg(older_than)
        .arg(yes())
        .arg(dry_run);
    let of_run = [&ACCOUNT_SETTINGS[..], &RUN_SETTINGS].concat();
    Command::new("runs")
        .about("List, show, draw and abandon runs, and remove what interrupted runs left")
        .after_long_help(RUNS_EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_other_options(with_settings(list, &STATE_SETTINGS)))
        .subcommand(with_other_options(with_settings(show, &STATE_SETTINGS)))
        .subcommand(with_other_options(with_settings(super::runs::report_command(run()), &STATE_SETTINGS)))
        .subcommand(with_other_options(with_settings(abandon, &of_run)))
        .subcommand(with_other_options(with_settings(clean, &ACCOUNT_SETTINGS)))
}

fn secrets() -> String {
    secrets_of(SECRETS)
}

fn secrets_of(secrets: &[SecretSetting]) -> String {
    let mut text = "Secrets, only from the environment or from files named there:\n".to_owned();
    for secret in secrets {
        // A String takes everything.
        let _ = writeln!(text, "  {} or {}: {}", secret.variable, secret.file_variable(), secret.help);
    }
    text.trim_end().to_owned()
}

fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for status in ExitStatus::ALL {
        let _ = writeln!(text, "  {:>3}  {}", status.code(), status.meaning());
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    /// The commands in the examples of a command and of all commands below it.
    fn examples(parent: &Command) -> Vec<Vec<String>> {
        let help = parent.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let own = help
            .lines()
            .filter_map(|line| line.strip_prefix("    yotpo-td ")?.split(['>', '|']).next())
            .filter_map(|line| shlex::split(&format!("yotpo-td {line}")));
        own.chain(parent.get_subcommands().flat_map(examples)).collect()
    }

    #[test]
    fn examples_in_help_are_accepted() {
        let examples = examples(&command());
        assert_eq!(examples.len(), if cfg!(feature = "sandbox") { 29 } else { 25 });
        for words in examples {
            command().try_get_matches_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }

    #[test]
    fn short_help_of_sync_names_every_secret_with_its_file() {
        let mut command = command();
        let help = command.find_subcommand_mut("sync").unwrap().render_help().to_string();
        let secrets = "Secrets, only from the environment or from files named there:\n  \
                       YOTPO_CLIENT_SECRET or YOTPO_CLIENT_SECRET_FILE: ";
        assert!(help.contains(secrets), "{help}");
        assert!(help.contains("\n  TD_API_KEY or TD_API_KEY_FILE: "), "{help}");
    }

    #[test]
    fn short_help_has_one_line_for_each_flag() {
        let mut command = command().term_width(100);
        command.build();
        for command in command.get_subcommands_mut().filter(|command| !command.has_subcommands()) {
            let help = command.render_help().to_string();
            let is_continued = |line: &&str| line.starts_with("            ");
            assert_eq!(help.lines().find(is_continued), None, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        }
    }
}
