//! The compactor: one pass over JSON text that validates it, drops whitespace and normalizes strings.
//!
//! Owns the parser and the grammar (RFC 8259). Unchanged text is copied in runs, so text that is already compact ASCII
//! is copied in one piece. Invariants: text that is not JSON is never accepted; the output is printable ASCII, and no
//! object in it has a duplicate key. Iterative: nesting needs heap, not stack.

use std::fmt;

use super::duplicates::remove_duplicates;
use super::error::{MAX_DEPTH, NotJson, RowError};
use super::escapes::{escape_unprintable, normalize_escapes};
use super::keys::SeenKeys;
use super::plain::skip_plain;
use super::whitespace::whitespace;

/// Represents an array, where objects are numbered from 1.
const ARRAY: u32 = 0;
/// The first object of a value, which contains all others unless the value is an array.
const OUTERMOST: u32 = 1;

/// Maximum number of levels that are parsed to find the end of a value that is too deep for a row. It bounds the
/// memory.
const MAX_LEVELS: usize = 1 << 20;

/// Compacts JSON values one after another and reuses its memory.
pub(super) struct Compactor {
    keys: SeenKeys,
    open: Vec<u32>,
    scratch: Vec<u8>,
    /// Key of the outermost object whose value is of interest.
    watched: &'static [u8],
}

/// A value that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The position after it in the text.
    pub(super) end: usize,
    /// Whether it can become a row.
    pub(super) validity: Result<(), RowError>,
    /// Whether it is an object in which the watched key has a value other than null.
    pub(super) has_watched: bool,
}

/// The processing of one value.
struct Pass<'a> {
    text: &'a str,
    bytes: &'a [u8],
    output: &'a mut Vec<u8>,
    keys: &'a mut SeenKeys,
    /// The parent of every open array or object.
    open: &'a mut Vec<u32>,
    /// The innermost open one: [`ARRAY`], or the number of an object in this value.
    innermost: u32,
    objects: u32,
    too_deep: bool,
    watched: &'static [u8],
    /// Whether the last value of the watched key is not null.
    has_watched: bool,
    /// Text before this position is done.
    copied: usize,
}

/// The next step of the parser.
enum Step {
    /// A value starts at this position.
    Value(usize),
    /// A value has ended at this position.
    AfterValue(usize),
}

impl Compactor {
    /// `watched` is the key of the outermost object whose value is of interest, or empty for none.
    pub(super) fn new(watched: &'static str) -> Self {
        Self { keys: SeenKeys::new(), open: Vec::new(), scratch: Vec::new(), watched: watched.as_bytes() }
    }

    /// Parses the value that starts at `start` in `text`, after optional whitespace, and appends its compact form. The
    /// text after the value is ignored. On an error, `output` may end with a part of the value.
    pub(super) fn compact(
        &mut self,
        text: &str,
        start: usize,
        output: &mut Vec<u8>,
    ) -> Result<Compacted, NotJson> {
        let before = output.len();
        self.keys.clear();
        self.open.clear();
        let pass = Pass {
            text,
            bytes: text.as_bytes(),
            output,
            keys: &mut self.keys,
            open: &mut self.open,
            innermost: ARRAY,
            objects: ARRAY,
            too_deep: false,
            watched: self.watched,
            has_watched: false,
            copied: start,
        };
        let (end, too_deep, has_watched) = pass.run(start).ok_or(NotJson)?;
        let mut unique = Ok(());
        if self.keys.duplicate_suspected() {
            self.scratch.clear();
            unique = remove_duplicates(output.get(before..).unwrap_or_default(), &mut self.scratch);
            if unique.is_ok() {
                output.truncate(before);
                output.extend_from_slice(&self.scratch);
            }
        }
        let validity = if output.get(before) != Some(&b'{') {
            Err(RowError::NotAnObject)
        } else if too_deep {
            Err(RowError::TooDeep { limit: MAX_DEPTH })
        } else {
            unique
        };
        // In an array, the outermost object is one of its items.
        let has_watched = has_watched && validity != Err(RowError::NotAnObject);
        Ok(Compacted { end, validity, has_watched })
    }
}

impl fmt::Debug for Compactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its buffers contain customer data.
        formatter.debug_struct("Compactor").finish_non_exhaustive()
    }
}

