//! The rules of paging: which page comes next, and when to stop.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::client::{CursorParameters, YotpoClient};
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::page::Page;
use super::prefetch::{Fetched, Fetching, Wanted};
use crate::row::IngestionTime;

/// Whether a page without any loyalty data behind a first page that had some ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoyaltyCheck {
    /// It ends the run: Yotpo may have dropped `expand` behind the cursor.
    On,
    /// It is accepted: loyalty data is rare in this store.
    Off,
}

/// The pages of a store, from the first to the last.
#[derive(Debug)]
pub struct Pages {
    client: Arc<YotpoClient>,
    /// When the customers of this run were ingested.
    time: IngestionTime,
    loyalty_check: LoyaltyCheck,
    number: u64,
    next: Next,
    /// The request for the page after `number`, by a cursor that is only a guess until it is that of `next`.
    ahead: Option<Fetching>,
    /// `None` until a page behind a cursor was accepted.
    parameters: Option<CursorParameters>,
    expects_loyalty: ExpectsLoyalty,
    seen: SeenCursors,
}

#[derive(Debug)]
enum Next {
    First,
    Behind(PageCursor),
    Nothing,
}

/// Progress of the lost-loyalty check: only the first page with customers behind page 1 is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpectsLoyalty {
    Unknown,
    Yes,
    Settled,
}

/// Hashes of all cursors seen: 8 bytes a page, so that ten million customers cost about two megabytes.
#[derive(Debug, Default)]
struct SeenCursors {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Pages {
    /// All pages of the client's store, with rows of `time`.
    pub fn new(client: Arc<YotpoClient>, time: IngestionTime, loyalty_check: LoyaltyCheck) -> Self {
        Self {
            client,
            time,
            loyalty_check,
            number: 0,
            next: Next::First,
            ahead: None,
            parameters: None,
            expects_loyalty: ExpectsLoyalty::Unknown,
            seen: SeenCursors::default(),
        }
    }

    /// The pages behind `cursor`, with rows of `time`; none behind the last page. `fetched` pages were fetched before;
    /// `limit_only` when it was found out then that filters beside the cursor are refused.
    pub fn resume(
        client: Arc<YotpoClient>,
        time: IngestionTime,
        cursor: Option<PageCursor>,
        fetched: u64,
        limit_only: Option<bool>,
    ) -> Self {
        let by_limit = |limit_only| {
            if limit_only { CursorParameters::LimitOnly } else { CursorParameters::Filters }
        };
        let mut seen = SeenCursors::default();
        if let Some(cursor) = &cursor {
            seen.insert(cursor);
        }
        Self {
            client,
            time,
            // Page 1 was compared, or is not there to compare with.
            loyalty_check: LoyaltyCheck::Off,
            number: fetched,
            next: cursor.map_or(Next::Nothing, Next::Behind),
            ahead: None,
            parameters: limit_only.map(by_limit),
            expects_loyalty: ExpectsLoyalty::Settled,
            seen,
        }
    }

    /// Number of the page that was fetched last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether only `limit` accompanies the cursor, once it is known.
    pub fn limit_only(&self) -> Option<bool> {
        self.parameters.map(|parameters| parameters == CursorParameters::LimitOnly)
    }

    /// The next page; `None` behind the last. A page may be empty without being the last. While it is read, the page
    /// behind it is already asked for.
    ///
    /// # Errors
    /// When the page cannot be had or breaks a rule; the paging must not go on then.
    pub async fn next_page(&mut self) -> Result<Option<Page>, YotpoError> {
        let cursor = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return Ok(None),
            Next::First => None,
            Next::Behind(cursor) => Some(cursor),
        };
        let ahead = self.ahead.take().filter(|ahead| ahead.cursor() == cursor.as_ref());
        let fetching = ahead.unwrap_or_else(|| self.start(self.number + 1, cursor));
        self.number += 1;
        let Fetched { page, parameters, ahead } = fetching.page().await?;
        self.parameters = parameters;
        self.check_loyalty(&page)?;
        if let Some(cursor) = page.next() {
            if !self.seen.insert(cursor) {
                return Err(YotpoError::RepeatedCursor { page: self.number });
            }
            self.next = Next::Behind(cursor.clone());
        }
        self.ahead = ahead;
        tracing::debug!(page = self.number, customers = page.customers(), "page fetched");
        Ok(Some(page))
    }

    fn start(&self, number: u64, cursor: Option<PageCursor>) -> Fetching {
        let Self { parameters, time, .. } = *self;
        Fetching::start(&self.client, Wanted { number, cursor, parameters, time })
    }

    fn check_loyalty(&mut self, page: &Page) -> Result<(), YotpoError> {
        if self.loyalty_check == LoyaltyCheck::Off || page.customers() == 0 {
            return Ok(());
        }
        match self.expects_loyalty {
            ExpectsLoyalty::Settled => {}
            ExpectsLoyalty::Unknown if page.has_loyalty_data() => self.expects_loyalty = ExpectsLoyalty::Yes,
            ExpectsLoyalty::Unknown => self.expects_loyalty = ExpectsLoyalty::Settled,
            ExpectsLoyalty::Yes if page.has_loyalty_data() => self.expects_loyalty = ExpectsLoyalty::Settled,
            ExpectsLoyalty::Yes => return Err(YotpoError::LoyaltyLost { page: self.number }),
        }
        Ok(())
    }
}

impl SeenCursors {
    /// Notes a cursor; `false` when it was seen before.
    fn insert(&mut self, cursor: &PageCursor) -> bool {
        self.hashes.insert(self.hasher.hash_one(cursor))
    }
}
