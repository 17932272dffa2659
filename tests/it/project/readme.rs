//! The README documents every setting and every exit code of the program.

use yotpo_td::config::{SECRETS, SETTINGS};
use yotpo_td::exit_status::ExitStatus;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The cells of a table row, without code marks.
fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
}

#[test]
fn every_setting_has_one_row_with_flag_variable_and_default() {
    let readme = readme();
    for setting in SETTINGS {
        let flag = format!("--{}", setting.key);
        let lines: Vec<_> = readme.lines().filter(|line| line.starts_with('|')).map(cells).collect();
        let lines: Vec<_> = lines.iter().filter(|cells| cells.first() == Some(&flag)).collect();
        let [line] = lines[..] else { panic!("{flag} is in {} table rows", lines.len()) };
        assert_eq!(line[1], setting.variable, "{flag}");
        let default = &line[2];
        match setting.default() {
            Some(expected) => assert_eq!(default, expected, "{flag}"),
            None => {
                assert!(
                    ["required", "–"].contains(&default.as_str()),
                    "{flag} has no default, not {default}"
                );
            }
        }
    }
}

#[test]
fn every_secret_is_documented_in_both_forms() {
    let readme = readme();
    for secret in SECRETS {
        for name in [secret.variable.to_owned(), format!("{}_FILE", secret.variable)] {
            assert!(readme.contains(&format!("`{name}`")), "{name}");
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
        .collect();
    assert_eq!(found, expected);
}