/// These return `None` for text that is not JSON or nests deeper than [`MAX_LEVELS`].
impl Pass<'_> {
    /// Parses the value; returns where it ends, whether it nests deeper than [`MAX_DEPTH`], and whether the outermost
    /// object has the watched key.
    fn run(mut self, start: usize) -> Option<(usize, bool, bool)> {
        let mut step = Step::Value(start);
        loop {
            step = match step {
                Step::Value(at) => self.value(at)?,
                Step::AfterValue(at) if self.open.is_empty() => {
                    self.copy_until(at);
                    return Some((at, self.too_deep, self.has_watched));
                }
                Step::AfterValue(at) => self.after_value(at)?,
            }
        }
    }

    /// Parses a value, or the start of an array or object.
    #[inline]
    fn value(&mut self, at: usize) -> Option<Step> {
        Some(match self.bytes.get(at)? {
            b'"' => Step::AfterValue(self.string(at)?),
            b'n' => Step::AfterValue(self.word(at, b"null")?),
            b't' => Step::AfterValue(self.word(at, b"true")?),
            b'f' => Step::AfterValue(self.word(at, b"false")?),
            b'-' | b'0'..=b'9' => Step::AfterValue(end_of_number(self.bytes, at)?),
            b'{' => {
                self.objects += 1;
                self.open(self.objects)?;
                let inside = self.whitespace(at + 1);
                if self.bytes.get(inside)? == &b'}' { self.close(inside)? } else { self.member(inside)? }
            }
            b'[' => {
                self.open(ARRAY)?;
                let inside = self.whitespace(at + 1);
                if self.bytes.get(inside)? == &b']' { self.close(inside)? } else { Step::Value(inside) }
            }
            whitespace!() => Step::Value(self.whitespace(at)),
            _ => return None,
        })
    }

    /// Continues after a value in an array or object.
    #[inline]
    fn after_value(&mut self, at: usize) -> Option<Step> {
        match (self.bytes.get(at)?, self.innermost) {
            (b',', ARRAY) => Some(Step::Value(at + 1)),
            (b',', _) => {
                let member = self.whitespace(at + 1);
                self.member(member)
            }
            (b']', ARRAY) => self.close(at),
            (b'}', object) if object != ARRAY => self.close(at),
            (whitespace!(), _) => Some(Step::AfterValue(self.whitespace(at))),
            _ => None,
        }
    }

    #[inline]
    fn open(&mut self, container: u32) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            self.too_deep = true;
            if self.open.len() >= MAX_LEVELS {
                return None;
            }
        }
        self.open.push(self.innermost);
        self.innermost = container;
        Some(())
    }

    #[inline]
    fn close(&mut self, at: usize) -> Option<Step> {
        self.innermost = self.open.pop()?;
        Some(Step::AfterValue(at + 1))
    }

    /// Parses a key and its colon.
    #[inline]
    fn member(&mut self, at: usize) -> Option<Step> {
        if self.bytes.get(at)? != &b'"' {
            return None;
        }
        let stop = skip_plain(self.bytes, at + 1);
        let (end, is_watched) = if self.bytes.get(stop)? == &b'"' {
            let key = self.bytes.get(at + 1..stop)?;
            self.keys.add(self.innermost, key);
            (stop + 1, self.innermost == OUTERMOST && key == self.watched)
        } else {
            self.normalized_key(at, stop)?
        };
        let colon = self.whitespace(end);
        if self.bytes.get(colon)? != &b':' {
            return None;
        }
        if is_watched {
            self.record_watched_value(colon + 1);
        }
        Some(Step::Value(colon + 1))
    }

    /// Records whether the value at this position is not null; of duplicate keys, the last one counts.
    #[inline(never)]
    fn record_watched_value(&mut self, at: usize) {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let first = rest.iter().find(|byte| !matches!(byte, whitespace!()));
        self.has_watched = first.is_some_and(|byte| *byte != b'n');
    }

    /// Parses a string up to and including its closing quote.
    #[inline]
    fn string(&mut self, opening: usize) -> Option<usize> {
        let stop = skip_plain(self.bytes, opening + 1);
        if self.bytes.get(stop)? == &b'"' { Some(stop + 1) } else { self.normalize_string(stop) }
    }

    /// Continues at the first byte of a string that must be changed.
    #[inline(never)]
    fn normalize_string(&mut self, mut at: usize) -> Option<usize> {
        loop {
            match self.bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => {
                    self.copy_until(at);
                    at += normalize_escapes(self.bytes.get(at..)?, self.output)?;
                    self.copied = at;
                }
                b' '..=b'~' => at = skip_plain(self.bytes, at),
                0..b' ' => return None,
                _ => {
                    self.copy_until(at);
                    at += escape_unprintable(self.text.get(at..)?, self.output);
                    self.copied = at;
                }
            }
        }
    }

    /// A key that is changed counts in its new form. Returns the position after it, and whether it is watched.
    #[inline(never)]
    fn normalized_key(&mut self, opening: usize, stop: usize) -> Option<(usize, bool)> {
        self.copy_until(opening);
        let start = self.output.len();
        let end = self.normalize_string(stop)?;
        self.copy_until(end);
        // Without the quotes.
        let key = self.output.get(start + 1..self.output.len() - 1)?;
        self.keys.add(self.innermost, key);
        Some((end, self.innermost == OUTERMOST && key == self.watched))
    }

    #[inline]
    fn word(&self, at: usize, word: &[u8]) -> Option<usize> {
        self.bytes.get(at..)?.starts_with(word).then_some(at + word.len())
    }

    /// Drops whitespace and returns the position after it.
    #[inline]
    fn whitespace(&mut self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(whitespace!()) => self.drop_whitespace(at),
            _ => at,
        }
    }

    #[inline(never)]
    fn drop_whitespace(&mut self, at: usize) -> usize {
        self.copy_until(at);
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !matches!(byte, whitespace!()));
        self.copied = at + length.unwrap_or(rest.len());
        self.copied
    }

    #[inline]
    fn copy_until(&mut self, end: usize) {
        self.output.extend_from_slice(self.bytes.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }
}

/// The position after the number that starts at `at`.
#[inline]
fn end_of_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(bytes.get(at) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { end_of_digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = end_of_digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = end_of_digits(bytes, at)?;
    }
    Some(at)
}

/// The position after digits, of which there must be at least one.
#[inline]
fn end_of_digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while matches!(bytes.get(at), Some(b'0'..=b'9')) {
        at += 1;
    }
    (at > start).then_some(at)
}
