//! What an attempt of a run does next: one pure function, called by the program and by the model that verifies it.
//!
//! Owns every decision about ballots, sets, commits and renames (`docs/guarantees.md` explains the protocol). An
//! [`Attempt`] is everything that a process knows about its progress. [`Attempt::decide`] takes the result of the last
//! step and returns the next one. It makes no calls, renders no names and reads no clock. Invariants: only the winner of
//! a ballot that was read before is committed or published; nothing that another attempt created is changed.

mod at;
mod ballot;
mod names;
mod publish;
mod seen;
mod set;
mod step;
#[cfg(test)]
mod tests;

pub use seen::{
    BallotSeen, BallotTable, CountsSeen, JobSeen, PartsSeen, Seen, Sent, SetSeen, Survey, TargetSeen,
    UploadEnd, Winner,
};
pub use step::{Ending, OwnSet, Progress, Step};

use self::at::{AfterDiscard, AfterWait, At, BallotFor, ListFor, OwnFor, SurveyFor, TargetFor};
use crate::identity::{Mode, Nonce};

/// How often something else may interfere, or a call have no effect, before an attempt gives up.
const MAX_SETBACKS: u8 = 8;
/// How often a status is polled that seems stale.
const MAX_STALE_POLLS: u8 = 10;
/// Highest generation of a run.
const MAX_GENERATION: u8 = 99;

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Loading the store's customers.
    Load,
    /// Making sure that this run loads nothing.
    Abandon,
}

/// How long the attempts of a run can be told apart, counted from the oldest one, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// No set is begun or proposed after this.
    pub propose: u64,
    /// No set is committed after this.
    pub commit: u64,
}

/// What one attempt knows; the model keeps one in each of its states.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each read in one or two places")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    mode: Mode,
    purpose: Purpose,
    lifetime: Lifetime,
    /// `replace` without table ids: the user accepts the weaker guarantees.
    without_table_ids: bool,
    /// Treasure Data's time at the last step, Unix seconds.
    now: u64,
    /// When the oldest known attempt of the run began, Unix seconds.
    oldest: Option<u64>,
    at: At,
    generation: u8,
    /// The target, as last read.
    target: Option<TargetSeen>,
    own: Option<OwnSet>,
    /// A set of this attempt that is discarded and must be removed.
    discarded: Option<OwnSet>,
    winner: Option<Winner>,
    /// Whether the winner is known from a ballot; otherwise it was found in the list of sessions.
    is_by_ballot: bool,
    /// A winner that can no longer be loaded, although it may still be listed as committed.
    dead: Option<Nonce>,
    /// Whether the ballot was read and there was no wait since then.
    ballot_is_fresh: bool,
    /// Only sets with a larger nonce may be proposed.
    younger_than: Option<Nonce>,
    /// Whether this process has started a set.
    started: bool,
    setbacks: u8,
    polls: u8,
    performs: u8,
    commits: u8,
    renames: u8,
    /// Whether the last commit, rename or perform call was acknowledged.
    acknowledged: bool,
}

/// An attempt and its next step.
pub type Next = (Attempt, Step);

impl Attempt {
    /// An attempt that has not taken any steps yet.
    pub const fn new(mode: Mode, purpose: Purpose, lifetime: Lifetime) -> Self {
        Self {
            mode,
            purpose,
            lifetime,
            without_table_ids: false,
            now: 0,
            oldest: None,
            at: At::End,
            generation: 0,
            target: None,
            own: None,
            discarded: None,
            winner: None,
            is_by_ballot: false,
            dead: None,
            ballot_is_fresh: false,
            younger_than: None,
            started: false,
            setbacks: 0,
            polls: 0,
            performs: 0,
            commits: 0,
            renames: 0,
            acknowledged: false,
        }
    }

    /// Lets `replace` continue where table ids cannot be read.
    #[must_use]
    pub const fn accepting_unknown_tables(mut self) -> Self {
        self.without_table_ids = true;
        self
    }

    /// Continues the set of an earlier process.
    #[must_use]
    pub const fn resuming(mut self, own: OwnSet) -> Self {
        self.own = Some(own);
        self
    }

