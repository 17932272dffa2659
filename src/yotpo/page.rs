//! A page: its customers as rows, and the next cursor.
//!
//! Owns the parsing of a response in one pass from text to rows. Invariants: a response that is not entirely valid JSON is not a
//! page, however much of it was parsed; each customer becomes a row or is reported as rejected. It does not know what a row
//! looks like.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cursor::PageCursor;
use super::next_cursor::{Pagination, cursor_of, pagination};
use super::not_a_number::{InvalidNumbers, scan_invalid_numbers};
use super::position::EndedBy;
use super::reported_error::reports_error;
use crate::http::{BodyProblem, parse_json};
use crate::row::{Encoded, Encoder, IngestionTime, NotJson, RowError, Rows, skip_whitespace};

/// The key of a customer's loyalty data.
const LOYALTY_DATA: &str = "yotpo_loyalty";
/// Maximum number of customers on a page, even if Yotpo exceeds its limit of 100. It bounds the memory.
const MAX_CUSTOMERS: usize = 100_000;

/// Maximum size of a page in bytes, both as a response and as rows. It bounds the memory. Pages above 1 MB have been observed.
pub(super) const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Maximum length of a cursor: no server accepts a longer URL.
const MAX_CURSOR_BYTES: usize = 16 * 1024;

/// A page of customers, as rows.
pub struct Page {
    rows: Rows,
    rejected: Vec<RejectedCustomer>,
    with_loyalty_data: usize,
    next: Next,
}

/// What follows a page.
enum Next {
    Page(PageCursor),
    End(EndedBy),
}

/// A customer that cannot become a row.
pub struct RejectedCustomer {
    /// Its position on the page, from 1.
    pub position: usize,
    /// The reason.
    pub reason: RowError,
    /// Its JSON text: customer data, only for the quarantine. A copy, so that it does not keep the whole response in memory.
    pub customer: Box<str>,
}

/// Parses a response.
struct Reader<'a> {
    text: &'a str,
    /// Offset of the next byte to read.
    offset: usize,
    encoder: Encoder,
    rows: Vec<u8>,
    row_ends: Vec<usize>,
    rejected: Vec<RejectedCustomer>,
    with_loyalty_data: usize,
    reports_error: bool,
    has_long_cursor: bool,
}

/// The response for `serde_json`, which is used only to explain an error.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "customers")]
    _customers: Vec<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "pagination", rename = "pagination")]
    _pagination: Option<Pagination<'a>>,
}

/// Whether the JSON text of a customer has loyalty data, as [`Page::customers_with_loyalty_data`] counts it.
pub fn has_loyalty_data(customer: &str) -> bool {
    let encoded = Encoder::watching(LOYALTY_DATA, IngestionTime::MAX).encode_at(customer, 0, &mut Vec::new());
    encoded.is_ok_and(|encoded| encoded.has_watched)
}

impl Page {
    /// Parses a response and converts each customer to a row with `time`. `customers` must be an array; `pagination` and its
    /// cursor may be null or absent. A page that reports an error is rejected, even if it contains customers.
    ///
    /// # Errors
    /// A [`BodyProblem`] that does not quote the body.
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
        // `serde_json` explains what is wrong and where.
        match parse_json::<Body<'_>>(text) {
            Err(problem) => Err(problem),
            Ok(_) => Err(BodyProblem::Malformed { what: "nested too deeply".to_owned() }),
        }
    }

    /// The page that a 400 "no results found" stands for.
    pub(super) fn no_results() -> Self {
        let next = Next::End(EndedBy::NoResults);
        Self { rows: Rows::default(), rejected: Vec::new(), with_loyalty_data: 0, next }
    }

    /// Sets how the page ends the data.
    pub(super) fn with_end(self, ended_by: EndedBy) -> Self {
        Self { next: Next::End(ended_by), ..self }
    }

    /// Number of customers, including rejected ones.
    pub fn customers(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// Number of customers with loyalty data: a `yotpo_loyalty` that is present and not null.
    pub fn customers_with_loyalty_data(&self) -> usize {
        self.with_loyalty_data
    }

    /// Number of customers that cannot become a row.
    pub(super) fn rejected(&self) -> usize {
        self.rejected.len()
    }

    /// The rows, and the rejected customers.
    pub fn into_rows(self) -> (Rows, Vec<RejectedCustomer>) {
        (self.rows, self.rejected)
    }

    /// The cursor of the next page; `None` for the last page.
    pub fn next(&self) -> Option<&PageCursor> {
        match &self.next {
            Next::Page(cursor) => Some(cursor),
            Next::End(_) => None,
        }
    }

    /// How the page ends the data; `None` if there is a next page. A page without `pagination` that was only parsed is a
    /// [`EndedBy::ShortPage`] here, whatever its size.
    pub fn ended_by(&self) -> Option<EndedBy> {
        match self.next {
            Next::Page(_) => None,
            Next::End(ended_by) => Some(ended_by),
        }
    }
}

