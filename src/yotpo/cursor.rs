//! The cursor behind a page.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// Yotpo's `next_page_info`, in its plain form: a cursor arrives already percent-encoded, and encoding it once more
/// breaks paging, so it is decoded when it arrives and encoded once when it is sent.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PageCursor(String);

impl PageCursor {
    /// Takes a cursor as it came in an answer; `None` when it is empty, which means the last page.
    ///
    /// A text with a `%` that is no valid escape, or whose escapes are no UTF-8, was never encoded and stays as it is.
    pub fn from_answer(text: &str) -> Option<Self> {
        let encoded = is_percent_encoded(text).then(|| percent_decode_str(text).decode_utf8().ok()).flatten();
        let plain = encoded.map_or_else(|| text.to_owned(), std::borrow::Cow::into_owned);
        (!plain.is_empty()).then_some(Self(plain))
    }

    /// A cursor in its plain form, as it was saved.
    pub fn from_plain(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The plain form, to be encoded once as a query value.
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

    /// Reads a cursor in its plain form, as it was saved.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err("the cursor is empty") } else { Ok(Self(text)) }
    }
}

impl fmt::Debug for PageCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its content is the service's and may name a customer.
        write!(formatter, "PageCursor({} bytes)", self.0.len())
    }
}

/// Whether every `%` starts an escape. A text without any is plain.
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

    fn plain(text: &str) -> Option<String> {
        PageCursor::from_answer(text).map(|cursor| cursor.as_str().to_owned())
    }

    #[test]
    fn encoded_and_raw_cursors_have_the_same_plain_form() {
        assert_eq!(plain("eyJsYXN0X2lkIjoxfQ%3D%3D").as_deref(), Some("eyJsYXN0X2lkIjoxfQ=="));
        assert_eq!(plain("eyJsYXN0X2lkIjoxfQ==").as_deref(), Some("eyJsYXN0X2lkIjoxfQ=="));
        assert_eq!(plain("a+b%2Bc").as_deref(), Some("a+b+c"));
        assert_eq!(plain(""), None);
    }

    #[test]
    fn a_percent_sign_that_is_no_escape_stays() {
        for text in ["100%", "%zz", "a%2", "50%25 of 100%", "%FF"] {
            assert_eq!(plain(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn debug_output_hides_the_content() {
        let cursor = PageCursor::from_answer("secret").unwrap();
        assert_eq!(format!("{cursor:?}"), "PageCursor(6 bytes)");
    }

    proptest! {
        #[test]
        fn any_encoded_cursor_comes_back_plain(text in "[a-zA-Z0-9+/=_{}\":,-]{1,80}") {
            let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(plain(&encoded), Some(text));
        }
    }
}
