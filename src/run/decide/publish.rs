//! The winner, own or not: committed, renamed over the target in `replace` mode, and compared with the target at last.

use super::seen::{CountsSeen, Sent, SetSeen, TargetSeen, Winner};
use super::{AfterWait, At, Attempt, BallotFor, Ending, Next, Step, TargetFor};
use crate::identity::{Mode, TableId, TableSuffix};

/// How often a process asks for the commit.
const MAX_COMMITS: u8 = 3;
/// How often `ready` is believed to be older than the commit that was acknowledged.
const MAX_STALE_LOOKS: u8 = 2;
/// How often a process renames, and how often it looks for the effect of a rename that was acknowledged.
const MAX_RENAMES: u8 = 5;
const MAX_RENAME_LOOKS: u8 = 10;
/// How often the winner's counts, or its load, are looked at.
const MAX_LOOKS: u8 = 10;

impl Attempt {
    fn with_winner(self, next: impl FnOnce(Self, Winner) -> Next) -> Next {
        match self.winner {
            Some(winner) => next(self, winner),
            None => self.finish(Ending::Unanswerable),
        }
    }

    pub(super) fn show_winner(self) -> Next {
        self.with_winner(|attempt, winner| attempt.step(At::ShowWinner, Step::ShowWinner(winner)))
    }

    pub(super) fn winner_shown(mut self, set: SetSeen) -> Next {
        match set {
            SetSeen::Ready(CountsSeen::Unknown) => {
                self.wait_a_while(AfterWait::ShowWinner, MAX_LOOKS, Ending::LoadStuck)
            }
            // Its table is the target, and nothing was ever loaded into it: the set has no rows.
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
            // A late call started its job once more, and that failed: the parts are proven, so it is loaded again.
            SetSeen::Frozen(_) | SetSeen::Performing { ended: true } if self.performs == 0 => {
                self.performs += 1;
                self.ballot_is_fresh = false;
                self.with_winner(|attempt, winner| attempt.step(At::PerformWinner, Step::Perform(winner)))
            }
            SetSeen::Frozen(_) => self.wait_a_while(AfterWait::ShowWinner, MAX_LOOKS, Ending::LoadFailed),
            SetSeen::Performing { ended: true } => self.finish(Ending::LoadFailed),
        }
    }

    /// Loaded and not committed. The ballot must have been looked at just before.
    fn winner_is_ready(mut self) -> Next {
        if self.is_older_than(self.lifetime.commit) {
            return self.finish(Ending::RunTooOld);
        }
        if self.acknowledged && self.commits > 0 && self.looks < MAX_STALE_LOOKS {
            self.looks += 1;
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
            // Rows that nobody could see must not get into a table that is not the target any more.
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
        self.looks = 0;
        if sent == Sent::TableGone { self.winner_is_dead() } else { self.show_winner() }
    }

    /// Nothing can come of the winner any more.
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
            // The table was deleted or emptied behind the commit: nothing of this generation is in it.
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

    /// `replace`: the winner is committed, or empty; whether its table is the target already says the target's id alone.
    pub(super) fn publish_by_target(self) -> Next {
        self.with_winner(|attempt, winner| match attempt.target {
            Some(TargetSeen::Is(id)) if Some(id) == winner.table => attempt.loaded_winner(winner),
            Some(TargetSeen::Is(_)) if attempt.is_target_of(&winner) => attempt.read_temporary(0),
            Some(TargetSeen::Is(_)) => attempt.look_for_own_target(),
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

    /// A table of the winner's name counts only when it is the object that the name tells of.
    pub(super) fn temporary_read(self, absent: u8, id: Option<TableId>) -> Next {
        self.with_winner(|attempt, winner| {
            let there = id.is_some() && id == winner.table;
            match (there, absent) {
                (true, 0) if attempt.renames > 0 && attempt.acknowledged => {
                    attempt.wait_a_while(AfterWait::Publish, MAX_RENAME_LOOKS, Ending::PublishFailed)
                }
                (true, 0) => attempt.step(At::Fence, Step::Fence(winner)),
                _ => attempt.read_target(TargetFor::PublishAgain { there, absent }),
            }
        })
    }

    pub(super) fn publish_after_second_look(self, there: bool, absent: u8) -> Next {
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
                _ => match attempt.set_back() {
                    Some(attempt) => attempt.publish_by_target(),
                    None => attempt.finish(Ending::NoProgress),
                },
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
        self.looks = 0;
        self.read_target(TargetFor::Publish)
    }
}

impl Winner {
    /// Whether it replaces the target by an empty table.
    pub fn is_empty(&self) -> bool {
        self.suffix == TableSuffix::Empty
    }
}
