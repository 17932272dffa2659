//! The ballot: whether a generation is decided and for which set, and proposing this attempt's set or an abandonment.

use super::seen::{BallotSeen, BallotTable, Sent, TargetSeen, Winner};
use super::{
    AfterWait, At, Attempt, BallotFor, Ending, ListFor, MAX_GENERATION, Next, Purpose, Step, SurveyFor,
    TargetFor,
};
use crate::identity::{Mode, Nonce, Proposal, TableSuffix};

impl Attempt {
    pub(super) fn show_ballot(self, wanted: BallotFor) -> Next {
        let generation = match wanted {
            BallotFor::NextGeneration => self.generation + 1,
            _ => self.generation,
        };
        self.step(At::Ballot(wanted), Step::ShowBallot(generation))
    }

    pub(super) fn ballot_shown(mut self, wanted: BallotFor, ballot: BallotSeen) -> Next {
        match (wanted, ballot) {
            (BallotFor::NextGeneration, BallotSeen::Absent) => return self.finish(Ending::Superseded),
            (BallotFor::NextGeneration, _) => {
                self.generation += 1;
                self.leave_winner();
            }
            (BallotFor::NothingToLoad, BallotSeen::Absent) => return self.finish(Ending::NothingToLoad),
            (BallotFor::FailedLoad, BallotSeen::Absent) => return self.finish(Ending::LoadFailed),
            (BallotFor::Created, BallotSeen::Absent) => {
                return self.wait_for_effect(AfterWait::ShowBallot(wanted), Self::undecided);
            }
            (BallotFor::Frozen, BallotSeen::Absent) => return self.unless_hopeless(Self::undecided),
            (BallotFor::Frozen, BallotSeen::Open) => {
                return self.wait_for_effect(AfterWait::ShowBallot(wanted), Self::freeze_ballot);
            }
            _ => {}
        }
        if self.winner.is_some() && matches!(ballot, BallotSeen::Absent | BallotSeen::Open) {
            // The ballot that chose it is gone, or it was found by its session.
            self.leave_winner();
            return self.unless_hopeless(|attempt| attempt.ballot_shown(BallotFor::Decide, ballot));
        }
        match ballot {
            BallotSeen::Absent => self.undecided(),
            BallotSeen::Open => {
                if self.purpose == Purpose::Load
                    && let Some(proposal) = self.own_proposal()
                {
                    return self.propose(proposal);
                }
                self.list(ListFor::Open(wanted))
            }
            BallotSeen::Frozen if wanted == BallotFor::Frozen => self.list(ListFor::FrozenNow),
            BallotSeen::Frozen => self.list(ListFor::Frozen),
            BallotSeen::OnTable(BallotTable::Set(winner)) => self.decided(winner),
            BallotSeen::OnTable(BallotTable::Abandon(nonce)) => self.abandoned(nonce),
            // The name proves nothing: another table may have it by now.
            BallotSeen::OnTable(BallotTable::Target) => self.check_replaced_target(),
            BallotSeen::OnTable(BallotTable::Foreign) => self.finish(Ending::ForeignBallot),
        }
    }

    fn list(self, wanted: ListFor) -> Next {
        let generation = self.generation;
        self.step(At::List(wanted), Step::ListBallot(generation))
    }

    pub(super) fn proposals_listed(mut self, wanted: ListFor, smallest: Option<Proposal>) -> Next {
        if let Some(proposal) = smallest {
            self.note_attempt(proposal.nonce());
        }
        match (wanted, smallest) {
            (ListFor::Open(_), Some(_)) => self.freeze_ballot(),
            (ListFor::Open(BallotFor::NothingToLoad), None) => self.finish(Ending::NothingToLoad),
            (ListFor::Open(BallotFor::FailedLoad), None) => self.finish(Ending::LoadFailed),
            // The set is ready and was not proposed: its totals are unknown, or the run is too old.
            (ListFor::Open(_), None) if self.purpose == Purpose::Load && self.may_propose() => {
                self.unless_hopeless(Self::undecided)
            }
            (ListFor::Open(_), None) => self.undecided(),
            (
                ListFor::Frozen | ListFor::FrozenNow,
                Some(Proposal::Set { nonce, target, parts, valid, rejected }),
            ) => {
                let totals = Some(crate::identity::PartTotals { parts, valid, rejected });
                self.decided(Winner { nonce, target, table: None, suffix: TableSuffix::Rows, totals })
            }
            (ListFor::Frozen | ListFor::FrozenNow, Some(Proposal::Abandon { nonce })) => {
                self.abandoned(nonce)
            }
            (ListFor::Frozen, None) => self.next_generation(),
            (ListFor::FrozenNow, None) => {
                self.wait_for_effect(AfterWait::ShowBallot(BallotFor::Frozen), Self::next_generation)
            }
        }
    }

