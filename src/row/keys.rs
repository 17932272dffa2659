//! Keys seen: a cheap filter for duplicate keys in a customer.
//!
//! Owns one hash per key. Invariant: a duplicate is always suspected. A suspicion may be wrong, so the caller must
//! check exactly. It keeps no keys and does not remove duplicates.

/// Size of the filter in words: 4,096 bits, so that the usual 50 keys of a customer rarely share one.
const FILTER_WORDS: usize = 64;

/// With more keys, a duplicate is suspected without comparing hashes, because comparing each hash with all others would
/// cost more than the exact check.
const MAX_COMPARED_KEYS: usize = 1_024;

const MULTIPLIERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93, 0xa076_1d64_78bd_642f];

/// The keys of one customer.
#[derive(Debug)]
pub(super) struct SeenKeys {
    filter: [u64; FILTER_WORDS],
    hashes: Vec<u64>,
    suspected: bool,
}

impl SeenKeys {
    pub(super) fn new() -> Self {
        Self { filter: [0; FILTER_WORDS], hashes: Vec::with_capacity(FILTER_WORDS), suspected: false }
    }

    /// Removes all keys.
    pub(super) fn clear(&mut self) {
        self.filter = [0; FILTER_WORDS];
        self.hashes.clear();
        self.suspected = false;
    }

    /// Adds a key, in the form of the output, of the object with this number.
    #[inline]
    pub(super) fn add(&mut self, object: u32, key: &[u8]) {
        let hash = hash(object, key);
        let bit = 1 << (hash & 63);
        // The mask keeps the index inside the filter.
        let Some(word) = self.filter.get_mut((hash >> 6) as usize & (FILTER_WORDS - 1)) else { return };
        let known = *word & bit != 0;
        *word |= bit;
        if known {
            self.check_hashes(hash);
        }
        self.hashes.push(hash);
    }

    /// Whether some object may have the same key twice.
    pub(super) fn duplicate_suspected(&self) -> bool {
        self.suspected
    }

    #[cold]
    fn check_hashes(&mut self, hash: u64) {
        self.suspected =
            self.suspected || self.hashes.len() > MAX_COMPARED_KEYS || self.hashes.contains(&hash);
    }
}

/// Not resistant to attacks: a collision only costs an exact check.
#[inline]
fn hash(object: u32, key: &[u8]) -> u64 {
    let [first, second, third] = MULTIPLIERS;
    let seed = first ^ (u64::from(object) << 32 | key.len() as u64);
    let (head, tail) = if let (Some(head), Some(tail)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
    } else {
        (key.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte)), 0)
    };
    let mut hash = fold(head ^ seed, tail ^ second);
    // The middle of a key, between its first and last eight bytes: whole words, of which the last may overlap the last
    // eight bytes.
    if key.len() > 16
        && let Some(rest) = key.get(8..)
    {
        for word in rest.as_chunks::<8>().0 {
            hash = fold(hash ^ u64::from_le_bytes(*word), third);
        }
    }
    hash
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let (low, high) = left.carrying_mul(right, 0);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspected<'a>(keys: impl IntoIterator<Item = (u32, &'a str)>) -> bool {
        let mut seen = SeenKeys::new();
        keys.into_iter().for_each(|(object, key)| seen.add(object, key.as_bytes()));
        seen.duplicate_suspected()
    }

    #[test]
    fn same_key_of_the_same_object_is_suspected() {
        for length in 0..40 {
            let key = "k".repeat(length);
            assert!(suspected([(1, "other"), (1, &key), (2, "more"), (1, &key)]), "length {length}");
        }
    }

    #[test]
    fn same_key_of_another_object_and_similar_keys_are_not() {
        assert!(!suspected([(1, "key"), (2, "key"), (3, "key"), (1, "kez"), (1, "ke"), (1, ""), (1, "\0")]));
        assert!(!suspected([(1, "abc"), (1, "xbc"), (1, "axc"), (1, "bc"), (1, "xc"), (1, "c")]));
        let long = "x".repeat(40);
        let variants: Vec<String> =
            (0..40).map(|index| format!("{}y{}", &long[..index], &long[index + 1..])).collect();
        assert!(!suspected(variants.iter().map(|key| (1, key.as_str()))));
    }

    #[test]
    fn too_many_keys_are_suspected_without_comparing_them() {
        let keys: Vec<String> = (0..20_000).map(|index| format!("key {index}")).collect();
        assert!(suspected(keys.iter().map(|key| (1, key.as_str()))));
        assert!(!suspected(keys.iter().take(MAX_COMPARED_KEYS).map(|key| (1, key.as_str()))));
    }

    #[test]
    fn clear_removes_all_keys() {
        let mut seen = SeenKeys::new();
        seen.add(1, b"a");
        seen.add(1, b"a");
        seen.clear();
        seen.add(1, b"a");
        assert!(!seen.duplicate_suspected());
    }
}
