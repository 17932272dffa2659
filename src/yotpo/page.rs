//! One page: its customers as opaque slices of the answer, and the cursor behind it.

use std::fmt;

use bytestring::ByteString;
use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use serde_json::value::RawValue;

use super::cursor::PageCursor;
use crate::http::{BodyProblem, Response, parse_json};

/// How far from its end an answer is searched for its cursor.
const LONGEST_TAIL: usize = 4 * 1024;

/// A page of customers. The customers share the answer's buffer; none is copied or looked into.
pub struct Page {
    customers: Vec<ByteString>,
    next: Option<PageCursor>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    customers: Vec<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "object")]
    pagination: Option<Pagination<'a>>,
}

/// The end of an answer whose last key is `pagination`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail<'a> {
    #[serde(borrow, deserialize_with = "object")]
    pagination: Option<Pagination<'a>>,
}

#[derive(Deserialize)]
struct Pagination<'a> {
    #[serde(default, borrow, deserialize_with = "text_or_number")]
    next_page_info: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct LoyaltyProbe<'a> {
    #[serde(default, borrow)]
    yotpo_loyalty: Option<&'a RawValue>,
}

impl Page {
    /// Splits an answer. `customers` must be a list; `pagination` may be null or absent, and so may its cursor.
    ///
    /// # Errors
    /// A [`BodyProblem`] that says what is wrong without quoting the body.
    pub fn split(response: &Response) -> Result<Self, BodyProblem> {
        let text = response.text()?;
        let body: Body<'_> = parse_json(&text)?;
        let next = cursor_of(body.pagination);
        let slice = |customer: &&RawValue| text.slice_ref(customer.get());
        Ok(Self { customers: body.customers.iter().map(slice).collect(), next })
    }

    /// A page without customers and without a cursor: the end of the data.
    pub fn end() -> Self {
        Self { customers: Vec::new(), next: None }
    }

    /// The customers, each the exact JSON text that Yotpo sent.
    pub fn customers(&self) -> &[ByteString] {
        &self.customers
    }

    /// The customers, without the page.
    pub fn into_customers(self) -> Vec<ByteString> {
        self.customers
    }

    /// The cursor of the next page; `None` on the last.
    pub fn next(&self) -> Option<&PageCursor> {
        self.next.as_ref()
    }

    /// Whether any customer has loyalty data: a `yotpo_loyalty` that is there and not null.
    pub(super) fn has_loyalty_data(&self) -> bool {
        // What is no object has no such key, although serde would take a list for one.
        self.customers.iter().filter(|customer| customer.starts_with('{')).any(|customer| {
            serde_json::from_str::<LoyaltyProbe<'_>>(customer)
                .is_ok_and(|probe| probe.yotpo_loyalty.is_some_and(|loyalty| loyalty.get() != "null"))
        })
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its content is customers.
        write!(formatter, "Page({} customers, {:?})", self.customers.len(), self.next)
    }
}

/// The cursor at the end of an answer, read without a look at the customers, so that the next page can be asked for at
/// once. Only a guess until the answer was split: an answer that is damaged may end like this too. `None` where the cursor
/// stands elsewhere.
pub(super) fn likely_next(body: &[u8]) -> Option<PageCursor> {
    let tail = body.get(body.len().saturating_sub(LONGEST_TAIL)..)?;
    let tail = tail.get(memmem::rfind(tail, br#""pagination""#)?..)?;
    let object = [b"{", tail].concat();
    let Tail { pagination } = serde_json::from_slice(&object).ok()?;
    cursor_of(pagination)
}

fn cursor_of(pagination: Option<Pagination<'_>>) -> Option<PageCursor> {
    PageCursor::from_answer(&pagination?.next_page_info?)
}

/// Null or an object; serde alone would take a list for a struct, field by field.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Pagination<'de>>, D::Error> {
    let Some(raw) = Option::<&'de RawValue>::deserialize(deserializer)? else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(D::Error::invalid_type(Unexpected::Other("another kind of value"), &"an object"));
    }
    serde_json::from_str(raw.get()).map(Some).map_err(D::Error::custom)
}

