//! A dry run: what a run would do with what is saved, and every customer fetched and compressed, but nothing loaded or saved.
//!
//! Owns the report. Invariant: nothing is sent to Treasure Data, and nothing on this machine changes. The guards that compare
//! with the history of this machine apply; whether Treasure Data accepts anything is the business of `check`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::context::usage_of_store;
use super::error::RunError;
use super::guards::{customers_of_last_run, refuse_empty, refuse_rows};
use super::phases::Phases;
use super::resumption::{StartPlan, plan_start};
use super::settings::LoadSettings;
use crate::checkpoint::{RunState, StateStore};
use crate::clock::Clock;
use crate::identity::{PartTotals, PartsDigest};
use crate::row::IngestionTime;
use crate::shutdown::{StopRequests, cancel_on_stop};
use crate::telemetry::{Phase, Progress, ProgressSnapshot};
use crate::transfer::{
    CompleteParts, NamedPart, PageEnd, PartSink, Put, Quarantine, StoredPrefix, Transfer, TransferContext,
    TransferEnd,
};
use crate::yotpo::{LoyaltyCounts, Pages, PagesSettings, Position, YotpoClient};

/// What a dry run needs.
#[derive(Clone, Copy, Debug)]
pub struct DryRunContext<'a> {
    /// The store.
    pub yotpo: &'a Arc<YotpoClient>,
    /// Time.
    pub clock: &'a Clock,
    /// What a run would load where.
    pub settings: &'a LoadSettings,
    /// The saved state of the target, which is only read.
    pub store: &'a StateStore,
    /// Number of pages to fetch; `None` for all.
    pub max_pages: Option<u64>,
    /// The counters.
    pub progress: &'a Arc<Progress>,
    /// Requests to stop.
    pub stop: &'a StopRequests,
}

/// What a run would do with what an interrupted run left on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Nothing is saved.
    Nothing,
    /// It would resume after the stored parts.
    Resume(Stored),
    /// It would resume the run, and fetch everything again: nothing that is stored can be used.
    StartOver(Stored),
    /// It would abandon the interrupted run and start another one.
    Abandon {
        /// What is lost.
        stored: Stored,
        /// Why.
        reason: String,
    },
}

/// What an interrupted run has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Pages that need not be fetched again.
    pub pages: u64,
    /// Rows in the parts.
    pub rows: u64,
    /// Parts in the session.
    pub parts: u64,
    /// When it was saved last, Unix seconds.
    pub saved_at: u64,
}

/// What a dry run found.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRunReport {
    /// What a run would do with what is saved.
    pub resumption: Resumption,
    /// Number of parts, rows and rejected customers.
    pub totals: PartTotals,
    /// Whether there are more pages than were fetched.
    pub is_partial: bool,
    /// How long fetching would take without what can be resumed; `None` if the number of customers is unknown.
    pub expected: Option<Duration>,
    /// What was fetched, and how long the phases lasted.
    pub progress: ProgressSnapshot,
    /// Duration of the whole dry run.
    pub duration: Duration,
}

/// Fetches and compresses what a run would load.
///
/// # Errors
/// Why a run would fail, as far as the store and this machine decide.
pub async fn dry_run(context: DryRunContext<'_>) -> Result<DryRunReport, RunError> {
    let DryRunContext { yotpo, clock, settings, store, max_pages, progress, stop } = context;
    let started = clock.now();
    let client = Arc::clone(yotpo);
    progress.read_usage_from(move || usage_of_store(&client));
    let phases = Phases::new(progress, clock);
    phases.enter(Phase::Starting);
    let (saved, history) = (store.run()?, store.history()?);
    let last = customers_of_last_run(&history);
    if let Some(customers) = last.filter(|_| max_pages.is_none()) {
        progress.expect(customers);
    }
    let now = clock.unix_time().as_secs();
    let resumption = resumption(saved.as_ref(), settings, now);
    let time = IngestionTime::from_unix_seconds(now)?;
    let transfer = &settings.transfer;
    let paging = PagesSettings { page_size: transfer.page_size, time, loyalty_check: transfer.loyalty_check };
    let pages = Pages::new(Arc::clone(yotpo), paging);
    let pages = match max_pages {
        Some(max_pages) => pages.until(max_pages),
        None => pages,
    };
    let fetching = phases.enter(Phase::Fetching);
    // Rejected customers are counted; a copy of them belongs to a run.
    let quarantine = Quarantine::new(None, clock.clone());
    let work = async {
        let mut fetched = Transfer::start(pages, nothing_stored(), transfer, progress, clock, stop);
        if !fetched.has_customers::<RunError>().await? {
            // After the limit, later pages may have customers.
            if progress.snapshot().ended_by.is_some() {
                refuse_empty(settings, &history)?;
            }
            return Ok(PartTotals { parts: 0, valid: 0, rejected: 0 });
        }
        let context =
            TransferContext { settings: transfer, progress, quarantine: &quarantine, quarantine_label: "" };
        let Some(parts) = fetched.store(context, &NoSink).await? else {
            return Err(RunError::Bug("nothing accepts every part"));
        };
        let last = parts.stored().await?;
        if max_pages.is_none() {
            refuse_rows(settings, &history, last.rows())?;
        } else if last.rows() == 0 {
            // Later pages may have rows.
            let rejected = progress.snapshot().customers;
            return Ok(PartTotals { parts: 0, valid: 0, rejected });
        }
        match last.store().await? {
            TransferEnd::Complete(totals) => Ok(totals),
            TransferEnd::NoMoreRows | TransferEnd::SinkClosed => {
                Err(RunError::Bug("a transfer from the first page found no row for its last part"))
            }
        }
    };
    let totals = cancel_on_stop(stop, Box::pin(work.instrument(fetching))).await?;
    progress.finish(clock.now());
    let snapshot = progress.snapshot();
    Ok(DryRunReport {
        resumption,
        totals,
        is_partial: snapshot.ended_by.is_none(),
        expected: expected(&snapshot, max_pages.is_some(), last),
        progress: snapshot,
        duration: clock.now().saturating_sub(started),
    })
}

