//! A budget of retries that all calls to one service share.
//!
//! In the spirit of the AWS SDKs' retry quota: a healthy service refills it, a sick one drains it, and then the run
//! ends within minutes instead of hammering on.

use std::sync::atomic::{AtomicU32, Ordering};

const CAPACITY: u32 = 500;
const RETRY_COST: u32 = 5;
const TIMEOUT_COST: u32 = 10;
/// What a call that needed no retry gives back.
const SMOOTH_CALL: u32 = 1;

/// Tokens that retries are paid with.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// Pays for a retry; `false` when the budget is used up.
    pub fn withdraw(&self, after_timeout: bool) -> bool {
        let cost = if after_timeout { TIMEOUT_COST } else { RETRY_COST };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).is_ok()
    }

    /// Notes a success; one that came by retrying gives a retry's cost back.
    pub fn returned(&self, after_retry: bool) {
        let gain = if after_retry { RETRY_COST } else { SMOOTH_CALL };
        let add = |left: u32| Some(left.saturating_add(gain).min(CAPACITY));
        // Never fails: the closure always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(CAPACITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_retries_or_fifty_timeouts_use_it_up() {
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.withdraw(false)).count(), 100);
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.withdraw(true)).count(), 50);
    }

    #[test]
    fn success_refills_it_but_never_beyond_its_capacity() {
        let budget = RetryBudget::default();
        while budget.withdraw(false) {}
        budget.returned(true);
        assert!(budget.withdraw(false));
        assert!(!budget.withdraw(false));
        for _ in 0..2_000 {
            budget.returned(false);
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw(false)).count(), 100);
    }
}
