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
use super::prefetch::{FetchedPage, InFlightPage, NextPage, PageReader, Prefetch};
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
    /// The request for the next page. Its cursor is a guess until it equals that of `position`.
    prefetched: Option<InFlightPage>,
    seen_cursors: SeenCursors,
    /// Number of consecutive empty pages.
    consecutive_empty: u32,
    /// Number of the page after which the pages end; `None` if they end with the last.
    last_wanted: Option<u64>,
}

/// How to request and parse the pages of a store.
#[derive(Clone, Copy, Debug)]
pub struct PagesSettings {
    /// Customers on a page, 1–100.
    pub page_size: u8,
    /// The `time` of the rows.
    pub time: IngestionTime,
    /// Whether missing loyalty data is an error.
    pub loyalty_check: LoyaltyCheck,
}

/// Maximum number of consecutive empty pages. A service that filters after paging sends some.
const MAX_CONSECUTIVE_EMPTY: u32 = 1_000;

/// Hashes of all cursors so far: 8 bytes per page, which is about two megabytes for ten million customers.
#[derive(Debug, Default)]
struct SeenCursors {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Pages {
    /// Creates an iterator over all pages of the client's store.
    pub fn new(client: Arc<YotpoClient>, settings: PagesSettings) -> Self {
        let PagesSettings { page_size, time, loyalty_check } = settings;
        Self {
            client,
            reader: PageReader { page_size, time },
            loyalty_check,
            loyalty: LoyaltyCounts::default(),
            position: Position::Start,
            prefetched: None,
            seen_cursors: SeenCursors::default(),
            consecutive_empty: 0,
            last_wanted: None,
        }
    }

    /// Ends after the page with this number, from 1, although others may follow.
    #[must_use]
    pub fn until(mut self, page: u64) -> Self {
        self.last_wanted = Some(page);
        self
    }

    /// Continues from `position`. `loyalty` contains the counts up to there.
    pub fn resume(
        client: Arc<YotpoClient>,
        settings: PagesSettings,
        position: Position,
        loyalty: LoyaltyCounts,
    ) -> Self {
        let mut pages = Self::new(client, settings);
        if let Position::After { cursor, .. } = &position {
            pages.seen_cursors.insert(cursor);
        }
        pages.position = position;
        pages.loyalty = loyalty;
        pages
    }

    /// The position after the page that was returned last.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The counts of the pages up to [`Self::position`].
    pub fn loyalty(&self) -> LoyaltyCounts {
        self.loyalty
    }

    /// Returns the next page, or `None` after the last. A page may be empty without being the last. While it is parsed, the next
    /// page is already requested.
    ///
    /// # Errors
    /// When the page cannot be fetched or violates a paging rule, or the pages before it lack loyalty data. The position then
    /// stays before the page.
    pub async fn next_page(&mut self) -> Result<Option<Page>, YotpoError> {
        let is_last_wanted = self.last_wanted == Some(self.position.page() + 1);
        self.advance(if is_last_wanted { Prefetch::Nothing } else { Prefetch::NextPage }).await
    }

    /// As [`Self::next_page`], for a caller that probably needs no further page: none is requested meanwhile.
    ///
    /// # Errors
    /// As [`Self::next_page`].
    pub async fn last_page_needed(&mut self) -> Result<Option<Page>, YotpoError> {
        self.advance(Prefetch::Nothing).await
    }

    async fn advance(&mut self, prefetch: Prefetch) -> Result<Option<Page>, YotpoError> {
        self.check_loyalty()?;
        if self.last_wanted.is_some_and(|last| self.position.page() >= last) {
            return Ok(None);
        }
        let (cursor, query) = match &self.position {
            Position::Start => (None, None),
            Position::After { cursor, query, .. } => (Some(cursor.clone()), *query),
            Position::End { .. } => return Ok(None),
        };
        let number = self.position.page() + 1;
        let prefetched = self.prefetched.take().filter(|prefetched| prefetched.cursor() == cursor.as_ref());
        let in_flight = prefetched.unwrap_or_else(|| self.start(number, cursor, query));
        let FetchedPage { page, query, prefetched } = in_flight.page(prefetch).await?;
        if page.ended_by() == Some(EndedBy::NoResults) {
            self.position = Position::End { page: number - 1, ended_by: EndedBy::NoResults };
            self.log_end();
            return Ok(None);
        }
        self.position = match page.next() {
            None => Position::End { page: number, ended_by: page.ended_by().unwrap_or(EndedBy::LastPage) },
            Some(cursor) if self.seen_cursors.insert(cursor) => {
                Position::After { page: number, cursor: cursor.clone(), query }
            }
            Some(_) => return Err(YotpoError::RepeatedCursor { page: number }),
        };
        self.count_empty(number, page.customers())?;
        self.loyalty.add_page(MemberCount {
            customers: page.customers() as u64,
            with_loyalty_data: page.customers_with_loyalty_data() as u64,
        });
        self.prefetched = prefetched;
        tracing::debug!(page = number, customers = page.customers(), "page fetched");
        if matches!(self.position, Position::End { .. }) {
            self.log_end();
        }
        Ok(Some(page))
    }

