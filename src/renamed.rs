//! Former names of what is public: settings, error codes and metrics.
//!
//! Owns the table of names that are still understood, and what is said about their use (docs/releasing.md). A former name lives for
//! one minor version. Where names are read is decided by `config`, `diagnosis` and `telemetry`, which take the table as an argument in
//! their tests: it is usually empty.

use std::fmt;

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// The key of a setting: its flag without the dashes, and its key in the settings file.
    Key,
    /// The environment variable of a setting or of a secret.
    Variable,
    /// An error code.
    Code,
    /// A metric.
    Metric,
}

/// A name that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// What it names.
    pub kind: NameKind,
    /// The name up to now.
    pub old: &'static str,
    /// The name from now on.
    pub new: &'static str,
    /// The first version that does not know the old name.
    pub removed_in: &'static str,
}

/// Every name that has changed and is still understood.
pub const RENAMED: &[Renamed] = &[];

/// A former name as it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerName {
    /// As the user wrote it, such as `--old-name` or `settings.toml:3`'s `old-name`.
    pub used: String,
    /// What to write instead.
    pub new: String,
    /// The first version that does not know the old name.
    pub removed_in: &'static str,
}

impl NameKind {
    /// The former names of this kind.
    pub fn of(self, table: &'static [Renamed]) -> impl Iterator<Item = &'static Renamed> {
        table.iter().filter(move |renamed| renamed.kind == self)
    }

    /// What `name` is called now, if it is a former name.
    pub fn renamed(self, table: &'static [Renamed], name: &str) -> Option<&'static Renamed> {
        self.of(table).find(|renamed| renamed.old == name)
    }
}

impl Renamed {
    /// What to say where the name itself was used, or is still written.
    pub fn note(&self) -> FormerName {
        FormerName { used: self.old.to_owned(), new: self.new.to_owned(), removed_in: self.removed_in }
    }
}

impl FormerName {
    /// Logs that the name was used.
    pub fn warn(&self) {
        tracing::warn!(
            old_name = self.used,
            new_name = self.new,
            removed_in = self.removed_in,
            "a name has changed, use the new one; the version in removed_in does not know the old one"
        );
    }
}

impl fmt::Display for FormerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, new, removed_in } = self;
        write!(formatter, "{used} is now {new}; version {removed_in} does not know the old name")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{SECRETS, SETTINGS};
    use crate::diagnosis::Code;
    use crate::telemetry::FAMILIES;

    fn names(kind: NameKind) -> Vec<String> {
        let owned = |name: &str| name.to_owned();
        match kind {
            NameKind::Key => SETTINGS.iter().map(|setting| owned(setting.key)).collect(),
            NameKind::Variable => SETTINGS
                .iter()
                .map(|setting| owned(setting.variable))
                .chain(SECRETS.iter().flat_map(|secret| [owned(secret.variable), secret.file_variable()]))
                .collect(),
            NameKind::Code => Code::ALL.iter().map(|code| owned(code.name())).collect(),
            NameKind::Metric => FAMILIES.iter().map(|family| owned(family.name)).collect(),
        }
    }

    fn version(text: &str) -> Vec<u64> {
        text.split('.').map(|number| number.parse().unwrap()).collect()
    }

    /// What is wrong with a table in the given version of the program.
    fn faults(table: &[Renamed], current: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        for Renamed { kind, old, new, removed_in } in table {
            let names = names(*kind);
            if names.iter().any(|name| name == old) || !seen.insert((*kind, *old)) {
                faults.push(format!("{old} is a name of today, or twice in the table"));
            }
            if !names.iter().any(|name| name == new) {
                faults.push(format!("{new} is not a name of today"));
            }
            if version(removed_in) <= version(current) {
                faults.push(format!("{old} should have been removed in {removed_in}"));
            }
            if !removed_in.ends_with(".0") {
                faults.push(format!("{old}: {removed_in} is a patch, which removes nothing"));
            }
        }
        faults
    }

    #[test]
    fn former_names_lead_to_names_of_today_and_are_removed_in_time() {
        assert_eq!(faults(RENAMED, env!("CARGO_PKG_VERSION")), [] as [String; 0]);
    }

    #[test]
    fn a_wrong_table_is_noticed() {
        const fn key(old: &'static str, new: &'static str, removed_in: &'static str) -> Renamed {
            Renamed { kind: NameKind::Key, old, new, removed_in }
        }
        assert_eq!(faults(&[key("old", "table", "0.3.0")], "0.2.7"), [] as [String; 0]);
        assert_eq!(
            faults(&[key("old", "table", "0.3.0")], "0.3.0"),
            ["old should have been removed in 0.3.0"]
        );
        assert_eq!(
            faults(&[key("mode", "tables", "0.3.1")], "0.2.0"),
            [
                "mode is a name of today, or twice in the table",
                "tables is not a name of today",
                "mode: 0.3.1 is a patch, which removes nothing"
            ]
        );
    }

    #[test]
    fn the_use_of_a_former_name_is_a_warning() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = std::sync::Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        let renamed = Renamed { kind: NameKind::Key, old: "old", new: "new", removed_in: "0.3.0" };
        tracing::subscriber::with_default(subscriber, || renamed.note().warn());
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(text.contains(" WARN "), "{text}");
        assert!(text.contains("old_name=\"old\" new_name=\"new\" removed_in=\"0.3.0\""), "{text}");
    }

    #[test]
    fn the_message_names_both_names_and_the_version() {
        let name = FormerName { used: "--old".to_owned(), new: "--new".to_owned(), removed_in: "0.3.0" };
        assert_eq!(name.to_string(), "--old is now --new; version 0.3.0 does not know the old name");
    }
}
