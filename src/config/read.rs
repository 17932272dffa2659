//! Checking single values.

use std::fmt::Display;
use std::path::Path;

use url::Url;

use super::keys::{SECRETS, SETTINGS};
use super::layers::{Layers, Source};
use super::nearest::nearest;
use super::problem::{Problem, SettingsError};
use super::setting::{Key, SecretSetting};
use super::user_information::without_user_information;
use super::value::FromSetting;
use crate::http::Reach;
use crate::secret::Secret;

/// As many changes make a wrong word one to choose from.
const MAX_WORD_CHANGES: usize = 2;

/// Reads settings and gathers what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
    /// How many of them were found while the layers were put together.
    of_layers: usize,
}

impl Reader {
    pub(super) fn new(mut layers: Layers) -> Self {
        let problems = layers.take_problems();
        Self { layers, of_layers: problems.len(), problems }
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Secrets and then settings in the order of `--help`, whatever they were read in.
    fn into_problems(mut self) -> Vec<Problem> {
        let of_secret = |problem: &Problem| SECRETS.iter().any(|secret| problem.is_about(secret.variable));
        let place = |problem: &Problem| {
            let setting = SETTINGS.iter().position(|setting| problem.is_about(&setting.label()));
            (!of_secret(problem), setting.unwrap_or(SETTINGS.len()))
        };
        if let Some(of_values) = self.problems.get_mut(self.of_layers..) {
            of_values.sort_by_key(place);
        }
        self.problems
    }

    pub(super) fn report(&mut self, label: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem::new(label, what));
    }

    /// The value of a setting that must be there.
    pub(super) fn read<T: FromSetting>(&mut self, key: &Key<T>) -> Option<T> {
        let Some((_, text)) = self.layers.get(key) else {
            // What is not UTF-8 was reported with the environment.
            if !self.layers.is_not_utf8(key.variable) {
                self.report(key.label(), format!("missing; expected {}", key.kind.expected()));
            }
            return None;
        };
        let value = T::from_setting(&key.kind, text.trim());
        if value.is_none() {
            let meant = nearest(text.trim(), key.kind.possible_values().iter().copied(), MAX_WORD_CHANGES)
                .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            let what = format!(
                "invalid value {} {}; expected {}{meant}",
                shown(without_user_information(text)),
                self.layers.origin_phrase(key),
                key.kind.expected()
            );
            self.report(key.label(), what);
        }
        value
    }

    /// The value of a setting that must be set, although it has a default.
    pub(super) fn stated<T: FromSetting>(&mut self, key: &Key<T>) -> Option<T> {
        if self.layers.get(key).is_none_or(|(source, _)| source == Source::Default) {
            self.report(key.label(), format!("missing; expected {}", key.kind.expected()));
            return None;
        }
        self.read(key)
    }

    /// The value of a setting that need not be there. The outer `None` means invalid, the inner unset.
    #[expect(clippy::option_option, reason = "invalid, unset and valid are three things")]
    pub(super) fn optional<T: FromSetting>(&mut self, key: &Key<T>) -> Option<Option<T>> {
        match self.layers.get(key) {
            None => Some(None),
            Some(_) => self.read(key).map(Some),
        }
    }

    /// An address. What is wrong with it is said in detail, and a password in it is not shown.
    pub(super) fn endpoint(&mut self, key: &Key<Url>) -> Option<Url> {
        let text = self.layers.get(key)?.1.trim();
        match endpoint(text) {
            Ok(url) => Some(url),
            Err(what) => {
                let what =
                    format!("{what} ({}); expected {}", self.layers.origin_phrase(key), key.kind.expected());
                self.report(key.label(), what);
                None
            }
        }
    }

    /// A secret from its variable or from the file that its `_FILE` variable names.
    pub(super) fn secret(&mut self, secret: &SecretSetting) -> Option<Secret> {
        let file_variable = secret.file_variable();
        let label = format!("{} or {file_variable}", secret.variable);
        if self.layers.is_secret_reported(secret) {
            return None;
        }
        let place = self.layers.secret_place(secret).unwrap_or_default();
        let secret = match (self.layers.variable(secret.variable), self.layers.variable(&file_variable)) {
            (None, None) => {
                self.report(label, format!("missing; expected {}", secret.help));
                return None;
            }
            (Some(_), Some(_)) => {
                self.report(label, "both are set; expected one of them");
                return None;
            }
            (Some(text), None) => Secret::new(&text),
            (None, Some(path)) => Secret::from_file(Path::new(&path)),
        };
        let secret = secret.map(|secret| secret.from_place(&place));
        secret.map_err(|error| self.report(label, error.to_string())).ok()
    }
}

/// The settings that were read, if nothing is wrong with any of them.
pub(super) fn checked<T>(value: Option<T>, reader: Reader) -> Result<T, SettingsError> {
    let problems = reader.into_problems();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(SettingsError::new(problems)),
    }
}

/// An address with a path to append to. A bare host, which some Treasure Data clients accept, means https.
pub(super) fn endpoint(text: &str) -> Result<Url, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|error| format!("not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address contains a user name or password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{} contains a query or fragment", shown(text)));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if Reach::of(&url) == Reach::Loopback => Ok(url),
        "http" => {
            Err(format!("{} is plain http to another machine, which would expose the key", shown(text)))
        }
        _ => Err(format!("{} is neither https nor http", shown(text))),
    }
}

/// An invalid value, shortened and without control characters.
fn shown(value: impl Display) -> String {
    let text = value.to_string();
    let mut shown: String = text.chars().filter(|character| !character.is_control()).take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_must_be_https_or_on_this_machine() {
        for right in [
            "https://api.treasuredata.com",
            "https://api.treasuredata.com/",
            "api.treasuredata.com",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:80/base",
        ] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in [
            "http://api.treasuredata.com",
            "http://127.0.0.1.example.com",
            "http://user:pass@127.0.0.1",
            "ftp://127.0.0.1",
            "https://a/?x=1",
            "https://",
            "",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for text in ["https://user:hunter2@host", "https://hunter2@host", "https://:hunter2@host"] {
            assert_eq!(endpoint(text).unwrap_err(), "the address contains a user name or password", "{text}");
        }
    }

    #[test]
    fn a_long_value_is_shortened_and_control_characters_are_left_out() {
        for (value, expected) in [
            ("x".repeat(60), format!("\"{}\"", "x".repeat(60))),
            ("x".repeat(61), format!("\"{}…\"", "x".repeat(60))),
            ("a\tb".to_owned(), "\"ab…\"".to_owned()),
            (String::new(), "\"\"".to_owned()),
        ] {
            assert_eq!(shown(&value), expected);
        }
    }
}