    /// Counts consecutive empty pages.
    ///
    /// # Errors
    /// When there are too many.
    fn count_empty(&mut self, page: u64, customers: usize) -> Result<(), YotpoError> {
        self.consecutive_empty = if customers == 0 { self.consecutive_empty + 1 } else { 0 };
        if self.consecutive_empty > MAX_CONSECUTIVE_EMPTY {
            return Err(YotpoError::EndlessEmptyPages { page, pages: self.consecutive_empty });
        }
        Ok(())
    }

    fn start(&self, number: u64, cursor: Option<PageCursor>, query: Option<CursorQuery>) -> InFlightPage {
        let next_page = NextPage { number, cursor, query, reader: self.reader };
        InFlightPage::start(&self.client, next_page, Span::current())
    }

    /// Fails when the counts show that loyalty data was lost. The page at which this was detected was returned before: its rows
    /// are stored with its counts, so a resumed run makes the same decision.
    ///
    /// # Errors
    /// When it was lost and that is an error.
    pub fn check_loyalty(&self) -> Result<(), YotpoError> {
        let is_lost = self.loyalty.verdict() == LoyaltyVerdict::Lost;
        if is_lost && self.loyalty_check == LoyaltyCheck::On {
            let without_filters =
                matches!(self.position, Position::After { query: Some(CursorQuery::Limit), .. });
            let (page, counts) = (self.position.page(), self.loyalty);
            return Err(YotpoError::LoyaltyLost { page, counts, without_filters });
        }
        Ok(())
    }

    /// Logs warnings after the last page.
    fn log_end(&self) {
        if let Position::End { page, ended_by } = self.position
            && ended_by != EndedBy::LastPage
        {
            tracing::warn!(
                page,
                ended_by = ended_by.name(),
                "the data ended without an explicit last page; compare the number of customers with Yotpo's"
            );
        }
        let LoyaltyCounts { first_page, later_pages } = self.loyalty;
        let is_open = self.loyalty.verdict() == LoyaltyVerdict::Open && later_pages.customers > 0;
        if is_open && self.loyalty_check == LoyaltyCheck::On {
            tracing::warn!(
                first_page_customers = first_page.customers,
                first_page_customers_with_loyalty_data = first_page.with_loyalty_data,
                later_customers = later_pages.customers,
                "no customer after the first page has loyalty data; there are too few of them to tell whether it was lost"
            );
        }
    }
}

impl SeenCursors {
    /// Adds a cursor. Returns `false` if it was added before.
    fn insert(&mut self, cursor: &PageCursor) -> bool {
        self.hashes.insert(self.hasher.hash_one(cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yotpo::tests::client;

    #[test]
    fn a_thousand_empty_pages_in_a_row_are_too_many_if_another_one_follows() {
        let time = IngestionTime::MAX;
        let settings = PagesSettings { page_size: 100, time, loyalty_check: LoyaltyCheck::On };
        let mut pages = Pages::new(client(Vec::new()).0, settings);
        for page in 1..=1_000 {
            pages.count_empty(page, 0).unwrap();
        }
        pages.count_empty(1_001, 1).unwrap();
        for page in 1_002..=2_001 {
            pages.count_empty(page, 0).unwrap();
        }
        let error = pages.count_empty(2_002, 0).unwrap_err();
        assert!(matches!(error, YotpoError::EndlessEmptyPages { page: 2_002, pages: 1_001 }), "{error:?}");
    }
}
