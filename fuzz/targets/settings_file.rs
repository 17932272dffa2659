//! The settings file, with an environment that contains the secrets.

use std::collections::BTreeMap;

use yotpo_td::config::fuzzing::layers_with_file;
use yotpo_td::config::{AccountSettings, SECRETS, SETTINGS, Settings, state_directory_from_layers};

use super::Verdict;

/// Values of secrets, which must never be shown.
const OF_THE_ENVIRONMENT: &str = "canary-of-the-environment";
const OF_THE_FILE: &str = "canary-of-the-file";

/// A file is accepted or rejected as a whole; content that does not belong there is never overlooked and never shown.
pub fn settings_file(data: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else { return Verdict::Rejected };
    let settings = read(text);
    assert_eq!(read(text), settings, "the same file is read differently");
    if settings.is_err() {
        return Verdict::Rejected;
    }
    for key in unknown_keys(text) {
        for value in ["1", "'x'", "[]", "{}"] {
            let more = format!("{} = {value}\n{text}", serde_json::Value::from(key.as_str()));
            assert!(read(&more).is_err(), "the key {key:?} was overlooked");
        }
    }
    let secret_in_the_file = format!("TD_API_KEY = 'canary-of-the-file'\n{text}");
    assert!(read(&secret_in_the_file).is_err(), "a secret in the file was accepted");
    assert!(read(&format!("{text}\n[more]\n")).is_err(), "a table was overlooked");
    Verdict::Accepted
}

/// The settings as debug output, or the errors in them.
fn read(text: &str) -> Result<String, String> {
    let layers = || layers_with_file(environment(), text);
    let settings = Settings::from_layers(layers());
    if settings.is_ok() {
        assert!(AccountSettings::from_layers(layers()).is_ok(), "valid for a run, but not for its account");
        assert!(state_directory_from_layers(layers()).is_ok(), "valid for a run, but not for its state");
    }
    let result = settings.map(|settings| format!("{settings:?}")).map_err(|error| {
        assert!(!error.problems().is_empty(), "rejected without a reason");
        error.to_string()
    });
    let shown = result.as_ref().unwrap_or_else(|error| error);
    assert!(!shown.contains(OF_THE_ENVIRONMENT), "a secret is shown");
    assert!(!only_in_secrets(text) || !shown.contains(OF_THE_FILE), "a secret of the file is shown");
    let printable = |character: char| character == '\n' || !character.is_control();
    assert!(result.is_ok() || shown.chars().all(printable), "a control character reaches the terminal");
    result
}

/// Whether the file's canary is only the value of secrets: a mutation may turn it into a database name.
fn only_in_secrets(text: &str) -> bool {
    text.lines().filter(|line| line.contains(OF_THE_FILE)).all(|line| {
        SECRETS
            .iter()
            .any(|secret| line.split_once(['=', ':']).is_some_and(|(key, _)| key.trim() == secret.variable))
    })
}

fn environment() -> BTreeMap<String, String> {
    let secrets = SECRETS.iter().map(|secret| (secret.variable, OF_THE_ENVIRONMENT));
    secrets.chain([("HOME", "/")]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Keys that are not settings, some of them similar to settings.
fn unknown_keys(text: &str) -> Vec<String> {
    let known = SETTINGS[text.len() % SETTINGS.len()];
    let keys = [
        text.lines().next().unwrap_or_default().chars().take(24).collect(),
        format!("{}.x", known.key),
        format!("{}[0]", known.key),
        known.key.to_uppercase(),
        known.variable.to_owned(),
    ];
    keys.into_iter().filter(|key| SETTINGS.iter().all(|setting| setting.key != key)).collect()
}
