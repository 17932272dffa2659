//! What an attempt of a run does next: one pure function, called by the program and by the model that proves it.
//!
//! Owns every decision about ballots, sets, commits and renames (`docs/guarantees.md` explains the protocol). An
//! [`Attempt`] is all that a process knows of where it stands; [`Attempt::decide`] takes what the last step saw and gives
//! the next one. It makes no call, renders no name, reads no clock. Invariants: nothing is committed or published but the
//! winner of a ballot that was looked at before; nothing that another attempt made is changed.

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

use crate::identity::{Mode, Nonce};

/// How often something may come in between before an attempt gives up.
const MAX_SETBACKS: u8 = 8;
/// Generations that a run can have.
const MAX_GENERATION: u8 = 99;

/// What an attempt wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To load the store's customers.
    Load,
    /// To make sure that this run loads nothing.
    Abandon,
}

/// For how long the attempts of a run can be told apart, counted from the oldest one; seconds.
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
    /// `replace` without the ids of tables: the user accepts what cannot be promised then.
    without_table_ids: bool,
    /// Treasure Data's time at the last look, Unix seconds.
    now: u64,
    /// When the oldest known attempt of the run began, Unix seconds.
    oldest: Option<u64>,
    at: At,
    generation: u8,
    /// The target, as it was read last.
    target: Option<TargetSeen>,
    own: Option<OwnSet>,
    /// A set of our own that was given up and must be removed.
    discarded: Option<OwnSet>,
    winner: Option<Winner>,
    /// A ballot named it; else the list of sessions did.
    is_by_ballot: bool,
    /// A winner that nothing can come of any more, though it may still be listed as committed.
    dead: Option<Nonce>,
    /// The ballot was looked at, and nothing was waited for since.
    ballot_is_fresh: bool,
    /// Only sets younger than this may be proposed.
    younger_than: Option<Nonce>,
    /// Whether this process has begun to make a set.
    started: bool,
    setbacks: u8,
    looks: u8,
    performs: u8,
    commits: u8,
    renames: u8,
    /// The last call that asks for a commit or a rename, or starts a load job, was answered with success.
    acknowledged: bool,
}

/// What the next answer is an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Survey(SurveyFor),
    Target(TargetFor),
    CreateTarget(Option<OwnSet>),
    Ballot(BallotFor),
    List(ListFor),
    Nonce,
    Fetch(OwnSet),
    CreateScratch,
    ReadScratch,
    NameTemporary,
    ReadNamed,
    CreateSession,
    ShowOwn,
    Tidy,
    Upload,
    FreezeOwn,
    Prove,
    PerformOwn,
    Guard,
    CreateBallot,
    Propose,
    FreezeBallot,
    ShowWinner,
    PerformWinner,
    Commit,
    Temporary { absent: u8 },
    Fence,
    Publish,
    Discard(AfterDiscard),
    Wait(AfterWait),
    End,
}

/// Why the sessions are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SurveyFor {
    /// Nothing is known.
    Start,
    /// A ballot is about to be created.
    Ballot,
    /// The target is neither what it was nor the winner's table.
    OtherTarget,
}

/// Why the target is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TargetFor {
    NewSet,
    Created(OwnSet),
    ReadySet,
    Generation,
    Commit,
    Last,
    Publish,
    /// Read once more before a conclusion.
    PublishAgain {
        there: bool,
        absent: u8,
    },
}

/// Why the ballot is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BallotFor {
    Decide,
    /// Whether there is a next generation at all.
    NextGeneration,
    /// The store has no customers.
    NothingToLoad,
    /// The own load failed: perhaps because the run was decided, and the fence took its table.
    FailedLoad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ListFor {
    Open(BallotFor),
    Frozen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AfterDiscard {
    Ballot,
    NewSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AfterWait {
    ShowOwn,
    ShowWinner,
    Publish,
    Nonce,
}

/// An attempt and its next step.
pub type Next = (Attempt, Step);

impl Attempt {
    /// An attempt that knows nothing yet.
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
            looks: 0,
            performs: 0,
            commits: 0,
            renames: 0,
            acknowledged: false,
        }
    }

    /// Lets `replace` go on where the ids of tables cannot be read.
    #[must_use]
    pub const fn accepting_unknown_tables(mut self) -> Self {
        self.without_table_ids = true;
        self
    }

    /// Goes on with the set of an earlier process.
    #[must_use]
    pub const fn resuming(mut self, own: OwnSet) -> Self {
        self.own = Some(own);
        self
    }

    /// Removes the set of an earlier process, of which nothing can be used, unless it may have won.
    #[must_use]
    pub const fn discarding(mut self, own: OwnSet) -> Self {
        if !own.proposed {
            self.discarded = Some(own);
        }
        self
    }

    /// What it is made for.
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

    /// The set that the ballot named, once it is known.
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

    /// The next step, by what the last one saw; `now` is Treasure Data's time in Unix seconds.
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

    /// Waits and looks again, but not for ever; `ending` when it never changes.
    fn wait_a_while(mut self, next: AfterWait, max_looks: u8, ending: Ending) -> Next {
        if self.looks >= max_looks {
            return self.finish(ending);
        }
        self.looks += 1;
        self.wait(next)
    }

    /// Counts that something came in between; `None` when it did too often.
    fn set_back(mut self) -> Option<Self> {
        self.setbacks += 1;
        (self.setbacks <= MAX_SETBACKS).then_some(self)
    }

    fn waited(self, next: AfterWait) -> Next {
        match next {
            AfterWait::ShowOwn => self.show_own(),
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
            // It was never proposed, so no attempt committed it: it need not be complete.
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
            TargetFor::Created(own) => self.target_created(own),
            TargetFor::ReadySet => self.set_is_ready(),
            TargetFor::Generation => self.generation_begins(),
            TargetFor::Commit => self.commit_unless_moved(),
            TargetFor::Last => self.append_is_done(),
            TargetFor::Publish => self.publish_by_target(),
            TargetFor::PublishAgain { there, absent } => self.publish_after_second_look(there, absent),
        }
    }

    /// Whether the target is still the table object that a set was made for.
    fn is_target_of(&self, set: &Winner) -> bool {
        match self.target {
            Some(TargetSeen::Is(id)) => id == set.target || !set.target.is_known(),
            Some(TargetSeen::Denied) => !set.target.is_known(),
            Some(TargetSeen::Missing) | None => false,
        }
    }
}

/// What is removed when an attempt has ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cleanup {
    /// A set of our own that lost.
    pub own: Option<OwnSet>,
    /// Whether ballots and winner go, too: nobody else knows the run.
    pub run: bool,
}

impl Attempt {
    /// What may be removed once the winner's rows are in the target. `keeps_marker`: others may start the run again, and
    /// must find what was decided; the set of the oldest attempt stays as well, because its name tells the run's age.
    pub fn cleanup(&self, keeps_marker: bool) -> Cleanup {
        let lost = |own: &OwnSet| self.winner.is_some_and(|winner| winner.nonce != own.nonce);
        let tells_age = |own: &OwnSet| keeps_marker && self.oldest == Some(own.nonce.time());
        let own = self.own.or(self.discarded).filter(|own| lost(own) && !tells_age(own));
        Cleanup { own, run: !keeps_marker }
    }
}
