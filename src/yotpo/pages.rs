//! The rules of paging: which page comes next, and when to stop.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tracing::Span;

use super::client::YotpoClient;
use super::cursor::PageCursor;
use super::error::YotpoError;
use super::loyalty::{LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict, MemberCount};
use super::page::Page;
use super::position::{EndedBy, Position};
use super::prefetch::{Fetched, InFlightPage, NextPage, PageReader};
use super::query::CursorQuery;
use crate::row::IngestionTime;

/// The pages of a store, from the first to the last.
#[derive(Debug)]
pub struct Pages {
    client: Arc<YotpoClient>,
    reader: PageReader,
    loyalty_check: LoyaltyCheck,
    loyalty: LoyaltyCounts,
    position: Position,
    /// The request for the next page, by a cursor that is only a guess until it is that of `position`.
    ahead: Option<InFlightPage>,
    seen: SeenCursors,
    /// Empty pages in a row.
    empty_in_a_row: u32,
}

/// How the pages of a store are requested and read.
#[derive(Clone, Copy, Debug)]
pub struct PagesSettings {
    /// Customers on a page, 1–100.
    pub page_size: u8,
    /// The `time` of the rows.
    pub time: IngestionTime,
    /// Whether missing loyalty data is an error.
    pub loyalty_check: LoyaltyCheck,
}

/// Empty pages in a row that are believed: a store that filters behind paging sends some.
const MAX_EMPTY_PAGES: u32 = 1_000;

/// Hashes of all cursors seen: 8 bytes a page, so that ten million customers cost about two megabytes.
#[derive(Debug, Default)]
struct SeenCursors {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Pages {
    /// All pages of the client's store.
    pub fn new(client: Arc<YotpoClient>, settings: PagesSettings) -> Self {
        let PagesSettings { page_size, time, loyalty_check } = settings;
        Self {
            client,
            reader: PageReader { page_size, time },
            loyalty_check,
            loyalty: LoyaltyCounts::default(),
            position: Position::Start,
            ahead: None,
            seen: SeenCursors::default(),
            empty_in_a_row: 0,
        }
    }

    /// The pages from `position` on; `loyalty` is what was counted up to there.
    pub fn resume(
        client: Arc<YotpoClient>,
        settings: PagesSettings,
        position: Position,
        loyalty: LoyaltyCounts,
    ) -> Self {
        let mut pages = Self::new(client, settings);
        if let Position::After { cursor, .. } = &position {
            pages.seen.insert(cursor);
        }
        pages.position = position;
        pages.loyalty = loyalty;
        pages
    }

    /// Where paging stands: after the page that was returned last.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Customers of the pages up to [`Self::position`].
    pub fn loyalty(&self) -> LoyaltyCounts {
        self.loyalty
    }

    /// The next page; `None` behind the last. A page may be empty without being the last. While it is read, the page
    /// behind it is already requested.
    ///
    /// # Errors
    /// When the page cannot be obtained or breaks a rule, or the pages before it lost their loyalty data; the position is the
    /// one before it then.
    pub async fn next_page(&mut self) -> Result<Option<Page>, YotpoError> {
        self.check_loyalty()?;
        let (cursor, query) = match &self.position {
            Position::Start => (None, None),
            Position::After { cursor, query, .. } => (Some(cursor.clone()), *query),
            Position::End { .. } => return Ok(None),
        };
        let number = self.position.page() + 1;
        let ahead = self.ahead.take().filter(|ahead| ahead.cursor() == cursor.as_ref());
        let fetching = ahead.unwrap_or_else(|| self.start(number, cursor, query));
        let Fetched { page, query, ahead } = fetching.page().await?;
        if page.ended_by() == Some(EndedBy::NoResults) {
            self.position = Position::End { page: number - 1, ended_by: EndedBy::NoResults };
            self.report_end();
            return Ok(None);
        }
        self.position = match page.next() {
            None => Position::End { page: number, ended_by: page.ended_by().unwrap_or(EndedBy::LastPage) },
            Some(cursor) if self.seen.insert(cursor) => {
                Position::After { page: number, cursor: cursor.clone(), query }
            }
            Some(_) => return Err(YotpoError::RepeatedCursor { page: number }),
        };
        self.empty_in_a_row = if page.customers() == 0 { self.empty_in_a_row + 1 } else { 0 };
        if self.empty_in_a_row > MAX_EMPTY_PAGES {
            return Err(YotpoError::EndlessEmptyPages { page: number, pages: self.empty_in_a_row });
        }
        self.loyalty.add_page(MemberCount {
            customers: page.customers() as u64,
            with_loyalty_data: page.customers_with_loyalty_data() as u64,
        });
        self.ahead = ahead;
        tracing::debug!(page = number, customers = page.customers(), "page fetched");
        if matches!(self.position, Position::End { .. }) {
            self.report_end();
        }
        Ok(Some(page))
    }

    fn start(&self, number: u64, cursor: Option<PageCursor>, query: Option<CursorQuery>) -> InFlightPage {
        let wanted = NextPage { number, cursor, query, reader: self.reader };
        InFlightPage::start(&self.client, wanted, Span::current())
    }

    /// Fails once the counts say that loyalty data was lost. The page that decided it was returned: its rows are stored
    /// with its counts, so that a run that resumes there decides the same.
    fn check_loyalty(&self) -> Result<(), YotpoError> {
        let is_lost = self.loyalty.verdict() == LoyaltyVerdict::Lost;
        if is_lost && self.loyalty_check == LoyaltyCheck::On {
            let without_filters =
                matches!(self.position, Position::After { query: Some(CursorQuery::Limit), .. });
            let (page, counts) = (self.position.page(), self.loyalty);
            return Err(YotpoError::LoyaltyLost { page, counts, without_filters });
        }
        Ok(())
    }

    /// What is to be said when the last page was fetched.
    fn report_end(&self) {
        if let Position::End { page, ended_by } = self.position
            && ended_by != EndedBy::LastPage
        {
            tracing::warn!(
                page,
                ended_by = ended_by.name(),
                "the data ended without a last page that says so; compare the number of customers with Yotpo's"
            );
        }
        let LoyaltyCounts { first_page, later_pages } = self.loyalty;
        let is_open = self.loyalty.verdict() == LoyaltyVerdict::Open && later_pages.customers > 0;
        if is_open && self.loyalty_check == LoyaltyCheck::On {
            tracing::warn!(
                first_page_customers = first_page.customers,
                first_page_customers_with_loyalty_data = first_page.with_loyalty_data,
                later_customers = later_pages.customers,
                "no customer after the first page has loyalty data; they are too few to say that it was lost"
            );
        }
    }
}

impl SeenCursors {
    /// Notes a cursor; `false` when it was seen before.
    fn insert(&mut self, cursor: &PageCursor) -> bool {
        self.hashes.insert(self.hasher.hash_one(cursor))
    }
}