/// A cursor is a text; a service that once sends it as a whole number means the same.
fn text_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<std::borrow::Cow<'de, str>>, D::Error> {
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
    use crate::http::DelayHint;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    fn split(body: &str) -> Result<Page, BodyProblem> {
        Page::split(&Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            delay: DelayHint::default(),
        })
    }

    fn next(body: &str) -> Option<String> {
        split(body).unwrap().next().map(|cursor| cursor.as_str().to_owned())
    }

    #[test]
    fn customers_are_the_exact_bytes_that_were_sent() {
        let page =
            split(r#"{"x":1,"customers":[ {"a" : 1.10} ,null,{"b":"\u00e9"}],"pagination":null}"#).unwrap();
        assert_eq!(page.customers(), [r#"{"a" : 1.10}"#, "null", r#"{"b":"\u00e9"}"#]);
    }

    #[test]
    fn every_form_of_no_cursor_is_the_last_page() {
        for tail in [
            "",
            r#","pagination":null"#,
            r#","pagination":{}"#,
            r#","pagination":{"next_page_info":null}"#,
            r#","pagination":{"next_page_info":""}"#,
        ] {
            assert_eq!(next(&format!(r#"{{"customers":[]{tail}}}"#)), None, "{tail}");
        }
    }

    #[test]
    fn a_cursor_is_found_wherever_the_pagination_stands() {
        assert_eq!(next(r#"{"pagination":{"next_page_info":"a%3D"},"customers":[]}"#).as_deref(), Some("a="));
        assert_eq!(
            next(r#"{"customers":[{}],"pagination":{"next_page_info":"a\/b"}}"#).as_deref(),
            Some("a/b")
        );
        assert_eq!(next(r#"{"customers":[],"pagination":{"next_page_info":12}}"#).as_deref(), Some("12"));
    }

    #[test]
    fn the_likely_cursor_is_the_one_at_the_end() {
        let likely = |body: &str| likely_next(body.as_bytes()).map(|cursor| cursor.as_str().to_owned());
        let customers = format!(r#"{{"customers":[{{"pagination":"{}"}}"#, "x".repeat(10_000));
        for (tail, expected) in [
            (r#"],"pagination":{"next_page_info":"a%3D"}}"#, Some("a=")),
            (r#"], "pagination" : { "total": 1, "next_page_info" : 12 } }"#, Some("12")),
            (r#"],"pagination":{"next_page_info":null}}"#, None),
            (r#"],"pagination":{"next_page_info":""}}"#, None),
            (r#"],"pagination":null}"#, None),
            // Another key behind it, or an end that is cut off: the answer must be split.
            (r#"],"pagination":{"next_page_info":"a"},"more":1}"#, None),
            (r#"],"pagination":{"next_page_info":"a"}"#, None),
            (r#",{"a":"\"pagination\":{\"next_page_info\":\"a\"}}"#, None),
        ] {
            assert_eq!(likely(&format!("{customers}{tail}")).as_deref(), expected, "{tail}");
        }
        assert_eq!(likely(""), None);
        assert_eq!(likely(r#"{"pagination":{"next_page_info":"a"},"customers":[]}"#), None);
    }

    #[test]
    fn debug_output_hides_the_customers() {
        let page = split(r#"{"customers":[{"email":"ann@example.com"}],"pagination":null}"#).unwrap();
        assert_eq!(format!("{page:?}"), "Page(1 customers, None)");
    }

    #[test]
    fn text_that_is_no_utf8_is_refused_without_being_quoted() {
        let problem = Page::split(&Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{\"customers\":[{\"a\":\"\xff\"}]}"),
            delay: DelayHint::default(),
        });
        let problem = problem.unwrap_err().to_string();
        assert!(problem.contains("not UTF-8") && problem.contains("index 20"), "{problem}");
    }

    #[test]
    fn bodies_that_are_not_a_page_are_refused_without_being_quoted() {
        for body in [
            "",
            "<html>",
            "rate limit exceeded",
            r#"{"errors":[{"message":"ann@example.com"}]}"#,
            r#"{"customers":null}"#,
            r#"{"customers":{}}"#,
            r#"{"customers":[],"pagination":{"next_page_info":{"a":1}}}"#,
            r#"{"customers":[],"pagination":7}"#,
            r#"{"customers":[],"pagination":["cursor"]}"#,
            "[[],null]",
            r#"{"customers":[{"email":"ann@example.com"#,
            r#"{"customers":[]} trailing"#,
        ] {
            let problem = split(body).unwrap_err();
            assert!(!problem.to_string().contains("ann@"), "{problem}");
        }
    }

    #[test]
    fn nesting_without_end_is_no_danger() {
        let deep = 1_000_000;
        let body = format!(r#"{{"customers":[{}{}]}}"#, "[".repeat(deep), "]".repeat(deep));
        let page = split(&body).unwrap();
        assert_eq!(page.customers().len(), 1);
        assert!(!page.has_loyalty_data());
        assert!(split(&format!(r#"{{"customers":[{}"#, "[".repeat(deep))).is_err());
    }

    #[test]
    fn loyalty_data_must_be_more_than_null() {
        for (customers, expected) in [
            ("", false),
            (r#"{"yotpo_loyalty":null},{"email":"yotpo_loyalty"}"#, false),
            (r#"null,7,{"a":{"yotpo_loyalty":{}}}"#, false),
            (r#"[{"points":1}]"#, false),
            (r#"{"a":1},{"yotpo_loyalty":{"points":0}}"#, true),
        ] {
            let page = split(&format!(r#"{{"customers":[{customers}]}}"#)).unwrap();
            assert_eq!(page.has_loyalty_data(), expected, "{customers}");
        }
    }
}
