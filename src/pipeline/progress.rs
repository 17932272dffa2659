//! How far a run is, for displays and logs.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Pages are fetched and parts uploaded.
    Fetching,
    /// The load job is at work.
    Loading,
    /// The commit is at work.
    Committing,
}

/// Counters that the run writes and displays read.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    pages: AtomicU64,
    customers: AtomicU64,
    customers_before: AtomicU64,
    parts: AtomicU64,
    uploaded_bytes: AtomicU64,
    row_bytes: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Pages fetched.
    pub pages: u64,
    /// Customers on them.
    pub customers: u64,
    /// Those of them that an interrupted run had fetched before.
    pub customers_before: u64,
    /// Parts that Treasure Data has stored.
    pub parts: u64,
    /// Their compressed size.
    pub uploaded_bytes: u64,
    /// Size of the rows before compression.
    pub row_bytes: u64,
}

impl Progress {
    /// The counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressSnapshot {
            pages: read(&self.pages),
            customers: read(&self.customers),
            customers_before: read(&self.customers_before),
            parts: read(&self.parts),
            uploaded_bytes: read(&self.uploaded_bytes),
            row_bytes: read(&self.row_bytes),
        }
    }

    /// What the run is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Fetching,
            1 => Phase::Loading,
            _ => Phase::Committing,
        }
    }

    /// Counts what an interrupted run had fetched before.
    pub(super) fn resume_from(&self, pages: u64, customers: u64, parts: u64) {
        self.pages.store(pages, Ordering::Relaxed);
        self.customers.store(customers, Ordering::Relaxed);
        self.customers_before.store(customers, Ordering::Relaxed);
        self.parts.store(parts, Ordering::Relaxed);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn page_fetched(&self, customers: usize) {
        let pages = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        let added = u64::try_from(customers).unwrap_or(u64::MAX);
        let customers = self.customers.fetch_add(added, Ordering::Relaxed) + added;
        // Milestones thin out, so that a long run's log stays short.
        if pages >= 100 && pages.is_multiple_of(100) && (pages / 100).is_power_of_two() {
            tracing::info!(pages, customers, "fetching");
        }
    }

    pub(super) fn part_stored(&self, compressed: usize, row_bytes: u64) {
        self.parts.fetch_add(1, Ordering::Relaxed);
        self.uploaded_bytes.fetch_add(u64::try_from(compressed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.row_bytes.fetch_add(row_bytes, Ordering::Relaxed);
    }
}
