//! The compactor: one pass over JSON text that checks it, drops whitespace and respells strings.
//!
//! Owns the walk and the grammar (RFC 8259). Whatever passes as it is is copied in runs, so that text which is compact and
//! ASCII already is copied whole. Invariants: what is no JSON is never taken for it; the output is printable ASCII, and
//! every object in it has each key once. Iterative: nesting costs heap, not stack.

use std::fmt;

use super::duplicates::remove_duplicates;
use super::error::{MAX_DEPTH, NotJson, RowError};
use super::escapes::{escape_unprintable, respell_escapes};
use super::keys::SeenKeys;
use super::plain::end_of_plain;
use super::white_space::white_space;

/// Stands for an array where objects are counted from 1.
const ARRAY: u32 = 0;
/// The first object of a value, which is around all others unless the value is an array.
const OUTERMOST: u32 = 1;

/// Levels that are followed, to find the end of a value that is too deep for a row: memory for them is bounded.
const MOST_LEVELS: usize = 1 << 20;

/// Compacts JSON values one after another, reusing its memory.
pub(super) struct Compactor {
    keys: SeenKeys,
    open: Vec<u32>,
    scratch: Vec<u8>,
    /// Key of the outermost object whose value is of interest.
    watched: &'static [u8],
}

/// A value that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The place behind it in the text.
    pub(super) end: usize,
    /// Whether a row can hold it.
    pub(super) fit: Result<(), RowError>,
    /// Whether it is an object in which the watched key has another value than null.
    pub(super) has_watched: bool,
}

/// One value on its way through.
struct Pass<'a> {
    text: &'a str,
    bytes: &'a [u8],
    output: &'a mut Vec<u8>,
    keys: &'a mut SeenKeys,
    /// For every array or object that is open, what is around it.
    open: &'a mut Vec<u32>,
    /// The innermost that is open: [`ARRAY`], or an object's number in this value.
    innermost: u32,
    objects: u32,
    too_deep: bool,
    watched: &'static [u8],
    /// Whether the last value of the watched key is another than null.
    has_watched: bool,
    /// Text before this place is dealt with.
    copied: usize,
}

/// Where the walk stands.
enum Step {
    /// At this place a value begins.
    Value(usize),
    /// At this place a value has ended.
    Behind(usize),
}

impl Compactor {
    /// `watched` is a key of the outermost object whose value is of interest; none is when it is empty.
    pub(super) fn new(watched: &'static str) -> Self {
        Self { keys: SeenKeys::new(), open: Vec::new(), scratch: Vec::new(), watched: watched.as_bytes() }
    }

    /// Reads the value that begins at `start` in `text`, behind whitespace perhaps, and appends its compact form. What is
    /// behind the value is not looked at. On an error `output` may end with a beginning of it.
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
        let fit = if output.get(before) != Some(&b'{') {
            Err(RowError::NotAnObject)
        } else if too_deep {
            Err(RowError::TooDeep { limit: MAX_DEPTH })
        } else {
            unique
        };
        // In a list the outermost object is one of its items.
        let has_watched = has_watched && fit != Err(RowError::NotAnObject);
        Ok(Compacted { end, fit, has_watched })
    }
}

impl fmt::Debug for Compactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its buffers hold customers.
        formatter.debug_struct("Compactor").finish_non_exhaustive()
    }
}