    /// Removes the unusable set of an earlier process, unless it may have won.
    #[must_use]
    pub const fn discarding(mut self, own: OwnSet) -> Self {
        if !own.proposed {
            self.discarded = Some(own);
        }
        self
    }

    /// What this attempt is for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The first step.
    pub fn begin(self) -> Next {
        self.survey(SurveyFor::Start)
    }

    /// The set that this attempt makes.
    pub const fn own(&self) -> Option<&OwnSet> {
        self.own.as_ref()
    }

    /// The generation that is being decided.
    pub const fn generation(&self) -> u8 {
        self.generation
    }

    /// The set that the ballot chose, once it is known.
    pub const fn winner(&self) -> Option<&Winner> {
        self.winner.as_ref()
    }

    /// Whether this process has sent the rename of the winner's table.
    pub const fn has_renamed(&self) -> bool {
        self.renames > 0
    }

    /// When the oldest known attempt of the run began, Unix seconds.
    pub const fn oldest(&self) -> Option<u64> {
        self.oldest
    }

    /// The next step after the last one returned `seen`; `now` is Treasure Data's time in Unix seconds.
    pub fn decide(mut self, seen: Seen, now: u64) -> Next {
        self.now = now;
        match (self.at, seen) {
            (At::Survey(wanted), Seen::Surveyed(survey)) => self.surveyed(wanted, survey),
            (At::Target(wanted), Seen::Target(target)) => self.target_read(wanted, target),
            (At::Ballot(wanted), Seen::Ballot(ballot)) => self.ballot_shown(wanted, ballot),
            (At::List(wanted), Seen::Proposals(smallest)) => self.proposals_listed(wanted, smallest),
            (At::List(_), Seen::Sent(sent)) => self.list_refused(sent),
            (At::CreateBallot, Seen::Sent(sent)) => self.ballot_created(sent),
            (At::Propose, Seen::Sent(sent)) => self.proposed(sent),
            (At::FreezeBallot, Seen::Sent(sent)) => self.ballot_frozen(sent),
            (At::ShowWinner, Seen::Set(set)) => self.winner_shown(set),
            (At::PerformWinner, Seen::Sent(_)) => self.show_winner(),
            (At::Commit, Seen::Sent(sent)) => self.commit_sent(sent),
            (At::Temporary { absent }, Seen::Table(id)) => self.temporary_read(absent, id),
            (At::Fence, Seen::Done) => self.publish_winner(),
            (At::Publish, Seen::Sent(sent)) => self.publish_sent(sent),
            (At::Wait(next), Seen::Done) => self.waited(next),
            (At::Discard(next), Seen::Done) => self.removed(next),
            (_, seen) => self.decide_on_set(seen),
        }
    }

    fn step(mut self, at: At, step: Step) -> Next {
        self.at = at;
        (self, step)
    }

    fn finish(self, ending: Ending) -> Next {
        self.step(At::End, Step::Finish(ending))
    }

    fn survey(self, wanted: SurveyFor) -> Next {
        self.step(At::Survey(wanted), Step::Survey)
    }

    fn read_target(self, wanted: TargetFor) -> Next {
        self.step(At::Target(wanted), Step::ReadTarget)
    }

    fn wait(mut self, next: AfterWait) -> Next {
        self.ballot_is_fresh = false;
        self.step(At::Wait(next), Step::Wait)
    }

    /// Waits before the next poll, at most `max_polls` times. Then the attempt ends with `ending`.
    fn wait_and_poll(mut self, next: AfterWait, max_polls: u8, ending: Ending) -> Next {
        if self.polls >= max_polls {
            return self.finish(ending);
        }
        self.polls += 1;
        self.wait(next)
    }

    /// A call was acknowledged, but has no effect. The status may be stale, so it is polled first. Then the call is made
    /// `again`, until there were too many setbacks.
    fn wait_for_effect(mut self, next: AfterWait, again: impl FnOnce(Self) -> Next) -> Next {
        if self.polls < MAX_STALE_POLLS {
            self.polls += 1;
            return self.wait(next);
        }
        self.unless_hopeless(again)
    }

    /// Counts a setback and continues with `next`, unless there were too many.
    fn unless_hopeless(mut self, next: impl FnOnce(Self) -> Next) -> Next {
        if self.setbacks >= MAX_SETBACKS {
            return self.finish(Ending::NoProgress);
        }
        self.setbacks += 1;
        next(self)
    }

