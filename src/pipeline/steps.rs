//! Doing what [`Attempt::decide`] says: each step is made into calls, and what comes back into what the attempt sees.
//!
//! Owns the calls of a run in their order, the waits between them, and what is saved before each. Invariant: nothing is
//! decided here. The state says what a call may make before the call is made.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use super::context::{Run, saved};
use super::error::RunError;
use super::guards::{guard, guard_empty};
use super::progress::Phase;
use super::survey::{ballot_seen, counts_seen, smallest_proposal, survey, target_seen};
use super::transfer::{Transfer, with_shutdown_grace};
use crate::checkpoint::RunPhase;
use crate::identity::{
    Nonce, OwnPart, OwnTable, PartTotals, PartsDigest, Proposal, SessionName, TableId, prove_complete,
};
use crate::retry::Series;
use crate::row::IngestionTime;
use crate::run::decide::{
    Attempt, BallotSeen, CountsSeen, Ending, JobSeen, OwnSet, PartsSeen, Seen, Sent, SetSeen, Step,
    UploadEnd, Winner,
};
use crate::signal::StopRequests;
use crate::treasure_data::{Change, JobOutcome, Overwrite, SessionState, SessionStatus, TableLook};

/// How often to look at the ballot while the own set is being uploaded: another attempt may have decided the run.
const BALLOT_INTERVAL: Duration = Duration::from_secs(60);

/// An attempt at work.
pub(super) struct Executor<'a> {
    run: &'a Run<'a>,
    stop: &'a StopRequests,
    attempt: Attempt,
    transfer: Option<Transfer>,
    /// Attempts of the call that was answered unclearly last, so that waits grow over looks in between.
    series: HashMap<Discriminant<Step>, Series>,
    /// Since when nothing but waiting and looking was done.
    waiting_since: Option<Duration>,
    /// The job that a session named before its load was started: a lagging session goes on naming it.
    job_before: Option<String>,
    winner: WinnerFacts,
    /// Whether anything had to be done for the winner.
    has_changed_winner: bool,
    /// Whether the API key was able to look at the target.
    may_look: bool,
}

/// What was seen of the winner's session.
#[derive(Clone, Debug, Default)]
pub(super) struct WinnerFacts {
    pub(super) rows: Option<u64>,
    pub(super) error_records: u64,
    pub(super) job_id: Option<String>,
    /// It was committed, and in the target, when this process looked for the first time.
    pub(super) was_done_before: bool,
}

impl<'a> Executor<'a> {
    pub(super) fn new(run: &'a Run<'a>, attempt: Attempt, stop: &'a StopRequests) -> Self {
        Self {
            run,
            stop,
            attempt,
            transfer: None,
            series: HashMap::new(),
            waiting_since: None,
            job_before: None,
            winner: WinnerFacts::default(),
            has_changed_winner: false,
            may_look: false,
        }
    }

    /// What the attempt knows.
    pub(super) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// What was seen of the winner.
    pub(super) fn winner_facts(&self) -> WinnerFacts {
        let was_done_before = self.attempt.own().is_none() && !self.has_changed_winner;
        WinnerFacts { was_done_before, ..self.winner.clone() }
    }

    /// Does step after step until the attempt ends.
    pub(super) async fn run_to_end(&mut self) -> Result<Ending, RunError> {
        let (attempt, mut step) = self.attempt.begin();
        self.attempt = attempt;
        loop {
            if let Step::Finish(ending) = step {
                return Ok(ending);
            }
            self.save_before(step).await?;
            let seen = self.execute(step).await?;
            let (attempt, next) = self.attempt.decide(seen, self.run.now());
            tracing::debug!(?step, ?seen, ?next, "decided");
            self.attempt = attempt;
            step = next;
        }
    }

