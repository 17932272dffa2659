//! Every settings error through the real program: what is told of each setting, wherever its value comes from.

use std::fs;

use tempfile::TempDir;
use yotpo_td::config::{SETTINGS, Setting};

use crate::program::binary::{Finished, Running, program};
use crate::program::closing_words::{assert_words, told};

/// What makes the settings complete, so that one problem stands alone.
const COMPLETE: [(&str, &str); 5] = [
    ("YOTPO_CLIENT_SECRET", "canary-client-secret"),
    ("YOTPO_STORE_ID", "store"),
    ("TD_API_KEY", "1/0123456789012345678901234567890123456789"),
    ("TD_DATABASE", "database"),
    ("YOTPO_TD_STATE_DIR", "/dev/null/state"),
];

/// `yotpo-td sync` with these arguments, and with these variables beside (or instead of) the complete ones.
fn sync(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = program();
    command.arg("sync").args(arguments).envs(COMPLETE);
    for (name, value) in variables {
        command.env(name, value);
    }
    Running::start(command).finish()
}

/// A value that is wrong for the setting.
fn wrong(setting: &Setting) -> &'static str {
    match setting.key {
        key if key.ends_with("endpoint") => "ftp://example.com",
        "state-dir" => "",
        "quarantine-dir" => "no/such/folder",
        "log-level" => "a=b=c",
        "min-rows-ratio" => "1.5",
        _ => "!",
    }
}

/// The problem's line, and that it is the only one.
#[track_caller]
fn problem(end: &Finished, setting: &Setting) -> String {
    end.assert_code(2);
    let lines: Vec<&str> = end.stderr.lines().filter(|line| line.starts_with("  ")).collect();
    let [line] = lines[..] else { panic!("{}: one problem, not {lines:?}", setting.key) };
    assert!(line.contains(&setting.label()), "{line}");
    assert_eq!(end.stdout, "");
    line.trim_start().to_owned()
}

fn settings_file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_wrong_flag_is_told() {
    let told: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| !setting.is_bare_flag() && setting.key != "state-dir")
        .map(|setting| problem(&sync(&[&format!("--{}", setting.key), wrong(setting)], &[]), setting))
        .collect();
    assert_words!("wrong_flags", told.join("\n"));
}

#[test]
fn a_wrong_variable_is_told() {
    let told: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| problem(&sync(&[], &[(setting.variable, wrong(setting))]), setting))
        .collect();
    assert_words!("wrong_variables", told.join("\n"));
}

#[test]
fn a_wrong_value_in_the_file_is_told() {
    let told: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| {
            let (_folder, path) = settings_file(&format!("{} = {:?}", setting.key, wrong(setting)));
            // The environment is stronger than the file, so it must not set this one.
            problem(&sync(&["--config", &path], &[(setting.variable, "")]), setting)
        })
        .collect();
    assert_words!("wrong_in_file", told.join("\n"));
}

#[test]
fn a_value_of_another_kind_in_the_file_is_told() {
    let told: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| {
            let (_folder, path) = settings_file(&format!("{} = [1, 2]", setting.key));
            let end = sync(&["--config", &path], &[(setting.variable, "")]);
            end.assert_code(2);
            let expected = format!(
                "{}: a list or table from {path}:1; expected {}",
                setting.label(),
                setting.kind.expected()
            );
            assert!(end.stderr.contains(&expected), "{expected} in:\n{}", end.stderr);
            expected
        })
        .collect();
    assert_eq!(told.len(), SETTINGS.len() - 1);
}

#[test]
fn what_is_required_and_missing_is_told() {
    for (variable, name) in [
        ("YOTPO_CLIENT_SECRET", "secret"),
        ("YOTPO_STORE_ID", "store"),
        ("TD_API_KEY", "key"),
        ("TD_DATABASE", "database"),
    ] {
        let end = sync(&[], &[(variable, "")]);
        end.assert_code(2);
        assert_words!(format!("missing_{name}"), told(&end));
    }
    let end = sync(&[], &[("YOTPO_TD_STATE_DIR", "")]);
    end.assert_code(2);
    assert_words!("missing_state_dir", told(&end));
}

#[test]
fn everything_that_is_missing_or_wrong_is_told_at_once() {
    let mut nothing = program();
    nothing.arg("sync");
    assert_words!("nothing_set", told(&Running::start(nothing).finish()));

    let (_folder, path) =
        settings_file("page_size = 5\nTD_API_KEY = 'canary-key'\ncolour = 'red'\npart-size = [1]");
    let mut command = program();
    command.args(["sync", "--config", &path, "--site", "mars"]);
    for setting in
        SETTINGS.iter().filter(|setting| !["site", "state-dir", "part-size"].contains(&setting.key))
    {
        command.env(setting.variable, wrong(setting));
    }
    command
        .env("YOTPO_CLIENT_SECRET", "canary with spaces")
        .env("TD_API_KEY", "canary")
        .env("TD_API_KEY_FILE", "x");
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert!(!end.stderr.contains("canary"), "{}", end.stderr);
    assert_words!("everything_wrong", told(&end));
}