fn resumption(saved: Option<&RunState>, settings: &LoadSettings, now: u64) -> Resumption {
    let Some(state) = saved else { return Resumption::Nothing };
    let stored = Stored {
        pages: state.position.page(),
        rows: state.rows,
        parts: state.parts,
        saved_at: state.updated_at,
    };
    match plan_start(Some(state), settings, now) {
        StartPlan::Fresh => Resumption::Nothing,
        StartPlan::Resume { uses_set: true } => Resumption::Resume(stored),
        StartPlan::Resume { uses_set: false } => Resumption::StartOver(stored),
        StartPlan::Abandon { reason } => Resumption::Abandon { stored, reason },
    }
}

/// The time that fetching took; of some pages only, as much more as the last run fetched more customers.
fn expected(snapshot: &ProgressSnapshot, is_limited: bool, last: Option<u64>) -> Option<Duration> {
    let fetching = snapshot.phase_durations(snapshot.phase_since);
    let took = fetching.filter(|(phase, _)| *phase == Phase::Fetching).map(|(_, time)| time).next()?;
    if !is_limited || snapshot.ended_by.is_some() {
        return Some(took);
    }
    let share = as_float(last?) / as_float(snapshot.customers);
    Duration::try_from_secs_f64(took.as_secs_f64() * share.max(1.0)).ok()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate to show")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn nothing_stored() -> StoredPrefix {
    let end = PageEnd { position: Position::Start, loyalty: LoyaltyCounts::default() };
    StoredPrefix { parts: 0, rows: 0, rejected: 0, end, digest: PartsDigest::default() }
}

/// Takes parts and drops them.
struct NoSink;

impl PartSink for NoSink {
    type Error = Infallible;

    async fn put(&self, _part: &NamedPart) -> Result<Put, Infallible> {
        Ok(Put::Stored)
    }

    async fn checkpoint(&self, _prefix: StoredPrefix) -> Result<(), Infallible> {
        Ok(())
    }

    async fn complete(&self, _parts: CompleteParts) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yotpo::EndedBy;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A dry run that took 10 seconds for this many customers.
    fn fetched(customers: u64) -> Progress {
        let progress = Progress::default();
        progress.enter(Phase::Starting, seconds(0));
        progress.enter(Phase::Fetching, seconds(3));
        progress.page_fetched(customers, 0);
        progress.finish(seconds(13));
        progress
    }

    #[test]
    fn a_whole_store_takes_as_long_as_fetching_it_took() {
        for last in [None, Some(300)] {
            assert_eq!(expected(&fetched(100).snapshot(), false, last), Some(seconds(10)));
        }
    }

    #[test]
    fn a_store_of_which_some_pages_were_fetched_takes_longer_by_the_customers_of_the_last_run() {
        let some_pages = |customers, last| expected(&fetched(customers).snapshot(), true, last);
        assert_eq!(some_pages(100, Some(300)), Some(seconds(30)));
        assert_eq!(some_pages(100, Some(50)), Some(seconds(10)), "it has grown since");
        assert_eq!(some_pages(100, None), None);
        assert_eq!(some_pages(0, Some(300)), None);
        let progress = fetched(100);
        progress.pages_ended(Some(EndedBy::LastPage));
        assert_eq!(expected(&progress.snapshot(), true, Some(300)), Some(seconds(10)), "there are no more");
    }
}
