//! `yotpo-td config`, and the settings files that nobody names.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use yotpo_td::config::SETTINGS;

use crate::program::binary::{Finished, Running, program};
use crate::program::closing_words::{assert_words, transcript};

const SECRETS: [(&str, &str); 2] = [("YOTPO_CLIENT_SECRET", "canary-secret"), ("TD_API_KEY", "1/canary-key")];
const STORE: [(&str, &str); 2] = [("YOTPO_STORE_ID", "my_store"), ("HOME", "/somebody")];

/// A directory to work in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the file that is found here.
    fn with_file(text: &str, mode: u32) -> Self {
        let place = Self::new();
        let path = place.path().join("yotpo-td.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).current_dir(self.path());
        command
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Running::start(command).finish()
    }
}

/// Exit code and both streams, without the times of log lines.
fn printed(end: &Finished) -> String {
    format!("exit code {}\n--- stdout\n{}--- stderr\n{}", end.code(), end.stdout, end.stderr)
}

#[test]
fn every_setting_is_shown_with_its_origin_and_secrets_are_hidden() {
    let place = Place::with_file("# mine\ndatabase = 'my_database'\nsite = 'eu01'\npage-size = 50\n", 0o644);
    let variables = [&SECRETS[..], &STORE, &[("YOTPO_TD_PAGE_SIZE", "40"), ("RUST_LOG", "warn")]].concat();
    let end = place.run(&["config", "show", "--table", "my_table"], &variables);
    assert_words!("config_show", printed(&end));
    assert!(!end.stdout.contains("canary"));
}

#[test]
fn settings_are_shown_as_json_too() {
    let place = Place::with_file("database = 'my_database'\n", 0o600);
    let password = ("YOTPO_TD_YOTPO_ENDPOINT", "https://user:canary@example.com/");
    let end = place.run(&["config", "show", "--output", "json"], &[SECRETS[0], STORE[0], STORE[1], password]);
    end.assert_code(0);
    assert!(!end.stdout.contains("canary"), "{}", end.stdout);
    let view: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(view["settings_file"], "./yotpo-td.toml");
    let settings = view["settings"].as_array().unwrap();
    assert_eq!(settings.len(), SETTINGS.len());
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(
        (&of("database")["value"], &of("database")["origin"]),
        (&"my_database".into(), &"./yotpo-td.toml:1".into())
    );
    assert_eq!(of("yotpo-endpoint")["value"], "https://[redacted]@example.com/");
    assert_eq!((&of("run-id")["value"], &of("run-id")["origin"]), (&Value::Null, &Value::Null));
    assert_eq!(of("state-dir")["value"], "/somebody/.local/state/yotpo-td");
    assert_eq!(view["secrets"][0]["origin"], "YOTPO_CLIENT_SECRET");
    assert_eq!(view["secrets"][1]["is_set"], false);
    let warning = "warning: 2 settings are missing or wrong; yotpo-td config validate reports why\n";
    assert!(end.stderr.ends_with(warning), "{}", end.stderr);
}

#[test]
fn validation_says_where_the_settings_lead_or_what_is_wrong() {
    let place = Place::with_file("database = 'my_database'\n", 0o600);
    let complete = [&SECRETS[..], &STORE].concat();
    assert_words!("config_validate", printed(&place.run(&["config", "validate"], &complete)));
    assert_words!("config_validate_incomplete", transcript(&place.run(&["config", "validate"], &STORE)));
    let without = place.run(&["config", "validate", "--without-secrets"], &STORE);
    without.assert_code(0);
    assert!(without.stdout.starts_with("The settings are valid.\n"), "{}", without.stdout);
    let wrong = place.run(&["config", "validate", "--without-secrets", "--mode", "replacee"], &STORE);
    wrong.assert_code(2);
    assert!(wrong.stderr.contains("expected append or replace; did you mean replace?"), "{}", wrong.stderr);
}

#[test]
fn the_template_can_be_filled_in_and_used() {
    let place = Place::new();
    let template = place.run(&["config", "template"], &[]);
    assert_words!("config_template", template.stdout.as_str());
    let filled_in = template.stdout.replace("# database = \"<NAME>\"", "database = \"my_database\"");
    assert_ne!(filled_in, template.stdout);
    let place = Place::with_file(&filled_in, 0o600);
    place.run(&["config", "validate"], &[&SECRETS[..], &STORE].concat()).assert_code(0);
}

#[test]
fn the_schema_describes_every_setting() {
    let end = Place::new().run(&["config", "schema"], &[]);
    end.assert_code(0);
    let schema: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), SETTINGS.len());
}

#[test]
fn a_found_file_is_logged_and_a_named_one_takes_precedence() {
    let place = Place::with_file("page-size = 50\n", 0o600);
    let other = place.path().join("other.toml");
    fs::write(&other, "page-size = 60\n").unwrap();
    let page_size = |end: &Finished| {
        let line = end.stdout.lines().find(|line| line.trim_start().starts_with("page-size")).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let found = place.run(&["config", "show"], &STORE);
    assert_eq!(page_size(&found), "50");
    assert!(found.stderr.contains("settings file found path=./yotpo-td.toml"), "{}", found.stderr);
    let named = place.run(&["config", "show", "--config", "other.toml"], &STORE);
    assert_eq!(page_size(&named), "60");
    assert!(!named.stderr.contains("settings file found"), "{}", named.stderr);
}

#[test]
fn a_found_file_that_others_can_write_to_is_refused() {
    let place = Place::with_file("table = 'my_table'\n", 0o666);
    let end = place.run(&["sync"], &[&SECRETS[..], &STORE, &[("TD_DATABASE", "my_database")]].concat());
    assert_words!("found_file_of_others", transcript(&end));
    let named = place.run(
        &["config", "validate", "--config", "yotpo-td.toml"],
        &[&SECRETS[..], &STORE, &[("TD_DATABASE", "my_database")]].concat(),
    );
    named.assert_code(0);
}

#[test]
fn a_found_file_cannot_send_the_keys_elsewhere() {
    let place = Place::with_file("td-endpoint = 'https://example.com'\n", 0o600);
    let variables = [&SECRETS[..], &STORE, &[("TD_DATABASE", "my_database")]].concat();
    let end = place.run(&["sync"], &variables);
    assert_words!("found_file_with_endpoint", transcript(&end));
    place.run(&["config", "validate", "--config", "yotpo-td.toml"], &variables).assert_code(0);
}

#[test]
fn the_toolbelts_file_gives_key_and_endpoint() {
    let place = Place::new();
    fs::write(
        place.path().join("td.conf"),
        "[account]\n  user = a@example.com\n  apikey = 1/canary-key\n  endpoint = https://api.treasuredata.co.jp\n",
    )
    .unwrap();
    let variables = [SECRETS[0], STORE[0], STORE[1], ("TD_DATABASE", "my_database")];
    let end = place.run(&["config", "validate", "--td-conf", "td.conf"], &variables);
    end.assert_code(0);
    assert!(end.stdout.contains("https://api.treasuredata.co.jp/"), "{}", end.stdout);
    let both = place.run(&["config", "validate", "--td-conf", "td.conf", "--site", "us01"], &variables);
    both.assert_code(2);
    let words = "--td-conf (YOTPO_TD_TD_CONF): gives both key and endpoint, which are also set by --site (YOTPO_TD_SITE)";
    assert!(both.stderr.contains(words), "{}", both.stderr);
    assert!(!format!("{}{}", end.stdout, both.stderr).contains("canary"));
}
