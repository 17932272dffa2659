//! The progress of a run: counters that the run writes and displays read from any thread.
//!
//! Owns the one source of facts for the progress line, the heartbeat and the summary. Writing costs a few relaxed atomic
//! operations for each page or part; reading never waits for the network thread.

use std::array;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::phase::{LoadJob, Phase, PhaseChanges, micros};
use super::usage::{Meter, ServiceUse};
use crate::retry::ClientUse;
use crate::yotpo::EndedBy;

/// Counters that the run writes and displays read.
#[derive(Debug, Default)]
pub struct Progress {
    /// The phase and, in the bits above it, the microsecond at which it began, so that both change together.
    phase: AtomicU64,
    /// Microseconds at which the first phase began, plus one; 0 before.
    started: AtomicU64,
    /// Microseconds that each phase lasted, without the current one. A small store is read in less than a millisecond, and a
    /// phase of no time would look like one that never began.
    durations: [AtomicU64; Phase::ALL.len()],
    changes: Mutex<PhaseChanges>,
    /// Customers of the last run; 0 where they are not known.
    expected: AtomicU64,
    load_job: AtomicU8,
    job_id: Mutex<Option<String>>,
    usage: Meter<ServiceUse>,
    clients: Meter<Vec<ClientUse>>,
    last_success: Mutex<Option<LastSuccess>>,
    is_destination_open: AtomicBool,
    batches_queued: AtomicU64,
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

/// The last run of the target that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSuccess {
    /// When it ended, Unix seconds.
    pub finished_at: u64,
    /// Rows that it loaded; `None` if they are not known.
    pub rows: Option<u64>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProgressSnapshot {
    /// What the run is doing.
    pub phase: Phase,
    /// When this phase began by the run's clock, in microseconds.
    pub phase_since: Duration,
    /// Since when there is a run, by its clock; `None` before its first phase.
    pub started: Option<Duration>,
    /// How long each phase lasted, in the order of [`Phase::ALL`], without what has passed of the current one.
    pub durations: [Duration; Phase::ALL.len()],
    /// Customers that the last run of the target fetched, if it is known.
    pub expected: Option<u64>,
    /// What the load job is doing.
    pub load_job: LoadJob,
    /// What was sent to both services.
    pub usage: ServiceUse,
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
    /// Batches of rows that are being compressed, or wait for a part.
    pub batches_queued: u64,
    /// Whether rows can be stored: the bulk import session or the directory of the export is open.
    pub is_destination_open: bool,
    /// Their compressed size.
    pub uploaded_bytes: u64,
    /// Size of the rows before compression.
    pub row_bytes: u64,
    /// Customers that this process fetched twice, because the store changed in the meantime.
    pub seen_twice: u64,
    /// Whether this number is an estimate.
    pub is_estimate: bool,
}

impl ProgressSnapshot {
    /// Time since the first phase began.
    pub fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started.unwrap_or(now))
    }

    /// Each phase, and how long it lasted in all until `now`.
    pub fn phase_durations(&self, now: Duration) -> impl Iterator<Item = (Phase, Duration)> {
        let current = self.started.map_or(Duration::ZERO, |_| now.saturating_sub(self.phase_since));
        let lasted = move |(phase, before)| {
            (phase, before + if phase == self.phase { current } else { Duration::ZERO })
        };
        Phase::ALL.into_iter().zip(self.durations).map(lasted)
    }
}

