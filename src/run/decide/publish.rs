//! Completing the winner: committing it, renaming it over the target in `replace` mode, and comparing the target at the
//! end.

use super::seen::{CountsSeen, Sent, SetSeen, TargetSeen, Winner};
use super::{AfterWait, At, Attempt, BallotFor, Ending, Next, Step, TargetFor};
use crate::identity::{Mode, TableId, TableSuffix};

/// How often a process requests the commit.
const MAX_COMMITS: u8 = 3;
/// How often `ready` is taken for a stale response after an acknowledged commit.
const MAX_STALE_POLLS: u8 = 2;
/// How often a process renames, and how often it polls for the effect of an acknowledged rename.
const MAX_RENAMES: u8 = 5;
const MAX_RENAME_POLLS: u8 = 10;
/// How often the winner's counts or its load are polled.
const MAX_POLLS: u8 = 10;

impl Attempt {
    fn with_winner(self, next: impl FnOnce(Self, Winner) -> Next) -> Next {
        match self.winner {
            Some(winner) => next(self, winner),
            None => self.finish(Ending::UnexpectedResult),
        }
    }

    pub(super) fn show_winner(self) -> Next {
        self.with_winner(|attempt, winner| attempt.step(At::ShowWinner, Step::ShowWinner(winner)))
    }

    pub(super) fn winner_shown(mut self, set: SetSeen) -> Next {
        match set {
            SetSeen::Ready(CountsSeen::Unknown) => {
                self.wait_and_poll(AfterWait::ShowWinner, MAX_POLLS, Ending::LoadStuck)
            }
            // Its table is the target and was never loaded into: the set has no rows.
            SetSeen::Open if !self.is_by_ballot => self.with_winner(|mut attempt, winner| {
                attempt.winner = Some(Winner { suffix: TableSuffix::Empty, ..winner });
                attempt.read_target(TargetFor::Publish)
            }),
            SetSeen::Ready(CountsSeen::Wrong) | SetSeen::Open => self.finish(Ending::WinnerChanged),
            SetSeen::Ready(CountsSeen::Proven) => self.winner_is_ready(),
            SetSeen::Committing | SetSeen::Performing { ended: false } => self.wait(AfterWait::ShowWinner),
            SetSeen::Committed => match self.mode {
                Mode::Append => self.read_target(TargetFor::Last),
                Mode::Replace => self.read_target(TargetFor::Publish),
            },
            SetSeen::Absent => self.finish(Ending::WinnerGone),
            SetSeen::Invalid => self.winner_is_dead(),
            // A delayed call started its job again, and that failed. The parts are proven, so it is loaded again.
            SetSeen::Frozen(_) | SetSeen::Performing { ended: true } if self.performs == 0 => {
                self.performs += 1;
                self.ballot_is_fresh = false;
                self.with_winner(|attempt, winner| attempt.step(At::PerformWinner, Step::Perform(winner)))
            }
            SetSeen::Frozen(_) => self.wait_and_poll(AfterWait::ShowWinner, MAX_POLLS, Ending::LoadFailed),
            SetSeen::Performing { ended: true } => self.finish(Ending::LoadFailed),
        }
    }

    /// Loaded but not committed. The ballot must have been read immediately before.
    fn winner_is_ready(mut self) -> Next {
        if self.is_older_than(self.lifetime.commit) {
            return self.finish(Ending::RunTooOld);
        }
        if self.acknowledged && self.commits > 0 && self.polls < MAX_STALE_POLLS {
            self.polls += 1;
            return self.wait(AfterWait::ShowWinner);
        }
        if self.commits >= MAX_COMMITS {
            return self.finish(Ending::CommitFailed);
        }
        if !self.ballot_is_fresh {
            return self.show_ballot(BallotFor::Decide);
        }
        match self.mode {
            Mode::Append => self.read_target(TargetFor::Commit),
            Mode::Replace => self.commit(),
        }
    }

    pub(super) fn commit_unless_moved(self) -> Next {
        self.with_winner(|attempt, winner| {
            // Rows must not be committed into a table that is no longer the target, where nobody would see them.
            if attempt.is_target_of(&winner) { attempt.commit() } else { attempt.winner_is_lost() }
        })
    }

    fn commit(mut self) -> Next {
        self.ballot_is_fresh = false;
        self.commits += 1;
        self.with_winner(|attempt, winner| attempt.step(At::Commit, Step::Commit(winner)))
    }

