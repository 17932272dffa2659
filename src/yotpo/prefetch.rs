//! Prefetches pages: each page is fetched in its own task.
//!
//! Owns the task that fetches one page. When the response arrives and the page is awaited, the task requests the next page, with
//! the cursor guessed from the end of the response, and only then parses the response. Invariants: a prefetched page is used
//! only if the parsed page contains the guessed cursor. At most one page is prefetched. Dropping a request cancels it.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use super::client::{PageRequest, ReadPage, YotpoClient};
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::next_cursor::guess_next_cursor;
use super::page::Page;
use super::position::EndedBy;
use super::query::CursorQuery;
use crate::http::{BodyProblem, Response, error_type};
use crate::row::IngestionTime;
use crate::spans;

/// The page to fetch.
#[derive(Clone, Debug)]
pub(super) struct NextPage {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its cursor; `None` for the first page.
    pub(super) cursor: Option<PageCursor>,
    /// The parameters sent with the cursor; `None` until Yotpo has accepted a request with a cursor.
    pub(super) query: Option<CursorQuery>,
    /// How to parse it.
    pub(super) reader: PageReader,
}

/// How to request and parse pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageReader {
    /// Customers on a page, 1–100.
    pub(super) page_size: u8,
    /// The `time` of the rows.
    pub(super) time: IngestionTime,
}

/// A fetched page.
#[derive(Debug)]
pub(super) struct FetchedPage {
    pub(super) page: Page,
    /// The parameters that were accepted with the cursor.
    pub(super) query: Option<CursorQuery>,
    /// The request for the next page, with a guessed cursor.
    pub(super) prefetched: Option<InFlightPage>,
}

/// What is requested while a page is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefetch {
    NextPage,
    Nothing,
}

/// A page request in flight.
#[derive(Debug)]
pub(super) struct InFlightPage {
    cursor: Option<PageCursor>,
    is_awaited: Arc<AtomicBool>,
    task: AbortOnDropHandle<Result<FetchedPage, YotpoError>>,
}

/// The task of one page, which also requests the next one.
#[derive(Debug)]
struct Prefetcher {
    client: Arc<YotpoClient>,
    next_page: NextPage,
    /// The span that contains all pages.
    parent: Span,
    /// Whether a caller waits for the page and wants the next one, too. Otherwise no further page is prefetched.
    is_awaited: Arc<AtomicBool>,
    started: Mutex<Option<InFlightPage>>,
}

impl InFlightPage {
    /// Starts to fetch a page. `parent` is the span that contains all pages.
    pub(super) fn start(client: &Arc<YotpoClient>, next_page: NextPage, parent: Span) -> Self {
        let span = spans::page(&parent, next_page.number);
        let cursor = next_page.cursor.clone();
        let is_awaited = Arc::new(AtomicBool::new(false));
        let prefetcher = Prefetcher {
            client: Arc::clone(client),
            next_page,
            parent,
            is_awaited: Arc::clone(&is_awaited),
            started: Mutex::default(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(prefetcher.fetch().instrument(span)));
        Self { cursor, is_awaited, task }
    }

    /// The cursor of the page; `None` for the first page.
    pub(super) fn cursor(&self) -> Option<&PageCursor> {
        self.cursor.as_ref()
    }

    /// Waits for the page.
    pub(super) async fn page(self, prefetch: Prefetch) -> Result<FetchedPage, YotpoError> {
        self.is_awaited.store(prefetch == Prefetch::NextPage, Ordering::Relaxed);
        match self.task.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The task is cancelled only when the runtime shuts down.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }
}

impl ReadPage for Prefetcher {
    async fn read(&self, response: &Response) -> Result<Page, BodyProblem> {
        if let Some(cursor) = guess_next_cursor(&response.body) {
            self.prefetch(cursor).await;
        }
        Page::parse(response.text()?, self.next_page.reader.time)
    }
}

impl Prefetcher {
    /// Requests the next page with a guessed cursor, and yields so that the request is sent before this task continues. A page
    /// requested with an earlier guess is dropped.
    async fn prefetch(&self, guess: PageCursor) {
        // Not before Yotpo has accepted a request with a cursor.
        if self.next_page.query.is_none() || !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        let NextPage { number, query, reader, .. } = self.next_page;
        {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if started.as_ref().is_some_and(|started| started.cursor() == Some(&guess)) {
                return;
            }
            let next_page = NextPage { number: number + 1, cursor: Some(guess), query, reader };
            *started = Some(InFlightPage::start(&self.client, next_page, self.parent.clone()));
        }
        tokio::task::yield_now().await;
    }

