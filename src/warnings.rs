//! Limits how often the same warning is logged.
//!
//! Owns which warnings of a kind are logged: one per minute, with the number of those suppressed before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Minimum time between two warnings of one kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts the warnings of each kind `K`.
#[derive(Debug)]
pub struct Warnings<K>(HashMap<K, Kind>);

#[derive(Debug)]
struct Kind {
    logged_at: Duration,
    suppressed: u64,
}

impl<K: Eq + Hash> Warnings<K> {
    /// Counts a warning. If it should be logged, returns how many were suppressed since the last one.
    pub fn record(&mut self, kind: K, now: Duration) -> Option<u64> {
        match self.0.get_mut(&kind) {
            Some(kind) if now < kind.logged_at + INTERVAL => {
                kind.suppressed += 1;
                None
            }
            Some(kind) => {
                kind.logged_at = now;
                Some(std::mem::take(&mut kind.suppressed))
            }
            None => {
                self.0.insert(kind, Kind { logged_at: now, suppressed: 0 });
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
    fn one_warning_per_kind_and_minute_is_logged_and_the_others_are_counted() {
        let mut warnings = Warnings::default();
        let mut at = |kind, second| warnings.record(kind, Duration::from_secs(second));
        assert_eq!([at("a", 0), at("a", 1), at("b", 1), at("a", 59)], [Some(0), None, Some(0), None]);
        assert_eq!([at("a", 60), at("a", 61), at("b", 61)], [Some(2), None, Some(0)]);
        assert_eq!(at("a", 120), Some(1));
    }
}
