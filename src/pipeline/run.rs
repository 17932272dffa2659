//! The steps of a run, and what is left behind when one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::LoadSettings;
use super::entry::{Entry, discard, enter};
use super::error::{Aftermath, GuardError, RunError, RunFailure};
use super::housekeeping;
use super::identity::RunId;
use super::journal::Journal;
use super::outcome::{Outcome, RunReport};
use super::progress::{Phase, Progress};
use super::quarantine::Quarantine;
use super::replacement;
use super::transfer::{Transferred, transfer, within_grace};
use super::upload::Totals;
use crate::checkpoint::{RunPhase, RunState, StateStore};
use crate::clock::Clock;
use crate::config::Mode;
use crate::signal::StopRequests;
use crate::treasure_data::{
    LoadedSession, OpenSession, Session, Stage, TableName, TableOrigin, TreasureDataClient,
    TreasureDataError, VerifiedSession,
};
use crate::yotpo::YotpoClient;

/// How often a commit that fell back to `ready` is asked for again.
const COMMIT_ATTEMPTS: u32 = 3;
/// Longest time for cleaning up behind a failed run.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);
/// Longest time for cleaning up when somebody waits for the program to stop.
const INTERRUPTED_CLEANUP_LIMIT: Duration = Duration::from_secs(3);

/// The services that a run works with.
#[derive(Debug)]
pub struct Services {
    /// The store.
    pub yotpo: Arc<YotpoClient>,
    /// The account.
    pub treasure_data: Arc<TreasureDataClient>,
    /// Time.
    pub clock: Clock,
}

/// Loads every customer of the store, or nothing. The caller holds the target's lock.
///
/// `generated` is the run's id unless an interrupted run is gone on with or the settings give one.
///
/// # Errors
/// Why it failed and what is left behind; the table is untouched unless the aftermath says otherwise.
pub async fn run(
    services: &Services,
    settings: &LoadSettings,
    store: &Arc<StateStore>,
    generated: RunId,
    progress: &Progress,
    stop: &StopRequests,
) -> Result<RunReport, RunFailure> {
    let started = services.clock.now();
    let mut generated = Some(generated);
    let mut resumed = None;
    loop {
        let id = generated.take().unwrap_or_else(|| RunId::generate(services.clock.unix_time(), 0));
        let entry = unless_stopped(stop, enter(services, settings, store, id)).await;
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Err(failed_on_entry(error, store)),
        };
        let (state, stage) = match entry {
            Entry::Anew(state) => (state, None),
            Entry::From(state, stage) => (state, Some(stage)),
        };
        progress.resume_from(state.pages, state.customers + state.refused_customers, state.parts);
        let first_attempt = resumed.is_none();
        resumed = Some(stage.is_some());
        let run = Run::new(services, settings, store, progress, state, stage.is_some());
        // Most of a run's state is in this future: it lives on the heap, as each caller's would not be small either.
        match Box::pin(run.complete(stage, stop)).await {
            Ok(outcome) => return Ok(run.report(outcome, services.clock.now().saturating_sub(started))),
            Err(error) if run.lost_its_cursor(&error) && first_attempt => {
                tracing::warn!(
                    run = run.journal.state().run_id,
                    "Yotpo no longer accepts the saved cursor, starting over"
                );
                if let Err(error) = run.discard().await {
                    return Err(failed_on_entry(error, store));
                }
            }
            Err(error) => {
                let aftermath = run.aftermath(&error).await;
                return Err(RunFailure { error, aftermath });
            }
        }
    }
}

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) services: &'a Services,
    pub(super) settings: &'a LoadSettings,
    pub(super) store: &'a Arc<StateStore>,
    pub(super) progress: &'a Progress,
    pub(super) journal: Journal,
    pub(super) quarantine: Quarantine,
    /// Whether anything of it is, or may be, in Treasure Data.
    made: AtomicBool,
    /// Records that Treasure Data could not read.
    error_records: AtomicU64,
    resumed: bool,
}

impl<'a> Run<'a> {
    fn new(
        services: &'a Services,
        settings: &'a LoadSettings,
        store: &'a Arc<StateStore>,
        progress: &'a Progress,
        state: RunState,
        resumed: bool,
    ) -> Self {
        let folder = settings.quarantine_folder.as_deref();
        let quarantine = Quarantine::new(&state.run_id, folder, services.clock.clone());
        let journal = Journal::new(Arc::clone(store), services.clock.clone(), state);
        let made = AtomicBool::new(resumed);
        Self {
            services,
            settings,
            store,
            progress,
            journal,
            quarantine,
            made,
            error_records: AtomicU64::new(0),
            resumed,
        }
    }

