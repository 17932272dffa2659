//! Customers that came twice: the store changes while it is paged through, and a customer may move to a later page.
//!
//! Owns the count, in bounded memory: a hash of each row; where there are too many, of a share of them, chosen by their
//! hashes, so that both rows of a customer are in it or neither.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

/// Hashes that are kept: 16 bytes each with their places.
const MAX_HASHES: usize = 16 * 1024;

/// Rows that came so far.
#[derive(Debug, Default)]
pub(super) struct SeenCustomers {
    state: RandomState,
    hashes: HashSet<u64, RandomState>,
    /// Only hashes with so many zeros at their end are kept.
    zeros: u32,
    twice: u64,
}

impl SeenCustomers {
    /// Notes a row.
    pub(super) fn note(&mut self, row: &[u8]) {
        let mut hasher = self.state.build_hasher();
        hasher.write(row);
        let hash = hasher.finish();
        if hash.trailing_zeros() < self.zeros {
            return;
        }
        if !self.hashes.insert(hash) {
            // It stands for those that are not looked at.
            self.twice += 1 << self.zeros;
        }
        if self.hashes.len() > MAX_HASHES {
            self.zeros += 1;
            let zeros = self.zeros;
            self.hashes.retain(|hash| hash.trailing_zeros() >= zeros);
        }
    }

    /// Rows that came before.
    pub(super) fn twice(&self) -> u64 {
        self.twice
    }

    /// Whether the count is an estimate.
    pub(super) fn is_estimate(&self) -> bool {
        self.zeros > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rows: impl Iterator<Item = u64>) -> (u64, bool, usize) {
        let mut seen = SeenCustomers::default();
        for row in rows {
            seen.note(&row.to_le_bytes());
        }
        (seen.twice(), seen.is_estimate(), seen.hashes.len())
    }

    #[test]
    fn few_customers_are_counted_and_many_estimated_in_bounded_memory() {
        assert_eq!(count((0..1_000).chain(990..1_010)), (10, false, 1_010));
        let (twice, is_estimate, kept) = count((0..1_000_000).chain(0..100_000));
        assert!(is_estimate && kept <= MAX_HASHES);
        assert!((90_000..=110_000).contains(&twice), "{twice}");
        assert_eq!(count(0..1_000_000).0, 0);
    }
}
