//! Reads the next cursor from a response.
//!
//! Owns the `pagination` of a response and the forms of its cursor. It knows nothing of customers.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use serde_json::value::RawValue;

use super::cursor::{CursorForm, PageCursor};

/// How many bytes at the end of a response are searched for a cursor.
const MAX_TAIL: usize = 4 * 1024;

/// The end of a response whose last key is `pagination`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail<'a> {
    #[serde(borrow, deserialize_with = "pagination")]
    pagination: Option<Pagination<'a>>,
}

/// The `pagination` of a response.
#[derive(Deserialize)]
pub(super) struct Pagination<'a> {
    #[serde(default, borrow, deserialize_with = "text_or_number")]
    next_page_info: Option<Cow<'a, str>>,
}

/// Reads the cursor at the end of a response without parsing the customers, so that the next page can be requested immediately.
/// It is a guess until the response is parsed, because a corrupt response may have the same end. `None` if the cursor is
/// elsewhere.
pub(super) fn guess_next_cursor(body: &[u8]) -> Option<PageCursor> {
    let tail = body.get(body.len().saturating_sub(MAX_TAIL)..)?;
    let tail = tail.get(memmem::rfind(tail, br#""pagination""#)?..)?;
    let object = [b"{", tail].concat();
    let Tail { pagination } = serde_json::from_slice(&object).ok()?;
    cursor_of(pagination)
}

/// The cursor in `pagination`.
pub(super) fn cursor_of(pagination: Option<Pagination<'_>>) -> Option<PageCursor> {
    PageCursor::from_response(&pagination?.next_page_info?)
}

/// How the cursor of a response is written; `None` if it has none.
pub(super) fn cursor_form(text: &str) -> Option<CursorForm> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default, borrow, deserialize_with = "pagination")]
        pagination: Option<Pagination<'a>>,
    }
    let Body { pagination } = serde_json::from_str(text).ok()?;
    let cursor = pagination?.next_page_info.filter(|cursor| !cursor.is_empty())?;
    Some(CursorForm::of(&cursor))
}

/// Parses null or an object; serde would also accept an array for a struct, field by field.
pub(super) fn pagination<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Pagination<'de>>, D::Error> {
    let Some(raw) = Option::<&'de RawValue>::deserialize(deserializer)? else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(D::Error::invalid_type(Unexpected::Other("another type"), &"an object"));
    }
    serde_json::from_str(raw.get()).map(Some).map_err(D::Error::custom)
}

/// Parses a cursor, which is a string. A number is accepted, too, in case the service sends one.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let Some(raw) = Option::<&'de RawValue>::deserialize(deserializer)? else { return Ok(None) };
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str::<String>(raw.get()).map(|text| Some(text.into())).map_err(D::Error::custom)
        }
        Some(b'0'..=b'9') => Ok(Some(raw.get().into())),
        _ => Err(D::Error::invalid_type(Unexpected::Other("another type"), &"a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_of_a_cursor_is_recognised() {
        let form = |cursor: &str| {
            cursor_form(&format!(r#"{{"customers":[],"pagination":{{"next_page_info":{cursor}}}}}"#))
        };
        assert_eq!(form(r#""a%3D%3D""#), Some(CursorForm::PercentEncoded));
        for plain in [r#""a==""#, r#""a%zz""#, r#""a%3D=%""#] {
            assert_eq!(form(plain), Some(CursorForm::Plain), "{plain}");
        }
        assert_eq!(form(r#""abc""#), Some(CursorForm::Undetermined));
        assert_eq!(form("12"), Some(CursorForm::Undetermined));
        assert_eq!((form("null"), form(r#""""#)), (None, None));
        assert_eq!(cursor_form(r#"{"customers":[]}"#), None);
    }

    #[test]
    fn guessed_cursor_is_the_one_at_the_end() {
        let guessed =
            |body: &str| guess_next_cursor(body.as_bytes()).map(|cursor| cursor.as_str().to_owned());
        let customers = format!(r#"{{"customers":[{{"pagination":"{}"}}"#, "x".repeat(10_000));
        for (tail, expected) in [
            (r#"],"pagination":{"next_page_info":"a%3D"}}"#, Some("a=")),
            (r#"], "pagination" : { "total": 1, "next_page_info" : 12 } }"#, Some("12")),
            (r#"],"pagination":{"next_page_info":null}}"#, None),
            (r#"],"pagination":{"next_page_info":""}}"#, None),
            (r#"],"pagination":null}"#, None),
            // Another key follows, or the end is truncated: the response must be parsed.
            (r#"],"pagination":{"next_page_info":"a"},"more":1}"#, None),
            (r#"],"pagination":{"next_page_info":"a"}"#, None),
            (r#",{"a":"\"pagination\":{\"next_page_info\":\"a\"}}"#, None),
        ] {
            assert_eq!(guessed(&format!("{customers}{tail}")).as_deref(), expected, "{tail}");
        }
        assert_eq!(guessed(""), None);
        assert_eq!(guessed(r#"{"pagination":{"next_page_info":"a"},"customers":[]}"#), None);
    }
}