/// None of these returns anything for text that is no JSON, or nests deeper than [`MOST_LEVELS`].
impl Pass<'_> {
    /// Reads the value; returns where it ends, whether it nests deeper than [`MAX_DEPTH`], and whether the outermost
    /// object has the watched key.
    fn run(mut self, start: usize) -> Option<(usize, bool, bool)> {
        let mut step = Step::Value(start);
        loop {
            step = match step {
                Step::Value(at) => self.begin(at)?,
                Step::Behind(at) if self.open.is_empty() => {
                    self.copy_until(at);
                    return Some((at, self.too_deep, self.has_watched));
                }
                Step::Behind(at) => self.follow(at)?,
            }
        }
    }

    /// Reads a value, or the beginning of an array or object.
    #[inline]
    fn begin(&mut self, at: usize) -> Option<Step> {
        Some(match self.bytes.get(at)? {
            b'"' => Step::Behind(self.string(at)?),
            b'n' => Step::Behind(self.word(at, b"null")?),
            b't' => Step::Behind(self.word(at, b"true")?),
            b'f' => Step::Behind(self.word(at, b"false")?),
            b'-' | b'0'..=b'9' => Step::Behind(end_of_number(self.bytes, at)?),
            b'{' => {
                self.objects += 1;
                self.open(self.objects)?;
                let inside = self.white_space(at + 1);
                if self.bytes.get(inside)? == &b'}' { self.close(inside)? } else { self.member(inside)? }
            }
            b'[' => {
                self.open(ARRAY)?;
                let inside = self.white_space(at + 1);
                if self.bytes.get(inside)? == &b']' { self.close(inside)? } else { Step::Value(inside) }
            }
            white_space!() => Step::Value(self.white_space(at)),
            _ => return None,
        })
    }

    /// Goes on behind a value that is in an array or object.
    #[inline]
    fn follow(&mut self, at: usize) -> Option<Step> {
        match (self.bytes.get(at)?, self.innermost) {
            (b',', ARRAY) => Some(Step::Value(at + 1)),
            (b',', _) => {
                let member = self.white_space(at + 1);
                self.member(member)
            }
            (b']', ARRAY) => self.close(at),
            (b'}', object) if object != ARRAY => self.close(at),
            (white_space!(), _) => Some(Step::Behind(self.white_space(at))),
            _ => None,
        }
    }

    #[inline]
    fn open(&mut self, container: u32) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            self.too_deep = true;
            if self.open.len() >= MOST_LEVELS {
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
        Some(Step::Behind(at + 1))
    }

    /// Reads a key and its colon.
    #[inline]
    fn member(&mut self, at: usize) -> Option<Step> {
        if self.bytes.get(at)? != &b'"' {
            return None;
        }
        let stop = end_of_plain(self.bytes, at + 1);
        let (end, is_watched) = if self.bytes.get(stop)? == &b'"' {
            let key = self.bytes.get(at + 1..stop)?;
            self.keys.add(self.innermost, key);
            (stop + 1, self.innermost == OUTERMOST && key == self.watched)
        } else {
            self.respelled_key(at, stop)?
        };
        let colon = self.white_space(end);
        if self.bytes.get(colon)? != &b':' {
            return None;
        }
        if is_watched {
            self.note_watched_value(colon + 1);
        }
        Some(Step::Value(colon + 1))
    }

    /// Notes whether the value at this place is another than null; of a key that is there twice the last one counts.
    #[inline(never)]
    fn note_watched_value(&mut self, at: usize) {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let first = rest.iter().find(|byte| !matches!(byte, white_space!()));
        self.has_watched = first.is_some_and(|byte| *byte != b'n');
    }

    /// Reads a string to behind its closing quote.
    #[inline]
    fn string(&mut self, opening: usize) -> Option<usize> {
        let stop = end_of_plain(self.bytes, opening + 1);
        if self.bytes.get(stop)? == &b'"' { Some(stop + 1) } else { self.respell(stop) }
    }

    /// Goes on at the first byte of a string that must not pass as it is.
    #[inline(never)]
    fn respell(&mut self, mut at: usize) -> Option<usize> {
        loop {
            match self.bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => {
                    self.copy_until(at);
                    at += respell_escapes(self.bytes.get(at..)?, self.output)?;
                    self.copied = at;
                }
                b' '..=b'~' => at = end_of_plain(self.bytes, at),
                0..b' ' => return None,
                _ => {
                    self.copy_until(at);
                    at += escape_unprintable(self.text.get(at..)?, self.output);
                    self.copied = at;
                }
            }
        }
    }

    /// A key whose spelling changes counts as it is written. Returns the place behind it, and whether it is watched.
    #[inline(never)]
    fn respelled_key(&mut self, opening: usize, stop: usize) -> Option<(usize, bool)> {
        self.copy_until(opening);
        let start = self.output.len();
        let end = self.respell(stop)?;
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

    /// The place behind whitespace, which does not pass.
    #[inline]
    fn white_space(&mut self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(white_space!()) => self.drop_white_space(at),
            _ => at,
        }
    }

    #[inline(never)]
    fn drop_white_space(&mut self, at: usize) -> usize {
        self.copy_until(at);
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !matches!(byte, white_space!()));
        self.copied = at + length.unwrap_or(rest.len());
        self.copied
    }

    #[inline]
    fn copy_until(&mut self, place: usize) {
        self.output.extend_from_slice(self.bytes.get(self.copied..place).unwrap_or_default());
        self.copied = place;
    }
}

/// The place behind the number that begins at `at`.
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

/// The place behind digits, of which there must be one.
#[inline]
fn end_of_digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while matches!(bytes.get(at), Some(b'0'..=b'9')) {
        at += 1;
    }
    (at > start).then_some(at)
}
