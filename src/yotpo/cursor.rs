//! The cursor of the next page.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// Yotpo's `next_page_info`, decoded. Yotpo sends cursors percent-encoded, and encoding them again breaks paging. Therefore a
/// cursor is decoded when it is received and encoded once when it is sent.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PageCursor(String);

/// How `next_page_info` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorForm {
    /// Percent-encoded.
    PercentEncoded,
    /// Not encoded, although it has characters that a URL would have to encode.
    Plain,
    /// It has only characters that look the same in both forms.
    Undetermined,
}

impl CursorForm {
    /// The form of a text that is not empty.
    pub(super) fn of(text: &str) -> Self {
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if text.bytes().all(is_unreserved) {
            Self::Undetermined
        } else if is_percent_encoded(text) {
            Self::PercentEncoded
        } else {
            Self::Plain
        }
    }
}

impl PageCursor {
    /// Decodes a cursor from a response. Returns `None` if it is empty, which means the last page.
    ///
    /// A text with an invalid escape, or whose escapes are not UTF-8, was never encoded and is kept unchanged.
    pub fn from_response(text: &str) -> Option<Self> {
        let encoded = is_percent_encoded(text).then(|| percent_decode_str(text).decode_utf8().ok()).flatten();
        let decoded = encoded.map_or_else(|| text.to_owned(), std::borrow::Cow::into_owned);
        (!decoded.is_empty()).then_some(Self(decoded))
    }

    /// Creates a cursor from its decoded form, as it was saved.
    pub fn from_plain(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The decoded form, to be encoded once as a query value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<PageCursor> for String {
    fn from(cursor: PageCursor) -> Self {
        cursor.0
    }
}

impl TryFrom<String> for PageCursor {
    type Error = &'static str;

    /// Reads a cursor in its decoded form, as it was saved.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err("the cursor is empty") } else { Ok(Self(text)) }
    }
}

impl fmt::Debug for PageCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is opaque and may identify a customer.
        write!(formatter, "PageCursor({} bytes)", self.0.len())
    }
}

/// Whether the text contains escapes and every `%` starts one.
fn is_percent_encoded(text: &str) -> bool {
    let mut pieces = text.split('%');
    let _before_first = pieces.next();
    let is_hex =
        |piece: &str| piece.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let mut any = false;
    pieces.all(|piece| {
        any = true;
        is_hex(piece)
    }) && any
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    fn decoded(text: &str) -> Option<String> {
        PageCursor::from_response(text).map(|cursor| cursor.as_str().to_owned())
    }

    #[test]
    fn encoded_and_raw_cursors_have_the_same_decoded_form() {
        assert_eq!(decoded("eyJsYXN0X2lkIjoxfQ%3D%3D").as_deref(), Some("eyJsYXN0X2lkIjoxfQ=="));
        assert_eq!(decoded("eyJsYXN0X2lkIjoxfQ==").as_deref(), Some("eyJsYXN0X2lkIjoxfQ=="));
        assert_eq!(decoded("a+b%2Bc").as_deref(), Some("a+b+c"));
        assert_eq!(decoded(""), None);
    }

    #[test]
    fn percent_sign_that_is_not_an_escape_is_kept() {
        for text in ["100%", "%zz", "a%2", "50%25 of 100%", "%FF"] {
            assert_eq!(decoded(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn debug_output_hides_the_content() {
        let cursor = PageCursor::from_response("secret").unwrap();
        assert_eq!(format!("{cursor:?}"), "PageCursor(6 bytes)");
    }

    proptest! {
        #[test]
        fn any_encoded_cursor_is_decoded(text in "[a-zA-Z0-9+/=_{}\":,-]{1,80}") {
            let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decoded(&encoded), Some(text));
        }
    }
}