    /// What is about to be made is in the state before the call that may make it.
    async fn save_before(&self, step: Step) -> Result<(), RunError> {
        let (own, phase) = match step {
            Step::CreateScratch(own) | Step::NameTemporary(own) | Step::CreateSession(own) => {
                (Some(own), RunPhase::Uploading)
            }
            Step::CreateBallot(_, own) => (own, RunPhase::Proposed),
            Step::Propose(_, Proposal::Set { .. }) => (self.attempt.own().copied(), RunPhase::Proposed),
            Step::Commit(_) | Step::Publish(_) => (self.attempt.own().copied(), RunPhase::Proposed),
            _ => return Ok(()),
        };
        self.run
            .journal
            .update(|state| {
                if let Some(own) = own {
                    state.set = Some(saved(&own));
                }
                state.phase = phase;
            })
            .await
    }

    async fn execute(&mut self, step: Step) -> Result<Seen, RunError> {
        self.note_waiting(step);
        let (clock, stop) = (self.run.services.clock.clone(), self.stop.clone());
        match step {
            // These end by themselves when a stop is asked for.
            Step::Upload(own) => self.upload(own).await,
            // Short, and an interrupted run would only have to do it again.
            Step::Publish(_) | Step::Fence(_) => with_shutdown_grace(&clock, &stop, self.change(step)).await,
            _ => cancel_on_stop(&stop, self.look_or_change(step)).await,
        }
    }

    fn note_waiting(&mut self, step: Step) {
        match step {
            Step::Wait => {
                let now = self.run.services.clock.now();
                self.waiting_since.get_or_insert(now);
            }
            Step::ShowOwn(_) | Step::ShowWinner(_) | Step::ReadTarget => {}
            _ => self.waiting_since = None,
        }
    }

    async fn look_or_change(&mut self, step: Step) -> Result<Seen, RunError> {
        match step {
            Step::Survey => self.survey().await,
            Step::ReadTarget => Ok(Seen::Target(target_seen(self.target().await?))),
            Step::ShowBallot(generation) => Ok(Seen::Ballot(self.ballot(generation).await?)),
            Step::ListBallot(generation) => {
                let ballot = self.run.names.ballot(generation)?;
                Ok(Seen::Proposals(smallest_proposal(&self.run.client().parts(&ballot).await?)))
            }
            Step::DrawNonce => self.draw_nonce(),
            Step::Fetch(own) => self.fetch(own).await,
            Step::ReadScratch(own) => self.table(&self.run.names.scratch_table(&own)?).await,
            Step::ReadTemporary(set) => self.table(&self.run.names.loaded_table(&set)?).await,
            Step::ShowOwn(own) => self.show_own(own).await,
            Step::ShowWinner(winner) => self.show_winner(winner).await,
            Step::TidyParts(own) => self.tidy_parts(own).await,
            Step::ProveParts(own) => self.prove_parts(own).await,
            Step::Guard(own) => self.guard(own).await,
            Step::Discard(own) => self.discard(own).await,
            Step::Wait => self.wait().await,
            _ => self.change(step).await,
        }
    }

    /// The target. A key that could look at it once and is denied now says nothing about the table.
    async fn target(&mut self) -> Result<TableLook, RunError> {
        let target = &self.run.settings.target;
        let look = self.run.client().table(&target.database, &target.table).await?;
        match look {
            TableLook::Denied if self.may_look => Err(RunError::Denied),
            TableLook::Denied => Ok(look),
            TableLook::Missing | TableLook::Is(_) => {
                self.may_look = true;
                Ok(look)
            }
        }
    }

    /// A table of our own; where ids cannot be read, its name alone stands for it.
    async fn table(&self, name: &crate::identity::TableName) -> Result<Seen, RunError> {
        Ok(Seen::Table(match self.run.client().table(&self.run.settings.target.database, name).await? {
            TableLook::Missing => None,
            TableLook::Denied => Some(TableId::unknown()),
            TableLook::Is(id) => Some(id),
        }))
    }

