//! One page: its customers as rows, and the cursor behind it.
//!
//! Owns the reading of an answer, in one pass from its text to rows. Invariants: an answer that is not JSON from its first
//! byte to its last is no page, however much of it was read; each customer is a row or is named as rejected. It does not
//! know what a row looks like.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cursor::PageCursor;
use super::next_cursor::{Pagination, cursor_of, pagination};
use super::not_a_number::{Unusual, read_unusual};
use super::position::EndedBy;
use super::reported_error::reports_error;
use crate::http::{BodyProblem, parse_json};
use crate::row::{Encoded, Encoder, IngestionTime, NotJson, RowError, Rows, skip_whitespace};

/// The key of a customer's loyalty data.
const LOYALTY_DATA: &str = "yotpo_loyalty";
/// More customers than this are on no page, even of a service that forgets its limit of 100: memory for them is bounded.
const MAX_CUSTOMERS: usize = 100_000;

/// Largest page that is accepted, as an answer and as rows, in bytes. Pages above 1 MB have been seen; memory is bounded by
/// what is accepted.
pub(super) const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Longest cursor that is accepted: no server takes a longer address.
const MAX_CURSOR_BYTES: usize = 16 * 1024;

/// A page of customers, as rows.
pub struct Page {
    rows: Rows,
    rejected: Vec<RejectedCustomer>,
    with_loyalty_data: usize,
    next: Next,
}

/// What a page says of the one behind it.
enum Next {
    Page(PageCursor),
    End(EndedBy),
}

/// A customer of which no row can be made.
pub struct RejectedCustomer {
    /// Its place on the page, from 1.
    pub position: usize,
    /// Why.
    pub reason: RowError,
    /// Its JSON text: customer data, only ever for the quarantine. A copy, so that it does not hold the whole answer.
    pub customer: Box<str>,
}

/// An answer on its way to become a page.
struct Reader<'a> {
    text: &'a str,
    /// Text before this place was read.
    at: usize,
    encoder: Encoder,
    rows: Vec<u8>,
    row_ends: Vec<usize>,
    rejected: Vec<RejectedCustomer>,
    with_loyalty_data: usize,
    reports_error: bool,
    has_long_cursor: bool,
}

/// The same answer for `serde_json`.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "customers")]
    _customers: Vec<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "pagination", rename = "pagination")]
    _pagination: Option<Pagination<'a>>,
}

impl Page {
    /// Reads an answer and makes a row of `time` of each customer. `customers` must be a list; `pagination` may be null or
    /// absent, and so may its cursor. A page that reports an error is none, whatever customers are on it.
    ///
    /// # Errors
    /// A [`BodyProblem`] that says what is wrong without quoting the body.
    pub fn parse(text: &str, time: IngestionTime) -> Result<Self, BodyProblem> {
        let mut reader = Reader::new(text, time);
        let page = reader.page();
        if reader.reports_error {
            return Err(BodyProblem::ReportsError);
        }
        if let Some(page) = page {
            return Ok(page);
        }
        if reader.customers() > MAX_CUSTOMERS {
            return Err(BodyProblem::Malformed { what: format!("more than {MAX_CUSTOMERS} customers") });
        }
        if reader.rows.len() > MAX_PAGE_BYTES {
            return Err(BodyProblem::TooLarge { limit: MAX_PAGE_BYTES });
        }
        if reader.has_long_cursor {
            return Err(BodyProblem::Malformed {
                what: format!("a cursor of more than {MAX_CURSOR_BYTES} bytes"),
            });
        }
        // What is wrong, and where, `serde_json` tells.
        match parse_json::<Body<'_>>(text) {
            Err(problem) => Err(problem),
            Ok(_) => Err(BodyProblem::Malformed { what: "nested too deeply".to_owned() }),
        }
    }

    /// What a 400 that says "no results found" stands for.
    pub(super) fn no_results() -> Self {
        let next = Next::End(EndedBy::NoResults);
        Self { rows: Rows::default(), rejected: Vec::new(), with_loyalty_data: 0, next }
    }

    /// The same page, which ended the data that way.
    pub(super) fn with_end(self, ended_by: EndedBy) -> Self {
        Self { next: Next::End(ended_by), ..self }
    }

    /// How many customers are on it, those included of which no row can be made.
    pub fn customers(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// How many of them have loyalty data: a `yotpo_loyalty` that is there and not null.
    pub fn customers_with_loyalty_data(&self) -> usize {
        self.with_loyalty_data
    }

    /// The customers' rows, and the customers that have none.
    pub fn into_rows(self) -> (Rows, Vec<RejectedCustomer>) {
        (self.rows, self.rejected)
    }

    /// The cursor of the next page; `None` on the last.
    pub fn next(&self) -> Option<&PageCursor> {
        match &self.next {
            Next::Page(cursor) => Some(cursor),
            Next::End(_) => None,
        }
    }

    /// What says that there is no further page; `None` when there is one. A page that was only read and has no
    /// `pagination` is a [`EndedBy::ShortPage`] here, however many customers it has.
    pub fn ended_by(&self) -> Option<EndedBy> {
        match self.next {
            Next::Page(_) => None,
            Next::End(ended_by) => Some(ended_by),
        }
    }
}

