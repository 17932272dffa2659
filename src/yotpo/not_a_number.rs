//! Customers with numbers that JSON does not allow.
//!
//! Owns the second scan of a customer that is not valid JSON. If it is invalid only because of `NaN`, `Infinity` or `-Infinity`,
//! which Python and JavaScript libraries write, the customer is rejected and the rest of the page is used.

use serde::Deserialize;
use serde::de::IgnoredAny;

const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// A customer that is valid JSON except for its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidNumbers {
    /// Offset after the customer in the text.
    pub(super) end: usize,
    pub(super) has_loyalty_data: bool,
}

#[derive(Deserialize)]
struct Customer {
    #[serde(default)]
    yotpo_loyalty: Option<IgnoredAny>,
}

/// Scans the object that begins at `start`, after optional white space.
pub(super) fn scan_invalid_numbers(text: &str, start: usize) -> Option<InvalidNumbers> {
    let rest = text.get(start..)?;
    let object = rest.trim_ascii_start();
    let (length, repaired) = repair(object)?;
    let customer: Customer = serde_json::from_str(&repaired).ok()?;
    let end = start + (rest.len() - object.len()) + length;
    Some(InvalidNumbers { end, has_loyalty_data: customer.yotpo_loyalty.is_some() })
}

/// The length of an object, and its text with such numbers replaced by 0; `None` if there are none.
fn repair(object: &str) -> Option<(usize, String)> {
    let mut repaired = String::new();
    let (mut depth, mut at, mut copied) = (0_usize, 0, 0);
    loop {
        let rest = object.get(at..)?;
        match rest.as_bytes().first()? {
            b'"' => at += string_length(rest)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => match WORDS.iter().find(|word| rest.starts_with(**word)) {
                Some(word) => {
                    repaired.push_str(object.get(copied..at)?);
                    repaired.push('0');
                    at += word.len();
                    copied = at;
                }
                None => at += rest.chars().next()?.len_utf8(),
            },
        }
        if depth == 0 {
            break;
        }
    }
    repaired.push_str(object.get(copied..at)?);
    (copied > 0).then_some((at, repaired))
}

/// The length of the string at the start of `text`, including its quotes.
fn string_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_may_be_invalid() {
        for (text, length, has_loyalty_data) in [
            (r#"{"a":NaN}"#, 9, false),
            (r#"{"yotpo_loyalty":{"points":Infinity}}, {}"#, 37, true),
            (r#" {"yotpo_loyalty":null,"a":[-Infinity,"NaN \" }",1]}]"#, 52, false),
        ] {
            assert_eq!(
                scan_invalid_numbers(text, 0),
                Some(InvalidNumbers { end: length, has_loyalty_data }),
                "{text}"
            );
        }
        for text in [
            r#"{"a":1}"#,
            r#"{"a":NaN"#,
            r#"{"a":NaN,}"#,
            r#"{"a":nan}"#,
            "{NaN:1}",
            "NaN",
            r#"{"a":"NaN}"#,
            "",
        ] {
            assert_eq!(scan_invalid_numbers(text, 0), None, "{text}");
        }
        assert_eq!(scan_invalid_numbers(r#"[1,{"a":NaN}"#, 3).unwrap().end, 12);
    }
}
