//! Where a value comes from: flag before environment before file before default.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{FileFormat, Format, ValueKind};

use super::environment;
use super::keys::{self, SECRETS, SETTINGS};
use super::problem::Problem;
use super::setting::Setting;

/// Largest settings file that is read.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Where a value comes from, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The settings file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// All values, before they are checked.
#[derive(Debug, Default)]
pub struct Layers {
    values: HashMap<&'static str, (Source, String)>,
    environment: BTreeMap<String, OsString>,
    problems: Vec<Problem>,
}

impl Layers {
    /// Puts the layers together. A variable that is empty counts as not set.
    pub fn new(
        flags: &BTreeMap<&'static str, String>,
        environment: BTreeMap<String, impl Into<OsString>>,
        file: Option<&Path>,
    ) -> Self {
        Self::with_file(flags, environment, file.map(|path| (path, read_text(path))))
    }

    /// As [`Self::new`], with a file that was read already, or could not be.
    pub(super) fn with_file(
        flags: &BTreeMap<&'static str, String>,
        environment: BTreeMap<String, impl Into<OsString>>,
        file: Option<(&Path, Result<String, String>)>,
    ) -> Self {
        let environment: BTreeMap<String, OsString> =
            environment.into_iter().map(|(name, value)| (name, value.into())).collect();
        let problems = environment::problems(&environment);
        let mut layers = Self { environment, problems, ..Self::default() };
        for setting in SETTINGS {
            if let Some(default) = setting.default() {
                layers.set(setting, Source::Default, default.to_owned());
            }
        }
        if let Some((path, text)) = file {
            layers.take_file(path, text);
        }
        for setting in SETTINGS {
            if let Some(value) = layers.variable(setting.variable) {
                layers.set(setting, Source::Environment, value);
            }
            if let Some(value) = flags.get(setting.key) {
                layers.set(setting, Source::Flag, value.clone());
            }
        }
        layers
    }

    /// The value of a setting and where it comes from.
    pub fn get(&self, setting: &Setting) -> Option<(Source, &str)> {
        self.values.get(setting.key).map(|(source, value)| (*source, value.as_str()))
    }

    /// Where the value of a setting comes from, as a phrase such as `from TD_TABLE`.
    pub fn origin(&self, setting: &Setting) -> String {
        match self.get(setting) {
            None => String::new(),
            Some((Source::Default, _)) => format!("the default of --{}", setting.key),
            Some((Source::File, _)) => format!("from {} in the settings file", setting.key),
            Some((Source::Environment, _)) => format!("from {}", setting.variable),
            Some((Source::Flag, _)) => format!("from --{}", setting.key),
        }
    }

    /// A variable of the environment, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name)?.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// A variable that is a path, as the system has it, unless it is empty.
    pub fn path_variable(&self, name: &str) -> Option<PathBuf> {
        self.environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Whether a variable is set to what is not UTF-8, which is a problem of its own already.
    pub(super) fn is_not_utf8(&self, name: &str) -> bool {
        self.environment.get(name).is_some_and(|value| value.to_str().is_none())
    }

    /// Sets a value as if it were a flag.
    pub fn set_flag(&mut self, setting: &Setting, value: &str) {
        self.set(setting, Source::Flag, value.to_owned());
    }

    /// Makes a setting as if nobody had set it.
    pub fn unset(&mut self, setting: &Setting) {
        self.values.remove(setting.key);
    }

    /// Sets a variable of the environment.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// Problems found while the layers were put together.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn set(&mut self, setting: &Setting, source: Source, value: String) {
        self.values.insert(setting.key, (source, value));
    }

