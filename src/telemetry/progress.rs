//! The progress of a run: counters that the run updates and that any thread can display.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::yotpo::EndedBy;

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It checks what earlier runs left, and prepares a session.
    #[default]
    Starting,
    /// Pages are fetched and parts are uploaded.
    Fetching,
    /// All pages are fetched; the last parts are uploaded and checked.
    Uploading,
    /// The load job is running.
    Loading,
    /// The rows are loaded, and are being committed.
    Committing,
    /// `replace`: the new table is renamed over the old one.
    Publishing,
    /// What is no longer needed is removed.
    CleaningUp,
}

/// Number of bits that hold the phase in a packed phase and time.
const PHASE_BITS: u32 = 3;

/// Counters that the run updates and displays read.
#[derive(Debug, Default)]
pub struct Progress {
    /// The phase and, in the bits above it, the millisecond at which it began, so that both change together.
    phase: AtomicU64,
    pages: AtomicU64,
    customers: AtomicU64,
    customers_before: AtomicU64,
    customers_with_loyalty_data: AtomicU64,
    ended_by: Mutex<Option<EndedBy>>,
    parts: AtomicU64,
    parts_queued: AtomicU64,
    uploaded_bytes: AtomicU64,
    row_bytes: AtomicU64,
    seen_twice: AtomicU64,
    is_estimate: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// What the run is doing.
    pub phase: Phase,
    /// When this phase began by the run's clock, in milliseconds.
    pub phase_since: Duration,
    /// Pages fetched.
    pub pages: u64,
    /// Customers on these pages.
    pub customers: u64,
    /// Customers among them that an interrupted run had fetched.
    pub customers_before: u64,
    /// Customers with loyalty data.
    pub customers_with_loyalty_data: u64,
    /// What showed that there are no further pages; `None` before the last page, or if another machine fetched it.
    pub ended_by: Option<EndedBy>,
    /// Parts that Treasure Data has stored.
    pub parts: u64,
    /// Parts that are complete but not stored yet.
    pub parts_queued: u64,
    /// Their compressed size.
    pub uploaded_bytes: u64,
    /// Size of the rows before compression.
    pub row_bytes: u64,
    /// Customers that this process fetched twice, because the store changed in the meantime.
    pub seen_twice: u64,
    /// Whether this number is an estimate.
    pub is_estimate: bool,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Starting,
        Self::Fetching,
        Self::Uploading,
        Self::Loading,
        Self::Committing,
        Self::Publishing,
        Self::CleaningUp,
    ];

    /// Its name in logs and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Fetching => "fetching",
            Self::Uploading => "uploading",
            Self::Loading => "loading",
            Self::Committing => "committing",
            Self::Publishing => "publishing",
            Self::CleaningUp => "cleaning_up",
        }
    }
}

impl Progress {
    /// The counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (phase, phase_since) = unpack(read(&self.phase));
        ProgressSnapshot {
            phase,
            phase_since,
            pages: read(&self.pages),
            customers: read(&self.customers),
            customers_before: read(&self.customers_before),
            customers_with_loyalty_data: read(&self.customers_with_loyalty_data),
            ended_by: *self.ended_by.lock().unwrap_or_else(PoisonError::into_inner),
            parts: read(&self.parts),
            parts_queued: read(&self.parts_queued),
            uploaded_bytes: read(&self.uploaded_bytes),
            row_bytes: read(&self.row_bytes),
            seen_twice: read(&self.seen_twice),
            is_estimate: self.is_estimate.load(Ordering::Relaxed),
        }
    }

    /// Continues with the counters of an interrupted run.
    pub fn resume_from(&self, before: ProgressSnapshot) {
        self.pages.store(before.pages, Ordering::Relaxed);
        self.customers.store(before.customers, Ordering::Relaxed);
        self.customers_before.store(before.customers, Ordering::Relaxed);
        self.customers_with_loyalty_data.store(before.customers_with_loyalty_data, Ordering::Relaxed);
        self.parts.store(before.parts, Ordering::Relaxed);
        self.pages_ended(before.ended_by);
    }

    /// Resets the counters, because a new set is started.
    pub fn begin(&self) {
        for counter in [
            &self.pages,
            &self.customers,
            &self.customers_before,
            &self.customers_with_loyalty_data,
            &self.parts,
            &self.parts_queued,
            &self.uploaded_bytes,
            &self.row_bytes,
            &self.seen_twice,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.pages_ended(None);
    }

    /// Records what showed that there are no further pages.
    pub fn pages_ended(&self, ended_by: Option<EndedBy>) {
        *self.ended_by.lock().unwrap_or_else(PoisonError::into_inner) = ended_by;
    }

    /// Records how many customers were fetched twice.
    pub fn customers_fetched_twice(&self, times: u64, is_estimate: bool) {
        self.seen_twice.store(times, Ordering::Relaxed);
        self.is_estimate.store(is_estimate, Ordering::Relaxed);
        if times > 0 {
            tracing::warn!(
                times,
                is_estimate,
                "customers equal an earlier one; the store may have changed while it was read"
            );
        }
    }

    /// Records the phase of the run, which began at `since`.
    pub fn enter(&self, phase: Phase, since: Duration) {
        self.phase.store(pack(phase, since), Ordering::Relaxed);
    }

    /// Records how many parts are complete but not stored yet.
    pub fn parts_queued(&self, parts: usize) {
        self.parts_queued.store(u64::try_from(parts).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a page and its customers.
    pub fn page_fetched(&self, on_page: u64, with_loyalty_data: u64) {
        let pages = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        let customers = self.customers.fetch_add(on_page, Ordering::Relaxed) + on_page;
        self.customers_with_loyalty_data.fetch_add(with_loyalty_data, Ordering::Relaxed);
        // Milestones become less frequent, so that the log of a long run stays short.
        if pages >= 100 && pages.is_multiple_of(100) && (pages / 100).is_power_of_two() {
            tracing::info!(pages, customers, "fetching");
        }
    }

    /// Counts a stored part.
    pub fn part_stored(&self, compressed: usize, row_bytes: u64) {
        self.parts.fetch_add(1, Ordering::Relaxed);
        self.uploaded_bytes.fetch_add(u64::try_from(compressed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.row_bytes.fetch_add(row_bytes, Ordering::Relaxed);
    }
}

fn pack(phase: Phase, since: Duration) -> u64 {
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> PHASE_BITS);
    (millis << PHASE_BITS) | phase as u64
}

fn unpack(packed: u64) -> (Phase, Duration) {
    let index = usize::try_from(packed & ((1 << PHASE_BITS) - 1)).unwrap_or_default();
    let phase = Phase::ALL.get(index).copied().unwrap_or_default();
    (phase, Duration::from_millis(packed >> PHASE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_read_back() {
        let progress = Progress::default();
        for (hours, phase) in Phase::ALL.into_iter().enumerate() {
            let since = Duration::from_secs(3_600 * hours as u64);
            progress.enter(phase, since);
            let now = progress.snapshot();
            assert_eq!((now.phase, now.phase_since), (phase, since));
        }
    }
}
