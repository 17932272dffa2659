//! One page: its customers as rows, and the cursor behind it.
//!
//! Owns the reading of an answer, in one pass from its text to rows. Invariants: an answer that is not JSON from its first
//! byte to its last is no page, however much of it was read; each customer is a row or is named as refused. It does not
//! know what a row looks like.

use std::fmt;

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::cursor::PageCursor;
use super::not_a_number::{Unusual, read_unusual};
use super::pagination::{Pagination, cursor_of, pagination};
use super::position::EndedBy;
use super::reported_error::reports_error;
use crate::http::{BodyProblem, Response, parse_json};
use crate::row::{Encoded, Encoder, IngestionTime, NotJson, RowError, Rows};

/// The key of a customer's loyalty data.
const LOYALTY_DATA: &str = "yotpo_loyalty";
/// More customers than this are on no page, even of a service that forgets its limit of 100: memory for them is bounded.
const MOST_CUSTOMERS: usize = 100_000;

/// Largest page that is accepted, as an answer and as rows, in bytes. Pages above 1 MB have been seen; memory is bounded by
/// what is accepted.
pub(super) const LARGEST_PAGE: usize = 16 * 1024 * 1024;
/// Longest cursor that is accepted: no server takes a longer address.
const LONGEST_CURSOR: usize = 16 * 1024;

/// A page of customers, as rows.
pub struct Page {
    rows: Rows,
    refused: Vec<RefusedCustomer>,
    with_loyalty_data: usize,
    next: Next,
}

/// What a page says of the one behind it.
enum Next {
    Page(PageCursor),
    End(EndedBy),
}

/// A customer of which no row can be made.
pub struct RefusedCustomer {
    /// Its place on the page, from 1.
    pub position: usize,
    /// Why.
    pub reason: RowError,
    /// Its JSON text: customer data, only ever for the quarantine. A copy, so that it does not hold the whole answer.
    pub customer: ByteString,
}

/// An answer on its way to become a page.
struct Reader<'a> {
    text: &'a ByteString,
    /// Text before this place was read.
    at: usize,
    encoder: Encoder,
    rows: Vec<u8>,
    row_ends: Vec<usize>,
    refused: Vec<RefusedCustomer>,
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
    pub fn read(response: &Response, time: IngestionTime) -> Result<Self, BodyProblem> {
        let text = response.text()?;
        let mut reader = Reader::new(&text, time);
        let page = reader.page();
        if reader.reports_error {
            return Err(BodyProblem::ReportsError);
        }
        if let Some(page) = page {
            return Ok(page);
        }
        if reader.customers() > MOST_CUSTOMERS {
            return Err(BodyProblem::Malformed { what: format!("more than {MOST_CUSTOMERS} customers") });
        }
        if reader.rows.len() > LARGEST_PAGE {
            return Err(BodyProblem::TooLarge { limit: LARGEST_PAGE });
        }
        if reader.has_long_cursor {
            return Err(BodyProblem::Malformed {
                what: format!("a cursor of more than {LONGEST_CURSOR} bytes"),
            });
        }
        // What is wrong, and where, `serde_json` tells.
        match parse_json::<Body<'_>>(&text) {
            Err(problem) => Err(problem),
            Ok(_) => Err(BodyProblem::Malformed { what: "nested too deeply".to_owned() }),
        }
    }

    /// What a 400 that says "no results found" stands for.
    pub(super) fn no_results() -> Self {
        let next = Next::End(EndedBy::NoResults);
        Self { rows: Rows::default(), refused: Vec::new(), with_loyalty_data: 0, next }
    }

    /// The same page, which ended the data that way.
    pub(super) fn with_end(self, ended_by: EndedBy) -> Self {
        Self { next: Next::End(ended_by), ..self }
    }

    /// How many customers are on it, those included of which no row can be made.
    pub fn customers(&self) -> usize {
        self.rows.len() + self.refused.len()
    }

    /// How many of them have loyalty data: a `yotpo_loyalty` that is there and not null.
    pub fn customers_with_loyalty_data(&self) -> usize {
        self.with_loyalty_data
    }

    /// The customers' rows, and the customers that have none.
    pub fn into_rows(self) -> (Rows, Vec<RefusedCustomer>) {
        (self.rows, self.refused)
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
    fn new(text: &'a ByteString, time: IngestionTime) -> Self {
        Self {
            text,
            at: 0,
            encoder: Encoder::watching(LOYALTY_DATA, time),
            rows: Vec::with_capacity(room_for_rows(text.len())),
            row_ends: Vec::new(),
            refused: Vec::new(),
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
                        if length > LONGEST_CURSOR {
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
            refused: std::mem::take(&mut self.refused),
            with_loyalty_data: self.with_loyalty_data,
            next: next.unwrap_or(Next::End(EndedBy::ShortPage)),
        })
    }

    fn customers(&self) -> usize {
        self.row_ends.len() + self.refused.len()
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
            Err(reason) => self.refused.push(RefusedCustomer {
                position: self.customers() + 1,
                reason,
                customer: self.text.get(self.at..end)?.trim_ascii_start().into(),
            }),
        }
        self.at = end;
        (self.customers() <= MOST_CUSTOMERS && self.rows.len() <= LARGEST_PAGE).then_some(())
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

    /// The next byte behind whitespace.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its content is customers.
        write!(formatter, "Page({} customers, {:?})", self.customers(), self.next())
    }
}