    /// The ballot is gone, or the table that it is bound to: the parts of a session whose table is gone cannot be
    /// listed.
    pub(super) fn list_refused(self, sent: Sent) -> Next {
        match sent {
            // Everything that was proposed in it is for a table that is no longer the target.
            Sent::TableGone => self.next_generation(),
            _ => self.recheck_ballot(),
        }
    }

    /// The ballot has no winner yet.
    fn undecided(self) -> Next {
        match self.purpose {
            Purpose::Abandon => self.abandon(),
            Purpose::Load if self.may_propose() => self.survey(SurveyFor::Ballot),
            Purpose::Load => self.make_set(),
        }
    }

    /// Whether this attempt's set is complete, loaded and proven, and was made for the current target.
    fn may_propose(&self) -> bool {
        let is_young = |nonce: Nonce| self.younger_than.is_none_or(|limit| nonce > limit);
        self.own
            .is_some_and(|own| own.is_ready() && is_young(own.nonce) && self.is_target_of(&own.as_winner()))
    }

    fn own_proposal(&self) -> Option<Proposal> {
        let own = self.own.filter(|_| self.may_propose() && !self.is_older_than(self.lifetime.propose))?;
        let totals = own.totals?;
        Some(Proposal::Set {
            nonce: own.nonce,
            target: own.target,
            parts: totals.parts,
            valid: totals.valid,
            rejected: totals.rejected,
        })
    }

    /// Only directly after the survey.
    pub(super) fn create_ballot(mut self) -> Next {
        if self.purpose == Purpose::Load && !self.may_propose() {
            // The target is a different table by now.
            return self.give_up_set();
        }
        if self.is_older_than(self.lifetime.propose) {
            return self.finish(Ending::RunTooOld);
        }
        let generation = self.generation;
        let bound_to = match self.mode {
            Mode::Append => None,
            Mode::Replace => {
                if let Some(own) = self.own.as_mut() {
                    own.proposed = true;
                }
                self.own
            }
        };
        self.step(At::CreateBallot, Step::CreateBallot(generation, bound_to))
    }

    pub(super) fn ballot_created(mut self, sent: Sent) -> Next {
        self.polls = 0;
        match sent {
            // Its name contains its id, so no other table can ever have that name.
            Sent::TableGone if self.mode == Mode::Replace => self.give_up_set(),
            Sent::TableGone => self.unless_hopeless(|attempt| attempt.survey(SurveyFor::Start)),
            Sent::Done | Sent::Conflict => self.show_ballot(BallotFor::Created),
            Sent::Unclear => self.show_ballot(BallotFor::Decide),
            Sent::SessionGone | Sent::Denied => self.recheck_ballot(),
        }
    }

    fn propose(mut self, proposal: Proposal) -> Next {
        if let (Proposal::Set { .. }, Some(own)) = (proposal, self.own.as_mut()) {
            own.proposed = true;
        }
        let generation = self.generation;
        self.step(At::Propose, Step::Propose(generation, proposal))
    }

    pub(super) fn proposed(self, sent: Sent) -> Next {
        match sent {
            // Only then: a proposal that was not stored must not be decided on.
            Sent::Done => self.freeze_ballot(),
            Sent::TableGone => self.next_generation(),
            _ => self.recheck_ballot(),
        }
    }

    fn freeze_ballot(self) -> Next {
        let generation = self.generation;
        self.step(At::FreezeBallot, Step::FreezeBallot(generation))
    }

    pub(super) fn ballot_frozen(mut self, sent: Sent) -> Next {
        self.polls = 0;
        match sent {
            Sent::Done => self.show_ballot(BallotFor::Frozen),
            // It is bound to a table that is gone, so it can never be frozen.
            Sent::TableGone => self.next_generation(),
            _ => self.recheck_ballot(),
        }
    }

