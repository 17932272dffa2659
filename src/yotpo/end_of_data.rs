//! Decides whether to accept a response that ends the data.
//!
//! Owns which ends are doubtful and how often they are confirmed. Invariants: a doubtful end is accepted only if a repeated
//! request had the same result; messages are matched before redaction. It sends nothing: a doubtful end is an error that
//! the retry loop handles like any other.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::page::Page;
use super::position::EndedBy;
use crate::http::BodyProblem;

/// How often a doubtful end is requested again before it is accepted. A wrong end loses customers and cannot be detected
/// later, so one confirmation is not enough. But a store may end like this every day, and each confirmation costs a request
/// and a delay. With the default backoff (upper bounds of 1, 2 and 4 seconds), three confirmations outlast an incident of a few
/// seconds and take 3.5 seconds on average, compared with the 10 minutes that a failing page may take.
const CONFIRMATIONS: u32 = 3;

/// The message of a 400 that means "no more data". It is known only from the connector that this program replaces, so it is
/// matched narrowly: every other 400 is an error.
const NO_RESULTS: &str = "no results found";
/// Another message that may accompany it, because it only repeats the status.
const BAD_REQUEST: &str = "bad request";
/// Larger bodies are not searched for a message.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// Checks the end of the data while one page is requested.
#[derive(Debug)]
pub(super) struct EndCheck {
    page: u64,
    page_size: usize,
    /// Repeated requests with the same result that confirm a doubtful end.
    confirmations: u32,
    /// The last doubtful end, and how often in a row it occurred.
    last_doubt: Mutex<(EndedBy, u32)>,
}

impl EndCheck {
    /// Creates a check for `page` (from 1), whose request is retried at most `max_retries` times. At least one confirmation is
    /// required: without retries a doubtful end is an error.
    pub(super) fn new(page: u64, page_size: u8, max_retries: u32) -> Self {
        Self {
            page,
            page_size: page_size.into(),
            confirmations: max_retries.clamp(1, CONFIRMATIONS),
            last_doubt: Mutex::new((EndedBy::LastPage, 0)),
        }
    }

    /// Accepts a page, unless it is an unconfirmed doubtful end of the data.
    ///
    /// # Errors
    /// The reason for the doubt. The page must be requested again.
    pub(super) fn accept(&self, page: Page) -> Result<Page, BodyProblem> {
        let customers = page.customers();
        let (ended_by, doubt) = match page.ended_by() {
            None | Some(EndedBy::LastPage) => return Ok(page),
            Some(EndedBy::NoResults) => (EndedBy::NoResults, "\"no results found\" instead of a page"),
            Some(_) if customers >= self.page_size => {
                (EndedBy::MissingPagination, "a full page without pagination")
            }
            Some(_) if customers == 0 => (EndedBy::MissingPagination, "an empty page without pagination"),
            Some(_) if self.page == 1 => return Ok(page.with_end(EndedBy::LastPage)),
            Some(_) => return Ok(page.with_end(EndedBy::ShortPage)),
        };
        if self.is_confirmed(ended_by) {
            return Ok(page.with_end(ended_by));
        }
        Err(BodyProblem::Implausible { what: doubt })
    }

    /// Counts a doubtful end and returns whether it is confirmed.
    fn is_confirmed(&self, ended_by: EndedBy) -> bool {
        let mut last_doubt = self.last_doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let (previous, times) = *last_doubt;
        let times = if previous == ended_by { times + 1 } else { 1 };
        *last_doubt = (ended_by, times);
        times > self.confirmations
    }
}

/// Whether the message of a 400 is "no results found" and nothing else. `body` must be as received, because redaction may
/// remove these words.
pub(super) fn is_no_results(body: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_ERROR_BODY) else {
        return false;
    };
    let value = serde_json::from_str(text).unwrap_or_else(|_not_json| Value::String(text.to_owned()));
    let mut messages = Vec::new();
    if value.is_string() {
        collect_messages(&value, &mut messages);
    }
    let status = value.get("status").filter(|status| status.is_object());
    let documented = ["message", "error", "errors"].map(|key| value.get(key));
    for message in documented.into_iter().chain([status]).flatten() {
        collect_messages(message, &mut messages);
    }
    messages.iter().any(|message| is_message(message, NO_RESULTS))
        && messages.iter().all(|message| is_message(message, NO_RESULTS) || is_message(message, BAD_REQUEST))
}