    /// Does all steps from `stage` on; each ends in the next.
    async fn complete(&self, stage: Option<Stage>, stop: &StopRequests) -> Result<Outcome, RunError> {
        let state = self.journal.state();
        tracing::info!(run = state.run_id, table = %self.settings.target.label(), mode = ?state.mode, "started");
        let mut stage = stage;
        let mut commits = 0;
        loop {
            stage = match stage {
                None => match transfer(self, None, stop).await? {
                    Transferred::Nothing => {
                        return within_grace(&self.services.clock, stop, self.nothing_to_load()).await;
                    }
                    Transferred::Everything(session, totals) => {
                        unless_stopped(stop, self.all_stored(session, totals)).await?
                    }
                },
                Some(Stage::Open(session)) if self.journal.state().phase == RunPhase::Uploading => {
                    match transfer(self, Some(session), stop).await? {
                        Transferred::Nothing => {
                            return Err(RunError::Bug("an open session without customers"));
                        }
                        Transferred::Everything(session, totals) => {
                            unless_stopped(stop, self.all_stored(session, totals)).await?
                        }
                    }
                }
                Some(Stage::Committed(_) | Stage::Absent) => {
                    return within_grace(&self.services.clock, stop, self.publish()).await;
                }
                Some(stage) => Some(unless_stopped(stop, self.step(stage, &mut commits)).await?),
            };
        }
    }

    /// One step that waits for Treasure Data; a stop may end it at any point.
    async fn step(&self, stage: Stage, commits: &mut u32) -> Result<Stage, RunError> {
        let polling = self.settings.polling;
        Ok(match stage {
            Stage::Open(session) => Stage::Frozen(session.freeze().await?),
            Stage::Frozen(session) => {
                self.progress.enter(Phase::Loading);
                let performing = session.perform().await?;
                let job = performing.job().map(ToOwned::to_owned);
                tracing::info!(job = job.as_deref().unwrap_or("unknown"), "load job started");
                self.journal
                    .update(|state| {
                        state.phase = RunPhase::Performing;
                        state.job = job;
                    })
                    .await?;
                Stage::Performing(performing)
            }
            Stage::Performing(session) => {
                self.progress.enter(Phase::Loading);
                Stage::Loaded(session.wait(polling).await?)
            }
            Stage::Loaded(session) => {
                let verified = self.verify(session).await?;
                *commits += 1;
                if *commits > COMMIT_ATTEMPTS {
                    return Err(self.commit_failed()?.into());
                }
                self.journal.update(|state| state.phase = RunPhase::Committing).await?;
                self.progress.enter(Phase::Committing);
                Stage::Committing(verified.commit().await?)
            }
            Stage::Committing(session) => {
                self.progress.enter(Phase::Committing);
                match session.wait(polling).await? {
                    Some(committed) => Stage::Committed(committed),
                    None => {
                        tracing::warn!("the commit failed and fell back to ready");
                        match self.session()?.attach().await? {
                            // Gone without having been committed by us: nobody can know what became of it.
                            Stage::Absent => {
                                return Err(RunError::CommitUnknown {
                                    session: self.session()?.name().clone(),
                                });
                            }
                            stage => stage,
                        }
                    }
                }
            }
            stage @ (Stage::Committed(_) | Stage::Absent) => stage,
        })
    }

    /// Makes the table and opens the session; its name is saved before the call that may make it.
    pub(super) async fn open_session(&self) -> Result<OpenSession, RunError> {
        let LoadSettings { database, table, .. } = self.settings;
        let client = &self.services.treasure_data;
        if client.ensure_table(database, table).await? == TableOrigin::Created {
            tracing::info!(%database, %table, "table created");
        }
        housekeeping::look_around(self.services, self.settings, &self.journal.state()).await;
        self.made.store(true, Ordering::Relaxed);
        self.journal.update(|state| state.phase = RunPhase::Uploading).await?;
        if let Some(temporary) = self.temporary_table()? {
            replacement::make_temporary_table(self, &temporary).await?;
        }
        let session = self.session()?;
        match session.create().await {
            Ok(open) => {
                tracing::info!(session = %session.name(), "bulk import session opened");
                Ok(open)
            }
            Err(error) => {
                if matches!(error, TreasureDataError::SessionTaken { .. }) {
                    // It is somebody else's: not ours to delete.
                    self.made.store(false, Ordering::Relaxed);
                    self.journal.forget().await?;
                }
                Err(error.into())
            }
        }
    }

