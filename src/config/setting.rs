//! What the table of settings says of each setting: names, default, kind, group and help.
//!
//! Owns the shape of the table; its lines are in [`super::keys`].

use std::marker::PhantomData;
use std::ops::Deref;

use super::kind::Kind;

/// A setting that is no secret.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name of the flag without dashes, and key in the settings file.
    pub key: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// What holds when nobody sets it.
    pub presence: Presence,
    /// Which values it takes.
    pub kind: Kind,
    /// Where it stands in `--help` and in docs/settings.md.
    pub group: Group,
    /// What it is, in a few words. Code is in backticks.
    pub help: &'static str,
    /// What else to know, as sentences, for `--help` and docs/settings.md; may be empty.
    pub details: &'static str,
}

/// What holds for a setting that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// `sync` cannot run.
    Required,
    /// It has no value.
    Optional,
    /// It has this value.
    Default(&'static str),
}

/// What a setting is about, in the order of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What is read.
    Source,
    /// Where it goes.
    Destination,
    /// How fast and how often services are asked.
    RateAndRetries,
    /// How rows are packed, uploaded and loaded.
    Load,
    /// What is refused.
    Guards,
    /// What is kept between attempts.
    StateAndResume,
    /// What is printed.
    Output,
    /// What is reported to monitoring systems.
    Monitoring,
}

impl Group {
    /// The heading in `--help` and in docs/settings.md.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Source => "Source",
            Self::Destination => "Destination",
            Self::RateAndRetries => "Rate and retries",
            Self::Load => "Load",
            Self::Guards => "Guards",
            Self::StateAndResume => "State and resume",
            Self::Output => "Output",
            Self::Monitoring => "Monitoring",
        }
    }
}

/// A setting together with the type of its value: what code names it by.
#[derive(Debug)]
pub struct Key<T> {
    /// The line of the table.
    pub setting: Setting,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The key of `setting`.
    pub(super) const fn new(setting: Setting) -> Self {
        Self { setting, value: PhantomData }
    }
}

impl<T> Deref for Key<T> {
    type Target = Setting;

    fn deref(&self) -> &Setting {
        &self.setting
    }
}

impl Setting {
    /// How the setting is named to a user.
    pub fn label(&self) -> String {
        format!("--{} ({})", self.key, self.variable)
    }

    /// The value when nobody sets it.
    pub fn default(&self) -> Option<&'static str> {
        match self.presence {
            Presence::Default(text) => Some(text),
            Presence::Required | Presence::Optional => None,
        }
    }

    /// Whether the flag may stand without a value, which sets it to `on`.
    pub fn is_bare_flag(&self) -> bool {
        self.kind == Kind::Switch && self.default() == Some("off")
    }

    /// What it is, on one line, with the words to choose from.
    pub fn short_help(&self) -> String {
        match self.kind {
            Kind::Choice { .. } => format!("{}: {}", self.help, self.kind.expected()),
            _ => self.help.to_owned(),
        }
    }
}

/// A secret: only in the environment, or in a file that the environment names.
#[derive(Clone, Copy, Debug)]
pub struct SecretSetting {
    /// Environment variable that holds it.
    pub variable: &'static str,
    /// What it is.
    pub help: &'static str,
}

impl SecretSetting {
    /// Environment variable that names a file which holds it.
    pub fn file_variable(&self) -> String {
        format!("{}_FILE", self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{ALLOW_EMPTY, LOYALTY_CHECK, TABLE};

    #[test]
    fn a_key_reads_as_its_setting() {
        let key = Key::<u64>::new(TABLE.setting);
        assert_eq!((key.key, key.variable), ("table", "TD_TABLE"));
    }

    #[test]
    fn only_a_switch_that_is_off_by_default_needs_no_value() {
        assert!(ALLOW_EMPTY.is_bare_flag());
        // Without a value it would be set to what it is.
        assert!(!LOYALTY_CHECK.is_bare_flag());
        assert!(!TABLE.is_bare_flag());
    }
}