impl fmt::Debug for RefusedCustomer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RefusedCustomer(position {}, {})", self.position, self.reason)
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
mod tests {
    use super::*;
    use crate::http::DelayHint;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    fn read(body: &str) -> Result<Page, BodyProblem> {
        read_bytes(body.as_bytes())
    }

    fn read_bytes(body: &[u8]) -> Result<Page, BodyProblem> {
        let response = Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            delay: DelayHint::default(),
        };
        Page::read(&response, IngestionTime::MAX)
    }

    /// The rows of customers that are on their own.
    fn rows(customers: &[&str]) -> Rows {
        let row = |customer: &&str| {
            let mut row = Vec::new();
            Encoder::new(IngestionTime::MAX).encode(customer, &mut row).unwrap();
            row
        };
        customers.iter().map(row).collect()
    }

    fn next(body: &str) -> Option<String> {
        read(body).unwrap().next().map(|cursor| cursor.as_str().to_owned())
    }

    #[test]
    fn each_customer_is_a_row_or_refused_at_its_place() {
        let body = r#" {"x" :[{"customers":1}], "customers" : [ {"a" : 1.10} , null,{"b":"\u00e9"},[{}] , {} ] , "y":2} "#;
        let page = read(body).unwrap();
        assert_eq!(page.customers(), 5);
        let (found, refused) = page.into_rows();
        assert_eq!(found, rows(&[r#"{"a":1.10}"#, r#"{"b":"\u00e9"}"#, "{}"]));
        let refused: Vec<_> =
            refused.iter().map(|refused| (refused.position, refused.reason, &*refused.customer)).collect();
        let reason = RowError::NotAnObject;
        assert_eq!(refused, [(2, reason, "null"), (4, reason, "[{}]")]);
    }

    #[test]
    fn keys_are_known_however_they_are_spelled_and_never_twice() {
        let page = read(r#"{"\u0063ustomers":[{}],"paginatio\u006e":{"next_page_info":"a"}}"#).unwrap();
        assert_eq!((page.customers(), page.next().map(PageCursor::as_str)), (1, Some("a")));
        for twice in [
            r#"{"customers":[],"customers":[]}"#,
            r#"{"customers":[],"\u0063ustomers":[]}"#,
            r#"{"pagination":null,"customers":[],"pagination":null}"#,
        ] {
            assert!(read(twice).is_err(), "{twice}");
        }
    }

    #[test]
    fn every_form_of_no_cursor_is_the_last_page() {
        for tail in [
            "",
            r#","pagination":null"#,
            r#","pagination":{}"#,
            r#","pagination":{"next_page_info":null}"#,
            r#","pagination":{"next_page_info":""}"#,
        ] {
            assert_eq!(next(&format!(r#"{{"customers":[]{tail}}}"#)), None, "{tail}");
        }
    }

    #[test]
    fn an_end_with_pagination_is_told_from_one_without() {
        for (tail, expected) in [
            ("", Some(EndedBy::ShortPage)),
            (r#","pagination":null"#, Some(EndedBy::ShortPage)),
            (r#","pagination":{}"#, Some(EndedBy::LastPage)),
            (r#","pagination":{"next_page_info":null}"#, Some(EndedBy::LastPage)),
            (r#","pagination":{"next_page_info":""}"#, Some(EndedBy::LastPage)),
            (r#","pagination":{"next_page_info":"a"}"#, None),
        ] {
            assert_eq!(
                read(&format!(r#"{{"customers":[{{}}]{tail}}}"#)).unwrap().ended_by(),
                expected,
                "{tail}"
            );
        }
    }

    #[test]
    fn a_page_that_reports_an_error_is_none_and_its_words_are_not_kept() {
        for body in [
            r#"{"customers":[],"errors":[{"message":"ann@example.com"}]}"#,
            r#"{"error":"ann@example.com","customers":[{}],"pagination":{"next_page_info":"a"}}"#,
            r#"{"customers":[{}],"status":{"code":500,"message":"ann@example.com"},"pagination":null}"#,
            r#"{"\u0065rror":"ann@example.com","customers":[{}]}"#,
            r#"{"errors":[{"message":"ann@example.com"}]}"#,
        ] {
            let problem = read(body).unwrap_err();
            assert!(matches!(problem, BodyProblem::ReportsError), "{body} {problem:?}");
        }
        let fine = r#"{"error":null,"errors":[],"status":{"code":200},"customers":[{"error":"x"}],"pagination":null}"#;
        assert_eq!(read(fine).unwrap().customers(), 1);
    }

    #[test]
    fn a_cursor_is_found_wherever_the_pagination_stands() {
        assert_eq!(next(r#"{"pagination":{"next_page_info":"a%3D"},"customers":[]}"#).as_deref(), Some("a="));
        assert_eq!(
            next(r#"{"customers":[{}],"pagination":{"next_page_info":"a\/b"}}"#).as_deref(),
            Some("a/b")
        );
        assert_eq!(next(r#"{"customers":[],"pagination":{"next_page_info":12}}"#).as_deref(), Some("12"));
    }

    #[test]
    fn room_for_rows_is_an_eighth_more_and_never_wasteful() {
        for answer in [0, 1, 7, 100, 1_000, 97_800, 116_508, 116_509, 1_000_000, 64 << 20] {
            let (room, least) = (room_for_rows(answer), answer + answer / 8);
            assert!((least..=least + least / 2 + 1).contains(&room), "{room} for {answer}");
        }
        assert_eq!((room_for_rows(90_000), room_for_rows(116_000)), (128 << 10, 128 << 10));
    }

    #[test]
    fn debug_output_hides_the_customers() {
        let page = read(r#"{"customers":[{"email":"ann@example.com"}],"pagination":null}"#).unwrap();
        assert_eq!(format!("{page:?}"), "Page(1 customers, None)");
    }

    #[test]
    fn text_that_is_no_utf8_is_refused_without_being_quoted() {
        let problem = read_bytes(b"{\"customers\":[{\"a\":\"\xff\"}]}").unwrap_err().to_string();
        assert!(problem.contains("not UTF-8") && problem.contains("index 20"), "{problem}");
    }

    #[test]
    fn bodies_that_are_not_a_page_are_refused_without_being_quoted() {
        for body in [
            "",
            "<html>",
            "rate limit exceeded",
            r#"{"errors":[{"message":"ann@example.com"}]}"#,
            r#"{"customers":null}"#,
            r#"{"customers":{}}"#,
            r#"{"customers":[],"pagination":{"next_page_info":{"a":1}}}"#,
            r#"{"customers":[],"pagination":7}"#,
            r#"{"customers":[],"pagination":["cursor"]}"#,
            "[[],null]",
            r#"{"customers":[{"email":"ann@example.com"#,
            r#"{"customers":[]} trailing"#,
            r#"{"customers":[]}}"#,
            r#"{"customers":[{}}"#,
            r#"{"customers":[{},]}"#,
            r#"{"customers":[{} {}]}"#,
            r#"{"customers":[{"id":?}],"pagination":null}"#,
            r#"{"customers":[],}"#,
            r#"{"customers":[] "pagination":null}"#,
            r#"{"customers" []}"#,
            r#"{"customers":[],"x":nul}"#,
            r#"{"customers":[],1:2}"#,
            "{}",
        ] {
            let problem = read(body).unwrap_err().to_string();
            assert!(!problem.contains("ann@"), "{problem}");
            assert!(!problem.contains("nested too deeply"), "serde takes {body}");
        }
    }

    #[test]
    fn nesting_without_end_is_no_danger() {
        let deep = 1_000_000;
        let body = format!(r#"{{"customers":[{}{}]}}"#, "[".repeat(deep), "]".repeat(deep));
        let page = read(&body).unwrap();
        assert_eq!(page.customers_with_loyalty_data(), 0);
        let (rows, refused) = page.into_rows();
        assert!(rows.is_empty());
        assert_eq!(refused.iter().map(|refused| refused.customer.len()).collect::<Vec<_>>(), [2 * deep]);
        assert!(read(&format!(r#"{{"customers":[{}"#, "[".repeat(deep))).is_err());
        let deep = 2 * deep;
        let problem =
            read(&format!(r#"{{"customers":[{}{}]}}"#, "[".repeat(deep), "]".repeat(deep))).unwrap_err();
        assert!(problem.to_string().contains("nested too deeply"), "{problem}");
        // What nobody looks at may be as deep as it likes.
        let page = read(&format!(r#"{{"x":{}{},"customers":[]}}"#, "[".repeat(deep), "]".repeat(deep)));
        assert_eq!(page.unwrap().customers(), 0);
    }

    #[test]
    fn customers_without_end_are_no_page() {
        let body = |count: usize| format!(r#"{{"customers":[{}]}}"#, vec!["1"; count].join(","));
        assert_eq!(read(&body(MOST_CUSTOMERS)).unwrap().customers(), MOST_CUSTOMERS);
        let problem = read(&body(MOST_CUSTOMERS + 1)).unwrap_err().to_string();
        assert!(problem.contains("more than 100000 customers"), "{problem}");
    }

    #[test]
    fn customers_with_loyalty_data_are_counted() {
        for (customers, expected) in [
            ("", 0),
            (r#"{"yotpo_loyalty":null},{"email":"yotpo_loyalty"}"#, 0),
            (r#"null,7,{"a":{"yotpo_loyalty":{}}}"#, 0),
            (r#"[{"yotpo_loyalty":{"points":1}}]"#, 0),
            (r#"{"a":1},{"yotpo_loyalty":{"points":0}}, { "yotpo_loyalty" : {} }"#, 2),
        ] {
            let page = read(&format!(r#"{{"customers":[{customers}]}}"#)).unwrap();
            assert_eq!(page.customers_with_loyalty_data(), expected, "{customers}");
        }
    }
}
