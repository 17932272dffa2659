//! Executes the steps that [`Attempt::decide`] returns: makes calls and converts the responses to results.
//!
//! Owns the calls of a run in their order, the waits between them, and what is saved before each. Invariants: nothing is
//! decided here; what a call may create is in the state before the call is sent.

mod changes;
mod export;
mod reads;
mod set;

use std::collections::HashMap;
use std::mem::Discriminant;
use std::time::Duration;

use tracing::{Instrument as _, Span};

use super::context::{Run, saved};
use super::error::RunError;
use super::report::WinnerFacts;
use super::survey::{smallest_proposal, target_seen};
use crate::checkpoint::RunPhase;
use crate::identity::{Nonce, Proposal, SessionName};
use crate::retry::Series;
use crate::run::decide::{Attempt, Ending, OwnSet, Purpose, Seen, Sent, Step};
use crate::shutdown::{StopRequests, cancel_on_stop, with_shutdown_grace};
use crate::telemetry::Phase;
use crate::transfer::Transfer;
use crate::treasure_data::Change;

/// How often to poll the ballot during uploads, because another attempt may have decided the run.
const BALLOT_INTERVAL: Duration = Duration::from_secs(60);

/// Executes the steps of an attempt.
pub(super) struct Executor<'a> {
    run: &'a Run<'a>,
    stop: &'a StopRequests,
    attempt: Attempt,
    transfer: Option<Transfer>,
    /// Retries of the last call with an unclear result, so that waits grow although its effect is read in between.
    series: HashMap<Discriminant<Step>, Series>,
    /// Since when the attempt only waits and polls.
    waiting_since: Option<Duration>,
    /// The job of a session before its load was started: a stale status still contains it.
    job_before: Option<String>,
    winner: WinnerFacts,
    /// Whether this process changed anything for the winner.
    has_changed_winner: bool,
    /// Whether the API key could read the target.
    may_look: bool,
    /// Whether the sessions of the account have been listed.
    has_listed: bool,
    /// The set for whose table the columns are declared.
    columns_declared_for: Option<Nonce>,
}

impl<'a> Executor<'a> {
    pub(super) fn new(run: &'a Run<'a>, attempt: &Attempt, stop: &'a StopRequests) -> Self {
        Self {
            run,
            stop,
            attempt: *attempt,
            transfer: None,
            series: HashMap::new(),
            waiting_since: None,
            job_before: None,
            winner: WinnerFacts::default(),
            has_changed_winner: false,
            may_look: false,
            has_listed: false,
            columns_declared_for: None,
        }
    }

    /// The state of the attempt.
    pub(super) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// What is known about the winner.
    pub(super) fn winner_facts(&self) -> WinnerFacts {
        let was_done_before = self.attempt.own().is_none() && !self.has_changed_winner;
        WinnerFacts { was_done_before, ..self.winner.clone() }
    }

    /// Executes steps until the attempt ends.
    pub(super) async fn run_to_end(&mut self) -> Result<Ending, RunError> {
        let (attempt, mut step) = self.attempt.begin();
        self.attempt = attempt;
        loop {
            if let Step::Finish(ending) = step {
                return Ok(ending);
            }
            cancel_on_stop(self.stop, self.look_for_other_mode(step)).await?;
            self.save_before(step).await?;
            let seen = self.execute(step).await?;
            let (attempt, next) = self.attempt.decide(seen, self.run.now());
            tracing::debug!(step = step.name(), seen = seen.name(), next = next.name(), "decided");
            self.attempt = attempt;
            step = next;
        }
    }

