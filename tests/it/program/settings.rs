//! Every settings error through the real program: what is reported about each setting, from every source of its value.

use std::fs;

use tempfile::TempDir;
use yotpo_td::config::{SETTINGS, Setting};

use crate::program::binary::{Finished, Running, Surroundings, program};
use crate::program::closing_words::{assert_words, transcript};

/// Settings that are complete, so that there is only one problem.
const COMPLETE: [(&str, &str); 5] = [
    ("YOTPO_CLIENT_SECRET", "canary-client-secret"),
    ("YOTPO_STORE_ID", "store"),
    ("TD_API_KEY", "1/0123456789012345678901234567890123456789"),
    ("TD_DATABASE", "database"),
    ("YOTPO_TD_STATE_DIR", "/dev/null/state"),
];

/// `yotpo-td sync` with these arguments, and with these variables in addition to (or instead of) the complete ones.
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
        "quarantine-dir" => "no/such/directory",
        "summary-file" => "no/such/directory/summary.json",
        "metrics-file" => "no/such/directory/yotpo.prom",
        "report" => "no/such/directory/report.html",
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn a_wrong_flag_is_reported() {
    let transcript: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| !setting.is_bare_flag() && setting.key != "state-dir")
        .map(|setting| problem(&sync(&[&format!("--{}", setting.key), wrong(setting)], &[]), setting))
        .collect();
    assert_words!("wrong_flags", transcript.join("\n"));
}

#[test]
fn a_wrong_variable_is_reported() {
    let transcript: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| problem(&sync(&[], &[(setting.variable, wrong(setting))]), setting))
        .collect();
    assert_words!("wrong_variables", transcript.join("\n"));
}

#[test]
fn a_wrong_value_in_the_file_is_reported() {
    let transcript: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| {
            let (_directory, path) = settings_file(&format!("{} = {:?}", setting.key, wrong(setting)));
            // The environment takes precedence over the file, so it must not set this one.
            problem(&sync(&["--config", &path], &[(setting.variable, "")]), setting)
        })
        .collect();
    assert_words!("wrong_in_file", transcript.join("\n"));
}

#[test]
fn a_value_of_another_kind_in_the_file_is_reported() {
    let transcript: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.key != "state-dir")
        .map(|setting| {
            let (_directory, path) = settings_file(&format!("{} = [1, 2]", setting.key));
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
    assert_eq!(transcript.len(), SETTINGS.len() - 1);
}

#[test]
fn missing_required_settings_are_reported() {
    for (variable, name) in [
        ("YOTPO_CLIENT_SECRET", "secret"),
        ("YOTPO_STORE_ID", "store"),
        ("TD_API_KEY", "key"),
        ("TD_DATABASE", "database"),
    ] {
        let end = sync(&[], &[(variable, "")]);
        end.assert_code(2);
        assert_words!(format!("missing_{name}"), transcript(&end));
    }
    let end = sync(&[], &[("YOTPO_TD_STATE_DIR", "")]);
    end.assert_code(2);
    assert_words!("missing_state_dir", transcript(&end));
}

#[test]
fn all_missing_and_wrong_settings_are_reported_together() {
    let mut nothing = program();
    nothing.arg("sync");
    assert_words!("nothing_set", transcript(&Running::start(nothing).finish()));

    let (_directory, path) =
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
    assert_words!("everything_wrong", transcript(&end));
}

#[test]
fn unusable_settings_files_are_reported_and_not_quoted() {
    for (name, text) in [
        ("unknown_key", "colour = 'red'"),
        ("nearly_known_key", "page_size = 5"),
        ("secret_in_file", "TD_API_KEY = 'canary-key'"),
        ("secret_in_file_by_another_name", "client-secret = 'canary-key'"),
        ("no_toml", "TD_API_KEY: canary-key"),
        ("table_in_file", "[table]\nname = 'x'"),
    ] {
        let (_directory, path) = settings_file(text);
        let end = sync(&["--config", &path], &[]);
        end.assert_code(2);
        assert!(!end.stderr.contains("canary"), "{}", end.stderr);
        assert_words!(format!("file_{name}"), transcript(&end));
    }
    let end = sync(&[], &[("YOTPO_TD_CONFIG", "no/such/file.toml")]);
    end.assert_code(2);
    assert_words!("file_absent", transcript(&end));
}

#[test]
fn unusable_secrets_are_reported_and_not_quoted() {
    let (_directory, empty) = settings_file("");
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
        assert_words!(format!("secret_{name}"), transcript(&end));
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
        assert_words!(format!("address_{name}"), transcript(&end));
    }
}

#[test]
fn an_empty_state_directory_on_the_command_line_is_reported() {
    let end = sync(&["--state-dir", ""], &[]);
    end.assert_code(2);
    assert_words!("empty_state_dir", transcript(&end));
}

#[test]
fn an_unknown_variable_and_an_invalid_level_are_refused() {
    for (arguments, variables, transcript) in [
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
        assert!(end.stderr.contains(transcript), "{transcript:?} in {}", end.stderr);
    }
}

#[test]
fn values_that_are_not_utf8_are_reported_and_not_shown() {
    use std::os::unix::ffi::OsStrExt as _;

    let mut command = program();
    command.arg("sync").envs(COMPLETE).env("TD_API_KEY", std::ffi::OsStr::from_bytes(b"1/k\xffy"));
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert!(end.stderr.contains("TD_API_KEY: is not UTF-8") && !end.stderr.contains("1/k"), "{}", end.stderr);
}

/// `HOME` may be a directory whose name is not UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn a_home_that_is_not_utf8_holds_the_state() {
    use std::os::unix::ffi::OsStrExt as _;

    let directory = TempDir::new().unwrap();
    let home = directory.path().join(std::ffi::OsStr::from_bytes(b"home\xff"));
    fs::create_dir(&home).unwrap();
    let surroundings = Surroundings::with_customers(10);
    let mut command = surroundings.sync(&[]);
    command.env_remove("YOTPO_TD_STATE_DIR").env("HOME", &home);
    Running::start(command).finish().assert_code(0);
    assert!(home.join(".local/state/yotpo-td").is_dir());
}

#[test]
fn a_secret_in_a_file_is_named_with_its_path() {
    let surroundings = Surroundings::with_customers(60);
    let (secret, key) = (surroundings.directory().join("secret"), surroundings.directory().join("key"));
    fs::write(&secret, "another-secret").unwrap();
    fs::write(&key, "1/0000000000000000000000000000000000000000").unwrap();
    for (variable, file, text) in [
        ("YOTPO_CLIENT_SECRET", &secret, "and --store-id (YOTPO_STORE_ID)"),
        ("TD_API_KEY", &key, "its permissions (import)"),
    ] {
        let mut command = surroundings.sync(&[]);
        command.env_remove(variable).env(format!("{variable}_FILE"), file);
        let end = Running::start(command).finish();
        end.assert_code(3);
        let hint = format!("hint: check {} (the file in {variable}_FILE)", file.display());
        assert!(end.closing().contains(&hint) && end.closing().contains(text), "{}", end.closing());
    }
    fs::write(&secret, "two\nlines").unwrap();
    let mut command = surroundings.sync(&[]);
    command.env_remove("YOTPO_CLIENT_SECRET").env("YOTPO_CLIENT_SECRET_FILE", &secret);
    let end = Running::start(command).finish();
    end.assert_code(2);
    let what = format!("{} is empty, or contains characters", secret.display());
    assert!(end.stderr.contains(&what), "{}", end.stderr);
}