    pub(super) fn commit_sent(mut self, sent: Sent) -> Next {
        self.acknowledged = sent == Sent::Done;
        self.polls = 0;
        if sent == Sent::TableGone { self.winner_is_dead() } else { self.show_winner() }
    }

    /// The winner can no longer be loaded.
    fn winner_is_dead(self) -> Next {
        match self.mode {
            Mode::Append => self.winner_is_lost(),
            Mode::Replace => {
                self.step(At::Target(TargetFor::PublishAgain { there: false, absent: 0 }), Step::ReadTarget)
            }
        }
    }

    pub(super) fn append_is_done(self) -> Next {
        self.with_winner(|attempt, winner| {
            // The table was deleted or recreated after the commit: it has no rows of this generation.
            if attempt.is_target_of(&winner) {
                attempt.loaded_winner(winner)
            } else {
                attempt.winner_is_lost()
            }
        })
    }

    fn loaded_winner(self, winner: Winner) -> Next {
        let joined = self.own.is_none_or(|own| own.nonce != winner.nonce);
        self.finish(Ending::Loaded { winner, joined })
    }

    /// `replace`: the winner is committed or empty. Only the id of the target shows whether its table is the target
    /// already.
    pub(super) fn publish_by_target(self) -> Next {
        self.with_winner(|attempt, winner| match attempt.target {
            Some(TargetSeen::Is(id)) if Some(id) == winner.table => attempt.loaded_winner(winner),
            Some(TargetSeen::Is(_)) if attempt.is_target_of(&winner) => attempt.read_temporary(0),
            Some(TargetSeen::Is(_)) => attempt.check_replaced_target(),
            Some(TargetSeen::Missing) => attempt.read_temporary(1),
            Some(TargetSeen::Denied) if attempt.renames > 0 && attempt.acknowledged => {
                attempt.loaded_winner(winner)
            }
            Some(TargetSeen::Denied) | None => attempt.publish_winner(),
        })
    }

    fn read_temporary(self, absent: u8) -> Next {
        self.with_winner(|attempt, winner| {
            attempt.step(At::Temporary { absent }, Step::ReadTemporary(winner))
        })
    }

    /// A table with the winner's name counts only if it has the id in that name.
    pub(super) fn temporary_read(self, absent: u8, id: Option<TableId>) -> Next {
        self.with_winner(|attempt, winner| {
            let there = id.is_some() && id == winner.table;
            match (there, absent) {
                (true, 0) if attempt.renames > 0 && attempt.acknowledged => {
                    attempt.wait_and_poll(AfterWait::Publish, MAX_RENAME_POLLS, Ending::PublishFailed)
                }
                (true, 0) => attempt.step(At::Fence, Step::Fence(winner)),
                _ => attempt.read_target(TargetFor::PublishAgain { there, absent }),
            }
        })
    }

    pub(super) fn publish_after_recheck(self, there: bool, absent: u8) -> Next {
        self.with_winner(|attempt, winner| {
            let is_unchanged =
                matches!(attempt.target, Some(TargetSeen::Is(_))) && attempt.is_target_of(&winner);
            match (attempt.target, there, absent) {
                (Some(TargetSeen::Missing), true, 1) => attempt.publish_winner(),
                (Some(TargetSeen::Missing), false, 1) => {
                    attempt.read_target(TargetFor::PublishAgain { there, absent: 2 })
                }
                (Some(TargetSeen::Missing), false, _) => attempt.winner_is_lost(),
                _ if is_unchanged && absent == 0 && !there => attempt.winner_is_lost(),
                _ => attempt.unless_hopeless(Self::publish_by_target),
            }
        })
    }

    pub(super) fn publish_winner(mut self) -> Next {
        if self.renames >= MAX_RENAMES {
            return self.finish(Ending::PublishFailed);
        }
        self.renames += 1;
        self.with_winner(|attempt, winner| attempt.step(At::Publish, Step::Publish(winner)))
    }

    pub(super) fn publish_sent(mut self, sent: Sent) -> Next {
        self.acknowledged = sent == Sent::Done;
        self.polls = 0;
        self.read_target(TargetFor::Publish)
    }
}

impl Winner {
    /// Whether it replaces the target with an empty table.
    pub fn is_empty(&self) -> bool {
        self.suffix == TableSuffix::Empty
    }
}
