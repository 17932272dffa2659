//! What holds for each setting, and where it comes from, for `config show`.
//!
//! Owns the order and the effective values: a region becomes its address, and a directory that nobody set is the platform's.
//! Secrets are only said to be set. Nothing is checked here.

use super::endpoints::effective_endpoint;
use super::keys::{LOG_LEVEL, SECRETS, SETTINGS, STATE_DIR, TD_ENDPOINT};
use super::layers::{Layers, Source};
use super::setting::{SecretSetting, Setting};
use super::settings::platform_state_directory;
use super::user_information::without_user_information;

/// A setting, its value and its origin.
#[derive(Clone, Debug)]
pub struct SettingOverview {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as text; `None` if it has none.
    pub value: Option<String>,
    /// The flag, the variable, or the file with its line; `default` for a value that nobody set; empty without a value.
    pub origin: String,
}

/// Whether a secret is set, and where.
#[derive(Clone, Debug)]
pub struct SecretOverview {
    /// The secret.
    pub secret: &'static SecretSetting,
    /// The variable or file; `None` if it is not set.
    pub origin: Option<String>,
}

/// All settings and secrets.
#[derive(Clone, Debug)]
pub struct Overview {
    /// In the order of `--help`.
    pub settings: Vec<SettingOverview>,
    /// All of them.
    pub secrets: Vec<SecretOverview>,
}

impl Overview {
    /// What the layers say.
    pub fn of(layers: &Layers) -> Self {
        let secret = |secret| SecretOverview { secret, origin: layers.secret_place(secret) };
        Self {
            settings: SETTINGS.iter().map(|setting| of_setting(layers, setting)).collect(),
            secrets: SECRETS.iter().map(secret).collect(),
        }
    }
}

fn of_setting(layers: &Layers, setting: &'static Setting) -> SettingOverview {
    let (value, origin) = match derived(layers, setting) {
        Some((value, origin)) => (Some(value), origin),
        None => (
            layers.get(setting).map(|(_, value)| value.trim().to_owned()),
            layers.origin(setting).map(|origin| origin.place(setting)).unwrap_or_default(),
        ),
    };
    SettingOverview { setting, value: value.map(|value| without_user_information(&value)), origin }
}

/// A value that follows from something else than the setting itself.
fn derived(layers: &Layers, setting: &Setting) -> Option<(String, String)> {
    let source = layers.get(setting).map(|(source, _)| source);
    if setting.key == TD_ENDPOINT.key {
        return effective_endpoint(layers);
    }
    if setting.key == STATE_DIR.key && source.is_none() {
        return Some((platform_state_directory(layers)?.display().to_string(), "default".to_owned()));
    }
    if setting.key == LOG_LEVEL.key && source == Some(Source::Default) {
        return Some((layers.variable("RUST_LOG")?, "RUST_LOG".to_owned()));
    }
    None
}
