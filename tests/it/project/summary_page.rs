//! `docs/summary.md` lists every field of the summary, from its schema, which real summaries follow (`program::summary`).

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::project::generated::assert_generated;

const SCHEMA: &str = include_str!("../../../docs/summary.schema.json");

/// The values of a field: its types, or all that there are.
fn values(field: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => format!("`{text}`"),
        value => value.to_string(),
    };
    if let Some(constant) = field.get("const") {
        return text(constant);
    }
    if let Some(values) = field["enum"].as_array() {
        return values.iter().map(text).collect::<Vec<_>>().join(", ");
    }
    match &field["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(" or ")
        }
        _ => "object".to_owned(),
    }
}

/// The fields of an object. Those that it only names are described where `allOf` leads to.
fn fields<'a>(object: &'a Value, schema: &'a Value) -> Map<String, Value> {
    let mut fields = Map::new();
    for reference in object["allOf"].as_array().into_iter().flatten() {
        let path = reference["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
        fields.extend(schema.pointer(path).unwrap()["properties"].as_object().unwrap().clone());
    }
    let own = object["properties"].as_object().into_iter().flatten();
    fields.extend(
        own.filter(|(_, field)| field.is_object()).map(|(name, field)| (name.clone(), field.clone())),
    );
    fields
}

fn add_rows(table: &mut String, prefix: &str, object: &Value, schema: &Value) {
    for (name, field) in fields(object, schema) {
        let description = field["description"].as_str().unwrap_or_else(|| panic!("{prefix}{name}"));
        writeln!(table, "| `{prefix}{name}` | {} | {description} |", values(&field)).unwrap();
        add_rows(table, &format!("{prefix}{name}."), &field, schema);
    }
}

#[test]
fn every_field_of_the_summary_is_documented() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut table = "\n| field | value | meaning |\n|---|---|---|\n".to_owned();
    add_rows(&mut table, "", &schema, &schema);
    assert!(table.lines().count() > 60, "{table}");
    assert_generated("docs/summary.md", "docs/summary.schema.json", &(table + "\n"));
}