    fn take_file(&mut self, path: &Path, text: Result<String, String>) {
        let label = "--config (YOTPO_TD_CONFIG)";
        let parsed = text.and_then(|text| parse(&text).map_err(|what| format!("{}: {what}", path.display())));
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(what) => return self.problems.push(Problem::new(label, what)),
        };
        for (key, value) in parsed {
            match (keys::find(&key), value) {
                (Some(setting), Some(value)) => self.set(setting, Source::File, value),
                (Some(setting), None) => {
                    let what = format!("in {}: expected {}", path.display(), setting.kind.expected());
                    self.problems.push(Problem::new(setting.label(), what));
                }
                (None, _) => {
                    let what = format!("{}: {}", path.display(), unknown(&key));
                    self.problems.push(Problem::new(label, what));
                }
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let read = match std::fs::metadata(path).map(|metadata| metadata.len()) {
        Ok(size) if size > LARGEST_FILE => {
            return Err(format!("{} is larger than a settings file can be", path.display()));
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Keys and plain values of a TOML text; a value that is a table or a list is `None`.
///
/// The keys are taken as they stand. `Config` would read a key such as `"table.x"` as a path into `table`, and which of
/// the two wins would change from one start to the next.
fn parse(text: &str) -> Result<BTreeMap<String, Option<String>>, String> {
    let parsed = Format::parse(&FileFormat::Toml, None, text)
        // The parser's message quotes lines, and somebody may have put a secret there.
        .map_err(|_quoting| "it is not valid TOML".to_owned())?;
    let plain = |kind: ValueKind| match kind {
        ValueKind::Boolean(true) => Some("on".to_owned()),
        ValueKind::Boolean(false) => Some("off".to_owned()),
        ValueKind::I64(number) => Some(number.to_string()),
        ValueKind::U64(number) => Some(number.to_string()),
        ValueKind::Float(number) => Some(number.to_string()),
        ValueKind::String(text) => Some(text),
        _ => None,
    };
    Ok(parsed.into_iter().map(|(key, value)| (key, plain(value.kind))).collect())
}

fn unknown(key: &str) -> String {
    let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    if SECRETS.iter().any(|secret| plain(secret.variable).contains(&plain(key))) {
        return format!("{shown} is a secret: set it in the environment, not in the settings file");
    }
    let near = SETTINGS
        .iter()
        .find(|setting| plain(setting.key) == plain(key) || plain(setting.variable) == plain(key));
    match near {
        Some(setting) => format!("unknown key {shown}; did you mean {}?", setting.key),
        None => format!("unknown key {shown}; keys are the names of the flags without the leading dashes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{DATABASE, MAX_RETRIES, PAGE_SIZE, REQUESTS_PER_SECOND, TABLE};
    use proptest::prelude::*;

    fn layers(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> Layers {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, file).unwrap();
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Layers::new(&flags, environment, Some(&path))
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let file = "table = 'from_file'\npage-size = 7\nrequests-per-second = 2.5\nmode = 'append'";
        let environment =
            [("TD_TABLE", "from_environment"), ("YOTPO_TD_PAGE_SIZE", "8"), ("TD_DATABASE", "")];
        let layers = layers(&[("table", "from_flag")], &environment, file);
        assert_eq!(layers.get(&TABLE), Some((Source::Flag, "from_flag")));
        assert_eq!(layers.get(&PAGE_SIZE), Some((Source::Environment, "8")));
        assert_eq!(layers.get(&REQUESTS_PER_SECOND), Some((Source::File, "2.5")));
        assert_eq!(layers.get(&MAX_RETRIES), Some((Source::Default, "8")));
        assert_eq!(layers.get(&DATABASE), None);
        assert!(layers.problems.is_empty());
    }

    #[test]
    fn unknown_keys_secrets_and_wrong_kinds_are_problems() {
        let mut layers = layers(&[], &[], "page_size = 7\nTD_API_KEY = 'k'\ncolour = 1\n[table]\nx = 1");
        let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("did you mean page-size?")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("is a secret")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("unknown key colour")), "{problems:?}");
    }

    #[test]
    fn a_key_that_looks_like_a_path_is_unknown_every_time() {
        for key in ["table.x", "table[0]", "[", "a b"] {
            // Which key came first was left to chance.
            for _ in 0..20 {
                let mut layers = layers(&[], &[], &format!("table = 'customers'\n\"{key}\" = 1"));
                let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
                assert!(problems.len() == 1 && problems[0].contains("unknown key"), "{key}: {problems:?}");
                assert_eq!(layers.get(&TABLE), Some((Source::File, "customers")));
            }
        }
    }

    #[test]
    fn a_file_that_is_no_toml_is_reported_without_being_quoted() {
        let mut layers = layers(&[], &[], "YOTPO_CLIENT_SECRET: hunter2");
        let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].contains("hunter2") && problems[0].contains("not valid TOML"), "{problems:?}");
    }

    proptest! {
        #[test]
        fn no_settings_file_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
