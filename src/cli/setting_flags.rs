//! Flags of settings: from the table of settings to clap, and back.
//!
//! Owns how a setting looks in `-h` (one line) and in `--help` (what it is, what it expects, variable and default).

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command};

use crate::config::keys::LOG_LEVEL;
use crate::config::{Kind, SETTINGS, Setting};
use crate::renamed::{NameKind, RENAMED, Renamed};

/// The settings that were given as flags, by the names that were used.
pub(super) fn flags(matches: &ArgMatches) -> BTreeMap<&'static str, String> {
    // A command without this flag has no value for it either.
    let given = |key: &'static str| Some((key, matches.try_get_one::<String>(key).ok()?.cloned()?));
    let keys = SETTINGS.iter().map(|setting| setting.key);
    let former = NameKind::Key.of(RENAMED).map(|renamed| renamed.old);
    let mut flags: BTreeMap<_, _> = keys.chain(former).filter_map(given).collect();
    if let Some(level) = level(matches) {
        flags.entry(LOG_LEVEL.key).or_insert_with(|| level.to_owned());
    }
    flags
}

/// The log level that `-v` and `-q` stand for.
fn level(matches: &ArgMatches) -> Option<&'static str> {
    let count = |name| matches.try_get_one::<u8>(name).ok().flatten().copied().unwrap_or_default();
    match (count("verbose"), count("quiet")) {
        (0, 0) => None,
        (1, _) => Some("debug"),
        (2.., _) => Some("trace"),
        (0, 1) => Some("warn"),
        (0, 2..) => Some("error"),
    }
}

/// The command with a flag for each of these settings, in the order of the table.
pub(super) fn with_settings(command: Command, wanted: &[Setting]) -> Command {
    with_former_names(command, wanted, RENAMED)
}

/// The command with a flag for each of these settings, and one that is not shown for each of their former names.
fn with_former_names(command: Command, wanted: &[Setting], renamed: &'static [Renamed]) -> Command {
    let is_wanted = |setting: &&Setting| wanted.iter().any(|wanted| wanted.key == setting.key);
    let former = |setting: &'static Setting| {
        let of_setting = NameKind::Key.of(renamed).filter(|renamed| renamed.new == setting.key);
        of_setting.map(|renamed| flag(&Setting { key: renamed.old, ..*setting }).hide(true))
    };
    let command = command.args(SETTINGS.iter().filter(is_wanted).map(flag));
    command.args(SETTINGS.iter().filter(is_wanted).flat_map(former))
}

fn flag(setting: &Setting) -> Arg {
    let flag = Arg::new(setting.key)
        .long(setting.key)
        .help_heading(setting.group.heading())
        .value_name(setting.kind.value_name())
        .value_parser(Unchecked(setting.kind.possible_values()))
        .hide_possible_values(true)
        .help(short_help(setting))
        .long_help(long_help(setting));
    if setting.is_bare_flag() {
        flag.num_args(0..=1).require_equals(true).default_missing_value("on")
    } else {
        // A value may start with a dash; it is checked together with all other settings.
        flag.allow_hyphen_values(true)
    }
}

fn short_help(setting: &Setting) -> String {
    let help = without_backticks(&setting.short_help());
    match setting.default().filter(|_| !setting.is_bare_flag()) {
        Some(default) => format!("{help} [default: {default}]"),
        None => help,
    }
}

fn long_help(setting: &Setting) -> String {
    let kind = &setting.kind;
    let mut notes: Vec<String> = Vec::new();
    if !setting.details.is_empty() {
        notes.push(without_backticks(setting.details));
    }
    let says_nothing_more = matches!(kind, Kind::Directory { must_exist: false });
    if kind.possible_values().is_empty() && !says_nothing_more {
        notes.push(format!("Expects {}.", kind.expected()));
    }
    let mut paragraphs = vec![without_backticks(setting.help)];
    if !notes.is_empty() {
        paragraphs.push(notes.join(" "));
    }
    let mut facts = vec![format!("[env: {}]", setting.variable)];
    facts.extend(setting.default().map(|default| format!("[default: {default}]")));
    if !kind.possible_values().is_empty() {
        facts.push(format!("[possible values: {}]", kind.possible_values().join(", ")));
    }
    paragraphs.push(facts.join("\n"));
    paragraphs.join("\n\n")
}

fn without_backticks(text: &str) -> String {
    text.replace('`', "")
}

/// Takes every value: it is checked together with all other settings, so that all problems are reported at once. The
/// possible values are for completions and for clap's own messages.
#[derive(Clone, Debug)]
struct Unchecked(&'static [&'static str]);

impl TypedValueParser for Unchecked {
    type Value = String;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, flag, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = self.0.iter().copied().map(PossibleValue::new);
        (!self.0.is_empty()).then(|| Box::new(values) as Box<dyn Iterator<Item = PossibleValue>>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{FRESH, MODE, PAGE_SIZE, STATE_DIR, TABLE};

    const FORMER: &[Renamed] = &[
        Renamed { kind: NameKind::Key, old: "target-table", new: "table", removed_in: "0.3.0" },
        Renamed { kind: NameKind::Key, old: "from-scratch", new: "fresh", removed_in: "0.3.0" },
        Renamed { kind: NameKind::Key, old: "old-mode", new: "mode", removed_in: "0.3.0" },
    ];

    #[test]
    fn former_names_of_flags_are_accepted_and_not_shown() {
        let command = || with_former_names(Command::new("test"), &[TABLE.setting, FRESH.setting], FORMER);
        let matches =
            command().try_get_matches_from(["test", "--target-table", "x", "--from-scratch"]).unwrap();
        assert_eq!(matches.get_one::<String>("target-table").unwrap(), "x");
        assert_eq!(matches.get_one::<String>("from-scratch").unwrap(), "on");
        let help = command().render_long_help().to_string();
        assert!(help.contains("--table") && !help.contains("target-table"), "{help}");
        // Only where the setting itself is a flag.
        let error = command().try_get_matches_from(["test", "--old-mode", "append"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
    }

    #[test]
    fn short_help_is_one_line_with_the_default() {
        assert_eq!(short_help(&PAGE_SIZE.setting), "Customers per page [default: 100]");
        assert_eq!(
            short_help(&MODE.setting),
            "How rows reach the table: append or replace [default: append]"
        );
        assert_eq!(
            short_help(&FRESH.setting),
            "Never resume an interrupted run",
            "its default is to omit it"
        );
    }

    #[test]
    fn long_help_says_what_is_expected_where_it_is_not_obvious() {
        for (setting, help) in [
            (
                PAGE_SIZE.setting,
                "Customers per page\n\nExpects a whole number from 1 to 100.\n\n\
                 [env: YOTPO_TD_PAGE_SIZE]\n[default: 100]",
            ),
            (
                MODE.setting,
                "How rows reach the table\n\nappend adds the rows to the table. replace replaces all its rows in one \
                 step.\n\n[env: YOTPO_TD_MODE]\n[default: append]\n[possible values: append, replace]",
            ),
            (
                FRESH.setting,
                "Never resume an interrupted run\n\n[env: YOTPO_TD_FRESH]\n[default: off]\n[possible values: on, off]",
            ),
            (
                STATE_DIR.setting,
                "Directory for state and lock files\n\nDefaults to $XDG_STATE_HOME/yotpo-td or \
                 ~/.local/state/yotpo-td.\n\n[env: YOTPO_TD_STATE_DIR]",
            ),
        ] {
            assert_eq!(long_help(&setting), help);
        }
    }
}
