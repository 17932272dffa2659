//! The JSON Schema of the settings file, for `config schema`: editors check and complete a file with it.

use serde_json::{Map, Value, json};

use super::keys::SETTINGS;
use super::kind::Kind;
use super::setting::Setting;

/// The schema (JSON Schema 2020-12) of the settings file. It accepts less than the program in one point: a number or switch must
/// not be in quotes.
pub fn schema() -> Value {
    let properties: Map<String, Value> =
        SETTINGS.iter().map(|setting| (setting.key.to_owned(), property(setting))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings file of yotpo-td",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(setting: &Setting) -> Value {
    let mut property = of_kind(&setting.kind);
    let help = [setting.help, ". ", setting.details].concat();
    if let Some(property) = property.as_object_mut() {
        property.insert("description".to_owned(), help.trim().replace('`', "").into());
        if let Some(default) = setting.default() {
            property.insert("default".to_owned(), typed(&setting.kind, default));
        }
    }
    property
}

fn of_kind(kind: &Kind) -> Value {
    match *kind {
        Kind::Integer { min, max: u64::MAX } => json!({ "type": "integer", "minimum": min }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Choice { words, .. } => json!({ "enum": words }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Name { rule, .. } => {
            json!({ "type": "string", "pattern": rule.pattern() })
        }
        Kind::Duration { .. } => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size { .. } => json!({ "type": "string", "pattern": SIZE }),
        Kind::Url
        | Kind::PushUrl
        | Kind::ListenAddress
        | Kind::Directory { .. }
        | Kind::File
        | Kind::OutputFile
        | Kind::LogFilter => json!({ "type": "string", "minLength": 1 }),
    }
}

/// Numbers with units, such as `1h 30m`. Which units there are is left to the program.
const DURATION: &str = r"^\s*\d+\s*[a-z]+(\s*\d+\s*[a-z]+)*\s*$";
/// A number, with a unit unless it is in bytes.
const SIZE: &str = r"^\s*\d+(\.\d+)?\s*[A-Za-z]*\s*$";

/// A default as its JSON type.
fn typed(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::Integer { .. } => kind.integer(text).into(),
        Kind::Number { .. } => kind.number(text).into(),
        Kind::Switch => kind.switch(text).into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_with_a_default_of_its_type() {
        let schema = schema();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), SETTINGS.len());
        for setting in SETTINGS {
            let property = &properties[setting.key];
            assert!(
                property["description"].as_str().is_some_and(|text| text.starts_with(&setting.help[..3]))
            );
            let default = property.get("default");
            assert_eq!(default.is_some(), setting.default().is_some(), "{}", setting.key);
            let is_of_type = match property["type"].as_str() {
                Some("integer") => default.is_none_or(Value::is_u64),
                Some("number") => default.is_none_or(Value::is_number),
                Some("boolean") => default.is_none_or(Value::is_boolean),
                Some("string") => default.is_none_or(Value::is_string),
                _ => property["enum"]
                    .as_array()
                    .is_some_and(|words| default.is_none_or(|word| words.contains(word))),
            };
            assert!(is_of_type, "{}: {property}", setting.key);
        }
    }

    #[test]
    fn bounds_are_those_of_the_table() {
        let properties = &schema()["properties"];
        assert_eq!(properties["page-size"]["minimum"], 1);
        assert_eq!(properties["page-size"]["maximum"], 100);
        assert_eq!(properties["max-error-records"]["maximum"], Value::Null);
        assert_eq!(properties["database"]["pattern"], "^[a-z0-9_]{3,128}$");
        assert_eq!(properties["store-id"]["pattern"], "^[A-Za-z0-9_-]{1,128}$");
        assert_eq!(properties["mode"]["enum"], json!(["append", "replace"]));
    }
}
