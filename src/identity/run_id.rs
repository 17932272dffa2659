//! The identity of a run.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::digest::Sha256Sum;
use super::name_rule::{Characters, NameError, NameRule};

/// The id of a run: up to 64 letters, digits, `-` and `_`. All attempts of a run share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The rule that it follows.
    pub const RULE: NameRule = NameRule { min_length: 1, max_length: 64, characters: Characters::MixedCase };

    /// Generates the id of a run that starts at `unix_time`; `random` distinguishes runs of the same second.
    pub fn generate(unix_time: Duration, random: u32) -> Self {
        // Times that are out of range for rows are rejected elsewhere; here they only need a name.
        let time = UNIX_EPOCH + unix_time.min(Duration::from_secs(253_402_300_799));
        let stamp = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
        Self(format!("{stamp}-{random:08x}"))
    }

    /// The id of the run that loads an export: the beginning of its digest.
    pub fn of_export(sha256: &Sha256Sum) -> Self {
        Self(format!("export-{sha256:.32}"))
    }

    /// A further id, for loading the same customers again: this one with `-2`. Characters in the middle of a long one are left out,
    /// since ids often differ in their beginning or end.
    #[must_use]
    pub fn successor(&self) -> Self {
        let with_suffix = |suffix: &str| {
            let kept = self.0.len().min(Self::RULE.max_length - suffix.len());
            let (head, tail) = self.0.split_at(kept / 2);
            let (_, tail) = tail.split_at(self.0.len() - kept);
            Self(format!("{head}{tail}{suffix}"))
        };
        let successor = with_suffix("-2");
        if successor == *self { with_suffix("-3") } else { successor }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::RULE.check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_contain_the_time_and_random_digits() {
        let id = RunId::generate(Duration::from_secs(1_795_406_400), 0x9f1c_02ab);
        assert_eq!(id.as_str(), "20261123T040000Z-9f1c02ab");
    }

    #[test]
    fn a_successor_is_another_valid_id() {
        let successor = |text: &str| text.parse::<RunId>().unwrap().successor();
        assert_eq!(successor("nightly").as_str(), "nightly-2");
        assert_eq!(successor("nightly-2").as_str(), "nightly-2-2");
        let dated = format!("{}-2026-11-23", "store".repeat(10));
        assert_eq!(successor(&dated).as_str(), format!("{dated}-2"));
        let longest = format!("a{}-20261123", "x".repeat(54));
        assert_eq!(successor(&longest).as_str(), format!("a{}-20261123-2", "x".repeat(52)));
        for length in 60..=64 {
            for pattern in ["a", "-2", "2-"] {
                let id: String = pattern.chars().cycle().take(length).collect();
                let next = successor(&id);
                assert!(RunId::RULE.accepts(next.as_str()) && next.as_str() != id, "{id}: {next}");
            }
        }
    }

    #[test]
    fn ids_that_could_change_a_url_are_invalid() {
        for text in ["", "a/b", "a b", "..", "é", &"x".repeat(65)] {
            assert_eq!(text.parse::<RunId>(), Err(NameError { rule: RunId::RULE }), "{text}");
        }
    }
}
