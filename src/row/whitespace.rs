//! Whitespace in JSON (RFC 8259, section 2).

/// A byte of whitespace, as a pattern.
macro_rules! whitespace {
    () => {
        b' ' | b'\t' | b'\n' | b'\r'
    };
}
pub(super) use whitespace;

/// The position of the first byte at or after `start` that is not whitespace; the end of the text if there is none.
pub fn skip_whitespace(text: &str, start: usize) -> usize {
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !matches!(byte, whitespace!())).unwrap_or(rest.len())
}
