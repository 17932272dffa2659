//! Looks at single pages and reports how Yotpo sends them.
//!
//! Owns what can be said of a page without saying anything of a customer: sizes, counts, the form of the cursor, and headers
//! about limits. It uses the same requests and the same reader as the paging, and keeps no row.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderName};

use super::client::{PageRequest, ReadPage, YotpoClient};
use super::cursor::{CursorForm, PageCursor};
use super::error::YotpoError;
use super::next_cursor::cursor_form;
use super::page::Page;
use super::position::EndedBy;
use super::prefetch::page_with_fallback;
use super::query::CursorQuery;
use crate::http::{BodyProblem, Response, server_date};
use crate::row::IngestionTime;

/// Headers whose names contain one of these are about limits.
const LIMIT_HEADERS: [&str; 2] = ["ratelimit", "retry-after"];
/// Maximum length of the name or value of a header that is reported.
const MAX_HEADER: usize = 40;

/// What a page looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageFacts {
    /// Number of customers.
    pub customers: u64,
    /// Customers with loyalty data.
    pub with_loyalty_data: u64,
    /// Customers that cannot become a row.
    pub rejected: u64,
    /// Size of the JSON in bytes.
    pub bytes: u64,
    /// How the page ends the data; `None` if it names a next page.
    pub ended_by: Option<EndedBy>,
    /// The form of the cursor; `None` without one.
    pub cursor_form: Option<CursorForm>,
    /// Headers about limits with their values. A value that is not a number or a list of numbers is left out.
    pub limit_headers: Vec<(String, Option<String>)>,
    /// Names of headers that seem to identify the request.
    pub request_id_headers: Vec<String>,
    /// Seconds by which Yotpo's clock is ahead of this machine's; `None` without a `Date`.
    pub clock_offset: Option<i64>,
}

/// A page that was looked at.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What it looks like.
    pub facts: PageFacts,
    /// The parameters that Yotpo accepted with the cursor; `None` for the first page.
    pub query: Option<CursorQuery>,
    /// Where the next page is.
    next: Option<PageCursor>,
}

impl YotpoClient {
    /// Gets an access token, unless there is one.
    ///
    /// # Errors
    /// When Yotpo issues none.
    pub async fn obtain_token(&self) -> Result<(), YotpoError> {
        self.token().await.map(drop)
    }

    /// Looks at the first page.
    ///
    /// # Errors
    /// As for a page of a run.
    pub async fn inspect_first_page(&self, page_size: u8) -> Result<Inspected, YotpoError> {
        let inspector = Inspector::new(self);
        let page = self.page(PageRequest { number: 1, cursor: None, page_size }, &inspector).await?;
        Ok(inspector.inspected(&page, None))
    }

    /// Looks at the second page, with the parameters that a run would find out. `None` if `first` is the last page.
    ///
    /// # Errors
    /// As for a page of a run.
    pub async fn inspect_second_page(
        &self,
        first: &Inspected,
        page_size: u8,
    ) -> Result<Option<Inspected>, YotpoError> {
        let Some(cursor) = &first.next else { return Ok(None) };
        let inspector = Inspector::new(self);
        let (page, query) = page_with_fallback(self, 2, cursor, None, page_size, &inspector).await?;
        Ok(Some(inspector.inspected(&page, query)))
    }
}

/// Reads a page as a run does, and remembers its response.
struct Inspector<'a> {
    client: &'a YotpoClient,
    seen: Mutex<PageFacts>,
}

impl<'a> Inspector<'a> {
    fn new(client: &'a YotpoClient) -> Self {
        Self { client, seen: Mutex::default() }
    }

    fn inspected(self, page: &Page, query: Option<CursorQuery>) -> Inspected {
        let facts = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let facts = PageFacts { ended_by: page.ended_by(), ..facts };
        Inspected { facts, query, next: page.next().cloned() }
    }
}

impl ReadPage for Inspector<'_> {
    async fn read(&self, response: &Response) -> Result<Page, BodyProblem> {
        let text = response.text()?;
        let page = Page::parse(text, IngestionTime::MAX)?;
        let machine = self.client.unix_time();
        let facts = PageFacts {
            customers: page.customers() as u64,
            with_loyalty_data: page.customers_with_loyalty_data() as u64,
            rejected: page.rejected() as u64,
            bytes: text.len() as u64,
            ended_by: None,
            cursor_form: cursor_form(text),
            limit_headers: limit_headers(&response.headers),
            request_id_headers: names_with(&response.headers, &["request-id"]),
            clock_offset: server_date(&response.headers).and_then(|date| {
                let [server, machine] = [date, machine].map(|time| i64::try_from(time.as_secs()));
                Some(server.ok()? - machine.ok()?)
            }),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        Ok(page)
    }
}

fn names_with(headers: &HeaderMap, parts: &[&str]) -> Vec<String> {
    let names = headers.keys().map(HeaderName::as_str);
    let is_wanted = |name: &&str| name.len() <= MAX_HEADER && parts.iter().any(|part| name.contains(part));
    let mut names: Vec<String> = names.filter(is_wanted).map(str::to_owned).collect();
    names.sort();
    names
}

fn limit_headers(headers: &HeaderMap) -> Vec<(String, Option<String>)> {
    let is_number = |text: &&str| {
        text.len() <= MAX_HEADER
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b',' | b';' | b'=' | b'.' | b'w'))
    };
    let value = |name: &String| {
        let value = headers.get(name)?.to_str().ok().map(str::trim)?;
        Some(value).filter(is_number).map(str::to_owned)
    };
    let names = names_with(headers, &LIMIT_HEADERS);
    names.into_iter().map(|name| (name.clone(), value(&name))).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_numbers_of_headers_about_limits_are_reported() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ratelimit-remaining", "4"),
            ("ratelimit-limit", "5, 5;w=1"),
            ("x-ratelimit-client", "ann@example.com"),
            ("retry-after", "Wed, 21 Oct 2015 07:28:42 GMT"),
            ("set-cookie", "a=1"),
            ("x-request-id", "7f3a"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let number = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            limit_headers(&headers),
            [
                number("ratelimit-limit", Some("5, 5;w=1")),
                number("ratelimit-remaining", Some("4")),
                number("retry-after", None),
                number("x-ratelimit-client", None),
            ]
        );
        assert_eq!(names_with(&headers, &["request-id"]), ["x-request-id"]);
    }
}
