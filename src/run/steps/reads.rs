//! The steps that only read: sessions, ballots, tables and jobs.

use super::Executor;
use crate::checkpoint::RunPhase;
use crate::housekeeping::{MANY_SESSIONS, MAX_SESSIONS};
use crate::identity::{PartTotals, Proposal, TableId};
use crate::run::context::Run;
use crate::run::decide::{BallotSeen, CountsSeen, JobSeen, OwnSet, Purpose, Seen, SetSeen, Step, Winner};
use crate::run::error::RunError;
use crate::run::survey::{
    OtherMode, ballot_seen, counts_seen, other_mode, smallest_proposal, survey, target_seen,
};
use crate::telemetry::{LoadJob, Phase};
use crate::treasure_data::{JobOutcome, SessionState, SessionStatus, TableLookup};

impl Executor<'_> {
    /// The target. If the key could read it before and is denied now, this says nothing about the table.
    pub(super) async fn target(&mut self) -> Result<TableLookup, RunError> {
        let target = &self.run.settings.target;
        let lookup = self.run.client().table(&target.database, &target.table).await?;
        match lookup {
            TableLookup::Denied if self.may_look => Err(RunError::Denied),
            TableLookup::Denied => Ok(lookup),
            TableLookup::Missing | TableLookup::Is(_) => {
                self.may_look = true;
                Ok(lookup)
            }
        }
    }

    /// A table of this run. If table ids cannot be read, its name alone identifies it.
    pub(super) async fn table(&self, name: &crate::identity::TableName) -> Result<Seen, RunError> {
        Ok(Seen::Table(match self.run.client().table(&self.run.settings.target.database, name).await? {
            TableLookup::Missing => None,
            TableLookup::Denied => Some(TableId::unknown()),
            TableLookup::Is(id) => Some(id),
        }))
    }

    pub(super) async fn survey(&mut self) -> Result<Seen, RunError> {
        let sessions = self.run.client().sessions().await?;
        if sessions.len() >= MANY_SESSIONS && !self.has_listed {
            tracing::warn!(
                sessions = sessions.len(),
                limit = MAX_SESSIONS,
                "the account holds many bulk import sessions; remove old ones with yotpo-td runs clean and the \
                 same settings"
            );
        }
        self.has_listed = true;
        // What this machine has begun may be proposed already; then it has to be brought to an end.
        if self.attempt.own().is_none() {
            self.refuse_other_mode(&sessions).await?;
        }
        let target = target_seen(self.target().await?);
        Ok(Seen::Surveyed(survey(&sessions, target, &self.run.names)))
    }

    /// A run id names one load. Attempts of both modes would have a ballot each, and each would load its rows.
    async fn refuse_other_mode(&self, sessions: &[SessionState]) -> Result<(), RunError> {
        let Run { names, settings, .. } = self.run;
        let is_abandoned = match other_mode(sessions, names, settings.target.table.as_str()) {
            _ if self.attempt.purpose() != Purpose::Load => true,
            OtherMode::Absent => true,
            OtherMode::Present => false,
            OtherMode::Closed(ballot) => {
                match self.run.client().parts(&ballot).await? {
                    Ok(parts) => matches!(smallest_proposal(&parts), Some(Proposal::Abandon { .. })),
                    // Without the ballot, or the table that it was for, nothing is loaded that it decided.
                    Err(_) => true,
                }
            }
        };
        if is_abandoned {
            return Ok(());
        }
        Err(RunError::OtherMode { run_id: names.run_id.clone(), mode: names.mode.other() })
    }

    /// Looks once more for attempts of the other mode, before this attempt's set can be chosen. Each of them creates its session
    /// before it looks, so of two at the same time, at least the second one finds the first.
    pub(super) async fn look_for_other_mode(&self, step: Step) -> Result<(), RunError> {
        let lets_choose = matches!(step, Step::CreateBallot(..) | Step::Propose(_, Proposal::Set { .. }));
        let state = self.run.journal.state();
        let is_proposed = state.phase >= RunPhase::Proposed || state.set.is_some_and(|set| set.proposed);
        // A generated id has one attempt at a time.
        if !lets_choose || is_proposed || !state.keeps_marker {
            return Ok(());
        }
        self.refuse_other_mode(&self.run.client().sessions().await?).await
    }

    pub(super) async fn ballot(&self, generation: u8) -> Result<BallotSeen, RunError> {
        let ballot = self.run.client().session(&self.run.names.ballot(generation)).await?;
        Ok(ballot_seen(ballot.as_ref(), &self.run.names, self.run.settings.target.table.as_str()))
    }

    pub(super) async fn is_proposed(&self, generation: u8) -> Result<bool, RunError> {
        let parts = self.run.client().parts(&self.run.names.ballot(generation)).await?;
        Ok(smallest_proposal(&parts.unwrap_or_default()).is_some())
    }

    pub(super) async fn show_own(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner());
        let state = self.run.client().session(&session).await?;
        let max_errors = self
            .run
            .settings
            .transfer
            .max_error_records
            .saturating_sub(self.run.journal.state().rejected_customers);
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

    pub(super) async fn show_winner(&mut self, winner: Winner) -> Result<Seen, RunError> {
        let session = self.run.names.session(&winner);
        let state = self.run.client().session(&session).await?;
        if let Some(state) = &state {
            self.winner.rows = state.valid_records.or(self.winner.rows);
            self.winner.error_records = state.error_records.unwrap_or(self.winner.error_records);
            self.winner.job_id = state.job_id.clone().or(self.winner.job_id.take());
        }
        Ok(Seen::Set(self.set_seen(state.as_ref(), winner.totals, None).await?))
    }

    pub(super) async fn set_seen(
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
                self.run.phases.enter(Phase::Loading);
                let ended = match state.job_id.as_deref() {
                    Some(job) => self.job_outcome(job).await? == JobOutcome::Failed,
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

    pub(super) async fn job_seen(&self, job: Option<&str>) -> Result<JobSeen, RunError> {
        let Some(job) = job else { return Ok(JobSeen::None) };
        if self.job_before.as_deref() == Some(job) {
            // The new job is not visible yet, or none was started.
            return Ok(JobSeen::None);
        }
        Ok(match self.job_outcome(job).await? {
            JobOutcome::Failed => JobSeen::Failed,
            JobOutcome::Queued | JobOutcome::Booting | JobOutcome::Running | JobOutcome::Succeeded => {
                JobSeen::Working
            }
        })
    }

    /// The state of a job, which the progress line and the heartbeat show.
    async fn job_outcome(&self, job: &str) -> Result<JobOutcome, RunError> {
        let outcome = self.run.client().job_outcome(job).await?;
        self.run.progress.load_job_id(job);
        self.run.progress.load_job(match outcome {
            JobOutcome::Queued => LoadJob::Queued,
            JobOutcome::Booting => LoadJob::Booting,
            JobOutcome::Running => LoadJob::Running,
            JobOutcome::Succeeded => LoadJob::Succeeded,
            JobOutcome::Failed => LoadJob::Failed,
        });
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Mode;
    use crate::run::fixture::Fixture;
    use crate::run::start::load_attempt;
    use crate::shutdown::StopRequests;

    #[tokio::test]
    async fn a_ballot_is_about_to_be_decided_once_it_holds_a_proposal() {
        let fixture = Fixture::with_account(
            Mode::Append,
            &[
                ("200 OK", r#"{"parts": []}"#),
                ("200 OK", r#"{"parts": ["junk"]}"#),
                ("200 OK", r#"{"parts": ["junk", "propose_1795406401_0000000000000001_42_1_10_0"]}"#),
            ],
        );
        let run = fixture.run(fixture.state());
        let (_sender, stop) = StopRequests::channel();
        let executor = Executor::new(&run, &load_attempt(&run), &stop);
        for expected in [false, false, true] {
            assert_eq!(executor.is_proposed(0).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_key_that_could_read_the_target_before_says_nothing_about_it_when_it_is_denied() {
        const DENIED: (&str, &str) = ("403 Forbidden", "{}");
        let fixture = Fixture::with_account(Mode::Append, &[DENIED, ("200 OK", r#"{"id": 5}"#), DENIED]);
        let run = fixture.run(fixture.state());
        let (_sender, stop) = StopRequests::channel();
        let mut executor = Executor::new(&run, &load_attempt(&run), &stop);
        assert_eq!(executor.target().await.unwrap(), TableLookup::Denied);
        assert_eq!(executor.target().await.unwrap(), TableLookup::Is(TableId::from_api("5")));
        assert!(matches!(executor.target().await, Err(RunError::Denied)));
    }
}
