//! Redacts server messages.
//!
//! Servers quote what they receive. [`Redactor`] knows the secrets of the run. It removes them, and everything that looks like
//! personal data, from every external text before it reaches an error or a log.

use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::paths::is_control;

/// Maximum length of a server message, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 200;
/// Longer words are considered tokens, cursors or encoded data.
const MAX_WORD_LENGTH: usize = 32;
/// Words with at least this many digits are considered telephone numbers or ids of people.
const MIN_PRIVATE_DIGITS: usize = 7;
/// Bodies larger than this are not searched for a message.
const MAX_ERROR_BODY: usize = 64 * 1024;
const MASK: &str = "[redacted]";

/// Removes secrets and personal data from server messages. Clones share the known secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<SecretString>>>,
}

impl Redactor {
    /// A redactor without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret to remove.
    pub fn add_secret(&self, secret: &SecretString) {
        if !secret.expose_secret().is_empty() {
            self.secrets.write().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        }
    }

    /// The redacted message in the body of a failed response: from one of the known error formats of the two services, or a
    /// short plain text. `None` for HTML, empty bodies and unknown formats.
    pub fn server_message(&self, body: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_ERROR_BODY)?.trim();
        let message = match serde_json::from_str::<Value>(text) {
            Ok(value) => message_of(&value)?,
            Err(_) if text.is_empty() || text.starts_with(['<', '{', '[']) => return None,
            Err(_) => text.to_owned(),
        };
        Some(self.redact(&message)).filter(|message| !message.is_empty())
    }

    /// Shortens `text` and removes secrets, e-mail addresses, long numbers, long opaque words and control characters.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        {
            let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
            for secret in secrets.iter() {
                text = text.replace(secret.expose_secret(), MASK);
            }
        }
        let mut redacted = String::new();
        let mut follows_bearer = false;
        for word in text.split(|character: char| character.is_whitespace() || is_control(character)) {
            if word.is_empty() {
                continue;
            }
            if !redacted.is_empty() {
                redacted.push(' ');
            }
            redacted.push_str(if follows_bearer || is_private(word) { MASK } else { word });
            follows_bearer = announces_secret(word);
            if redacted.chars().count() > MAX_MESSAGE_CHARACTERS {
                redacted = redacted.chars().take(MAX_MESSAGE_CHARACTERS).collect();
                redacted.push('…');
                break;
            }
        }
        redacted
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

/// The message in one of the documented error formats (reference: Yotpo "Limits, errors", Treasure Data "Errors").
fn message_of(value: &Value) -> Option<String> {
    let candidates = [
        value.get("message"),
        value.get("error").filter(|error| error.is_string()),
        value.get("text"),
        value.pointer("/errors/0/message"),
        value.pointer("/errors/0").filter(|error| error.is_string()),
        value.pointer("/status/message"),
    ];
    let mut parts: Vec<String> = Vec::new();
    for text in candidates.into_iter().flatten() {
        let text = match text {
            Value::String(text) => text.clone(),
            Value::Object(fields) => fields.iter().map(of_field).collect::<Vec<_>>().join(", "),
            _ => continue,
        };
        if !text.trim().is_empty() && !parts.contains(&text) {
            parts.push(text);
        }
    }
    // `error` and `text` of Treasure Data belong together; everything else is one message.
    parts.truncate(2);
    (!parts.is_empty()).then(|| parts.join(": "))
}

/// A field of a message that is an object, with the texts in its value.
fn of_field((name, value): (&String, &Value)) -> String {
    let mut texts = Vec::new();
    add_texts(value, &mut texts);
    if texts.is_empty() { name.clone() } else { format!("{name}: {}", texts.join(", ")) }
}

fn add_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, texts)),
        Value::Object(fields) => fields.values().for_each(|value| add_texts(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_private(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let has_long_number = digits >= MIN_PRIVATE_DIGITS;
    let lower = word.to_ascii_lowercase();
    let has_address = lower.contains('@') || lower.contains("%40") || lower.contains("&#64;");
    has_address || has_long_number || (word.chars().count() > MAX_WORD_LENGTH && word != MASK)
}

/// Whether a token follows the word.
fn announces_secret(word: &str) -> bool {
    let name = word.trim_end_matches([':', '=']).trim_start_matches(['"', '\'', '(']);
    ["bearer", "basic", "td1", "x-yotpo-token"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_found_in_every_documented_format() {
        let redactor = Redactor::new();
        for (body, expected) in [
            (r#"{"error":"bad secret"}"#, Some("bad secret")),
            (r#"{"errors":[{"message":"no such store"}]}"#, Some("no such store")),
            (r#"{"errors":[{"message":{"limit":["too big"]}}]}"#, Some("limit: too big")),
            (
                r#"{"message":{"reason":["Store not found","of ann@example.com"],"at":{"a":"b"},"code":7}}"#,
                Some("at: b, code, reason: Store not found, of [redacted]"),
            ),
            (r#"{"message":"nope","code":7,"error_type":"x"}"#, Some("nope")),
            (r#"{"status":{"message":"Unauthorized","code":401}}"#, Some("Unauthorized")),
            (
                r#"{"error":"Not found","text":"table missing","severity":"error"}"#,
                Some("Not found: table missing"),
            ),
            (r#"{"error":"Not found","text":"Not found"}"#, Some("Not found")),
            (r#"{"message":" ","error":"bad secret"}"#, Some("bad secret")),
            ("service is down\n", Some("service is down")),
            ("<html>busy</html>", None),
            (r#"{"customers":[{"email":"a"}]}"#, None),
            ("", None),
            ("{\"message\":", None),
        ] {
            assert_eq!(redactor.server_message(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn secrets_and_personal_data_are_removed() {
        let redactor = Redactor::new();
        redactor.add_secret(&SecretString::from("s3cret"));
        assert_eq!(
            redactor
                .redact("secret s3cret of ann@example.com, +1 555, +15551234567 or 5551234567 was\n refused"),
            "secret [redacted] of [redacted] +1 555, [redacted] or [redacted] was refused"
        );
        assert_eq!(
            redactor.redact("Authorization: Bearer abc, TD1 x/y, ann%40example.com and ann&#64;example.com"),
            "Authorization: Bearer [redacted] TD1 [redacted] [redacted] and [redacted]"
        );
        assert_eq!(redactor.redact("deny \u{202e}lla\u{202c}\u{1b}[0m"), "deny lla [0m");
        assert_eq!(redactor.redact(&"x".repeat(33)), "[redacted]");
        assert_eq!(redactor.redact(&"x".repeat(32)), "x".repeat(32));
        assert!(redactor.redact(&"word ".repeat(500)).chars().count() <= MAX_MESSAGE_CHARACTERS + 1);
        assert_eq!(format!("{redactor:?}"), "Redactor");
    }

    #[test]
    fn only_a_longer_message_is_shortened() {
        let whole = "word ".repeat(39) + "words";
        assert_eq!(whole.len(), MAX_MESSAGE_CHARACTERS);
        assert_eq!(Redactor::new().redact(&whole), whole);
        assert_eq!(Redactor::new().redact(&format!("{whole}!")), format!("{whole}…"));
    }
}