    fn recheck_ballot(self) -> Next {
        self.unless_hopeless(|attempt| attempt.show_ballot(BallotFor::Decide))
    }

    /// The ballot has a winner.
    fn decided(self, winner: Winner) -> Next {
        self.see_through(winner, true)
    }

    /// Completes a set, even if another attempt made it. `by_ballot`: the ballot was read just now.
    pub(super) fn see_through(mut self, winner: Winner, by_ballot: bool) -> Next {
        self.note_attempt(winner.nonce);
        match self.winner {
            Some(seen) if seen.nonce == winner.nonce => {}
            Some(_) => {
                self.leave_winner();
                return self.unless_hopeless(|attempt| attempt.see_through(winner, by_ballot));
            }
            None => self.leave_winner(),
        }
        self.winner = Some(winner);
        self.is_by_ballot = by_ballot;
        self.ballot_is_fresh = by_ballot;
        if winner.suffix == TableSuffix::Empty {
            self.read_target(TargetFor::Publish)
        } else {
            self.show_winner()
        }
    }

    /// Counters and acknowledgements are about this winner, or about this attempt's set while there was none.
    fn leave_winner(&mut self) {
        self.winner = None;
        self.polls = 0;
        self.commits = 0;
        self.renames = 0;
        self.acknowledged = false;
    }

    /// The ballot decided that this generation loads nothing.
    fn abandoned(mut self, nonce: Nonce) -> Next {
        self.note_attempt(nonce);
        if self.purpose == Purpose::Abandon {
            // Another attempt's abandonment may be old, and the run may be active again in a later generation.
            let is_ours = self.own.is_some_and(|own| own.nonce == nonce);
            return if is_ours { self.finish(Ending::Abandoned) } else { self.next_generation() };
        }
        if self.started {
            return self.finish(Ending::AbandonedByOthers);
        }
        self.younger_than = self.younger_than.max(Some(nonce));
        if self.own.is_some_and(|own| own.nonce <= nonce) {
            self.drop_set();
        }
        self.next_generation()
    }

    /// The winner can never be loaded.
    pub(super) fn winner_is_lost(mut self) -> Next {
        let Some(winner) = self.winner else { return self.finish(Ending::UnexpectedResult) };
        self.dead = Some(winner.nonce);
        if self.own.is_some_and(|own| own.nonce == winner.nonce) {
            self.own = None;
        }
        if self.is_by_ballot {
            return self.next_generation();
        }
        // It was found by its session: its generation is unknown, and its ballot may or may not exist.
        self.leave_winner();
        self.unless_hopeless(|attempt| attempt.read_target(TargetFor::Generation))
    }

    /// This generation cannot commit anything.
    pub(super) fn next_generation(mut self) -> Next {
        if self.generation >= MAX_GENERATION {
            return self.finish(Ending::NoProgress);
        }
        self.generation += 1;
        self.leave_winner();
        self.read_target(TargetFor::Generation)
    }

    pub(super) fn generation_begins(mut self) -> Next {
        if self.own.is_some_and(|own| !self.is_target_of(&own.as_winner())) {
            self.drop_set();
        }
        self.show_ballot(BallotFor::Decide)
    }

    /// The target is a different table, possibly the table of a set of this run.
    pub(super) fn check_replaced_target(self) -> Next {
        self.unless_hopeless(|attempt| attempt.survey(SurveyFor::OtherTarget))
    }

    /// Proposes that nothing is loaded; `replace` needs a table that represents this proposal.
    fn abandon(self) -> Next {
        let is_unproposed = self.own.is_none_or(|own| own.suffix != TableSuffix::Abandon);
        match self.mode {
            Mode::Replace if is_unproposed => self.new_set(),
            Mode::Replace => self.survey(SurveyFor::Ballot),
            Mode::Append => match (self.own, self.at) {
                (None, _) => self.new_set(),
                (Some(own), At::List(_)) => self.propose(Proposal::Abandon { nonce: own.nonce }),
                (Some(_), _) if self.target == Some(TargetSeen::Missing) => self.create_target(),
                (Some(_), _) => self.survey(SurveyFor::Ballot),
            },
        }
    }
}
