//! Which object an error response of Treasure Data is about.

use serde_json::Value;

/// Whether a 404 is about the path itself, or does not come from the service at all.
pub(super) fn blames_path(body: &[u8]) -> bool {
    match message(body) {
        Some(text) => text.contains("any api endpoint"),
        None => body.trim_ascii_start().starts_with(b"<"),
    }
}

/// The message of an error, in lower case.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else { return None };
    let texts =
        ["message", "error", "text"].map(|key| fields.get(key).and_then(Value::as_str).unwrap_or_default());
    Some(texts.join(" ").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_path_is_distinguished_from_a_missing_session_or_table() {
        let json = |message: &str| serde_json::json!({"error": message}).to_string();
        assert!(blames_path(json("path and method do not match any API endpoint").as_bytes()));
        assert!(blames_path(b"\n<!DOCTYPE html><html>"));
        for other in [json("Table 'a.b' does not exist"), json("Resource not found"), String::new()] {
            assert!(!blames_path(other.as_bytes()), "{other}");
        }
    }
}
