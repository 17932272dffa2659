//! Where a value comes from: flag before environment before file before default.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file::{Entry, FileLine, parse};
use super::keys::{self, API_KEY, SECRETS, SETTINGS, SITE, TD_CONF, TD_ENDPOINT, YOTPO_ENDPOINT};
use super::nearest::nearest;
use super::problem::Problem;
use super::setting::{SecretSetting, Setting};
use super::settings_file::SettingsFile;
use super::{environment, td_conf};
use crate::renamed::{FormerName, RENAMED, Renamed};

/// Settings that decide to whom secrets are sent. A file that was only found cannot set them.
const ENDPOINT_SETTINGS: [Setting; 3] = [YOTPO_ENDPOINT.setting, TD_ENDPOINT.setting, TD_CONF.setting];
/// As many changes make an unknown key a known one.
const MAX_KEY_CHANGES: usize = 3;

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
    file: Option<SettingsFile>,
    key_in_td_conf: KeyInTdConf,
    problems: Vec<Problem>,
    former_names: Vec<FormerName>,
}

/// Whether the API key comes from the toolbelt's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum KeyInTdConf {
    /// The file is not used.
    #[default]
    No,
    /// It is on this line.
    At(FileLine),
    /// It should, but the file cannot be used, which is reported already.
    Unusable,
}

impl Layers {
    /// Puts the layers together. A variable that is empty counts as not set.
    pub fn new(
        flags: &BTreeMap<&'static str, String>,
        environment: BTreeMap<String, impl Into<OsString>>,
        file: Option<SettingsFile>,
    ) -> Self {
        Self::with_file(flags, environment, file.map(|file| (file.read(), file)))
    }

    /// As [`Self::new`], with a file that was read already, or could not be.
    pub(super) fn with_file(
        flags: &BTreeMap<&'static str, String>,
        environment: BTreeMap<String, impl Into<OsString>>,
        file: Option<(Result<String, String>, SettingsFile)>,
    ) -> Self {
        Self::with_former_names(flags, environment, file, RENAMED)
    }

    /// As [`Self::with_file`], with other former names.
    pub(super) fn with_former_names(
        flags: &BTreeMap<&'static str, String>,
        environment: BTreeMap<String, impl Into<OsString>>,
        file: Option<(Result<String, String>, SettingsFile)>,
        renamed: &'static [Renamed],
    ) -> Self {
        let environment: BTreeMap<String, OsString> =
            environment.into_iter().map(|(name, value)| (name, value.into())).collect();
        let mut layers = Self { environment, ..Self::default() };
        layers.take_former_variables(renamed);
        layers.problems.extend(environment::problems(&layers.environment));
        let flags = layers.take_former_flags(flags, renamed);
        for setting in SETTINGS {
            if let Some(default) = setting.default() {
                layers.set(setting, Origin::Default, default.to_owned());
            }
        }
        if let Some((text, file)) = file {
            layers.take_file(&file, text, renamed);
            layers.file = Some(file);
        }
        for setting in SETTINGS {
            if let Some(value) = layers.variable(setting.variable) {
                layers.set(setting, Origin::Environment, value);
            }
            if let Some(value) = flags.get(setting.key) {
                layers.set(setting, Origin::Flag, value.clone());
            }
        }
        if let Some((_, path)) = layers.get(&TD_CONF) {
            let path = PathBuf::from(path);
            layers.take_td_conf(&path);
        }
        layers
    }