    async fn survey(&mut self) -> Result<Seen, RunError> {
        let sessions = self.run.client().sessions().await?;
        let target = target_seen(self.target().await?);
        Ok(Seen::Surveyed(survey(&sessions, target, &self.run.names)))
    }

    async fn ballot(&self, generation: u8) -> Result<BallotSeen, RunError> {
        let ballot = self.run.client().session(&self.run.names.ballot(generation)?).await?;
        Ok(ballot_seen(ballot.as_ref(), &self.run.names, self.run.settings.target.table.as_str()))
    }

    fn draw_nonce(&self) -> Result<Seen, RunError> {
        if self.run.client().server_time().is_none() {
            tracing::warn!("Treasure Data's responses have no Date header, so this machine's clock is used");
        }
        let time = self.run.now();
        // A row cannot have every time; this is where the clock of either side shows.
        IngestionTime::from_unix_seconds(time)?;
        let nonce = Nonce::new(time, fastrand::u64(..)).map_err(|_too_late| RunError::ClockOutOfRange)?;
        Ok(Seen::Nonce(nonce))
    }

    async fn fetch(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let time = IngestionTime::from_unix_seconds(own.nonce.time())?;
        self.run.journal.note(|state| state.begin_set());
        self.run.progress.begin();
        let mut transfer = Transfer::start(self.run, time, self.stop)?;
        if transfer.has_customers().await? {
            self.transfer = Some(transfer);
            return Ok(Seen::FirstRows);
        }
        guard_empty(self.run)?;
        Ok(Seen::NoCustomers)
    }