impl Progress {
    /// The counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (phase, phase_since) = Phase::unpack(read(&self.phase));
        ProgressSnapshot {
            phase,
            phase_since,
            started: read(&self.started).checked_sub(1).map(Duration::from_micros),
            durations: array::from_fn(|phase| {
                Duration::from_micros(self.durations.get(phase).map(read).unwrap_or_default())
            }),
            expected: Some(read(&self.expected)).filter(|customers| *customers > 0),
            load_job: LoadJob::at(self.load_job.load(Ordering::Relaxed)),
            usage: self.usage.read(),
            pages: read(&self.pages),
            customers: read(&self.customers),
            customers_before: read(&self.customers_before),
            customers_with_loyalty_data: read(&self.customers_with_loyalty_data),
            ended_by: *self.ended_by.lock().unwrap_or_else(PoisonError::into_inner),
            parts: read(&self.parts),
            parts_queued: read(&self.parts_queued),
            batches_queued: read(&self.batches_queued),
            is_destination_open: self.is_destination_open.load(Ordering::Relaxed),
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
            &self.batches_queued,
            &self.uploaded_bytes,
            &self.row_bytes,
            &self.seen_twice,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.load_job.store(LoadJob::Unknown as u8, Ordering::Relaxed);
        self.is_destination_open.store(false, Ordering::Relaxed);
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

    /// Notes what the run is doing from `since` on. Only one thread does this at a time.
    pub fn enter(&self, phase: Phase, since: Duration) {
        let before = Phase::unpack(self.phase.swap(phase.pack(since), Ordering::Relaxed));
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).add(phase, since);
        if self.started.load(Ordering::Relaxed) == 0 {
            self.started.store(micros(since).saturating_add(1), Ordering::Relaxed);
        } else if let Some(duration) = self.durations.get(before.0 as usize) {
            duration.fetch_add(micros(since).saturating_sub(micros(before.1)), Ordering::Relaxed);
        }
    }

    /// Each phase in the order in which the run entered it, and when by its clock.
    pub fn phase_changes(&self) -> Vec<(Phase, Duration)> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).list().to_vec()
    }

    /// Ends the current phase at `now`, so that the durations of all phases are complete. Nothing else changes.
    pub fn finish(&self, now: Duration) {
        if self.started.load(Ordering::Relaxed) > 0 {
            let (phase, _) = Phase::unpack(self.phase.load(Ordering::Relaxed));
            self.enter(phase, now);
        }
    }

    /// Notes how many customers the last run of the target fetched.
    pub fn expect(&self, customers: u64) {
        self.expected.store(customers, Ordering::Relaxed);
    }

    /// Notes where to read what was sent to the services.
    pub fn read_usage_from(&self, read: impl Fn() -> ServiceUse + Send + Sync + 'static) {
        self.usage.read_from(read);
    }

    /// Notes where to read what each client sent.
    pub fn read_clients_from(&self, read: impl Fn() -> Vec<ClientUse> + Send + Sync + 'static) {
        self.clients.read_from(read);
    }

    /// What each client has sent so far, by operation.
    pub fn clients(&self) -> Vec<ClientUse> {
        self.clients.read()
    }

    /// Notes the last run of the target that succeeded.
    pub fn note_last_success(&self, last: LastSuccess) {
        *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// The last run of the target that succeeded, if it is known.
    pub fn last_success(&self) -> Option<LastSuccess> {
        *self.last_success.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that rows can be stored from now on.
    pub fn destination_opened(&self) {
        self.is_destination_open.store(true, Ordering::Relaxed);
    }

    /// Records how many batches of rows are being compressed, or wait for a part.
    pub fn batches_queued(&self, batches: usize) {
        self.batches_queued.store(u64::try_from(batches).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes what the load job is doing.
    pub fn load_job(&self, job: LoadJob) {
        self.load_job.store(job as u8, Ordering::Relaxed);
    }

    /// Notes which job loads the rows.
    pub fn load_job_id(&self, job_id: &str) {
        let mut known = self.job_id.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(job_id) {
            *known = Some(job_id.to_owned());
        }
    }

    /// The job that loads the rows, as far as it is known.
    pub fn job_id(&self) -> Option<String> {
        self.job_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Counts customers that were not fetched now: they are read from an export.
    pub fn customers_read(&self, customers: u64) {
        self.customers.fetch_add(customers, Ordering::Relaxed);
    }

    /// Notes what an export says about its pages.
    pub fn export_read(&self, pages: u64, with_loyalty_data: u64, ended_by: Option<EndedBy>) {
        self.pages.store(pages, Ordering::Relaxed);
        self.customers_with_loyalty_data.store(with_loyalty_data, Ordering::Relaxed);
        self.pages_ended(ended_by);
    }

    /// Counts a stored part.
    pub fn part_stored(&self, compressed: usize, row_bytes: u64) {
        self.parts.fetch_add(1, Ordering::Relaxed);
        self.uploaded_bytes.fetch_add(u64::try_from(compressed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.row_bytes.fetch_add(row_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