    /// The settings file, if there is one.
    pub fn settings_file(&self) -> Option<&SettingsFile> {
        self.file.as_ref()
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

    /// Makes the secrets that are not set appear to be set, to check everything else.
    pub fn assume_secrets(&mut self) {
        for secret in SECRETS {
            if self.secret_place(secret).is_none() {
                self.set_variable(secret.variable, "not-set");
            }
        }
    }

    /// Former names that were used.
    pub fn former_names(&self) -> &[FormerName] {
        &self.former_names
    }

    /// The environment, to give variables other names.
    pub(super) fn environment_mut(&mut self) -> &mut BTreeMap<String, OsString> {
        &mut self.environment
    }

    /// Notes that a former name was used.
    pub(super) fn note(&mut self, name: FormerName) {
        self.former_names.push(name);
    }

    /// Reports a problem that is known before the values are checked.
    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Problems found while the layers were put together.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn set(&mut self, setting: &Setting, origin: Origin, value: String) {
        self.values.insert(setting.key, (origin, value));
    }

    /// Where a secret comes from, if it is set: `TD_API_KEY`, `the file in TD_API_KEY_FILE` or `td.conf:3`.
    pub(super) fn secret_place(&self, secret: &SecretSetting) -> Option<String> {
        let is_set = |name: &str| self.environment.get(name).is_some_and(|value| !value.is_empty());
        match &self.key_in_td_conf {
            KeyInTdConf::At(place) if secret.variable == API_KEY.variable => Some(place.to_string()),
            _ if is_set(secret.variable) => Some(secret.variable.to_owned()),
            _ => Some(secret.file_variable())
                .filter(|name| is_set(name))
                .map(|name| format!("the file in {name}")),
        }
    }

    /// Whether a secret is missing because a problem that was reported keeps it from being read.
    pub(super) fn is_secret_reported(&self, secret: &SecretSetting) -> bool {
        let is_unreadable = self.is_not_utf8(secret.variable) || self.is_not_utf8(&secret.file_variable());
        let is_in_td_conf = secret.variable == API_KEY.variable;
        is_unreadable || is_in_td_conf && self.key_in_td_conf == KeyInTdConf::Unusable
    }

    /// Key and endpoint of the toolbelt's file. They belong together: a key is not sent to an address from elsewhere.
    fn take_td_conf(&mut self, path: &Path) {
        self.key_in_td_conf = KeyInTdConf::Unusable;
        let others: Vec<String> = [API_KEY.variable.to_owned(), API_KEY.file_variable()]
            .into_iter()
            .filter(|name| self.environment.get(name).is_some_and(|value| !value.is_empty()))
            .chain([&SITE.setting, &TD_ENDPOINT.setting].into_iter().filter_map(|setting| {
                let (source, _) = self.get(setting)?;
                (source > Source::Default).then(|| setting.label())
            }))
            .collect();
        if !others.is_empty() {
            let what = format!(
                "gives both key and endpoint, which are also set by {}; expected one source",
                others.join(", ")
            );
            return self.problems.push(Problem::new(TD_CONF.label(), what));
        }
        match td_conf::read(path) {
            Ok(account) => {
                self.set_variable(API_KEY.variable, &account.api_key);
                self.key_in_td_conf = KeyInTdConf::At(account.key_line);
                if let Some((endpoint, place)) = account.endpoint {
                    self.set(&TD_ENDPOINT, Origin::File(place), endpoint);
                }
            }
            Err(what) => self.problems.push(Problem::new(TD_CONF.label(), what)),
        }
    }

    fn take_file(&mut self, file: &SettingsFile, text: Result<String, String>, renamed: &'static [Renamed]) {
        let path = file.path();
        let label = match file {
            SettingsFile::Named(_) => "--config (YOTPO_TD_CONFIG)",
            SettingsFile::Found(_) => "settings file",
        };
        let entries = text.and_then(|text| parse(&text).map_err(|error| error.in_file(path)));
        let entries = match entries {
            Ok(entries) => entries,
            Err(what) => return self.problems.push(Problem::new(label, what)),
        };
        let is_found = matches!(file, SettingsFile::Found(_));
        let is_endpoint = |setting: &Setting| ENDPOINT_SETTINGS.iter().any(|other| other.key == setting.key);
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
        for Entry { key, value, line } in entries {
            let place = FileLine { path: path.to_owned(), line };
            let Some(key) = self.current_key(key, &place, &keys, renamed) else { continue };
            match (keys::find(&key), value) {
                (Some(setting), _) if is_found && is_endpoint(setting) => {
                    let what = format!(
                        "{place}: only a file that is named with --config can set {key}, because it decides where keys are \
                         sent"
                    );
                    self.problems.push(Problem::new(label, what));
                }
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
            origin => format!("from {}", origin.place(setting)),
        }
    }

    /// The flag, the variable, or the file with its line; `default` for a value that nobody set.
    pub(super) fn place(&self, setting: &Setting) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File(place) => place.to_string(),
            Self::Environment => setting.variable.to_owned(),
            Self::Flag => format!("--{}", setting.key),
        }
    }
}

fn unknown(key: &str) -> String {
    let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    if SECRETS.iter().any(|secret| plain(secret.variable).contains(&plain(key))) {
        return format!("{shown} is a secret; set it in the environment, not in the settings file");
    }
    let same = SETTINGS
        .iter()
        .find(|setting| plain(setting.key) == plain(key) || plain(setting.variable) == plain(key));
    let keys = SETTINGS.iter().map(|setting| setting.key);
    let meant = same
        .map(|setting| setting.key)
        .or_else(|| nearest(&plain(key).replace('_', "-"), keys, MAX_KEY_CHANGES));
    match meant {
        Some(meant) => format!("unknown key {shown}; did you mean {meant}?"),
        None => format!("unknown key {shown}; keys are the names of the flags without the leading dashes"),
    }
}

#[cfg(test)]
mod tests;
