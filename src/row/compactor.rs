//! The compactor: one pass over a customer's JSON that drops whitespace and respells strings.
//!
//! Owns the walk. Bitmaps tell which bytes need a look; all between them is copied in runs, so that text which is
//! compact and ASCII already is copied whole. Invariant: the output is printable ASCII, and every object in it has
//! each key once. It checks of the JSON grammar only what keeps that true: `RawValue` is parsed text.

use super::bitmaps::{BLOCK, Bitmaps, prefix_parity};
use super::duplicates::remove_duplicates;
use super::escapes::{escape_unprintable, respell_escapes};
use super::keys::SeenKeys;
use super::{MAX_DEPTH, RowError};

/// Never the place of a quote.
const NOWHERE: usize = usize::MAX;

/// Compacts customers one after another, reusing its memory.
#[derive(Debug)]
pub(super) struct Compactor {
    keys: SeenKeys,
    open: Vec<u32>,
    scratch: Vec<u8>,
}

/// One customer on its way through.
struct Pass<'a> {
    text: &'a str,
    output: &'a mut Vec<u8>,
    keys: &'a mut SeenKeys,
    /// For every array or object that is open, the number of the object around it.
    open: &'a mut Vec<u32>,
    /// The number of the innermost open object, counted from 1 over the customer.
    object: u32,
    objects: u32,
    /// Input before this place is dealt with.
    copied: usize,
    respelled: Respelled,
}

/// The last string whose spelling changed.
struct Respelled {
    /// Its opening quote in the input.
    opening: usize,
    /// Its opening quote in the output.
    output: usize,
}

/// The last two quotes before some place: around the last string, if that place is outside strings.
#[derive(Clone, Copy)]
struct LastQuotes {
    opening: usize,
    closing: usize,
}

/// Where the walk goes on after a byte that needed a look.
enum Resume {
    /// At this place; in between were no quotes.
    At(usize),
    /// At this place inside a string; quotes in between did not end it.
    InString(usize),
}

impl Compactor {
    pub(super) fn new() -> Self {
        Self { keys: SeenKeys::new(), open: Vec::new(), scratch: Vec::new() }
    }

    /// Appends the compact form of `text`; on an error `output` is left as it was.
    pub(super) fn compact(&mut self, text: &str, output: &mut Vec<u8>) -> Result<(), RowError> {
        let before = output.len();
        self.keys.clear();
        self.open.clear();
        output.reserve(text.len());
        let pass = Pass {
            text,
            output,
            keys: &mut self.keys,
            open: &mut self.open,
            object: 0,
            objects: 0,
            copied: 0,
            respelled: Respelled { opening: NOWHERE, output: 0 },
        };
        pass.run().inspect_err(|_| output.truncate(before))?;
        if self.keys.duplicate_suspected() {
            self.scratch.clear();
            remove_duplicates(output.get(before..).unwrap_or_default(), &mut self.scratch);
            output.truncate(before);
            output.extend_from_slice(&self.scratch);
        }
        Ok(())
    }
}