/// All methods return `None` if the text is not a page.
impl<'a> Reader<'a> {
    fn new(text: &'a str, time: IngestionTime) -> Self {
        Self {
            text,
            offset: 0,
            encoder: Encoder::watching(LOYALTY_DATA, time),
            rows: Vec::with_capacity(row_capacity(text.len())),
            row_ends: Vec::new(),
            rejected: Vec::new(),
            with_loyalty_data: 0,
            reports_error: false,
            has_long_cursor: false,
        }
    }

    fn page(&mut self) -> Option<Page> {
        let mut has_customers = false;
        let mut next = None;
        self.expect(b'{')?;
        if !self.skip_if(b'}') {
            loop {
                let key: String = serde_json::from_str(self.value()?).ok()?;
                self.expect(b':')?;
                match key.as_str() {
                    "customers" if !has_customers => {
                        self.list()?;
                        has_customers = true;
                    }
                    "pagination" if next.is_none() => {
                        let value = self.value()?;
                        let parsed = pagination(&mut serde_json::Deserializer::from_str(value)).ok()?;
                        let end = if parsed.is_some() { EndedBy::LastPage } else { EndedBy::ShortPage };
                        let cursor = cursor_of(parsed);
                        let length = cursor.as_ref().map_or(0, |cursor| cursor.as_str().len());
                        if length > MAX_CURSOR_BYTES {
                            self.has_long_cursor = true;
                            return None;
                        }
                        next = Some(cursor.map_or(Next::End(end), Next::Page));
                    }
                    // A duplicate key: which one applies is unknown.
                    "customers" | "pagination" => return None,
                    _ => {
                        let value = self.value()?;
                        self.reports_error |= reports_error(&key, value);
                    }
                }
                if !self.skip_if(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        if !has_customers || self.next_byte().is_some() {
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
        if self.skip_if(b']') {
            return Some(());
        }
        loop {
            self.customer()?;
            if !self.skip_if(b',') {
                return self.expect(b']');
            }
        }
    }

    fn customer(&mut self) -> Option<()> {
        let Encoded { end, row, has_watched } =
            match self.encoder.encode_at(self.text, self.offset, &mut self.rows) {
                Ok(encoded) => encoded,
                Err(NotJson) => {
                    let InvalidNumbers { end, has_loyalty_data } =
                        scan_invalid_numbers(self.text, self.offset)?;
                    Encoded { end, row: Err(RowError::NotANumber), has_watched: has_loyalty_data }
                }
            };
        self.with_loyalty_data += usize::from(has_watched);
        match row {
            Ok(()) => self.row_ends.push(self.rows.len()),
            Err(reason) => self.rejected.push(RejectedCustomer {
                position: self.customers() + 1,
                reason,
                customer: self.text.get(self.offset..end)?.trim_ascii_start().into(),
            }),
        }
        self.offset = end;
        (self.customers() <= MAX_CUSTOMERS && self.rows.len() <= MAX_PAGE_BYTES).then_some(())
    }

    /// Reads the next JSON value.
    fn value(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.offset..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        self.offset += values.byte_offset();
        Some(value.get())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_if(byte).then_some(())
    }

    /// Skips the next byte if it is `byte`, and returns whether it was.
    fn skip_if(&mut self, byte: u8) -> bool {
        let found = self.next_byte() == Some(byte);
        self.offset += usize::from(found);
        found
    }

    /// Skips white space and returns the next byte.
    fn next_byte(&mut self) -> Option<u8> {
        self.offset = skip_whitespace(self.text, self.offset);
        self.text.as_bytes().get(self.offset).copied()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is customer data.
        write!(formatter, "Page({} customers, {:?})", self.customers(), self.next())
    }
}

impl fmt::Debug for RejectedCustomer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RejectedCustomer(position {}, {})", self.position, self.reason)
    }
}

/// Initial capacity for the rows of a response: an eighth more than its length, for the headers of the rows and for escapes.
/// Rounded up to one of few sizes, so that the allocator can reuse freed blocks. Measured: 2 MB less for a million customers.
fn row_capacity(response_length: usize) -> usize {
    let min = response_length + response_length / 8;
    min.next_multiple_of((min.next_power_of_two() / 4).max(1))
}

#[cfg(test)]
mod tests;
