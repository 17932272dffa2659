//! A page's request, in flight on its own.
//!
//! Owns the task that gets one page. When the page's response is there and somebody waits for it, the task requests the
//! page behind it, by the cursor that can be guessed from the response's end, and only then reads the response.
//! Invariants: the guess is only that; nobody may take a page that was requested by it before the page with that cursor
//! was read. No more than one page is requested ahead. A request that is dropped is cancelled.

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
use crate::http::{BodyProblem, Response};
use crate::row::IngestionTime;
use crate::spans;

/// A page that is wanted.
#[derive(Clone, Debug)]
pub(super) struct NextPage {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it is requested by; none for the first page.
    pub(super) cursor: Option<PageCursor>,
    /// What accompanies the cursor; `None` until a page behind a cursor was accepted.
    pub(super) query: Option<CursorQuery>,
    /// How it is read.
    pub(super) reader: PageReader,
}

/// How pages are requested and read.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageReader {
    /// Customers on a page, 1–100.
    pub(super) page_size: u8,
    /// The `time` of the rows.
    pub(super) time: IngestionTime,
}

/// A page, and what came with it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) page: Page,
    /// What accompanied the cursor when it was accepted.
    pub(super) query: Option<CursorQuery>,
    /// The request for the page that is likely to be next.
    pub(super) ahead: Option<InFlightPage>,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlightPage {
    cursor: Option<PageCursor>,
    awaited: Arc<AtomicBool>,
    task: AbortOnDropHandle<Result<Fetched, YotpoError>>,
}

/// What a page's task needs to request the page behind it.
#[derive(Debug)]
struct Prefetcher {
    client: Arc<YotpoClient>,
    wanted: NextPage,
    /// What the pages are a part of.
    around: Span,
    /// Whether somebody waits for the page: else there are pages enough.
    awaited: Arc<AtomicBool>,
    started: Mutex<Option<InFlightPage>>,
}

impl InFlightPage {
    /// Requests a page; `around` is the span that all pages are a part of.
    pub(super) fn start(client: &Arc<YotpoClient>, wanted: NextPage, around: Span) -> Self {
        let span = spans::page(&around, wanted.number);
        let cursor = wanted.cursor.clone();
        let awaited = Arc::new(AtomicBool::new(false));
        let prefetcher = Prefetcher {
            client: Arc::clone(client),
            wanted,
            around,
            awaited: Arc::clone(&awaited),
            started: Mutex::default(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(prefetcher.fetch().instrument(span)));
        Self { cursor, awaited, task }
    }

    /// What the page is requested by; none for the first page.
    pub(super) fn cursor(&self) -> Option<&PageCursor> {
        self.cursor.as_ref()
    }

    /// Waits for the page.
    pub(super) async fn page(self) -> Result<Fetched, YotpoError> {
        self.awaited.store(true, Ordering::Relaxed);
        match self.task.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only a runtime that shuts down cancels it while somebody waits.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }
}

impl ReadPage for Prefetcher {
    async fn read(&self, response: &Response) -> Result<Page, BodyProblem> {
        if let Some(cursor) = guess_next_cursor(&response.body) {
            self.request_ahead(cursor).await;
        }
        Page::parse(response.text()?, self.wanted.reader.time)
    }
}

impl Prefetcher {
    /// Requests the page that is likely to be next, and lets the request leave before this task continues. A page that was
    /// requested by an earlier guess is dropped.
    async fn request_ahead(&self, likely: PageCursor) {
        // Not before it is settled which parameters accompany a cursor.
        if self.wanted.query.is_none() || !self.awaited.load(Ordering::Relaxed) {
            return;
        }
        let NextPage { number, query, reader, .. } = self.wanted;
        {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if started.as_ref().is_some_and(|started| started.cursor() == Some(&likely)) {
                return;
            }
            let wanted = NextPage { number: number + 1, cursor: Some(likely), query, reader };
            *started = Some(InFlightPage::start(&self.client, wanted, self.around.clone()));
        }
        tokio::task::yield_now().await;
    }

    async fn fetch(self) -> Result<Fetched, YotpoError> {
        let (page, query) = self.page().await?;
        let ahead = self.started.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Fetched { page, query, ahead })
    }

    /// Sends filters and `limit` beside the cursor; where the first such request is refused, the other forms after it.
    async fn page(&self) -> Result<(Page, Option<CursorQuery>), YotpoError> {
        let NextPage { number, ref cursor, query: settled, reader: PageReader { page_size, .. } } =
            self.wanted;
        let Some(cursor) = cursor else {
            let request = PageRequest { number, cursor: None, page_size };
            return Ok((self.client.page(request, self).await?, settled));
        };
        let mut query = settled.unwrap_or(CursorQuery::FIRST);
        loop {
            let request = PageRequest { number, cursor: Some((cursor, query)), page_size };
            let result = self.client.page(request, self).await;
            let further = query.further().filter(|_| settled.is_none() && is_refused(&result));
            let Some(further) = further else { return Ok((result?, Some(query))) };
            tracing::warn!(
                page = number,
                refused = query.name(),
                trying = further.name(),
                "what accompanies the cursor is refused"
            );
            query = further;
        }
    }
}

/// Whether the form of a request behind a cursor may be what is refused.
fn is_refused(result: &Result<Page, YotpoError>) -> bool {
    match result {
        // It may be the form of the request that has no results.
        Ok(page) => page.ended_by() == Some(EndedBy::NoResults),
        Err(YotpoError::Page { source, .. }) => {
            matches!(source.status_code(), Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(_) => false,
    }
}
