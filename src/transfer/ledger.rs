//! The contiguous prefix of stored parts: uploads end in any order, the checkpoint only moves over parts that have
//! all their predecessors.

use std::collections::BTreeMap;

use crate::identity::PartsDigest;
use crate::yotpo::{LoyaltyCounts, Pages, Position};

/// Where the pages of a part end. Only after a whole page there is a position to resume from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// After the last page in the part.
    pub position: Position,
    /// Customers of all pages up to there.
    pub loyalty: LoyaltyCounts,
}

/// A part that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredPart {
    pub(super) rows: u64,
    pub(super) rejected: u64,
    /// None when the part ends within a page.
    pub(super) end: Option<PageEnd>,
    /// Over the names of all parts up to this one.
    pub(super) digest: PartsDigest,
}

/// What is stored without a gap, from the first part on: where a later process can resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrefix {
    /// Parts.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
    /// Customers of the same pages that could not become rows.
    pub rejected: u64,
    /// Where the pages stand.
    pub end: PageEnd,
    /// Over the names of the parts.
    pub digest: PartsDigest,
}

/// Notes stored parts and knows how far the prefix reaches.
#[derive(Debug)]
pub(super) struct Ledger {
    next: u64,
    rows: u64,
    rejected: u64,
    waiting: BTreeMap<u64, StoredPart>,
}

impl Ledger {
    /// A ledger that continues after a prefix.
    pub(super) fn after(prefix: &StoredPrefix) -> Self {
        let StoredPrefix { parts: next, rows, rejected, .. } = *prefix;
        Self { next, rows, rejected, waiting: BTreeMap::new() }
    }

    /// Notes that the part at `position` is stored; returns the prefix when it grew to a new place to resume from.
    pub(super) fn stored(&mut self, position: u64, part: StoredPart) -> Option<StoredPrefix> {
        self.waiting.insert(position, part);
        let mut grown = None;
        while let Some(part) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.rows += part.rows;
            self.rejected += part.rejected;
            if let Some(end) = part.end {
                let Self { next: parts, rows, rejected, .. } = *self;
                grown = Some(StoredPrefix { parts, rows, rejected, end, digest: part.digest });
            }
        }
        grown
    }
}

impl PageEnd {
    /// Where paging stands.
    pub(super) fn reached_by(pages: &Pages) -> Self {
        Self { position: pages.position().clone(), loyalty: pages.loyalty() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yotpo::PageCursor;
    use proptest::prelude::*;

    fn after(page: u64) -> Position {
        Position::After { page, cursor: PageCursor::from_plain(&page.to_string()), query: None }
    }

    fn prefix(parts: u64, rows: u64) -> StoredPrefix {
        let end = PageEnd { position: Position::Start, loyalty: LoyaltyCounts::default() };
        StoredPrefix { parts, rows, rejected: 0, end, digest: PartsDigest::default() }
    }

    fn part(rows: u64, page: Option<u64>) -> StoredPart {
        let end = page.map(|page| PageEnd { position: after(page), loyalty: LoyaltyCounts::default() });
        StoredPart { rows, rejected: 0, end, digest: PartsDigest::default() }
    }

    #[test]
    fn the_prefix_waits_for_the_part_that_is_missing() {
        let mut ledger = Ledger::after(&prefix(0, 0));
        assert_eq!(ledger.stored(1, part(10, Some(2))), None);
        assert_eq!(ledger.stored(2, part(10, Some(3))), None);
        let prefix = ledger.stored(0, part(10, Some(1))).unwrap();
        assert_eq!((prefix.parts, prefix.rows, prefix.end.position), (3, 30, after(3)));
    }

    #[test]
    fn a_part_that_ends_within_a_page_is_no_place_to_resume_from() {
        let mut ledger = Ledger::after(&prefix(5, 500));
        assert_eq!(ledger.stored(5, part(10, None)), None);
        let prefix = ledger.stored(6, part(10, Some(9))).unwrap();
        assert_eq!((prefix.parts, prefix.rows), (7, 520));
    }

    proptest! {
        #[test]
        fn in_any_order_the_prefix_only_grows_and_ends_complete(order in Just((0..20u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut ledger = Ledger::after(&prefix(0, 0));
            let mut last = 0;
            for position in order {
                if let Some(prefix) = ledger.stored(position, part(1, Some(position))) {
                    prop_assert!(prefix.parts > last);
                    prop_assert_eq!(prefix.rows, prefix.parts);
                    last = prefix.parts;
                }
            }
            prop_assert_eq!(last, 20);
        }
    }
}