/// Collects the texts of an error: those of its `message`, if it has one.
fn collect_messages<'a>(error: &'a Value, messages: &mut Vec<&'a str>) {
    match error {
        Value::String(text) => messages.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_messages(item, messages)),
        Value::Object(fields) => match fields.get("message") {
            Some(message) => collect_messages(message, messages),
            None => fields.values().for_each(|field| collect_messages(field, messages)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a message consists of `words`, ignoring case and spacing.
fn is_message(message: &str, words: &str) -> bool {
    let message = message.trim().trim_end_matches(['.', '!']);
    let found = message.split_whitespace().map(str::to_ascii_lowercase);
    found.eq(words.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::IngestionTime;

    fn page(customers: usize, tail: &str) -> Page {
        let customers = vec!["{}"; customers].join(",");
        let body = format!(r#"{{"customers":[{customers}]{tail}}}"#);
        Page::parse(&body, IngestionTime::MAX).unwrap()
    }

    /// The doubts until page `number` is accepted, and how it ends the data.
    fn doubts_until_accepted(
        number: u64,
        max_retries: u32,
        page: impl Fn() -> Page,
    ) -> (Vec<String>, Option<EndedBy>) {
        let check = EndCheck::new(number, 10, max_retries);
        let mut doubts = Vec::new();
        loop {
            match check.accept(page()) {
                Ok(page) => return (doubts, page.ended_by()),
                Err(doubt) => doubts.push(doubt.to_string()),
            }
        }
    }

    #[test]
    fn explicit_ends_and_short_pages_are_accepted_immediately() {
        for (number, customers, tail, expected) in [
            (1, 10, r#","pagination":{"next_page_info":null}"#, Some(EndedBy::LastPage)),
            (7, 10, r#","pagination":{}"#, Some(EndedBy::LastPage)),
            (7, 0, r#","pagination":{"next_page_info":""}"#, Some(EndedBy::LastPage)),
            (7, 10, r#","pagination":{"next_page_info":"a"}"#, None),
            (1, 9, "", Some(EndedBy::LastPage)),
            (2, 9, "", Some(EndedBy::ShortPage)),
            (2, 1, r#","pagination":null"#, Some(EndedBy::ShortPage)),
        ] {
            let found = doubts_until_accepted(number, 8, || page(customers, tail));
            assert_eq!(found, (Vec::new(), expected), "{customers} customers on page {number}{tail}");
        }
    }

    #[test]
    fn doubtful_ends_are_accepted_after_three_confirmations() {
        for (number, customers, tail, doubt) in [
            (2, 10, "", "implausible response: a full page without pagination"),
            (1, 11, r#","pagination":null"#, "implausible response: a full page without pagination"),
            (2, 0, "", "implausible response: an empty page without pagination"),
        ] {
            let (doubts, ended_by) = doubts_until_accepted(number, 8, || page(customers, tail));
            assert_eq!((doubts, ended_by), (vec![doubt.to_owned(); 3], Some(EndedBy::MissingPagination)));
        }
        let (doubts, ended_by) = doubts_until_accepted(5, 8, Page::no_results);
        let doubt = "implausible response: \"no results found\" instead of a page";
        assert_eq!((doubts, ended_by), (vec![doubt.to_owned(); 3], Some(EndedBy::NoResults)));
    }

    #[test]
    fn fewer_retries_need_fewer_confirmations_but_at_least_one() {
        for (max_retries, expected) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3)] {
            assert_eq!(
                doubts_until_accepted(5, max_retries, Page::no_results).0.len(),
                expected,
                "{max_retries} retries"
            );
        }
    }

    #[test]
    fn only_the_same_end_is_a_confirmation() {
        let check = EndCheck::new(5, 10, 8);
        for _ in 0..10 {
            assert!(matches!(check.accept(Page::no_results()), Err(BodyProblem::Implausible { .. })));
            assert!(matches!(check.accept(page(10, "")), Err(BodyProblem::Implausible { .. })));
        }
    }

    #[test]
    fn no_results_is_recognised_in_every_error_format_and_nowhere_else() {
        for (body, expected) in [
            ("No results found", true),
            (" no  RESULTS found.\n", true),
            (r#""No results found!""#, true),
            (r#"{"error":"No results found"}"#, true),
            (r#"{"errors":[{"message":"No results found","code":"x"}]}"#, true),
            (r#"{"errors":[{"message":{"reason":["No results found"]}}]}"#, true),
            (r#"{"errors":{"base":["no results found"]}}"#, true),
            (r#"{"message":"no results found","code":400,"error_type":"x"}"#, true),
            (r#"{"status":{"message":"No results found","code":400}}"#, true),
            (r#"{"statusCode":400,"error":"Bad Request","message":"No results found"}"#, true),
            (r#"{"status":"error","message":"No results found"}"#, true),
            ("", false),
            ("Bad Request", false),
            (r#"{"error":"Bad Request"}"#, false),
            (r#"{"error":"page_info is invalid","message":"No results found"}"#, false),
            (r#"{"errors":[{"message":"No results found"},{"message":"expired"}]}"#, false),
            ("No results found for this page_info", false),
            ("no results", false),
            (r#"{"detail":"No results found"}"#, false),
            (r#"["No results found"]"#, false),
            ("<html>No results found</html>", false),
            ("{\"error\":", false),
        ] {
            assert_eq!(is_no_results(body.as_bytes()), expected, "{body}");
        }
        assert!(!is_no_results(b"\xff"));
        let padded = format!("{}no results found", " ".repeat(MAX_ERROR_BODY));
        assert!(!is_no_results(padded.as_bytes()));
    }
}
