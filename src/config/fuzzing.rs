//! Settings from the text of a file, for the fuzz targets, which are in a separate crate (`fuzz/targets`).
//!
//! Owns nothing: it exposes private functions, because writing a file for every input makes a fuzzer a hundred times
//! slower. The program does not use this module.

use std::collections::BTreeMap;
use std::path::Path;

use super::layers::Layers;

/// The layers without flags, and with a settings file of this `text`.
pub fn layers_with_file(environment: BTreeMap<String, String>, text: &str) -> Layers {
    Layers::with_file(&BTreeMap::new(), environment, Some((Path::new("settings.toml"), Ok(text.to_owned()))))
}
