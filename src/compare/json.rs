//! One level of a JSON value, as `serde_json` reads it.
//!
//! Owns what decoding leaves out: whitespace, escapes, the order of keys, and all but the last value of a repeated key.
//! Numbers stay as they are written. Strings are bytes, because customers may have lone surrogates (WTF-8). It does not
//! descend into arrays and objects, and shares nothing with [`crate::row`], so that a mistake there cannot cancel out.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// A value whose parts are not decoded yet.
pub(super) enum Level<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Cow<'a, [u8]>),
    Array(Vec<&'a RawValue>),
    Object(Members<'a>),
}

/// The members of an object by key, each key once.
#[derive(Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, [u8]>, &'a RawValue)>);

/// Why bytes are not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAnObject {
    /// They end too early.
    Truncated,
    /// They are not JSON.
    NotJson,
    /// They begin with another value.
    OtherValue,
}

/// The members of the one object that the bytes contain.
pub(super) fn object(bytes: &[u8]) -> Result<Members<'_>, NotAnObject> {
    // Keys are read as bytes, so they are not checked later.
    let text = std::str::from_utf8(bytes).map_err(|_| NotAnObject::NotJson)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => NotAnObject::OtherValue,
        Category::Eof => NotAnObject::Truncated,
        Category::Syntax | Category::Io => NotAnObject::NotJson,
    })
}

/// Decodes the outermost level.
pub(super) fn level(value: &RawValue) -> serde_json::Result<Level<'_>> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Level::Null,
        Some(b't') => Level::Bool(true),
        Some(b'f') => Level::Bool(false),
        Some(b'"') => Level::Text(unquoted(text)?),
        Some(b'[') => Level::Array(serde_json::from_str(text)?),
        Some(b'{') => Level::Object(serde_json::from_str(text)?),
        _ => Level::Number(text),
    })
}

/// The bytes of a string in quotes.
fn unquoted(text: &str) -> serde_json::Result<Cow<'_, [u8]>> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inner.filter(|inner| memchr::memchr(b'\\', inner.as_bytes()).is_none()) {
        Some(inner) => Ok(Cow::Borrowed(inner.as_bytes())),
        None => serde_json::from_str(text).map(|Bytes(bytes)| bytes),
    }
}

impl<'a> Members<'a> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        let at = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(key.as_bytes())).ok()?;
        self.0.get(at).map(|(_, value)| *value)
    }

    /// The members, sorted by the bytes of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// Number of members.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some((Bytes(key), value)) = map.next_entry::<Bytes<'de>, &'de RawValue>()? {
                    members.push((key, value));
                }
                // Stable, so that of equal keys the last one is written last, and first after the reversal.
                members.reverse();
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                members.dedup_by(|(later, _), (kept, _)| later == kept);
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A string as bytes.
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfString;

        impl<'de> Visitor<'de> for OfString {
            type Value = Bytes<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                // Only strings that are read as text are checked for these.
                if bytes.iter().any(|byte| *byte < b' ') {
                    return Err(E::custom("control character in a string"));
                }
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(bytes.to_vec())))
            }
        }

        deserializer.deserialize_bytes(OfString)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_and_values(json: &str) -> Vec<(String, String)> {
        let members = object(json.as_bytes()).unwrap_or_else(|problem| panic!("{json}: {problem:?}"));
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        members.iter().map(|(key, value)| (text(key), value.get().to_owned())).collect()
    }

    #[test]
    fn members_are_sorted_and_the_last_of_a_repeated_key_counts() {
        let found = keys_and_values(r#" {"b":1, "a" : [ 2 ],"\u0061":{"x":1}, "b":3} "#);
        let expected = [("a", r#"{"x":1}"#), ("b", "3")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(found, expected);
    }

    #[test]
    fn lone_surrogates_are_read() {
        let members = object(br#"{"text":"\ud83d\ude00 \ud83d"}"#).unwrap();
        let Level::Text(text) = level(members.get("text").unwrap()).unwrap() else { panic!("no text") };
        assert_eq!(text.as_ref(), b"\xf0\x9f\x98\x80 \xed\xa0\xbd");
        assert_eq!(keys_and_values(r#"{"\udc00":1}"#)[0].0, r"\xed\xb0\x80");
    }

    #[test]
    fn what_is_not_one_object_is_an_error() {
        for (bytes, expected) in [
            (&b""[..], NotAnObject::Truncated),
            (b"{", NotAnObject::Truncated),
            (b"{\"a\":\"", NotAnObject::Truncated),
            (b"{}{}", NotAnObject::NotJson),
            (b"{\"a\":01}", NotAnObject::NotJson),
            (b"{\"a\":NaN}", NotAnObject::NotJson),
            (b"{\"a\":\"\n\"}", NotAnObject::NotJson),
            (b"{\"a\":\xff}", NotAnObject::NotJson),
            (b"{\"\xff\":1}", NotAnObject::NotJson),
            (b"{\"\\x\":1}", NotAnObject::NotJson),
            (b"\xef\xbb\xbf{}", NotAnObject::NotJson),
            (b"{\"a\n\":1}", NotAnObject::OtherValue),
            (b"[]", NotAnObject::OtherValue),
            (b"null", NotAnObject::OtherValue),
            (b"7", NotAnObject::OtherValue),
        ] {
            assert_eq!(object(bytes).err(), Some(expected), "{}", bytes.escape_ascii());
        }
    }
}
