//! Keys seen: a cheap sieve for duplicate keys in a customer.
//!
//! Owns one hash per key. Invariant: a duplicate is always suspected; a suspicion may be wrong, so the one who asks
//! must look closer. It keeps no keys and does not remove duplicates.

/// Words of the filter: 4,096 bits, so that a customer's usual 50 keys rarely share one.
const FILTER_WORDS: usize = 64;

/// Keys after which the exact look is taken at once: here comparing each key's hash to all others costs more.
const MOST_KEYS: usize = 1_024;

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

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.filter = [0; FILTER_WORDS];
        self.hashes.clear();
        self.suspected = false;
    }

    /// Adds a key, as it is written in the output, of the object with this number.
    #[inline]
    pub(super) fn add(&mut self, object: u32, key: &[u8]) {
        let hash = hash(object, key);
        let bit = 1 << (hash & 63);
        // The mask keeps the index inside the filter.
        let Some(word) = self.filter.get_mut((hash >> 6) as usize & (FILTER_WORDS - 1)) else { return };
        let known = *word & bit != 0;
        *word |= bit;
        if known {
            self.look_closer(hash);
        }
        self.hashes.push(hash);
    }

    /// Whether some object may have the same key twice.
    pub(super) fn duplicate_suspected(&self) -> bool {
        self.suspected
    }

    #[cold]
    fn look_closer(&mut self, hash: u64) {
        self.suspected = self.suspected || self.hashes.len() > MOST_KEYS || self.hashes.contains(&hash);
    }
}

/// Not made to withstand an attacker: an equal hash only costs the exact look.
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
    // The middle of a key that its first and last eight bytes do not cover: whole words, of which the last may reach
    // into what was seen already.
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
    fn same_key_of_another_object_and_like_keys_are_not() {
        assert!(!suspected([(1, "key"), (2, "key"), (3, "key"), (1, "kez"), (1, "ke"), (1, ""), (1, "\0")]));
        let long = "x".repeat(40);
        let variants: Vec<String> =
            (0..40).map(|index| format!("{}y{}", &long[..index], &long[index + 1..])).collect();
        assert!(!suspected(variants.iter().map(|key| (1, key.as_str()))));
    }

    #[test]
    fn very_many_keys_are_suspected_without_comparing_them_all() {
        let keys: Vec<String> = (0..20_000).map(|index| format!("key {index}")).collect();
        assert!(suspected(keys.iter().map(|key| (1, key.as_str()))));
        assert!(!suspected(keys.iter().take(MOST_KEYS).map(|key| (1, key.as_str()))));
    }

    #[test]
    fn clear_forgets() {
        let mut seen = SeenKeys::new();
        seen.add(1, b"a");
        seen.add(1, b"a");
        seen.clear();
        seen.add(1, b"a");
        assert!(!seen.duplicate_suspected());
    }
}
