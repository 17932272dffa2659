//! Converts MessagePack values to JSON, in which rows are read back.
//!
//! Owns the conversion of types that JSON does not have. Invariant: the result is never much longer than the value, and
//! nesting cannot exhaust the stack.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Head, Scan, head, scan};

/// Maximum nesting depth of the JSON.
const MAX_JSON_DEPTH: usize = 64;

/// A value as JSON: binary as text, extensions and values nested too deeply as null.
pub(in crate::sandbox) fn to_json(value: &[u8]) -> Value {
    json_at(value, 0).map_or(Value::Null, |(json, _)| json)
}

fn json_at(value: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let (head, used) = head(value)?;
    let mut rest = value.get(used..)?;
    if depth > MAX_JSON_DEPTH {
        let Scan::Complete(length) = scan(value) else { return None };
        return Some((Value::Null, value.get(length..)?));
    }
    let json = match head {
        Head::Nil => Value::Null,
        Head::Boolean(boolean) => Value::Bool(boolean),
        Head::Unsigned(number) => Value::from(number),
        Head::Signed(number) => Value::from(number),
        Head::Float(number) => Value::from(number),
        Head::String(length) | Head::Binary(length) => {
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
        Head::Extension(length) => {
            rest = rest.get(length..)?;
            Value::Null
        }
        Head::Array(count) => {
            let mut array = Vec::new();
            for _ in 0..count {
                let (item, after) = json_at(rest, depth + 1)?;
                array.push(item);
                rest = after;
            }
            Value::Array(array)
        }
        Head::Map(count) => {
            let mut map = serde_json::Map::new();
            for _ in 0..count {
                let (key, after) = key_at(rest, depth + 1)?;
                let (item, after) = json_at(after, depth + 1)?;
                map.insert(key, item);
                rest = after;
            }
            Value::Object(map)
        }
    };
    Some((json, rest))
}

/// A key as text. A list or a map becomes its MessagePack in hexadecimal: as JSON, the quotes in nested keys would be
/// escaped again at each level, so the length would double with each level.
fn key_at(value: &[u8], depth: usize) -> Option<(String, &[u8])> {
    if let (Head::Array(_) | Head::Map(_), _) = head(value)? {
        let Scan::Complete(length) = scan(value) else { return None };
        let (nested, after) = value.split_at_checked(length)?;
        let hexadecimal = nested.iter().fold(String::new(), |mut text, byte| {
            // Writing to memory cannot fail.
            let _written = write!(text, "{byte:02x}");
            text
        });
        return Some((hexadecimal, after));
    }
    let (key, after) = json_at(value, depth)?;
    Some((if let Value::String(key) = key { key } else { key.to_string() }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_become_json() {
        let value = [
            &[0x9a, 0xc0, 0xc3, 0xe0, 0xcd, 1, 0, 0xd1, 0xff, 0][..],
            &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[0xd9, 2, b'h', b'i', 0xd4, 1, 2, 0x81, 0xa1, b'k', 0x90, 0xc4, 1, b'b'],
        ]
        .concat();
        let expected = serde_json::json!([null, true, -32, 256, -256, 1.5, "hi", null, {"k": []}, "b"]);
        assert_eq!(to_json(&value), expected);
    }

    #[test]
    fn keys_of_every_type_become_text() {
        let map = [0x85, 0xa1, b'k', 1, 7, 2, 0xc3, 3, 0x91, 0xa1, b'x', 4, 0x80, 5];
        let expected = serde_json::json!({"k": 1, "7": 2, "true": 3, "91a178": 4, "80": 5});
        assert_eq!(to_json(&map), expected);
    }

    #[test]
    fn keys_nested_in_keys_do_not_double_with_every_level() {
        let mut nested = vec![0x81; 20];
        nested.resize(41, 1);
        let json = to_json(&nested);
        let key = json.as_object().unwrap().keys().next().unwrap();
        assert_eq!(key.len(), 2 * 39);
    }
}