/// None of these returns anything for a text that is no page.
impl<'a> Reader<'a> {
    fn new(text: &'a str, time: IngestionTime) -> Self {
        Self {
            text,
            at: 0,
            encoder: Encoder::watching(LOYALTY_DATA, time),
            rows: Vec::with_capacity(room_for_rows(text.len())),
            row_ends: Vec::new(),
            rejected: Vec::new(),
            with_loyalty_data: 0,
            reports_error: false,
            has_long_cursor: false,
        }
    }

    fn page(&mut self) -> Option<Page> {
        let mut with_customers = false;
        let mut next = None;
        self.expect(b'{')?;
        if !self.takes(b'}') {
            loop {
                let key: String = serde_json::from_str(self.value()?).ok()?;
                self.expect(b':')?;
                match key.as_str() {
                    "customers" if !with_customers => {
                        self.list()?;
                        with_customers = true;
                    }
                    "pagination" if next.is_none() => {
                        let value = self.value()?;
                        let read = pagination(&mut serde_json::Deserializer::from_str(value)).ok()?;
                        let end = if read.is_some() { EndedBy::LastPage } else { EndedBy::ShortPage };
                        let cursor = cursor_of(read);
                        let length = cursor.as_ref().map_or(0, |cursor| cursor.as_str().len());
                        if length > MAX_CURSOR_BYTES {
                            self.has_long_cursor = true;
                            return None;
                        }
                        next = Some(cursor.map_or(Next::End(end), Next::Page));
                    }
                    // Twice: nobody can know which of them is meant.
                    "customers" | "pagination" => return None,
                    _ => {
                        let value = self.value()?;
                        self.reports_error |= reports_error(&key, value);
                    }
                }
                if !self.takes(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        if !with_customers || self.next_byte().is_some() {
            return None;
        }
        Some(Page {
            rows: Rows::new(std::mem::take(&mut self.rows), std::mem::take(&mut self.row_ends)),
            rejected: std::mem::take(&mut self.rejected),
            with_loyalty_data: self.with_loyalty_data,
            next: next.unwrap_or(Next::End(EndedBy::ShortPage)),
        })
    }

    fn customers(&self) -> usize {
        self.row_ends.len() + self.rejected.len()
    }

    fn list(&mut self) -> Option<()> {
        self.expect(b'[')?;
        if self.takes(b']') {
            return Some(());
        }
        loop {
            self.customer()?;
            if !self.takes(b',') {
                return self.expect(b']');
            }
        }
    }

    fn customer(&mut self) -> Option<()> {
        let Encoded { end, row, has_watched } =
            match self.encoder.encode_at(self.text, self.at, &mut self.rows) {
                Ok(encoded) => encoded,
                Err(NotJson) => {
                    let Unusual { end, has_loyalty_data } = read_unusual(self.text, self.at)?;
                    Encoded { end, row: Err(RowError::NotANumber), has_watched: has_loyalty_data }
                }
            };
        self.with_loyalty_data += usize::from(has_watched);
        match row {
            Ok(()) => self.row_ends.push(self.rows.len()),
            Err(reason) => self.rejected.push(RejectedCustomer {
                position: self.customers() + 1,
                reason,
                customer: self.text.get(self.at..end)?.trim_ascii_start().into(),
            }),
        }
        self.at = end;
        (self.customers() <= MAX_CUSTOMERS && self.rows.len() <= MAX_PAGE_BYTES).then_some(())
    }

    /// The JSON value that begins here.
    fn value(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value.get())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    /// Goes on behind the next byte if it is this one.
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.next_byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next byte after white space.
    fn next_byte(&mut self) -> Option<u8> {
        self.at = skip_whitespace(self.text, self.at);
        self.text.as_bytes().get(self.at).copied()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its content is customers.
        write!(formatter, "Page({} customers, {:?})", self.customers(), self.next())
    }
}

impl fmt::Debug for RejectedCustomer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RejectedCustomer(position {}, {})", self.position, self.reason)
    }
}

/// Room for the rows of an answer of such a length: an eighth more, for the rows' headers and what is respelled, rounded
/// up to one of few sizes, so that the allocator finds one that fits among those that were freed. Measured: with a million
/// customers 2 MB less.
fn room_for_rows(answer: usize) -> usize {
    let least = answer + answer / 8;
    least.next_multiple_of((least.next_power_of_two() / 4).max(1))
}

#[cfg(test)]
mod tests;