impl Pass<'_> {
    fn run(mut self) -> Result<(), RowError> {
        let bytes = self.text.as_bytes();
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(RowError::NotAnObject);
        }
        let mut start = 0;
        let mut last_quotes = LastQuotes { opening: NOWHERE, closing: NOWHERE };
        // All ones if the block starts inside a string.
        let mut carried = 0;
        while let Some(block) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
            let bitmaps = Bitmaps::of(block);
            let inside = prefix_parity(bitmaps.quotes) ^ carried;
            let mut events = bitmaps.unprintable | (bitmaps.structure & !inside);
            let mut quotes = bitmaps.quotes;
            let mut next = start + BLOCK;
            carried = 0_u64.wrapping_sub(inside >> 63);
            while events != 0 {
                let bit = events.trailing_zeros();
                let at = start + bit as usize;
                events &= events - 1;
                let quotes_before = quotes & !(u64::MAX << bit);
                let resume = match block.get(bit as usize) {
                    Some(b':') => {
                        self.key(at, last_quotes.followed_by(quotes_before, start))?;
                        continue;
                    }
                    Some(_) if inside >> bit & 1 == 1 => {
                        self.respell(at, last_quotes.followed_by(quotes_before, start))?
                    }
                    Some(b'{') => {
                        self.open()?;
                        self.objects = self.objects.wrapping_add(1);
                        self.object = self.objects;
                        continue;
                    }
                    Some(b'[') => {
                        self.open()?;
                        continue;
                    }
                    Some(b'}' | b']') => {
                        self.object = self.open.pop().ok_or(RowError::Malformed)?;
                        continue;
                    }
                    Some(b' ' | b'\t' | b'\n' | b'\r') => self.white_space(at),
                    Some(_) => return Err(RowError::Malformed),
                    None => continue,
                };
                match resume {
                    Resume::At(place) if place < start + BLOCK => events &= u64::MAX << (place - start),
                    Resume::At(place) => {
                        next = place;
                        break;
                    }
                    Resume::InString(place) => {
                        quotes = quotes_before;
                        carried = u64::MAX;
                        next = place;
                        break;
                    }
                }
            }
            last_quotes = last_quotes.followed_by(quotes, start);
            start = next;
        }
        self.copy_until(bytes.len());
        if carried == 0 && self.open.is_empty() { Ok(()) } else { Err(RowError::Malformed) }
    }

    /// A colon outside strings: the string before it is a key.
    #[inline]
    fn key(&mut self, colon: usize, quotes: LastQuotes) -> Result<(), RowError> {
        if quotes.opening == self.respelled.opening {
            self.copy_until(colon);
            let key = self.output.get(self.respelled.output + 1..self.output.len() - 1);
            self.keys.add(self.object, key.ok_or(RowError::Malformed)?);
        } else {
            let key = self.text.as_bytes().get(quotes.opening.wrapping_add(1)..quotes.closing);
            self.keys.add(self.object, key.ok_or(RowError::Malformed)?);
        }
        Ok(())
    }

    /// An array or object that opens outside strings.
    #[inline]
    fn open(&mut self) -> Result<(), RowError> {
        if self.open.len() == MAX_DEPTH {
            return Err(RowError::TooDeep { limit: MAX_DEPTH });
        }
        self.open.push(self.object);
        Ok(())
    }

    /// White space outside strings, which does not pass.
    fn white_space(&mut self, at: usize) -> Resume {
        self.copy_until(at);
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.copied = at + length.unwrap_or(rest.len());
        Resume::At(self.copied)
    }

    /// A byte inside a string that must not pass as it is.
    fn respell(&mut self, at: usize, quotes: LastQuotes) -> Result<Resume, RowError> {
        self.copy_until(at);
        let opening = quotes.closing;
        if self.respelled.opening != opening {
            let output = self.output.len().checked_sub(at - opening).ok_or(RowError::Malformed)?;
            self.respelled = Respelled { opening, output };
        }
        let rest = self.text.get(at..).ok_or(RowError::Malformed)?;
        if rest.starts_with('\\') {
            self.copied = at + respell_escapes(rest.as_bytes(), self.output)?;
            return Ok(Resume::InString(self.copied));
        }
        match escape_unprintable(rest, self.output) {
            0 => Err(RowError::Malformed),
            length => {
                self.copied = at + length;
                Ok(Resume::At(self.copied))
            }
        }
    }

    #[inline]
    fn copy_until(&mut self, place: usize) {
        self.output.extend_from_slice(self.text.as_bytes().get(self.copied..place).unwrap_or_default());
        self.copied = place;
    }
}

impl LastQuotes {
    /// The last two quotes when those of a bitmap that begins at `start` follow.
    #[inline]
    fn followed_by(self, quotes: u64, start: usize) -> Self {
        if quotes == 0 {
            return self;
        }
        let closing = quotes.ilog2();
        let others = quotes ^ (1 << closing);
        let opening = if others == 0 { self.closing } else { start + others.ilog2() as usize };
        Self { opening, closing: start + closing as usize }
    }
}
