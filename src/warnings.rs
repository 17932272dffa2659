//! Warnings that would repeat themselves.
//!
//! Owns which warning of a kind is told: one a minute, with the number of those that were not.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Time between two warnings of one kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// The warnings of each kind `K`.
#[derive(Debug)]
pub struct Warnings<K>(HashMap<K, Kind>);

#[derive(Debug)]
struct Kind {
    told_at: Duration,
    untold: u64,
}

impl<K: Eq + Hash> Warnings<K> {
    /// Counts a warning; when it is to be told, gives how many were not since the last one.
    pub fn is_due(&mut self, kind: K, now: Duration) -> Option<u64> {
        match self.0.get_mut(&kind) {
            Some(kind) if now < kind.told_at + INTERVAL => {
                kind.untold += 1;
                None
            }
            Some(kind) => {
                kind.told_at = now;
                Some(std::mem::take(&mut kind.untold))
            }
            None => {
                self.0.insert(kind, Kind { told_at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

impl<K> Default for Warnings<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_is_told_a_minute_and_the_others_are_counted() {
        let mut warnings = Warnings::default();
        let mut at = |kind, second| warnings.is_due(kind, Duration::from_secs(second));
        assert_eq!([at("a", 0), at("a", 1), at("b", 1), at("a", 59)], [Some(0), None, Some(0), None]);
        assert_eq!([at("a", 60), at("a", 61), at("b", 61)], [Some(2), None, Some(0)]);
        assert_eq!(at("a", 120), Some(1));
    }
}
