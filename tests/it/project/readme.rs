//! The README documents every exit code of the program and every secret, and docs/settings.md every setting. The README stays short.

use std::fmt::Write as _;

use yotpo_td::config::{Group, Presence, SECRETS, SETTINGS, Setting};
use yotpo_td::exit_status::ExitStatus;

use crate::project::generated::assert_generated;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const SETTINGS_PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
/// Lines of the README: everything else is in docs.
const MAX_README_LINES: usize = 200;

fn readme() -> String {
    std::fs::read_to_string(README).unwrap()
}

/// The cells of a table row, without code marks.
fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
}

/// One table for each group of settings.
fn settings_tables() -> String {
    let mut text = String::new();
    let mut group: Option<Group> = None;
    for setting in SETTINGS {
        if group.replace(setting.group) != Some(setting.group) {
            let heading = setting.group.heading();
            let columns = "| setting | environment | default | meaning |\n|---|---|---|---|";
            write!(text, "\n### {heading}\n\n{columns}\n").unwrap();
        }
        writeln!(text, "{}", settings_line(setting)).unwrap();
    }
    text + "\n"
}

fn settings_line(setting: &Setting) -> String {
    let default = match setting.presence {
        Presence::Required => "required".to_owned(),
        Presence::Optional => "–".to_owned(),
        Presence::Default(default) => format!("`{default}`"),
    };
    let mut help = setting.short_help();
    if !setting.details.is_empty() {
        write!(help, ". {}", setting.details).unwrap();
    }
    format!("| `--{}` | `{}` | {default} | {help} |", setting.key, setting.variable)
}

#[test]
fn tables_of_settings_are_those_of_the_program() {
    assert_generated("docs/settings.md", "src/config/keys", &settings_tables());
}

#[test]
fn every_secret_is_documented_in_both_forms() {
    for page in [readme(), std::fs::read_to_string(SETTINGS_PAGE).unwrap()] {
        for secret in SECRETS {
            for name in [secret.variable.to_owned(), format!("{}_FILE", secret.variable)] {
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
        }
    }
}

#[test]
fn exactly_the_exit_codes_are_documented_with_their_meaning() {
    let readme = readme();
    let expected: Vec<_> = ExitStatus::ALL
        .iter()
        .map(|status| vec![status.code().to_string(), status.meaning().to_owned()])
        .collect();
    let found: Vec<_> = readme
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .filter(|cells| cells[0].parse::<u8>().is_ok())
        .map(|cells| cells[..2].to_vec())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_readme_is_short() {
    let lines = readme().lines().count();
    assert!(
        lines < MAX_README_LINES,
        "README.md has {lines} lines: move what only some readers need to docs"
    );
}
