//! Counts the requests to one service: how many, and why they were repeated.
//!
//! Invariant: the retries are the sum of the retries by cause. A retry is counted when it is sent, not when it is planned.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::FailureKind;

/// The requests to a service so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Attempts sent, including retries.
    pub requests: u64,
    /// Attempts after the first of each call.
    pub retries: u64,
    /// Attempts that received 429 Too Many Requests.
    pub throttled: u64,
    /// The retries, by the failure before each.
    pub retries_by_cause: RetriesByCause,
}

/// Retries by the kind of the failure that caused them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetriesByCause([u64; FailureKind::ALL.len()]);

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    throttled: AtomicU64,
    retries: [AtomicU64; FailureKind::ALL.len()],
}

impl RetriesByCause {
    /// Each kind with the number of its retries.
    pub fn iter(self) -> impl Iterator<Item = (FailureKind, u64)> {
        FailureKind::ALL.into_iter().zip(self.0)
    }
}

impl FromIterator<(FailureKind, u64)> for RetriesByCause {
    fn from_iter<T: IntoIterator<Item = (FailureKind, u64)>>(counts: T) -> Self {
        let mut retries = Self::default();
        for (kind, count) in counts {
            if let Some(slot) = retries.0.get_mut(kind as usize) {
                *slot += count;
            }
        }
        retries
    }
}

impl Counters {
    /// Counts a request; `after` is the failure that it is a retry of.
    pub(super) fn sent(&self, after: Option<FailureKind>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = after.and_then(|kind| self.retries.get(kind as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a response with 429.
    pub(super) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> RequestCounts {
        let retries: [u64; FailureKind::ALL.len()] = array::from_fn(|kind| {
            self.retries.get(kind).map_or(0, |counter| counter.load(Ordering::Relaxed))
        });
        RequestCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: retries.iter().sum(),
            throttled: self.throttled.load(Ordering::Relaxed),
            retries_by_cause: RetriesByCause(retries),
        }
    }
}
