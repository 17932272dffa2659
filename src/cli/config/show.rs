//! `yotpo-td config show`: every setting, its value and its origin.

use std::fmt::Write as _;

use clap::ArgMatches;
use serde_json::json;

use crate::cli::options::is_json;
use crate::config::{Group, Layers, Overview, SecretOverview, SettingOverview, Settings, SettingsFile};
use crate::paths::shown;
use crate::telemetry::write_stderr;

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";
/// What stands for a value that is not there.
const UNSET: &str = "-";

/// The settings as text or JSON. Invalid ones are shown like all others, with a warning on stderr.
pub(super) fn render(layers: Layers, matches: &ArgMatches) -> String {
    let overview = Overview::of(&layers);
    let file = layers.settings_file().cloned();
    if let Err(error) = Settings::from_layers(layers) {
        let count = match error.problems().len() {
            1 => "1 setting is".to_owned(),
            count => format!("{count} settings are"),
        };
        write_stderr(&format!("warning: {count} missing or wrong; yotpo-td config validate reports why\n"));
    }
    if is_json(matches) { json(&overview, file.as_ref()) } else { text(&overview, file.as_ref()) }
}

fn text(overview: &Overview, file: Option<&SettingsFile>) -> String {
    let mut text = match file {
        Some(SettingsFile::Named(path)) => format!("settings file: {}\n", shown(path)),
        Some(SettingsFile::Found(path)) => format!("settings file: {} (found)\n", shown(path)),
        None => "settings file: none\n".to_owned(),
    };
    let value_of = |setting: &SettingOverview| setting.value.clone().unwrap_or_else(|| UNSET.to_owned());
    let widths = |(name, value): (usize, usize), setting: &SettingOverview| {
        (name.max(setting.setting.key.len()), value.max(value_of(setting).chars().count().min(48)))
    };
    let secrets = overview.secrets.iter().map(|secret| secret.secret.variable.len()).max().unwrap_or(0);
    let (name_width, value_width) = overview.settings.iter().fold((secrets, HIDDEN.len()), widths);
    let mut line = |name: &str, value: &str, origin: &str| {
        let line = format!("  {name:name_width$}  {value:value_width$}  {origin}");
        // A String takes everything.
        let _ = writeln!(text, "{}", line.trim_end());
    };
    let mut lines: Vec<(Option<&str>, &str, String, String)> = Vec::new();
    let mut group: Option<Group> = None;
    for setting in &overview.settings {
        let is_new = group.replace(setting.setting.group) != Some(setting.setting.group);
        let heading = is_new.then(|| setting.setting.group.heading());
        lines.push((heading, setting.setting.key, value_of(setting), setting.origin.clone()));
    }
    for (index, SecretOverview { secret, origin }) in overview.secrets.iter().enumerate() {
        let value = if origin.is_some() { HIDDEN } else { UNSET };
        let heading = (index == 0).then_some("Secrets");
        lines.push((heading, secret.variable, value.to_owned(), origin.clone().unwrap_or_default()));
    }
    for (heading, name, value, origin) in &lines {
        if let Some(heading) = heading {
            line("", "", "");
            line(heading, "", "");
        }
        line(name, value, origin);
    }
    text
}

fn json(overview: &Overview, file: Option<&SettingsFile>) -> String {
    let origin = |origin: &str| Some(origin.to_owned()).filter(|origin| !origin.is_empty());
    let settings: Vec<_> = overview
        .settings
        .iter()
        .map(|SettingOverview { setting, value, origin: place }| {
            json!({
                "key": setting.key,
                "variable": setting.variable,
                "value": value,
                "origin": origin(place),
            })
        })
        .collect();
    let secrets: Vec<_> = overview
        .secrets
        .iter()
        .map(|SecretOverview { secret, origin }| {
            json!({ "variable": secret.variable, "is_set": origin.is_some(), "origin": origin })
        })
        .collect();
    let view = json!({
        "settings_file": file.map(|file| file.path().display().to_string()),
        "settings": settings,
        "secrets": secrets,
    });
    format!("{view:#}\n")
}