#[test]
fn settings_files_that_cannot_be_used_are_told_and_not_quoted() {
    for (name, text) in [
        ("unknown_key", "colour = 'red'"),
        ("nearly_known_key", "page_size = 5"),
        ("secret_in_file", "TD_API_KEY = 'canary-key'"),
        ("secret_in_file_by_another_name", "client-secret = 'canary-key'"),
        ("no_toml", "TD_API_KEY: canary-key"),
        ("table_in_file", "[table]\nname = 'x'"),
    ] {
        let (_folder, path) = settings_file(text);
        let end = sync(&["--config", &path], &[]);
        end.assert_code(2);
        assert!(!end.stderr.contains("canary"), "{}", end.stderr);
        assert_words!(format!("file_{name}"), told(&end));
    }
    let end = sync(&[], &[("YOTPO_TD_CONFIG", "no/such/file.toml")]);
    end.assert_code(2);
    assert_words!("file_absent", told(&end));
}

#[test]
fn secrets_that_cannot_be_used_are_told_and_not_quoted() {
    let (_folder, empty) = settings_file("");
    for (name, variables) in [
        ("both_forms", &[("TD_API_KEY_FILE", empty.as_str())][..]),
        ("file_absent", &[("TD_API_KEY", ""), ("TD_API_KEY_FILE", "no/such/key")]),
        ("file_empty", &[("TD_API_KEY", ""), ("TD_API_KEY_FILE", empty.as_str())]),
        ("two_words", &[("YOTPO_CLIENT_SECRET", "canary two")]),
        ("not_ascii", &[("YOTPO_CLIENT_SECRET", "canaryé")]),
    ] {
        let end = sync(&[], variables);
        end.assert_code(2);
        assert!(!end.stderr.contains("canary"), "{}", end.stderr);
        assert_words!(format!("secret_{name}"), told(&end));
    }
}

#[test]
fn addresses_that_would_show_the_key_are_refused() {
    for (name, arguments) in [
        ("http_elsewhere", &["--td-endpoint", "http://api.treasuredata.com"][..]),
        ("http_elsewhere_yotpo", &["--yotpo-endpoint", "http://127.0.0.1.example.com"]),
        ("password", &["--td-endpoint", "https://user:canary@api.treasuredata.com"]),
        ("password_in_one_word", &["--td-endpoint=https://canary@api.treasuredata.com/x"]),
        ("query", &["--yotpo-endpoint", "https://api.yotpo.com/?x=1"]),
        ("site_and_endpoint", &["--site", "eu01", "--td-endpoint", "https://api.treasuredata.com"]),
        ("unknown_site", &["--site", "mars"]),
    ] {
        let end = sync(arguments, &[]);
        end.assert_code(2);
        assert!(!end.stderr.contains("canary"), "{}", end.stderr);
        assert_words!(format!("address_{name}"), told(&end));
    }
}

#[test]
fn an_empty_state_folder_on_the_command_line_is_told() {
    let end = sync(&["--state-dir", ""], &[]);
    end.assert_code(2);
    assert_words!("empty_state_dir", told(&end));
}

#[test]
fn a_variable_that_nothing_reads_and_a_level_that_is_none_are_refused() {
    for (arguments, variables, told) in [
        (&[][..], &[("YOTPO_TD_TABLE", "x")][..], "YOTPO_TD_TABLE: unknown variable; did you mean TD_TABLE?"),
        (&[], &[("TD_APIKEY", "x")], "TD_APIKEY: unknown variable; did you mean TD_API_KEY?"),
        (
            &["--log-level", "verbose"],
            &[],
            "--log-level (YOTPO_TD_LOG_LEVEL): invalid value \"verbose\" from --log-level; expected off, error, warn, info,",
        ),
    ] {
        let end = sync(arguments, variables);
        end.assert_code(2);
        assert!(end.stderr.contains("error: a setting is missing or wrong"), "{}", end.stderr);
        assert!(end.stderr.contains(told), "{told:?} in {}", end.stderr);
    }
}

#[test]
fn what_is_not_utf8_is_said_to_be_and_not_shown() {
    use std::os::unix::ffi::OsStrExt as _;

    let mut command = program();
    command.arg("sync").envs(COMPLETE).env("TD_API_KEY", std::ffi::OsStr::from_bytes(b"1/k\xffy"));
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert!(end.stderr.contains("TD_API_KEY: is not UTF-8") && !end.stderr.contains("1/k"), "{}", end.stderr);
}

/// `HOME` is as the system has it: a folder whose name is not UTF-8 is one.
#[cfg(target_os = "linux")]
#[test]
fn a_home_that_is_not_utf8_holds_the_state() {
    use std::os::unix::ffi::OsStrExt as _;

    let folder = TempDir::new().unwrap();
    let home = folder.path().join(std::ffi::OsStr::from_bytes(b"home\xff"));
    fs::create_dir(&home).unwrap();
    let surroundings = crate::program::binary::Surroundings::with_customers(10);
    let mut command = surroundings.sync(&[]);
    command.env_remove("YOTPO_TD_STATE_DIR").env("HOME", &home);
    Running::start(command).finish().assert_code(0);
    assert!(home.join(".local/state/yotpo-td").is_dir());
}
