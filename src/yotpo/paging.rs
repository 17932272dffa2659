//! The rules of paging: which page comes next, and when to stop.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::client::YotpoClient;
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::page::Page;
use super::position::{EndedBy, Position};
use super::prefetch::{Fetched, Fetching, Wanted};
use super::query::CursorQuery;
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
    position: Position,
    /// The request for the next page, by a cursor that is only a guess until it is that of `position`.
    ahead: Option<Fetching>,
    expects_loyalty: ExpectsLoyalty,
    seen: SeenCursors,
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
            position: Position::Start,
            ahead: None,
            expects_loyalty: ExpectsLoyalty::Unknown,
            seen: SeenCursors::default(),
        }
    }

    /// The pages from `position` on, with rows of `time`.
    pub fn resume(
        client: Arc<YotpoClient>,
        time: IngestionTime,
        loyalty_check: LoyaltyCheck,
        position: Position,
    ) -> Self {
        let mut pages = Self::new(client, time, loyalty_check);
        if let Position::After { cursor, .. } = &position {
            pages.seen.insert(cursor);
        }
        if position != Position::Start {
            // Page 1 was compared, or is not there to compare with.
            pages.expects_loyalty = ExpectsLoyalty::Settled;
        }
        pages.position = position;
        pages
    }

    /// Where paging stands: after the page that was returned last.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The next page; `None` behind the last. A page may be empty without being the last. While it is read, the page
    /// behind it is already asked for.
    ///
    /// # Errors
    /// When the page cannot be had or breaks a rule; the position is the one before it then.
    pub async fn next_page(&mut self) -> Result<Option<Page>, YotpoError> {
        let (cursor, query) = match &self.position {
            Position::Start => (None, None),
            Position::After { cursor, query, .. } => (Some(cursor.clone()), *query),
            Position::End { .. } => return Ok(None),
        };
        let number = self.position.page() + 1;
        let ahead = self.ahead.take().filter(|ahead| ahead.cursor() == cursor.as_ref());
        let fetching = ahead.unwrap_or_else(|| self.start(number, cursor, query));
        let Fetched { page, query, ahead } = fetching.page().await?;
        self.check_loyalty(number, &page)?;
        self.position = match page.next() {
            None => Position::End { page: number, ended_by: EndedBy::LastPage },
            Some(cursor) if self.seen.insert(cursor) => {
                Position::After { page: number, cursor: cursor.clone(), query }
            }
            Some(_) => return Err(YotpoError::RepeatedCursor { page: number }),
        };
        self.ahead = ahead;
        tracing::debug!(page = number, customers = page.customers(), "page fetched");
        Ok(Some(page))
    }

    fn start(&self, number: u64, cursor: Option<PageCursor>, query: Option<CursorQuery>) -> Fetching {
        Fetching::start(&self.client, Wanted { number, cursor, query, time: self.time })
    }

    fn check_loyalty(&mut self, number: u64, page: &Page) -> Result<(), YotpoError> {
        if self.loyalty_check == LoyaltyCheck::Off || page.customers() == 0 {
            return Ok(());
        }
        match self.expects_loyalty {
            ExpectsLoyalty::Settled => {}
            ExpectsLoyalty::Unknown if page.has_loyalty_data() => self.expects_loyalty = ExpectsLoyalty::Yes,
            ExpectsLoyalty::Unknown => self.expects_loyalty = ExpectsLoyalty::Settled,
            ExpectsLoyalty::Yes if page.has_loyalty_data() => self.expects_loyalty = ExpectsLoyalty::Settled,
            ExpectsLoyalty::Yes => return Err(YotpoError::LoyaltyLost { page: number }),
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