    /// Saves that every customer is stored; only then the session may be closed for uploads.
    async fn all_stored(&self, session: OpenSession, totals: Totals) -> Result<Option<Stage>, RunError> {
        let Totals { rows, refused, .. } = totals;
        let fetched = self.progress.snapshot();
        tracing::info!(
            pages = fetched.pages,
            customers = fetched.customers,
            parts = fetched.parts,
            "all customers stored"
        );
        if rows == 0 {
            return Err(GuardError::NoRows.into());
        }
        if self.settings.mode == Mode::Replace {
            replacement::guard(self, rows).await?;
        }
        self.journal
            .update(|state| {
                state.phase = RunPhase::Frozen;
                state.expected_rows = Some(rows);
                state.customers = rows;
                state.refused_customers = refused;
                state.pages = fetched.pages;
                state.cursor = None;
            })
            .await?;
        Ok(Some(Stage::Open(session)))
    }

    async fn verify(&self, session: LoadedSession) -> Result<VerifiedSession, RunError> {
        let state = self.journal.state();
        let errors = session.counts().error_records;
        self.error_records.store(errors, Ordering::Relaxed);
        if errors > 0 {
            tracing::warn!(errors, "Treasure Data could not read some records");
            if self.quarantine.has_folder() {
                self.quarantine.put_error_records_aside(session.error_records().await?).await?;
            }
        }
        if self.settings.mode == Mode::Replace {
            replacement::guard(self, session.counts().valid_records).await?;
        }
        let job = session.job().map(ToOwned::to_owned);
        let loaded = session.counts().valid_records;
        let allowed = self.settings.max_error_records.saturating_sub(state.refused_customers);
        let verified = session.verify(state.expected_rows, allowed)?;
        let table = self.loaded_table()?;
        self.services.treasure_data.declare_columns(&self.settings.database, &table).await?;
        self.journal
            .update(|state| {
                state.phase = RunPhase::Ready;
                state.loaded_rows = Some(loaded);
                state.job = job.or(state.job.take());
            })
            .await?;
        Ok(verified)
    }

    /// Behind the commit: the rename, the markers, the last save. A stop does not end this at once: it is short,
    /// and an interrupted run would only have to do it again.
    async fn publish(&self) -> Result<Outcome, RunError> {
        let state = self.journal.state();
        if state.phase < RunPhase::Committed {
            tracing::info!(session = state.session, "committed");
            self.journal.update(|state| state.phase = RunPhase::Committed).await?;
        }
        if state.phase < RunPhase::Renamed
            && let Some(temporary) = self.temporary_table()?
        {
            let LoadSettings { database, table, .. } = self.settings;
            self.services.treasure_data.rename_over(database, &temporary, table).await?;
            tracing::info!(%table, "the new rows took the place of the old");
            self.journal.update(|state| state.phase = RunPhase::Renamed).await?;
        }
        if !state.keeps_marker
            && let Err(error) = self.session()?.delete().await
        {
            tracing::warn!(session = state.session, %error, "everything is loaded, but the session could not be deleted");
        }
        self.journal.finish().await?;
        Ok(Outcome::Committed { rows: state.loaded_rows, job: state.job })
    }

    /// The store has no customers: an `append` has nothing to do, a `replace` is guarded.
    async fn nothing_to_load(&self) -> Result<Outcome, RunError> {
        let Some(temporary) = self.temporary_table()? else { return Ok(Outcome::NothingToLoad) };
        replacement::guard(self, 0).await?;
        let LoadSettings { database, table, .. } = self.settings;
        self.services.treasure_data.ensure_table(database, table).await?;
        self.made.store(true, Ordering::Relaxed);
        self.journal.update(|state| state.phase = RunPhase::Uploading).await?;
        replacement::make_temporary_table(self, &temporary).await?;
        self.services.treasure_data.declare_columns(database, &temporary).await?;
        // From here on the table may be empty, and the next run sees it through.
        self.journal
            .update(|state| {
                state.phase = RunPhase::Committed;
                state.loaded_rows = Some(0);
            })
            .await?;
        self.publish().await?;
        Ok(Outcome::Emptied)
    }

    fn report(&self, outcome: Outcome, duration: Duration) -> RunReport {
        let state = self.journal.state();
        RunReport {
            outcome,
            run_id: state.run_id,
            session: state.session,
            ingestion_time: state.ingestion_time,
            resumed: self.resumed,
            error_records: state.refused_customers + self.error_records.load(Ordering::Relaxed),
            progress: self.progress.snapshot(),
            yotpo: self.services.yotpo.counts(),
            treasure_data: self.services.treasure_data.counts(),
            duration,
        }
    }

