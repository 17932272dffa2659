//! Masks a customer: strings are hidden, everything else stays as the row has it.
//!
//! Owns the list of keys whose values are shown. Invariants: a string that is not shown is replaced, whatever contains it; keys,
//! numbers, `true`, `false`, `null`, empty strings, their order and their spelling stay; valid JSON stays valid. It works on
//! the compact text of a row. In any other text it hides more, never less.

use super::vocabulary::Vocabulary;

/// What a hidden string is replaced with.
pub const MASK: &str = "***";

/// The object whose keys and values the store chooses. Nothing in it is shown, whatever its key is.
const CHOSEN_BY_THE_STORE: &str = "custom_properties";

/// Keys whose values are shown if they are of this kind: dates of events, tiers, and words of closed vocabularies. Only what is
/// known not to be about a person is listed, so the dates are a list, too: a date of birth is a date.
const SHOWN: [(&str, Vocabulary); 17] = [
    ("account_created_at", Vocabulary::Timestamp),
    ("account_status", Vocabulary::Word),
    ("account_updated_at", Vocabulary::Timestamp),
    ("consent", Vocabulary::Word),
    ("created_at", Vocabulary::Timestamp),
    ("default_currency", Vocabulary::Currency),
    ("last_review_date", Vocabulary::Timestamp),
    ("last_seen_at", Vocabulary::Timestamp),
    ("opted_in_at", Vocabulary::Timestamp),
    ("points_expire_at", Vocabulary::Timestamp),
    ("since", Vocabulary::Timestamp),
    ("suppression_reason", Vocabulary::Word),
    ("timestamp", Vocabulary::Timestamp),
    ("updated_at", Vocabulary::Timestamp),
    ("vip_tier_entry_date", Vocabulary::Timestamp),
    ("vip_tier_expiration", Vocabulary::Timestamp),
    ("vip_tier_name", Vocabulary::Tier),
];

/// The compact JSON text of a customer with its strings masked.
pub fn mask(json: &str) -> String {
    let mut masker = Masker { output: String::with_capacity(json.len()), ..Masker::default() };
    let mut rest = json;
    while let Some(quote) = rest.find('"') {
        let (structure, from_quote) = rest.split_at(quote);
        masker.structure(structure);
        let (text, after) = split_string(from_quote);
        masker.string(text, structure, after);
        rest = after;
    }
    masker.structure(rest);
    masker.output
}

#[derive(Default)]
struct Masker<'a> {
    output: String,
    /// The string that was read last: a key, if a colon follows.
    last: &'a str,
    /// Number of open arrays and objects.
    depth: usize,
    /// The depth at which the store's own object began, while it is open.
    hidden_above: Option<usize>,
}

impl<'a> Masker<'a> {
    /// Copies what is between two strings.
    fn structure(&mut self, text: &str) {
        if self.hidden_above.is_none() && self.last == CHOSEN_BY_THE_STORE && text.starts_with(':') {
            self.hidden_above = Some(self.depth);
        }
        for byte in text.bytes() {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.end_value();
                }
                b',' => self.end_value(),
                _ => {}
            }
        }
        self.output.push_str(text);
    }

    /// Notes that a value at the current depth has ended.
    fn end_value(&mut self) {
        self.hidden_above = self.hidden_above.filter(|above| self.depth > *above);
    }

    /// Copies a key; copies or masks a value. `before` is what separates it from the previous string.
    fn string(&mut self, text: &'a str, before: &str, after: &str) {
        let is_key = after.starts_with(':');
        // The value of the key, and not the first item of an array or a key in an object.
        let is_shown = before == ":" && self.hidden_above.is_none() && is_shown(self.last, text);
        let kept = if is_key || is_shown || text.is_empty() { text } else { MASK };
        for part in ["\"", kept, "\""] {
            self.output.push_str(part);
        }
        self.last = text;
    }
}

fn is_shown(key: &str, value: &str) -> bool {
    SHOWN.iter().any(|(shown, vocabulary)| *shown == key && vocabulary.contains(value))
}

/// Splits text that begins with a quote into what is in the string and what is after it. A string without an end is all there is.
fn split_string(text: &str) -> (&str, &str) {
    let content = text.get(1..).unwrap_or_default();
    let mut is_escaped = false;
    let closing = content.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    });
    match closing.and_then(|at| Some((content.get(..at)?, content.get(at + 1..)?))) {
        Some(split) => split,
        None => (content, ""),
    }
}

#[cfg(test)]
mod tests;
