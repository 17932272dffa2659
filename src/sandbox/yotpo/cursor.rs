//! Page cursors: opaque to clients, validated when they come back.
//!
//! Owns their text: base64 of a small JSON object. It always ends in padding, to detect clients that encode a cursor
//! twice or not at all.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::super::customer::Expansion;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The characters of base64 that are not letters or digits.
const ENCODED: &AsciiSet = &CONTROLS.add(b'+').add(b'/').add(b'=');

/// The start of a page and the parameters of the request for the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Number of the page, from 0, including empty ones.
    pub(super) page: u64,
    /// Number of the first customer of the page.
    pub(super) offset: u64,
    pub(super) limit: u64,
    pub(super) expansion: Expansion,
    /// Cursors of an earlier generation are invalid.
    pub(super) generation: u64,
}

impl Cursor {
    /// The cursor as a client must send it, before percent-encoding.
    pub(super) fn to_raw(self) -> String {
        let mut json = format!(
            r#"{{"last_id":{},"limit":{},"p":{},"g":{},"f":{}}}"#,
            self.offset,
            self.limit,
            self.page,
            self.generation,
            u8::from(self.expansion.custom_properties) + 2 * u8::from(self.expansion.loyalty),
        );
        while json.len() % 3 != 1 {
            json.push(' ');
        }
        encode_base64(json.as_bytes())
    }

    /// The cursor as it appears in `next_page_info`.
    pub(super) fn to_percent_encoded(self) -> String {
        utf8_percent_encode(&self.to_raw(), ENCODED).to_string()
    }

    /// Parses a cursor that was decoded once; `None` for anything that this store has not created.
    pub(super) fn from_raw(raw: &str) -> Option<Self> {
        let decoded = decode_base64(raw)?;
        let json: serde_json::Value = serde_json::from_slice(&decoded).ok()?;
        let number = |key: &str| json.get(key).and_then(serde_json::Value::as_u64);
        let flags = number("f")?;
        let cursor = Self {
            page: number("p")?,
            offset: number("last_id")?,
            limit: number("limit")?,
            expansion: Expansion { custom_properties: flags & 1 != 0, loyalty: flags & 2 != 0 },
            generation: number("g")?,
        };
        (cursor.to_raw() == raw).then_some(cursor)
    }
}

/// The percent-encoded form of the cursor `raw`, as it appears on a page; `None` if no store has created it.
pub(in crate::sandbox) fn encoded_cursor(raw: &str) -> Option<String> {
    Cursor::from_raw(raw).map(Cursor::to_percent_encoded)
}

fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let symbol = ALPHABET.get((group >> (18 - 6 * digit) & 63) as usize).copied().unwrap_or(b'A');
            text.push(if digit > chunk.len() { '=' } else { symbol.into() });
        }
    }
    text
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut group = 0_u32;
        for at in 0..4 {
            let symbol = chunk.get(at).copied().unwrap_or(b'A');
            let digit = ALPHABET.iter().position(|known| *known == symbol)?;
            group = group << 6 | u32::try_from(digit).ok()?;
        }
        let [_, decoded @ ..] = group.to_be_bytes();
        bytes.extend_from_slice(decoded.get(..chunk.len().checked_sub(1)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset: u64) -> Cursor {
        let expansion = Expansion { custom_properties: true, loyalty: false };
        Cursor { page: 3, offset, limit: 100, expansion, generation: 0 }
    }

    #[test]
    fn cursors_are_accepted_only_if_decoded_exactly_once() {
        for offset in [0, 1, 99, 1_000, 10_000_000, u64::MAX] {
            let raw = cursor(offset).to_raw();
            let encoded = cursor(offset).to_percent_encoded();
            assert!(raw.ends_with("==") && encoded.ends_with("%3D%3D"));
            assert_eq!(Cursor::from_raw(&raw), Some(cursor(offset)));
            assert_eq!(Cursor::from_raw(&encoded), None);
            assert_eq!(Cursor::from_raw(raw.trim_end_matches('=')), None);
        }
    }

    #[test]
    fn invented_cursors_are_invalid() {
        for raw in ["", "====", "abc", "e30=", "eyJsYXN0X2lkIjoxMDAwLCJsaW1pdCI6MTAwfQ==", "\u{e9}"] {
            assert_eq!(Cursor::from_raw(raw), None, "{raw}");
        }
    }
}
