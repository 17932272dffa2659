//! Where a value comes from: flag before environment before file before default.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::environment;
use super::file::{Entry, FileLine, parse, read_text};
use super::keys::{self, SECRETS, SETTINGS};
use super::problem::Problem;
use super::setting::Setting;

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

/// Where a value comes from, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The settings file.
    File(FileLine),
    /// The setting's variable.
    Environment,
    /// The setting's flag.
    Flag,
}

/// All values, before they are checked.
#[derive(Debug, Default)]
pub struct Layers {
    values: HashMap<&'static str, (Origin, String)>,
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
                layers.set(setting, Origin::Default, default.to_owned());
            }
        }
        if let Some((path, text)) = file {
            layers.take_file(path, text);
        }
        for setting in SETTINGS {
            if let Some(value) = layers.variable(setting.variable) {
                layers.set(setting, Origin::Environment, value);
            }
            if let Some(value) = flags.get(setting.key) {
                layers.set(setting, Origin::Flag, value.clone());
            }
        }
        layers
    }

    /// The value of a setting and where it comes from.
    pub fn get(&self, setting: &Setting) -> Option<(Source, &str)> {
        self.values.get(setting.key).map(|(origin, value)| (origin.source(), value.as_str()))
    }

    /// Where the value of a setting comes from, exactly.
    pub fn origin(&self, setting: &Setting) -> Option<&Origin> {
        self.values.get(setting.key).map(|(origin, _)| origin)
    }

    /// Where the value of a setting comes from, as a phrase such as `from TD_TABLE`.
    pub fn origin_phrase(&self, setting: &Setting) -> String {
        self.origin(setting).map(|origin| origin.phrase(setting)).unwrap_or_default()
    }

    /// A variable of the environment, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name)?.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// A variable that is a path, as the system has it, unless it is empty.
    pub fn path_variable(&self, name: &str) -> Option<PathBuf> {
        self.environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Whether the value of a variable is not UTF-8, which is reported separately.
    pub(super) fn is_not_utf8(&self, name: &str) -> bool {
        self.environment.get(name).is_some_and(|value| value.to_str().is_none())
    }

    /// Sets a value as if it were a flag.
    pub fn set_flag(&mut self, setting: &Setting, value: &str) {
        self.set(setting, Origin::Flag, value.to_owned());
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

    fn set(&mut self, setting: &Setting, origin: Origin, value: String) {
        self.values.insert(setting.key, (origin, value));
    }

    fn take_file(&mut self, path: &Path, text: Result<String, String>) {
        let label = "--config (YOTPO_TD_CONFIG)";
        let entries = text.and_then(|text| parse(&text).map_err(|error| error.in_file(path)));
        let entries = match entries {
            Ok(entries) => entries,
            Err(what) => return self.problems.push(Problem::new(label, what)),
        };
        for Entry { key, value, line } in entries {
            let place = FileLine { path: path.to_owned(), line };
            match (keys::find(&key), value) {
                (Some(setting), Some(value)) => self.set(setting, Origin::File(place), value),
                (Some(setting), None) => {
                    let what = format!("a list or table from {place}; expected {}", setting.kind.expected());
                    self.problems.push(Problem::new(setting.label(), what));
                }
                (None, _) => {
                    self.problems.push(Problem::new(label, format!("{place}: {}", unknown(&key))));
                }
            }
        }
    }
}

impl Origin {
    /// The layer.
    pub fn source(&self) -> Source {
        match self {
            Self::Default => Source::Default,
            Self::File(_) => Source::File,
            Self::Environment => Source::Environment,
            Self::Flag => Source::Flag,
        }
    }

    /// As a phrase such as `from TD_TABLE`, for a value of `setting`.
    pub fn phrase(&self, setting: &Setting) -> String {
        match self {
            Self::Default => format!("the default of --{}", setting.key),
            Self::File(place) => format!("from {place}"),
            Self::Environment => format!("from {}", setting.variable),
            Self::Flag => format!("from --{}", setting.key),
        }
    }
}

fn unknown(key: &str) -> String {
    let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    if SECRETS.iter().any(|secret| plain(secret.variable).contains(&plain(key))) {
        return format!("{shown} is a secret; set it in the environment, not in the settings file");
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
    use crate::config::keys::{DATABASE, MAX_RETRIES, MODE, PAGE_SIZE, REQUESTS_PER_SECOND, TABLE};

    fn layers(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> Layers {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
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
        let lines = ["settings.toml:1: ", "settings.toml:2: ", "settings.toml:3: ", "settings.toml:4; "];
        assert!(problems.iter().zip(lines).all(|(problem, line)| problem.contains(line)), "{problems:?}");
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
    fn every_value_remembers_where_it_comes_from() {
        let file = "# comment\ntable = 'x'\npage-size = 7";
        let layers = layers(&[("mode", "append")], &[("YOTPO_TD_PAGE_SIZE", "8")], file);
        let phrases = [&TABLE.setting, &PAGE_SIZE, &MODE, &MAX_RETRIES, &DATABASE]
            .map(|setting| layers.origin_phrase(setting));
        let [table, rest @ ..] = phrases;
        assert!(table.starts_with("from ") && table.ends_with("settings.toml:2"), "{table}");
        assert_eq!(rest, ["from YOTPO_TD_PAGE_SIZE", "from --mode", "the default of --max-retries", ""]);
        assert_eq!(layers.origin(&MODE), Some(&Origin::Flag));
        assert_eq!(layers.origin(&DATABASE), None);
    }

    #[test]
    fn a_file_that_is_no_toml_is_one_problem() {
        let mut layers = layers(&[], &[], "a = 1\nYOTPO_CLIENT_SECRET: hunter2");
        let problems: Vec<_> = layers.take_problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].ends_with("settings.toml:2:22: not valid TOML"), "{problems:?}");
    }
}
