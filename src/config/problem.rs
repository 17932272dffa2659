//! What is wrong with the settings, all at once.

use std::fmt;

/// One setting that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    label: String,
    what: String,
}

/// Everything that is wrong with the settings. Never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl Problem {
    /// `what` is wrong with the setting that users know as `label`.
    pub fn new(label: impl Into<String>, what: impl Into<String>) -> Self {
        Self { label: label.into(), what: what.into() }
    }

    /// Whether the label begins with this name.
    pub(super) fn is_about(&self, name: &str) -> bool {
        self.label.starts_with(name)
    }
}

impl SettingsError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// What is wrong, in the order of `--help`.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.label, self.what)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(formatter, "a setting is missing or wrong")?,
            count => write!(formatter, "{count} settings are missing or wrong")?,
        }
        for problem in &self.problems {
            write!(formatter, "\n  {problem}")?;
        }
        Ok(())
    }
}