    async fn fetch(self) -> Result<FetchedPage, YotpoError> {
        let fetched = self.page().await;
        let (page, query) =
            fetched.inspect_err(|error| spans::record_failure(&Span::current(), &error_type(error)))?;
        let prefetched = self.started.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(FetchedPage { page, query, prefetched })
    }

    async fn page(&self) -> Result<(Page, Option<CursorQuery>), YotpoError> {
        let NextPage { number, ref cursor, query, reader: PageReader { page_size, .. } } = self.next_page;
        let Some(cursor) = cursor else {
            let request = PageRequest { number, cursor: None, page_size };
            return Ok((self.client.page(request, self).await?, query));
        };
        page_with_fallback(&self.client, number, cursor, query, page_size, self).await
    }
}

/// Fetches the page at a cursor with filters and `limit`. If Yotpo rejects the first such request, tries the other parameters.
/// Returns the parameters that it accepted.
pub(super) async fn page_with_fallback(
    client: &YotpoClient,
    number: u64,
    cursor: &PageCursor,
    accepted_query: Option<CursorQuery>,
    page_size: u8,
    reader: &impl ReadPage,
) -> Result<(Page, Option<CursorQuery>), YotpoError> {
    let mut query = accepted_query.unwrap_or(CursorQuery::INITIAL);
    loop {
        let request = PageRequest { number, cursor: Some((cursor, query)), page_size };
        let result = client.page(request, reader).await;
        let fallback = query.fallback().filter(|_| accepted_query.is_none() && may_reject_query(&result));
        let Some(fallback) = fallback else { return Ok((result?, Some(query))) };
        tracing::warn!(
            page = number,
            refused = query.name(),
            trying = fallback.name(),
            "Yotpo rejected the parameters sent with the cursor, trying others"
        );
        query = fallback;
    }
}

/// Whether Yotpo may have rejected the parameters sent with the cursor.
fn may_reject_query(result: &Result<Page, YotpoError>) -> bool {
    match result {
        // The reason for the missing results may be the parameters.
        Ok(page) => page.ended_by() == Some(EndedBy::NoResults),
        Err(YotpoError::Page { source, .. }) => {
            matches!(source.status_code(), Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yotpo::tests::client;

    #[tokio::test]
    async fn a_repeated_guess_keeps_the_request_and_another_one_replaces_it() {
        let reader = PageReader { page_size: 100, time: IngestionTime::MAX };
        let cursor = |text: &str| PageCursor::from_plain(text);
        let query = Some(CursorQuery::INITIAL);
        let prefetcher = Prefetcher {
            client: client(Vec::new()).0,
            next_page: NextPage { number: 3, cursor: Some(cursor("c2")), query, reader },
            parent: Span::none(),
            is_awaited: Arc::new(AtomicBool::new(true)),
            started: Mutex::default(),
        };
        let mut started = Vec::new();
        for guess in ["c3", "c3", "c4", "c3"] {
            prefetcher.prefetch(cursor(guess)).await;
            let in_flight = prefetcher.started.lock().unwrap();
            let in_flight = in_flight.as_ref().unwrap();
            assert_eq!(in_flight.cursor(), Some(&cursor(guess)));
            started.push(in_flight.task.abort_handle().id());
        }
        assert_eq!(started[0], started[1], "the first request is kept");
        assert!(started[1] != started[2] && started[2] != started[3], "{started:?}");
    }
}
