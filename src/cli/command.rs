//! Flags and help.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use crate::config::keys::{
    DATABASE, LOG_LEVEL, MAX_RETRIES, MODE, PERFORM_TIMEOUT, POLL_INTERVAL, REQUEST_TIMEOUT,
    RETRY_BASE_DELAY, RETRY_TIMEOUT, RUN_ID, RUN_LIFETIME, SITE, STATE_DIR, STORE_ID, TABLE, TD_ENDPOINT,
    WITHOUT_TABLE_IDS, YOTPO_ENDPOINT,
};
use crate::config::{SECRETS, SETTINGS, Setting};
use crate::exit_status::ExitStatus;

const ABOUT: &str =
    "Load every Yotpo loyalty customer into a Treasure Data table, exactly once or not at all";

/// The whole command line.
pub(super) fn command() -> Command {
    let command = Command::new("yotpo-td")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(exit_codes())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(110)
        .subcommand(sync_command())
        .subcommand(runs_command());
    #[cfg(feature = "sandbox")]
    let command = command.subcommand(super::sandbox::command());
    command
}

fn sync_command() -> Command {
    let mut command = Command::new("sync")
        .about("Load all customers of a store into a table")
        .after_help(format!("{}\n\n{}", secrets(), exit_codes()));
    for setting in SETTINGS {
        command = command.arg(setting_flag(setting));
    }
    let command = command.arg(config_flag());
    #[cfg(feature = "sandbox")]
    let command = command.args(super::sandbox::flags());
    command
}

fn setting_flag(setting: &Setting) -> Arg {
    let default = setting.default().map_or_else(String::new, |default| format!(", default: {default}"));
    let flag = Arg::new(setting.key).long(setting.key).value_name(setting.kind.value_name()).help(format!(
        "{} [env: {}{default}]",
        setting.short_help(),
        setting.variable
    ));
    if setting.is_bare_flag() {
        flag.num_args(0..=1).require_equals(true).default_missing_value("on")
    } else {
        // A value may start with a dash; it is checked together with all other settings.
        flag.allow_hyphen_values(true)
    }
}

/// Settings that every command of `runs` needs.
const STATE_SETTINGS: [Setting; 2] = [STATE_DIR.setting, LOG_LEVEL.setting];

/// Settings that `runs` needs to find the state and to talk to Treasure Data.
const ACCOUNT_SETTINGS: [Setting; 13] = [
    STATE_DIR.setting,
    LOG_LEVEL.setting,
    DATABASE.setting,
    SITE.setting,
    TD_ENDPOINT.setting,
    MAX_RETRIES.setting,
    RETRY_BASE_DELAY.setting,
    RETRY_TIMEOUT.setting,
    REQUEST_TIMEOUT.setting,
    POLL_INTERVAL.setting,
    PERFORM_TIMEOUT.setting,
    RUN_LIFETIME.setting,
    WITHOUT_TABLE_IDS.setting,
];

/// Settings that name a run of any machine.
const RUN_SETTINGS: [Setting; 5] =
    [STORE_ID.setting, TABLE.setting, MODE.setting, YOTPO_ENDPOINT.setting, RUN_ID.setting];

fn runs_command() -> Command {
    let state_only = |command: Command| settings_of(command, &STATE_SETTINGS).arg(config_flag());
    let account = |command: Command| settings_of(command, &ACCOUNT_SETTINGS).arg(config_flag());
    let run = || Arg::new("run").value_name("RUN").help("the run's id, as runs list shows it");
    let yes = || Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("do not ask");
    let older_than = Arg::new("older-than")
        .long("older-than")
        .value_name("DURATION")
        .default_value("8d")
        .help("leave alone what is younger; what the attempts of a run may still need stays for 8 days in any case");
    let dry_run =
        Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("only say what would be removed");
    Command::new("runs")
        .about("Look at runs that were interrupted, and remove what dead runs left")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(state_only(Command::new("list").about("List unfinished runs and the last finished of each target")))
        .subcommand(state_only(Command::new("show").about("Show one run, as JSON")).arg(run().required(true)))
        .subcommand(
            settings_of(
                account(Command::new("abandon").about("Make sure that a run loads nothing any more")),
                &RUN_SETTINGS,
            )
            .after_help(
                "RUN is an unfinished run of this machine. A run of any machine is named by --run-id with the settings of \
                 its sync: --store-id, --database, --table and --mode.",
            )
            .arg(run().required_unless_present(RUN_ID.key).conflicts_with(RUN_ID.key))
            .arg(yes()),
        )
        .subcommand(
            account(
                Command::new("clean")
                    .about("Remove sessions and temporary tables in Treasure Data that dead runs left")
                    .after_help("Only what this program made is ever touched; temporary tables are looked for in --database."),
            )
            .arg(older_than)
            .arg(yes())
            .arg(dry_run),
        )
}

fn settings_of(mut command: Command, wanted: &[Setting]) -> Command {
    let is_wanted = |setting: &&Setting| wanted.iter().any(|wanted| wanted.key == setting.key);
    for setting in SETTINGS.iter().filter(is_wanted) {
        command = command.arg(setting_flag(setting));
    }
    command
}

fn config_flag() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("TOML file with the flags' names as keys [env: YOTPO_TD_CONFIG]")
}

fn secrets() -> String {
    let mut text = "Secrets, only from the environment or from files that it names:\n".to_owned();
    for secret in SECRETS {
        // A String takes everything.
        let _ = writeln!(text, "  {0} or {0}_FILE: {1}", secret.variable, secret.help);
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
}