    async fn upload(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner())?;
        let time = IngestionTime::from_unix_seconds(own.nonce.time())?;
        let transfer = match self.transfer.take() {
            Some(transfer) => transfer,
            None => Transfer::start(self.run, time, self.stop)?,
        };
        self.run.progress.enter(Phase::Fetching);
        let generation = self.attempt.generation();
        let end = tokio::select! {
            biased;
            end = transfer.upload(self.run, &session, self.stop) => end?,
            () = self.ballot_moves(generation) => {
                tracing::info!("another attempt of this run is further along, joining it");
                UploadEnd::BallotMoved
            }
        };
        Ok(Seen::Uploaded(end))
    }

    /// Comes to its end when the ballot is decided, or about to be. A look that fails is no reason to stop uploading.
    async fn ballot_moves(&self, generation: u8) {
        loop {
            self.run.services.clock.sleep(BALLOT_INTERVAL).await;
            let moved = match self.ballot(generation).await {
                Ok(BallotSeen::Absent) | Err(_) => false,
                Ok(BallotSeen::Frozen | BallotSeen::OnTable(_)) => true,
                Ok(BallotSeen::Open) => match self.run.names.ballot(generation) {
                    Ok(ballot) => self
                        .run
                        .client()
                        .parts(&ballot)
                        .await
                        .is_ok_and(|parts| smallest_proposal(&parts).is_some()),
                    Err(_) => false,
                },
            };
            if moved {
                return;
            }
        }
    }

    async fn show_own(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner())?;
        let state = self.run.client().session(&session).await?;
        let max_errors =
            self.run.settings.max_error_records.saturating_sub(self.run.journal.state().rejected_customers);
        if let Some(job) = state.as_ref().and_then(|state| state.job_id.clone()) {
            self.run.journal.note(|saved| saved.job_id = Some(job));
        }
        let seen = self.set_seen(state.as_ref(), own.totals, Some(max_errors)).await?;
        if let (SetSeen::Ready(CountsSeen::Wrong), Some(state)) = (seen, state) {
            self.quarantine_error_records(&session, state.error_records).await?;
            return Err(RunError::CountsDiffer {
                session,
                expected: own.totals.map(|totals| totals.valid),
                valid_records: state.valid_records.unwrap_or_default(),
                error_records: state.error_records.unwrap_or_default(),
                error_parts: state.error_parts.unwrap_or_default(),
                max_error_records: max_errors,
            });
        }
        if let SetSeen::Frozen(JobSeen::Failed) | SetSeen::Performing { ended: true } = seen {
            self.winner.job_id = self.run.journal.state().job_id;
        }
        Ok(Seen::Set(seen))
    }

    async fn show_winner(&mut self, winner: Winner) -> Result<Seen, RunError> {
        let session = self.run.names.session(&winner)?;
        let state = self.run.client().session(&session).await?;
        if let Some(state) = &state {
            self.winner.rows = state.valid_records.or(self.winner.rows);
            self.winner.error_records = state.error_records.unwrap_or(self.winner.error_records);
            self.winner.job_id = state.job_id.clone().or(self.winner.job_id.take());
        }
        Ok(Seen::Set(self.set_seen(state.as_ref(), winner.totals, None).await?))
    }

    async fn set_seen(
        &self,
        state: Option<&SessionState>,
        totals: Option<PartTotals>,
        max_errors: Option<u64>,
    ) -> Result<SetSeen, RunError> {
        let Some(state) = state else { return Ok(SetSeen::Absent) };
        Ok(match state.status {
            SessionStatus::Uploading if !state.upload_frozen => SetSeen::Open,
            SessionStatus::Uploading => SetSeen::Frozen(self.job_seen(state.job_id.as_deref()).await?),
            SessionStatus::Performing => {
                self.run.progress.enter(Phase::Loading);
                let ended = match state.job_id.as_deref() {
                    Some(job) => self.run.client().job_outcome(job).await? == JobOutcome::Failed,
                    None => false,
                };
                SetSeen::Performing { ended }
            }
            SessionStatus::Ready => SetSeen::Ready(counts_seen(state, totals, max_errors)),
            SessionStatus::Committing => SetSeen::Committing,
            SessionStatus::Committed => SetSeen::Committed,
            SessionStatus::Unknown => SetSeen::Invalid,
        })
    }

    async fn job_seen(&self, job: Option<&str>) -> Result<JobSeen, RunError> {
        let Some(job) = job else { return Ok(JobSeen::None) };
        if self.job_before.as_deref() == Some(job) {
            // The one that was started since is not shown yet, or none was.
            return Ok(JobSeen::None);
        }
        Ok(match self.run.client().job_outcome(job).await? {
            JobOutcome::Failed => JobSeen::Failed,
            JobOutcome::Working | JobOutcome::Succeeded => JobSeen::Working,
        })
    }

    /// Makes the open session hold what is known to be stored, and nothing else.
    async fn tidy_parts(&self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner())?;
        let state = self.run.journal.state();
        let names = self.run.client().parts(&session).await?;
        let (mut stored, surplus): (Vec<_>, Vec<_>) = names
            .iter()
            .map(|name| (OwnPart::parse(name), name))
            .partition(|(part, _)| part.is_some_and(|part| part.position() < state.parts));
        stored.sort_by_key(|(part, _)| part.map(|part| part.position()));
        let digest = stored.iter().fold(PartsDigest::default(), |digest, (_, name)| digest.with(name));
        if stored.len() as u64 != state.parts || digest != state.parts_digest {
            return Ok(Seen::Parts(PartsSeen::Differ));
        }
        for (_, name) in surplus {
            // A name that is none of ours cannot be ours to keep either, but it cannot be put into an address.
            let Ok(part) = name.parse() else { return Ok(Seen::Parts(PartsSeen::Differ)) };
            self.run.client().delete_part(&session, &part).await?;
        }
        Ok(Seen::Parts(PartsSeen::Stored))
    }

    async fn prove_parts(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner())?;
        let mut names = self.run.client().parts(&session).await?;
        let state = self.run.client().session(&session).await?;
        self.job_before = state.and_then(|state| state.job_id);
        names.sort();
        let digest = names.iter().fold(PartsDigest::default(), |digest, name| digest.with(name));
        let proven = prove_complete(names.iter().map(String::as_str));
        Ok(Seen::Parts(match proven {
            Ok(totals) if digest == self.run.journal.state().parts_digest => PartsSeen::Complete(totals),
            Ok(_) => PartsSeen::Differ,
            Err(error) => {
                tracing::warn!(%session, %error, "the session does not hold what was uploaded");
                PartsSeen::Differ
            }
        }))
    }

    /// The second look at the counts: what was loaded, against the guards.
    async fn guard(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let run = self.run;
        let session = run.names.session(&own.as_winner())?;
        let Some(state) = run.client().session(&session).await? else { return Ok(Seen::GuardsPassed) };
        self.quarantine_error_records(&session, state.error_records).await?;
        guard(run, state.valid_records.unwrap_or_default()).await?;
        let table = run.names.loaded_table(&own.as_winner())?;
        run.client().declare_columns(&run.settings.target.database, &table).await?;
        run.journal.note(|saved| saved.error_records = state.error_records.unwrap_or_default());
        Ok(Seen::GuardsPassed)
    }

    /// Keeps what Treasure Data could not read, where the user named a folder for it.
    async fn quarantine_error_records(
        &self,
        session: &SessionName,
        error_records: Option<u64>,
    ) -> Result<(), RunError> {
        let Some(error_records) = error_records.filter(|records| *records > 0) else { return Ok(()) };
        tracing::warn!(error_records, "Treasure Data could not read some records");
        let quarantine = &self.run.quarantine;
        if quarantine.has_folder() {
            quarantine.put_error_records_aside(self.run.client().error_records(session).await?).await?;
        }
        Ok(())
    }

    /// Removes a set of our own that nobody can have chosen.
    async fn discard(&self, own: OwnSet) -> Result<Seen, RunError> {
        remove_set(self.run, &own).await?;
        self.run.journal.update(|state| state.begin_set()).await?;
        Ok(Seen::Done)
    }

    async fn wait(&self) -> Result<Seen, RunError> {
        let polling = self.run.settings.polling;
        let now = self.run.services.clock.now();
        let waited = now.saturating_sub(self.waiting_since.unwrap_or(now));
        if waited >= polling.timeout {
            return Err(RunError::TookTooLong { session: self.session_in_question()?, waited });
        }
        self.run.services.clock.sleep(polling.interval).await;
        Ok(Seen::Done)
    }

    fn session_in_question(&self) -> Result<SessionName, RunError> {
        let own = self.attempt.own().map(OwnSet::as_winner);
        let set = self.attempt.winner().copied().or(own).ok_or(RunError::Bug("waiting for nothing"))?;
        self.run.names.session(&set)
    }

    /// One attempt of a call that changes something.
    async fn change(&mut self, step: Step) -> Result<Seen, RunError> {
        if matches!(step, Step::Commit(_) | Step::Publish(_) | Step::Perform(_)) {
            self.has_changed_winner = true;
        }
        if let Step::Fence(winner) = step {
            return self.fence(winner).await;
        }
        let mut series =
            self.series.remove(&discriminant(&step)).unwrap_or_else(|| self.run.client().series());
        let change = self.call(step, &mut series).await?;
        if change == Change::Unclear {
            self.series.insert(discriminant(&step), series);
        }
        Ok(Seen::Sent(match change {
            Change::Done => Sent::Done,
            Change::Conflict => Sent::Conflict,
            Change::TableGone => Sent::TableGone,
            Change::SessionGone => Sent::SessionGone,
            Change::Denied => self.denied(step)?,
            Change::Unclear => Sent::Unclear,
        }))
    }

    /// Only the creation of the target may be denied: a write-only key may load a table that exists.
    fn denied(&self, step: Step) -> Result<Sent, RunError> {
        match step {
            Step::CreateTarget => Ok(Sent::Denied),
            _ => Err(RunError::Denied),
        }
    }

    async fn call(&mut self, step: Step, series: &mut Series) -> Result<Change, RunError> {
        let (client, names) = (self.run.client(), &self.run.names);
        let (database, target) = (&self.run.settings.target.database, &self.run.settings.target.table);
        Ok(match step {
            Step::CreateTarget => {
                let change = client.create_table(series, database, target).await?;
                if change == Change::Done {
                    tracing::info!(%database, table = %target, "table created");
                }
                change
            }
            Step::CreateScratch(own) => {
                client.create_table(series, database, &names.scratch_table(&own)?).await?
            }
            Step::NameTemporary(own) => {
                let (from, to) = (names.scratch_table(&own)?, names.loaded_table(&own.as_winner())?);
                client.rename_table(series, database, &from, &to, Overwrite::Forbidden).await?
            }
            Step::CreateSession(own) => {
                let set = own.as_winner();
                let (session, table) = (names.session(&set)?, names.loaded_table(&set)?);
                let change = client.create_session(series, &session, database, &table).await?;
                if change == Change::Done {
                    tracing::info!(%session, "bulk import session opened");
                }
                change
            }
            Step::FreezeOwn(own) => client.freeze(series, &names.session(&own.as_winner())?).await?,
            Step::Perform(set) => {
                self.run.progress.enter(Phase::Loading);
                let (change, job) = client.perform(series, &names.session(&set)?).await?;
                if let Some(job_id) = job {
                    tracing::info!(job_id, "load job started");
                    self.run.journal.note(|state| state.job_id = Some(job_id));
                }
                change
            }
            Step::CreateBallot(generation, own) => {
                let table = match own {
                    Some(own) => names.loaded_table(&own.as_winner())?,
                    None => target.clone(),
                };
                client.create_session(series, &names.ballot(generation)?, database, &table).await?
            }
            Step::Propose(generation, proposal) => {
                client.propose(series, &names.ballot(generation)?, &proposal.render()?).await?
            }
            Step::FreezeBallot(generation) => client.freeze(series, &names.ballot(generation)?).await?,
            Step::Commit(winner) => {
                self.run.progress.enter(Phase::Committing);
                client.commit(series, &names.session(&winner)?).await?
            }
            Step::Publish(winner) => {
                let from = names.loaded_table(&winner)?;
                let change = client.rename_table(series, database, &from, target, Overwrite::Allowed).await?;
                if change == Change::Done {
                    tracing::info!(table = %target, "the new rows replaced the old");
                }
                change
            }
            _ => return Err(RunError::Bug("a step without a call")),
        })
    }

    /// Deletes temporary tables that older runs left: none of them may be renamed over the target after this.
    async fn fence(&self, winner: Winner) -> Result<Seen, RunError> {
        let database = &self.run.settings.target.database;
        for table in self.run.client().tables(database).await? {
            let Some(own) = OwnTable::parse(&table.name) else { continue };
            if own.fingerprint() == self.run.names.fingerprint() && own.nonce() < winner.nonce {
                let Ok(name) = table.name.parse() else { continue };
                self.run.client().delete_table(database, &name).await?;
                tracing::info!(table = %name, "removed the temporary table of an older attempt");
            }
        }
        Ok(Seen::Done)
    }
}

/// Removes the session and the tables of a set of our own.
pub(super) async fn remove_set(run: &Run<'_>, own: &OwnSet) -> Result<(), RunError> {
    let set = own.as_winner();
    run.client().delete_session(&run.names.session(&set)?).await?;
    if run.names.mode == crate::identity::Mode::Replace {
        let database = &run.settings.target.database;
        if own.table.is_some() {
            run.client().delete_table(database, &run.names.loaded_table(&set)?).await?;
        }
        run.client().delete_table(database, &run.names.scratch_table(own)?).await?;
    }
    Ok(())
}

/// Does `work`, unless a stop was asked for or is asked for meanwhile.
pub(super) async fn cancel_on_stop<T>(
    stop: &StopRequests,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        signal = stop.requested() => Err(RunError::Interrupted(signal)),
        result = work => result,
    }
}