    /// Saves what a step may create before its call is sent.
    async fn save_before(&self, step: Step) -> Result<(), RunError> {
        let (own, phase) = match step {
            Step::CreateScratch(own) | Step::NameTemporary(own) | Step::CreateSession(own) => {
                (Some(own), RunPhase::Uploading)
            }
            Step::CreateBallot(_, own) => (own, RunPhase::Proposed),
            Step::Propose(_, Proposal::Set { .. }) | Step::Commit(_) | Step::Publish(_) => {
                (self.attempt.own().copied(), RunPhase::Proposed)
            }
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
            // These handle a requested stop themselves.
            Step::Upload(own) => self.upload(own).await,
            // Short; a resumed run would only have to repeat it.
            Step::Publish(_) | Step::Fence(_) => {
                let span = self.phase_of(step);
                with_shutdown_grace(&clock, &stop, self.change(step)).instrument(span).await
            }
            _ => {
                let span = self.phase_of(step);
                cancel_on_stop(&stop, self.read_or_change(step)).instrument(span).await
            }
        }
    }

    /// The phase of a step. A step that occurs in several phases does not change the phase.
    fn phase_of(&self, step: Step) -> Span {
        let is_load = self.attempt.purpose() == Purpose::Load;
        let phase = match step {
            Step::Fetch(_) => Phase::Fetching,
            Step::FreezeOwn(_) | Step::ProveParts(_) => Phase::Uploading,
            Step::Perform(_) => Phase::Loading,
            // An abandonment uses a ballot as well, but has nothing to commit.
            Step::CreateBallot(..) | Step::Propose(..) | Step::FreezeBallot(_) if is_load => {
                Phase::Committing
            }
            Step::Commit(_) => Phase::Committing,
            Step::Fence(_) | Step::Publish(_) => Phase::Publishing,
            _ => return self.run.phases.span(),
        };
        self.run.phases.enter(phase)
    }

    fn note_waiting(&mut self, step: Step) {
        match step {
            Step::Wait => {
                let now = self.run.services.clock.now();
                self.waiting_since.get_or_insert(now);
            }
            step if step.is_polled() => {}
            _ => self.waiting_since = None,
        }
    }

    async fn read_or_change(&mut self, step: Step) -> Result<Seen, RunError> {
        match step {
            Step::Survey => self.survey().await,
            Step::ReadTarget => Ok(Seen::Target(target_seen(self.target().await?))),
            Step::ShowBallot(generation) => Ok(Seen::Ballot(self.ballot(generation).await?)),
            Step::ListBallot(generation) => {
                let ballot = self.run.names.ballot(generation);
                Ok(match self.run.client().parts(&ballot).await? {
                    Ok(parts) => Seen::Proposals(smallest_proposal(&parts)),
                    Err(Change::TableGone) => Seen::Sent(Sent::TableGone),
                    Err(_) => Seen::Sent(Sent::SessionGone),
                })
            }
            Step::DrawNonce => self.draw_nonce(),
            Step::Fetch(own) => self.fetch(own).await,
            Step::ReadScratch(own) => self.table(&self.run.names.scratch_table(&own)).await,
            Step::ReadTemporary(set) => self.table(&self.run.names.loaded_table(&set)).await,
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

    async fn wait(&self) -> Result<Seen, RunError> {
        let polling = self.run.settings.polling;
        let now = self.run.services.clock.now();
        let waited = now.saturating_sub(self.waiting_since.unwrap_or(now));
        if waited >= polling.timeout {
            return Err(RunError::TookTooLong { session: self.session_in_question(), waited });
        }
        self.run.services.clock.sleep(polling.interval).await;
        Ok(Seen::Done)
    }

    /// The session of the set that is waited for; without one, the ballot.
    fn session_in_question(&self) -> SessionName {
        let own = self.attempt.own().map(OwnSet::as_winner);
        let names = &self.run.names;
        let set = self.attempt.winner().copied().or(own);
        set.map_or_else(|| names.ballot(self.attempt.generation()), |set| names.session(&set))
    }

    /// The error for an unsuccessful ending.
    pub(super) fn unsuccessful(&self, ending: Ending) -> RunError {
        let run = self.run;
        let set = self.attempt.winner().copied().or(self.attempt.own().map(OwnSet::as_winner));
        let session = set.map(|set| run.names.session(&set));
        let job_id = self.winner_facts().job_id.or(run.journal.state().job_id);
        let target = Box::new(run.settings.target.clone());
        RunError::Ended { ending, session, job_id, target }
    }
}

#[cfg(test)]
mod tests;
