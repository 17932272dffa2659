//! A page's request, under way on its own.
//!
//! Owns the task that gets one page, and the early word about the cursor behind it, so that the next request can leave
//! while this page is still being split. Invariant: the early cursor is only a guess; nobody may take a page that was
//! asked for by it before the page with that cursor was split. Dropped, the request is broken off.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::client::{CursorParameters, YotpoClient};
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::page::Page;

/// Which page is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it is asked for by; none for the first page.
    pub(super) cursor: Option<PageCursor>,
    /// `None` until a page behind a cursor was accepted.
    pub(super) parameters: Option<CursorParameters>,
}

/// A page, and the parameters beside the cursor with which it could be had.
pub(super) type Fetched = (Page, Option<CursorParameters>);

/// A request under way.
#[derive(Debug)]
pub(super) struct Fetching {
    cursor: Option<PageCursor>,
    likely_next: Option<oneshot::Receiver<PageCursor>>,
    task: AbortOnDropHandle<Result<Fetched, YotpoError>>,
}

/// Where a client tells, at most once, which cursor a page is likely to have.
#[derive(Debug)]
pub(super) struct LikelyNext(Mutex<Option<oneshot::Sender<PageCursor>>>);

impl Fetching {
    /// Asks for a page.
    pub(super) fn start(client: &Arc<YotpoClient>, wanted: Wanted) -> Self {
        let (sender, likely_next) = oneshot::channel();
        let cursor = wanted.cursor.clone();
        let client = Arc::clone(client);
        let next = LikelyNext(Mutex::new(Some(sender)));
        let task = AbortOnDropHandle::new(tokio::spawn(async move { fetch(&client, wanted, &next).await }));
        Self { cursor, likely_next: Some(likely_next), task }
    }

    /// What the page is asked for by; none for the first page.
    pub(super) fn cursor(&self) -> Option<&PageCursor> {
        self.cursor.as_ref()
    }

    /// Waits until the cursor behind the page can be guessed; `None` when the page is there before, or has none there.
    pub(super) async fn likely_next(&mut self) -> Option<PageCursor> {
        self.likely_next.take()?.await.ok()
    }

    /// Waits for the page.
    pub(super) async fn page(self) -> Result<Fetched, YotpoError> {
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

impl LikelyNext {
    /// Tells the cursor, and lets whoever waits for it send a request before this task goes on.
    pub(super) async fn tell(&self, cursor: PageCursor) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if sender.is_some_and(|sender| sender.send(cursor).is_ok()) {
            tokio::task::yield_now().await;
        }
    }
}

/// Sends the filters beside the cursor; when the first such request is answered 400, once without them.
async fn fetch(client: &YotpoClient, wanted: Wanted, next: &LikelyNext) -> Result<Fetched, YotpoError> {
    let Wanted { number, cursor, parameters: settled } = wanted;
    let Some(cursor) = cursor else { return Ok((client.page(number, None, next).await?, settled)) };
    let parameters = settled.unwrap_or(CursorParameters::Filters);
    let result = client.page(number, Some((&cursor, parameters)), next).await;
    let refused = matches!(&result, Err(YotpoError::Page { source, .. })
        if source.status_code() == Some(StatusCode::BAD_REQUEST));
    if refused && settled.is_none() {
        tracing::warn!(page = number, "filters beside the cursor are refused, trying with limit only");
        let parameters = CursorParameters::LimitOnly;
        return Ok((client.page(number, Some((&cursor, parameters)), next).await?, Some(parameters)));
    }
    Ok((result?, Some(parameters)))
}