    fn session(&self) -> Result<Session, RunError> {
        session_of(&self.services.treasure_data, &self.journal.state())
    }

    fn temporary_table(&self) -> Result<Option<TableName>, RunError> {
        Ok(self.journal.state().temporary_table.map(|name| name.parse()).transpose()?)
    }

    fn loaded_table(&self) -> Result<TableName, RunError> {
        Ok(self.temporary_table()?.unwrap_or_else(|| self.settings.table.clone()))
    }

    fn commit_failed(&self) -> Result<TreasureDataError, RunError> {
        Ok(TreasureDataError::CommitFailed {
            session: self.session()?.name().clone(),
            database: self.settings.database.clone(),
            table: self.loaded_table()?,
            attempts: COMMIT_ATTEMPTS,
        })
    }

    fn lost_its_cursor(&self, error: &RunError) -> bool {
        let behind_saved_cursor = self.resumed && self.journal.state().phase == RunPhase::Uploading;
        matches!(error, RunError::Yotpo(error) if behind_saved_cursor && error.is_cursor_refused())
    }

    async fn discard(&self) -> Result<(), RunError> {
        discard(&self.services.treasure_data, self.settings.polling, &self.journal.state()).await?;
        self.journal.forget().await
    }

    /// What is left behind: kept when a later run can go on with it, else removed.
    async fn aftermath(&self, error: &RunError) -> Aftermath {
        let state = self.journal.state();
        let Ok(session) = self.session() else { return Aftermath::NothingMade };
        let session = session.name().clone();
        if matches!(error, RunError::CommitUnknown { .. }) {
            return Aftermath::Unknown(session);
        }
        if state.phase >= RunPhase::Committing {
            return Aftermath::Committing(session);
        }
        if !self.made.load(Ordering::Relaxed) {
            return Aftermath::NothingMade;
        }
        let worth_keeping = state.parts > 0 || state.phase > RunPhase::Uploading;
        if error.is_resumable() && worth_keeping {
            let RunState { customers, parts, .. } = state;
            return Aftermath::Resumable { session, customers, parts };
        }
        let limit = match error {
            RunError::Interrupted(_) => INTERRUPTED_CLEANUP_LIMIT,
            _ => CLEANUP_LIMIT,
        };
        match self.services.clock.deadline(limit, self.discard()).await {
            Ok(Ok(())) => Aftermath::Deleted,
            Ok(Err(error)) => {
                tracing::warn!(%session, %error, "what the run made could not all be removed");
                Aftermath::Left(session)
            }
            Err(elapsed) => {
                tracing::warn!(%session, %elapsed, "what the run made could not all be removed");
                Aftermath::Left(session)
            }
        }
    }
}

/// Does `work`, unless a stop was asked for or is asked for meanwhile.
async fn unless_stopped<T>(
    stop: &StopRequests,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        signal = stop.requested() => Err(RunError::Interrupted(signal)),
        result = work => result,
    }
}

/// The session of a run; in `replace` mode it loads the temporary table.
pub(super) fn session_of(client: &Arc<TreasureDataClient>, state: &RunState) -> Result<Session, RunError> {
    let table = state.temporary_table.as_ref().unwrap_or(&state.target.table).parse()?;
    Ok(Session::new(Arc::clone(client), state.session.parse()?, state.target.database.parse()?, table))
}

/// A run that failed before it began: what an earlier run left is as it was.
fn failed_on_entry(error: RunError, store: &StateStore) -> RunFailure {
    let saved = store.run().ok().flatten();
    let session = saved.as_ref().and_then(|state| state.session.parse().ok());
    let is_unknown = matches!(
        error,
        RunError::CommitUnknown { .. } | RunError::TreasureData(TreasureDataError::UnexpectedState { .. })
    );
    let aftermath = match (saved, session) {
        (Some(_), Some(session)) if is_unknown => Aftermath::Unknown(session),
        (Some(state), Some(session)) if state.parts == 0 && state.phase == RunPhase::Uploading => {
            Aftermath::Left(session)
        }
        (Some(state), Some(session)) if state.phase < RunPhase::Committing => {
            Aftermath::Resumable { session, customers: state.customers, parts: state.parts }
        }
        (Some(_), Some(session)) => Aftermath::Committing(session),
        _ => Aftermath::NothingMade,
    };
    RunFailure { error, aftermath }
}
