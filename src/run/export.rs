//! An export: every customer of a store in a directory, or an export that can be resumed.
//!
//! Owns whether an export that is found is complete, is resumed or is started over, and its order. Invariants: a manifest is
//! complete only if every customer that Yotpo listed is in the listed parts; an export of another store is never touched.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::context::usage_of_store;
use super::error::{GuardError, RunError};
use super::phases::Phases;
use super::settings::{ExportSettings, ResumePolicy};
use crate::clock::Clock;
use crate::export::{CompleteExport, DirectorySink, ExportDirectory, ExportError, Manifest};
use crate::identity::{PartsDigest, RunId};
use crate::row::IngestionTime;
use crate::shutdown::{StopRequests, cancel_on_stop, with_shutdown_grace};
use crate::spans;
use crate::telemetry::{Phase, Progress, ProgressSnapshot};
use crate::transfer::{PageEnd, Quarantine, StoredPrefix, Transfer, TransferContext, TransferEnd};
use crate::yotpo::{
    LoyaltyCheck, LoyaltyCounts, LoyaltyVerdict, Pages, PagesSettings, Position, YotpoClient,
};

/// What an export needs.
#[derive(Clone, Copy, Debug)]
pub struct ExportContext<'a> {
    /// The store.
    pub yotpo: &'a Arc<YotpoClient>,
    /// Time.
    pub clock: &'a Clock,
    /// What is exported, and how.
    pub settings: &'a ExportSettings,
    /// Where to. The caller holds its lock.
    pub directory: &'a ExportDirectory,
    /// The counters.
    pub progress: &'a Arc<Progress>,
    /// Requests to stop.
    pub stop: &'a StopRequests,
}

/// An export that is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportReport {
    /// The export.
    pub export: CompleteExport,
    /// Whether it was complete before this process started: nothing was fetched.
    pub was_complete: bool,
    /// Whether parts are from an interrupted export that was resumed.
    pub resumed: bool,
    /// What this process fetched and wrote, and how long its phases lasted.
    pub progress: ProgressSnapshot,
    /// Duration of the whole run.
    pub duration: Duration,
}

/// An export that failed.
#[derive(Debug)]
pub struct ExportFailure {
    /// Why.
    pub error: RunError,
    /// What it was doing.
    pub phase: Phase,
    /// What the manifest lists, if there is one that can be resumed.
    pub saved: Option<Box<Manifest>>,
}

/// What to do with an export that is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    /// It is complete.
    Keep,
    /// It is resumed after its parts.
    Resume(Box<Manifest>),
    /// Everything is fetched.
    Start {
        /// Why an interrupted export is not resumed.
        reason: Option<String>,
    },
}

/// Whether an attempt fetches from the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Yes {
        /// Whether the directory had a manifest that could be read.
        has_manifest: bool,
    },
    No,
}

/// Exports every customer of the store.
///
/// # Errors
/// Why it failed, and what it left behind.
pub async fn export(context: ExportContext<'_>, generated: RunId) -> Result<ExportReport, ExportFailure> {
    let ExportContext { clock, progress, yotpo, .. } = context;
    let started = clock.now();
    let client = Arc::clone(yotpo);
    progress.read_usage_from(move || usage_of_store(&client));
    let client = Arc::clone(yotpo);
    progress.read_clients_from(move || vec![client.client_use()]);
    let phases = Phases::new(progress, clock);
    phases.enter(Phase::Starting);
    let result = Box::pin(Exporter { context, phases }.run(generated)).await;
    let phase = progress.snapshot().phase;
    progress.finish(clock.now());
    match result {
        Ok((export, was_complete, resumed)) => Ok(ExportReport {
            export,
            was_complete,
            resumed,
            progress: progress.snapshot(),
            duration: clock.now().saturating_sub(started),
        }),
        Err(error) => {
            let saved = context.directory.resumable();
            Err(ExportFailure { error, phase, saved: saved.map(Box::new) })
        }
    }
}

struct Exporter<'a> {
    context: ExportContext<'a>,
    phases: Phases,
}

