//! Counts customers that are listed more than once: the store changes during paging, and a customer may move to a later page.
//!
//! Owns the count, in bounded memory: a hash of each row, or of a sample of rows if there are too many. The sample is selected by
//! hash, so it contains either both rows of a customer or neither.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use foldhash::{fast, quality};

/// Maximum number of hashes: 16 bytes each, including the overhead of the set.
const MAX_HASHES: usize = 16 * 1024;

/// The rows so far.
#[derive(Debug, Default)]
pub(super) struct SeenCustomers {
    /// The sample is taken by the last bits of a hash, which are not evenly distributed in those of [`fast`].
    state: quality::RandomState,
    hashes: HashSet<u64, fast::RandomState>,
    /// Only hashes with at least this many trailing zeros are kept.
    min_zeros: u32,
    duplicates: u64,
}

impl SeenCustomers {
    /// Records a row.
    pub(super) fn record(&mut self, row: &[u8]) {
        let mut hasher = self.state.build_hasher();
        hasher.write(row);
        let hash = hasher.finish();
        if hash.trailing_zeros() < self.min_zeros {
            return;
        }
        if !self.hashes.insert(hash) {
            // Each sampled duplicate stands for the rows that are not sampled.
            self.duplicates += 1 << self.min_zeros;
        }
        if self.hashes.len() > MAX_HASHES {
            self.min_zeros += 1;
            let min_zeros = self.min_zeros;
            self.hashes.retain(|hash| hash.trailing_zeros() >= min_zeros);
        }
    }

    /// Number of rows that occurred before.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Whether the count is an estimate.
    pub(super) fn is_estimate(&self) -> bool {
        self.min_zeros > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rows: impl Iterator<Item = u64>) -> (u64, bool, usize) {
        let mut seen = SeenCustomers::default();
        for row in rows {
            seen.record(&row.to_le_bytes());
        }
        (seen.duplicates(), seen.is_estimate(), seen.hashes.len())
    }

    #[test]
    fn few_duplicates_are_counted_and_many_estimated_in_bounded_memory() {
        assert_eq!(count((0..1_000).chain(990..1_010)), (10, false, 1_010));
        let (duplicates, is_estimate, kept) = count((0..1_000_000).chain(0..100_000));
        assert!(is_estimate && kept <= MAX_HASHES);
        // Six standard deviations: about 1,560 duplicates are in the sample.
        assert!((85_000..=115_000).contains(&duplicates), "{duplicates}");
        assert_eq!(count(0..1_000_000).0, 0);
    }

    #[test]
    fn the_count_is_exact_as_long_as_all_hashes_fit() {
        let max = u64::try_from(MAX_HASHES).unwrap();
        assert_eq!(count((0..max).chain(0..7)), (7, false, MAX_HASHES));
        assert!(count(0..=max).1, "an estimate");
    }
}
