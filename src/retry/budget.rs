//! The retry budget that all calls to one service share.
//!
//! Similar to the retry quota of the AWS SDKs: successes refill it and retries drain it, so that a run against a failing
//! service ends within minutes instead of sending more requests.

use std::sync::atomic::{AtomicU32, Ordering};

const CAPACITY: u32 = 500;
const RETRY_COST: u32 = 5;
const TIMEOUT_COST: u32 = 10;
/// What a call without a retry adds.
const SUCCESS_GAIN: u32 = 1;

/// Tokens that retries consume.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// Takes the tokens of a retry. Returns `false` if the budget is exhausted.
    pub fn withdraw(&self, after_timeout: bool) -> bool {
        let cost = if after_timeout { TIMEOUT_COST } else { RETRY_COST };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).is_ok()
    }

    /// The part of the budget that is left, from 0 to 1.
    pub fn left(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed)) / f64::from(CAPACITY)
    }

    /// Records a success. A success after a retry refunds the cost of one retry.
    pub fn record_success(&self, after_retry: bool) {
        let gain = if after_retry { RETRY_COST } else { SUCCESS_GAIN };
        let add = |left: u32| Some(left.saturating_add(gain).min(CAPACITY));
        // Never fails: the closure always returns a value.
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
    fn hundred_retries_or_fifty_timeouts_exhaust_the_budget() {
        let budget = RetryBudget::default();
        assert!((budget.left() - 1.0).abs() < f64::EPSILON);
        assert_eq!((0..1_000).filter(|_| budget.withdraw(false)).count(), 100);
        assert!(budget.left().abs() < f64::EPSILON);
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.withdraw(true)).count(), 50);
    }

    #[test]
    fn success_refills_the_budget_up_to_its_capacity() {
        let budget = RetryBudget::default();
        while budget.withdraw(false) {}
        budget.record_success(true);
        assert!(budget.withdraw(false));
        assert!(!budget.withdraw(false));
        for _ in 0..2_000 {
            budget.record_success(false);
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw(false)).count(), 100);
    }
}