impl Exporter<'_> {
    async fn run(&self, generated: RunId) -> Result<(CompleteExport, bool, bool), RunError> {
        let ExportContext { settings, directory, clock, progress, .. } = self.context;
        let now = clock.unix_time().as_secs();
        let found = match (directory.manifest(), settings.policy) {
            // Nobody needs a damaged one that is to be replaced.
            (Err(ExportError::Manifest { .. }), ResumePolicy::Never) => None,
            (found, _) => found?,
        };
        let has_manifest = found.is_some();
        let resumable = match plan(found, settings, directory, now)? {
            Plan::Keep => {
                let export = directory.complete()?;
                let checked = export.clone();
                self.reading(move || checked.verify()).await??;
                return Ok((export, true, false));
            }
            Plan::Resume(manifest) => self.verified(*manifest).await?,
            Plan::Start { reason } => {
                if let Some(reason) = reason {
                    tracing::warn!(reason, "the export that was found is not resumed");
                }
                None
            }
        };
        if let Some(manifest) = resumable {
            let parts = directory.remove_surplus(Some(&manifest))?;
            if parts > 0 {
                tracing::info!(
                    parts,
                    "removed parts that were not saved in the manifest; they are fetched again"
                );
            }
            let Manifest { rows, ref position, .. } = manifest;
            tracing::info!(pages = position.page(), rows, "resuming an interrupted export");
            progress.resume_from(counted_before(&manifest));
            match self.attempt(manifest, First::No).await {
                Ok(Some(export)) => return Ok((export, false, true)),
                Ok(None) => {}
                Err(RunError::Yotpo(error)) if error.is_cursor_rejected() => {
                    tracing::warn!("Yotpo no longer accepts the saved cursor, starting over");
                }
                Err(error) => return Err(error),
            }
        }
        progress.begin();
        let manifest = self.new_manifest(generated).await?;
        match self.attempt(manifest, First::Yes { has_manifest }).await? {
            Some(export) => Ok((export, false, false)),
            None => Err(RunError::Bug("an export from the first page found no row for its last part")),
        }
    }

    async fn new_manifest(&self, generated: RunId) -> Result<Manifest, RunError> {
        let ExportContext { yotpo, settings, clock, stop, .. } = self.context;
        // As a run takes it from Treasure Data: this machine's clock may be wrong.
        let asked = async { Ok(yotpo.server_time().await?) }.instrument(self.phases.enter(Phase::Fetching));
        let time = cancel_on_stop::<_, RunError>(stop, asked).await?;
        if time.is_none() {
            tracing::warn!("Yotpo's responses have no Date header, so this machine's clock is used");
        }
        let now = clock.unix_time().as_secs();
        let time = time.unwrap_or(now);
        // Not every time is valid in a row; a wrong clock is detected here.
        IngestionTime::from_unix_seconds(time)?;
        Ok(Manifest {
            run_id: settings.run_id.clone().unwrap_or(generated),
            store_id: settings.store.clone(),
            yotpo_endpoint: settings.yotpo_endpoint.clone(),
            time,
            is_complete: false,
            started_at: now,
            updated_at: now,
            page_size: settings.transfer.page_size,
            position: Position::Start,
            loyalty: LoyaltyCounts::default(),
            rows: 0,
            rejected_customers: 0,
            parts: Vec::new(),
        })
    }

    /// Reads files outside the network thread, until a stop is requested.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let ExportContext { clock, stop, .. } = self.context;
        cancel_on_stop(stop, async {
            clock.blocking(work).await.map_err(|_panicked| RunError::Bug("reading the parts panicked"))
        })
        .await
    }

    /// The manifest, if all its parts are there and intact.
    async fn verified(&self, manifest: Manifest) -> Result<Option<Manifest>, RunError> {
        let directory = self.context.directory.clone();
        let work = move || {
            let result = manifest.parts.iter().try_for_each(|part| directory.read_part(part).map(drop));
            (manifest, result)
        };
        let (manifest, result) = self.reading(work).await?;
        match result {
            Ok(()) => Ok(Some(manifest)),
            Err(error @ ExportError::Part { .. }) => {
                tracing::warn!(%error, "the interrupted export cannot be resumed, starting over");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches everything after the manifest's position. Returns `None` if no row follows its parts.
    async fn attempt(&self, manifest: Manifest, first: First) -> Result<Option<CompleteExport>, RunError> {
        let ExportContext { yotpo, clock, settings, directory, progress, stop } = self.context;
        spans::record_run_id(&manifest.run_id);
        let time = IngestionTime::from_unix_seconds(manifest.time)?;
        let transfer = &settings.transfer;
        let paging =
            PagesSettings { page_size: transfer.page_size, time, loyalty_check: transfer.loyalty_check };
        let before = stored_before(&manifest);
        let label = format!("export_{}", manifest.run_id);
        let PageEnd { position, loyalty } = before.end.clone();
        let pages = Pages::resume(Arc::clone(yotpo), paging, position, loyalty);
        let fetching = self.phases.enter(Phase::Fetching);
        self.context.progress.destination_opened();
        let sink = DirectorySink::new(directory.clone(), manifest, clock.clone());
        let quarantine = Quarantine::new(settings.quarantine_directory.as_deref(), clock.clone());
        let work = async {
            let mut fetched = Transfer::start(pages, before, transfer, progress, clock, stop);
            if let First::Yes { has_manifest } = first {
                let has_customers = fetched.has_customers::<RunError>().await?;
                // Not before: an export that is there may be the only copy, and Yotpo may not be reachable.
                let parts = directory.remove_surplus(None)?;
                if parts > 0 && !has_manifest {
                    tracing::warn!(
                        parts,
                        "removed parts that no readable manifest lists: what an interrupted export had stored is lost"
                    );
                }
                directory.save(&sink.manifest())?;
                if !has_customers {
                    sink.complete_empty().await?;
                    return Ok(true);
                }
            }
            let context = TransferContext {
                settings: transfer,
                progress,
                quarantine: &quarantine,
                quarantine_label: &label,
            };
            let Some(parts) = fetched.store(context, &sink).await? else {
                return Err(RunError::Bug("a directory accepts every part"));
            };
            let last = parts.stored().await?;
            if last.rows() == 0 {
                return Err(GuardError::NoRows.into());
            }
            Ok(last.store().await? != TransferEnd::NoMoreRows)
        };
        // On the heap: this is the largest future, and moving it is expensive.
        let is_complete = with_shutdown_grace(clock, stop, Box::pin(work.instrument(fetching)))
            .await
            .inspect_err(|error| {
                if error.condemns_set()
                    && let Err(error) = directory.remove_surplus(None)
                {
                    tracing::warn!(%error, "could not remove everything that was exported");
                }
            })?;
        if !is_complete {
            tracing::info!(
                "no customer follows the exported ones, and the last part is missing: starting over"
            );
            return Ok(None);
        }
        if let Err(error) = directory.remove_surplus(Some(&sink.manifest())) {
            tracing::warn!(%error, "the export is complete, but not everything else could be removed");
        }
        Ok(Some(directory.complete()?))
    }
}

/// Decides what to do with what was found. `now` is in Unix seconds.
fn plan(
    found: Option<Manifest>,
    settings: &ExportSettings,
    directory: &ExportDirectory,
    now: u64,
) -> Result<Plan, ExportError> {
    let start = |reason: &str| Ok(Plan::Start { reason: Some(reason.to_owned()) });
    let Some(manifest) = found else { return Ok(Plan::Start { reason: None }) };
    let of_other = |what, found: &str, expected: &str| ExportError::OfOther {
        directory: directory.path().into(),
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    if manifest.store_id != settings.store {
        return Err(of_other("store", &manifest.store_id.to_string(), &settings.store.to_string()));
    }
    if manifest.yotpo_endpoint != settings.yotpo_endpoint {
        return Err(of_other("the server", &manifest.yotpo_endpoint, &settings.yotpo_endpoint));
    }
    let ResumePolicy::Within(limit) = settings.policy else { return start("--fresh is set") };
    if let Some(run_id) = settings.run_id.as_ref().filter(|run_id| **run_id != manifest.run_id) {
        return Err(of_other("run", manifest.run_id.as_str(), run_id.as_str()));
    }
    if manifest.is_complete {
        return Ok(Plan::Keep);
    }
    let is_lost = manifest.loyalty.verdict() == LoyaltyVerdict::Lost
        && settings.transfer.loyalty_check == LoyaltyCheck::On;
    if manifest.parts.is_empty() {
        Ok(Plan::Start { reason: None })
    } else if now.saturating_sub(manifest.updated_at) > limit.as_secs() {
        let limit = humantime::format_duration(limit);
        start(&format!("it is older than --resume-within {limit}"))
    } else if manifest.page_size != settings.transfer.page_size {
        start("its --page-size is different")
    } else if is_lost {
        start("its customers lack loyalty data")
    } else {
        Ok(Plan::Resume(Box::new(manifest)))
    }
}

fn stored_before(manifest: &Manifest) -> StoredPrefix {
    let digest = |digest: PartsDigest, name: &str| digest.with(name);
    let names = manifest.parts.iter().map(|part| part.name.as_str());
    StoredPrefix {
        parts: manifest.totals().parts,
        rows: manifest.rows,
        rejected: manifest.rejected_customers,
        end: PageEnd { position: manifest.position.clone(), loyalty: manifest.loyalty },
        digest: names.fold(PartsDigest::default(), digest),
    }
}

/// What earlier processes of the export counted.
fn counted_before(manifest: &Manifest) -> ProgressSnapshot {
    ProgressSnapshot {
        pages: manifest.position.page(),
        customers: manifest.rows.saturating_add(manifest.rejected_customers),
        customers_with_loyalty_data: manifest.loyalty.with_loyalty_data(),
        parts: manifest.totals().parts,
        ..ProgressSnapshot::default()
    }
}

#[cfg(test)]
mod tests;
