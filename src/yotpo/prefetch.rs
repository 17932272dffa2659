//! A page's request, under way on its own.
//!
//! Owns the task that gets one page. When the page's answer is there and somebody waits for it, the task asks for the page
//! behind it, by the cursor that can be guessed from the answer's end, and only then reads the answer. Invariants: the
//! guess is only that; nobody may take a page that was asked for by it before the page with that cursor was read. No
//! more than one page is asked for ahead. Dropped, a request is broken off.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio_util::task::AbortOnDropHandle;

use super::client::YotpoClient;
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::page::Page;
use super::position::EndedBy;
use super::query::CursorQuery;
use crate::row::IngestionTime;

/// Which page is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it is asked for by; none for the first page.
    pub(super) cursor: Option<PageCursor>,
    /// What accompanies the cursor; `None` until a page behind a cursor was accepted.
    pub(super) query: Option<CursorQuery>,
    /// When its customers were ingested.
    pub(super) time: IngestionTime,
}

/// A page, and what came with it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) page: Page,
    /// What accompanied the cursor when it was accepted.
    pub(super) query: Option<CursorQuery>,
    /// The request for the page that is likely to be next.
    pub(super) ahead: Option<Fetching>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Fetching {
    cursor: Option<PageCursor>,
    awaited: Arc<AtomicBool>,
    task: AbortOnDropHandle<Result<Fetched, YotpoError>>,
}

/// What a page's task needs to ask for the page behind it.
#[derive(Debug)]
pub(super) struct Ahead {
    client: Arc<YotpoClient>,
    wanted: Wanted,
    /// Whether somebody waits for the page: else there are pages enough.
    awaited: Arc<AtomicBool>,
    started: Mutex<Option<Fetching>>,
}

impl Fetching {
    /// Asks for a page.
    pub(super) fn start(client: &Arc<YotpoClient>, wanted: Wanted) -> Self {
        let cursor = wanted.cursor.clone();
        let awaited = Arc::new(AtomicBool::new(false));
        let ahead = Ahead {
            client: Arc::clone(client),
            wanted,
            awaited: Arc::clone(&awaited),
            started: Mutex::default(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(ahead.fetch()));
        Self { cursor, awaited, task }
    }

    /// What the page is asked for by; none for the first page.
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
                // Only a runtime that shuts down breaks it off while somebody waits.
                Err(_broken_off) => std::future::pending().await,
            },
        }
    }
}

impl Ahead {
    /// Asks for the page that is likely to be next, and lets the request leave before this task goes on. A page that was
    /// asked for by an earlier guess is dropped.
    pub(super) async fn start(&self, likely: PageCursor) {
        // Not before it is settled which parameters accompany a cursor.
        if self.wanted.query.is_none() || !self.awaited.load(Ordering::Relaxed) {
            return;
        }
        let Wanted { number, query, time, .. } = self.wanted;
        {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if started.as_ref().is_some_and(|started| started.cursor() == Some(&likely)) {
                return;
            }
            let wanted = Wanted { number: number + 1, cursor: Some(likely), query, time };
            *started = Some(Fetching::start(&self.client, wanted));
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
        let Wanted { number, ref cursor, query: settled, time } = self.wanted;
        let Some(cursor) = cursor else {
            return Ok((self.client.page(number, None, time, self).await?, settled));
        };
        let mut query = settled.unwrap_or(CursorQuery::FIRST);
        loop {
            let result = self.client.page(number, Some((cursor, query)), time, self).await;
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
