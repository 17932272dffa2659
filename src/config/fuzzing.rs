//! Settings from the text of a file, for the fuzz targets, which are in a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes private functions, because writing a file for every input makes a fuzzer a hundred times
//! slower. The program does not use this module.

use super::layers::Layers;
use super::settings_file::SettingsFile;
use std::collections::BTreeMap;

/// The layers without flags, and with a settings file of this `text`.
pub fn layers_with_file(environment: BTreeMap<String, String>, text: &str) -> Layers {
    let file = SettingsFile::Named("settings.toml".into());
    Layers::with_file(&BTreeMap::new(), environment, Some((Ok(text.to_owned()), file)))
}
