//! Tracks the contiguous prefix of stored parts. Uploads finish in any order, but the checkpoint covers a part only if all
//! earlier parts are stored.

use std::collections::BTreeMap;

use crate::identity::PartsDigest;
use crate::yotpo::{LoyaltyCounts, Pages, Position};

/// The end of the last page in a part. A run can be resumed only after a complete page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// The position after this page.
    pub position: Position,
    /// The loyalty counts of all pages up to this position.
    pub loyalty: LoyaltyCounts,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredPart {
    pub(super) rows: u64,
    pub(super) rejected: u64,
    /// `None` if the part ends within a page.
    pub(super) end: Option<PageEnd>,
    /// Digest over the names of all parts up to this one.
    pub(super) digest: PartsDigest,
}

/// The stored parts without a gap, from the first one. A later process can resume after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrefix {
    /// Number of parts.
    pub parts: u64,
    /// Rows in these parts.
    pub rows: u64,
    /// Rejected customers of the same pages.
    pub rejected: u64,
    /// The end of the last page in these parts.
    pub end: PageEnd,
    /// Digest over the names of these parts.
    pub digest: PartsDigest,
}

/// Records stored parts and determines the prefix.
#[derive(Debug)]
pub(super) struct Ledger {
    next: u64,
    rows: u64,
    rejected: u64,
    waiting: BTreeMap<u64, StoredPart>,
}

impl Ledger {
    /// Creates a ledger that continues after `prefix`.
    pub(super) fn after(prefix: &StoredPrefix) -> Self {
        let StoredPrefix { parts: next, rows, rejected, .. } = *prefix;
        Self { next, rows, rejected, waiting: BTreeMap::new() }
    }

    /// Records that the part at `position` is stored. Returns the prefix if it has a new end to resume from.
    pub(super) fn record(&mut self, position: u64, part: StoredPart) -> Option<StoredPrefix> {
        self.waiting.insert(position, part);
        let mut prefix = None;
        while let Some(part) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.rows += part.rows;
            self.rejected += part.rejected;
            if let Some(end) = part.end {
                let Self { next: parts, rows, rejected, .. } = *self;
                prefix = Some(StoredPrefix { parts, rows, rejected, end, digest: part.digest });
            }
        }
        prefix
    }
}

impl PageEnd {
    /// The end of the last fetched page.
    pub(super) fn of(pages: &Pages) -> Self {
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
    fn prefix_waits_for_a_missing_part() {
        let mut ledger = Ledger::after(&prefix(0, 0));
        assert_eq!(ledger.record(1, part(10, Some(2))), None);
        assert_eq!(ledger.record(2, part(10, Some(3))), None);
        let prefix = ledger.record(0, part(10, Some(1))).unwrap();
        assert_eq!((prefix.parts, prefix.rows, prefix.end.position), (3, 30, after(3)));
    }

    #[test]
    fn part_that_ends_within_a_page_is_not_an_end_to_resume_from() {
        let mut ledger = Ledger::after(&prefix(5, 500));
        assert_eq!(ledger.record(5, part(10, None)), None);
        let prefix = ledger.record(6, part(10, Some(9))).unwrap();
        assert_eq!((prefix.parts, prefix.rows), (7, 520));
    }

    proptest! {
        #[test]
        fn prefix_only_grows_and_is_complete_in_the_end_in_any_order(order in Just((0..20u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut ledger = Ledger::after(&prefix(0, 0));
            let mut last = 0;
            for position in order {
                if let Some(prefix) = ledger.record(position, part(1, Some(position))) {
                    prop_assert!(prefix.parts > last);
                    prop_assert_eq!(prefix.rows, prefix.parts);
                    last = prefix.parts;
                }
            }
            prop_assert_eq!(last, 20);
        }
    }
}
