//! `yotpo-td config validate`: the checks that `sync` starts with.

use clap::ArgMatches;

use crate::cli::failure::Failure;
use crate::cli::invocation::Invocation;
use crate::config::{Layers, Settings};
use crate::diagnosis::{Code, Diagnosis};
use crate::paths::shown;

/// What the settings lead to, if they are valid.
pub(super) fn validate(
    invocation: &Invocation,
    mut layers: Layers,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    if matches.get_flag("without-secrets") {
        layers.assume_secrets();
    }
    let file = layers.settings_file().map_or_else(|| "none".to_owned(), |file| shown(file.path()));
    let settings = Settings::from_layers(layers).map_err(|error| {
        let hint = Some("yotpo-td config show prints where each value comes from".to_owned());
        Failure::before_start(error, Diagnosis::new(Code::SettingsInvalid, hint), invocation)
    })?;
    let target = &settings.load.target;
    Ok(format!(
        "The settings are valid.\n  settings file  {file}\n  source         store {} at {}\n  destination    {} at {} ({})\n",
        target.store,
        target.yotpo_endpoint,
        target.label(),
        target.treasure_data_endpoint,
        settings.load.mode.as_str(),
    ))
}