    fn waited(self, next: AfterWait) -> Next {
        match next {
            AfterWait::ReadCreatedTarget(own) => self.read_target(TargetFor::Created(own)),
            AfterWait::ShowBallot(wanted) => self.show_ballot(wanted),
            AfterWait::ShowOwn(wanted) => self.show_own_for(wanted),
            AfterWait::ShowWinner => self.show_winner(),
            AfterWait::Publish => self.read_target(TargetFor::Publish),
            AfterWait::Nonce => self.step(At::Nonce, Step::DrawNonce),
        }
    }

    fn is_older_than(&self, limit: u64) -> bool {
        self.oldest.is_some_and(|oldest| self.now.saturating_sub(oldest) > limit)
    }

    fn note_attempt(&mut self, nonce: Nonce) {
        self.oldest = Some(self.oldest.map_or(nonce.time(), |oldest| oldest.min(nonce.time())));
    }

    fn surveyed(mut self, wanted: SurveyFor, survey: Survey) -> Next {
        if let Some(version) = survey.other_protocol {
            return self.finish(Ending::OtherProtocol(version));
        }
        self.target = Some(survey.target);
        self.oldest = self.oldest.into_iter().chain(survey.oldest).min();
        match (survey.committed.filter(|set| self.dead != Some(set.nonce)), wanted) {
            // It was never proposed, so no attempt of this program committed it, and it may be incomplete.
            (Some(winner), _) if self.own.is_some_and(|own| own.nonce == winner.nonce && !own.proposed) => {
                self.finish(Ending::WinnerChanged)
            }
            (Some(winner), _) => self.see_through(winner, false),
            (None, SurveyFor::Start) => {
                let is_blind = self.mode == Mode::Replace && survey.target == TargetSeen::Denied;
                if is_blind && !self.without_table_ids {
                    return self.finish(Ending::NoTableIds);
                }
                self.show_ballot(BallotFor::Decide)
            }
            (None, SurveyFor::Ballot) => self.create_ballot(),
            (None, SurveyFor::OtherTarget) => self.show_ballot(BallotFor::NextGeneration),
        }
    }

    fn target_read(mut self, wanted: TargetFor, target: TargetSeen) -> Next {
        self.target = Some(target);
        match wanted {
            TargetFor::NewSet => self.step(At::Nonce, Step::DrawNonce),
            TargetFor::CreatedPerhaps(own) => self.target_created(own, false),
            TargetFor::Created(own) => self.target_created(own, true),
            TargetFor::ReadySet => self.set_is_ready(),
            TargetFor::Generation => self.generation_begins(),
            TargetFor::Commit => self.commit_unless_moved(),
            TargetFor::Last => self.append_is_done(),
            TargetFor::Publish => self.publish_by_target(),
            TargetFor::PublishAgain { there, absent } => self.publish_after_recheck(there, absent),
        }
    }

    /// Whether the target is still the table for which a set was made.
    fn is_target_of(&self, set: &Winner) -> bool {
        match self.target {
            Some(TargetSeen::Is(id)) => id == set.target || !set.target.is_known(),
            Some(TargetSeen::Denied) => !set.target.is_known(),
            Some(TargetSeen::Missing) | None => false,
        }
    }
}

/// What to remove after an attempt succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cleanup {
    /// This attempt's set, if it lost.
    pub own: Option<OwnSet>,
    /// Whether to remove ballots and winner as well, because no other machine knows the run.
    pub run: bool,
}

impl Attempt {
    /// What may be removed once the winner's rows are in the target. With `keeps_marker`, the run may be started again
    /// elsewhere, which must find the decision. The set of the oldest attempt then stays as well, because its name shows
    /// the run's age.
    pub fn cleanup(&self, keeps_marker: bool) -> Cleanup {
        let lost = |own: &OwnSet| self.winner.is_some_and(|winner| winner.nonce != own.nonce);
        let shows_age = |own: &OwnSet| keeps_marker && self.oldest == Some(own.nonce.time());
        let own = self.own.or(self.discarded).filter(|own| lost(own) && !shows_age(own));
        Cleanup { own, run: !keeps_marker }
    }
}
