//! The white space of JSON (RFC 8259, section 2).

/// A byte of white space, as a pattern.
macro_rules! white_space {
    () => {
        b' ' | b'\t' | b'\n' | b'\r'
    };
}
pub(super) use white_space;

/// The place of the first byte at or after `start` that is not white space; the end of the text when there is none.
pub fn after_white_space(text: &str, start: usize) -> usize {
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !matches!(byte, white_space!())).unwrap_or(rest.len())
}
