//! What an answer says of the page behind it.
//!
//! Owns the `pagination` of an answer and the forms that its cursor may have. It does not know customers.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use serde_json::value::RawValue;

use super::cursor::PageCursor;

/// How far from its end an answer is searched for its cursor.
const MAX_TAIL: usize = 4 * 1024;

/// The end of an answer whose last key is `pagination`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail<'a> {
    #[serde(borrow, deserialize_with = "pagination")]
    pagination: Option<Pagination<'a>>,
}

/// What an answer says of the page behind it.
#[derive(Deserialize)]
pub(super) struct Pagination<'a> {
    #[serde(default, borrow, deserialize_with = "text_or_number")]
    next_page_info: Option<Cow<'a, str>>,
}

/// The cursor at the end of an answer, read without a look at the customers, so that the next page can be asked for at
/// once. Only a guess until the answer was read: an answer that is damaged may end like this too. `None` where the cursor
/// stands elsewhere.
pub(super) fn guess_next_cursor(body: &[u8]) -> Option<PageCursor> {
    let tail = body.get(body.len().saturating_sub(MAX_TAIL)..)?;
    let tail = tail.get(memmem::rfind(tail, br#""pagination""#)?..)?;
    let object = [b"{", tail].concat();
    let Tail { pagination } = serde_json::from_slice(&object).ok()?;
    cursor_of(pagination)
}

/// The cursor that it names.
pub(super) fn cursor_of(pagination: Option<Pagination<'_>>) -> Option<PageCursor> {
    PageCursor::from_answer(&pagination?.next_page_info?)
}

/// Null or an object; serde alone would take a list for a struct, field by field.
pub(super) fn pagination<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Pagination<'de>>, D::Error> {
    let Some(raw) = Option::<&'de RawValue>::deserialize(deserializer)? else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(D::Error::invalid_type(Unexpected::Other("another kind of value"), &"an object"));
    }
    serde_json::from_str(raw.get()).map(Some).map_err(D::Error::custom)
}

/// A cursor is a text; a service that once sends it as a whole number means the same.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let Some(raw) = Option::<&'de RawValue>::deserialize(deserializer)? else { return Ok(None) };
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str::<String>(raw.get()).map(|text| Some(text.into())).map_err(D::Error::custom)
        }
        Some(b'0'..=b'9') => Ok(Some(raw.get().into())),
        _ => Err(D::Error::invalid_type(Unexpected::Other("another kind of value"), &"a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likely_cursor_is_the_one_at_the_end() {
        let likely = |body: &str| guess_next_cursor(body.as_bytes()).map(|cursor| cursor.as_str().to_owned());
        let customers = format!(r#"{{"customers":[{{"pagination":"{}"}}"#, "x".repeat(10_000));
        for (tail, expected) in [
            (r#"],"pagination":{"next_page_info":"a%3D"}}"#, Some("a=")),
            (r#"], "pagination" : { "total": 1, "next_page_info" : 12 } }"#, Some("12")),
            (r#"],"pagination":{"next_page_info":null}}"#, None),
            (r#"],"pagination":{"next_page_info":""}}"#, None),
            (r#"],"pagination":null}"#, None),
            // Another key behind it, or an end that is cut off: the answer must be read.
            (r#"],"pagination":{"next_page_info":"a"},"more":1}"#, None),
            (r#"],"pagination":{"next_page_info":"a"}"#, None),
            (r#",{"a":"\"pagination\":{\"next_page_info\":\"a\"}}"#, None),
        ] {
            assert_eq!(likely(&format!("{customers}{tail}")).as_deref(), expected, "{tail}");
        }
        assert_eq!(likely(""), None);
        assert_eq!(likely(r#"{"pagination":{"next_page_info":"a"},"customers":[]}"#), None);
    }
}
