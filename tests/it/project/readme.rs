//! The README names every setting and every exit code as the program has them.

use yotpo_td::config::{SECRETS, SETTINGS};
use yotpo_td::exit_status::ExitStatus;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The cells of a table's line, without the marks of code.
fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
}

#[test]
fn every_setting_stands_on_one_line_with_flag_variable_and_default() {
    let readme = readme();
    for setting in SETTINGS {
        let flag = format!("--{}", setting.key);
        let lines: Vec<_> = readme.lines().filter(|line| line.starts_with('|')).map(cells).collect();
        let lines: Vec<_> = lines.iter().filter(|cells| cells.first() == Some(&flag)).collect();
        let [line] = lines[..] else { panic!("{flag} stands on {} lines of tables", lines.len()) };
        assert_eq!(line[1], setting.variable, "{flag}");
        let default = &line[2];
        match setting.default {
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
fn every_secret_is_named_in_both_forms() {
    let readme = readme();
    for secret in SECRETS {
        for name in [secret.variable.to_owned(), format!("{}_FILE", secret.variable)] {
            assert!(readme.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn every_exit_code_stands_on_a_line_with_its_meaning_and_no_other_does() {
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
