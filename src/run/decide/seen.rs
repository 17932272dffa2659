//! The results of steps, on which [`Attempt::decide`](super::Attempt::decide) bases its decisions.
//!
//! Owns small values without names or texts, so that the model of the protocol can use the same types.

use crate::identity::{Nonce, PartTotals, Proposal, TableId, TableSuffix};

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// The sessions of the run were listed, then the target was read.
    Surveyed(Survey),
    /// The target's id.
    Target(TargetSeen),
    /// The id of a table of this run; `None` if there is no table with that name.
    Table(Option<TableId>),
    /// The ballot.
    Ballot(BallotSeen),
    /// The proposal that wins among those in the ballot.
    Proposals(Option<Proposal>),
    /// A nonce for a new set.
    Nonce(Nonce),
    /// The first customers were fetched.
    FirstRows,
    /// The store has no customers, and the guards accept that.
    NoCustomers,
    /// A session that holds a set.
    Set(SetSeen),
    /// The parts of this attempt's session.
    Parts(PartsSeen),
    /// How the upload ended.
    Uploaded(UploadEnd),
    /// The guards accept the loaded rows.
    GuardsPassed,
    /// The result of a call that changes something.
    Sent(Sent),
    /// A local or unconditional step is done.
    Done,
}

/// The sessions of the run and the target's id, read in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Survey {
    /// The target, read after the list.
    pub target: TargetSeen,
    /// The set of this run that is in the target, or is being committed, as chosen by [`Survey::choose`].
    pub committed: Option<Winner>,
    /// When the oldest known attempt of the run began, Unix seconds.
    pub oldest: Option<u64>,
    /// Another protocol version that attempts of this run use.
    pub other_protocol: Option<u8>,
}

/// What is known about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetSeen {
    /// There is no such table.
    Missing,
    /// The API key may not read it.
    Denied,
    /// The table object that is the target now.
    Is(TableId),
}

/// A ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BallotSeen {
    /// There is none: nothing is decided.
    Absent,
    /// `append`: it accepts proposals.
    Open,
    /// `append`: its proposals are final.
    Frozen,
    /// `replace`: it is bound to this table, which decides.
    OnTable(BallotTable),
}

/// The table that a ballot of `replace` is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BallotTable {
    /// The temporary table of this set.
    Set(Winner),
    /// A table that represents "nothing is loaded".
    Abandon(Nonce),
    /// It has the name of the target: the winner's table was renamed.
    Target,
    /// Not a table of this program.
    Foreign,
}

/// The set that the ballot chose, from any attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winner {
    /// The attempt that made it.
    pub nonce: Nonce,
    /// The target's id when that attempt began.
    pub target: TableId,
    /// Its temporary table, in `replace` mode.
    pub table: Option<TableId>,
    /// Whether it holds rows.
    pub suffix: TableSuffix,
    /// What it holds, if the ballot contains this.
    pub totals: Option<PartTotals>,
}

/// A session that holds a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetSeen {
    /// There is no session with that name.
    Absent,
    /// It accepts parts.
    Open,
    /// It accepts no parts, and is not loaded.
    Frozen(JobSeen),
    /// The load job is running.
    Performing {
        /// Whether the job failed or was killed.
        ended: bool,
    },
    /// Loaded; nothing is visible yet.
    Ready(CountsSeen),
    /// The commit is running.
    Committing,
    /// The rows are in the table that it belongs to.
    Committed,
    /// Its table is gone, or it has a status that this program does not know: it cannot be loaded.
    Invalid,
}

/// The load job that a frozen session names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobSeen {
    /// None.
    None,
    /// It failed or was killed.
    Failed,
    /// It is running, or its status is unknown.
    Working,
}

/// The record counts of a loaded session, compared with what its parts prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountsSeen {
    /// Not reported yet.
    Unknown,
    /// As proven, or there is nothing to compare with.
    Proven,
    /// Different.
    Wrong,
}

/// The parts of this attempt's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartsSeen {
    /// Open, with exactly the parts that are known to be stored; others were removed.
    Stored,
    /// Frozen, with exactly one complete set.
    Complete(PartTotals),
    /// Anything else.
    Differ,
}

/// How the upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UploadEnd {
    /// All parts are stored, the last one with these totals.
    Complete(PartTotals),
    /// The ballot is decided or about to be.
    BallotMoved,
    /// The session no longer accepts parts.
    SessionLost,
    /// A resumed scan found no further customers, so the last part would be empty.
    NothingFurther,
}

/// The result of a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Done.
    Done,
    /// Refused because of the current state of the session or table.
    Conflict,
    /// Refused because the table is gone.
    TableGone,
    /// Refused because the session is gone.
    SessionGone,
    /// The API key may not do it.
    Denied,
    /// The response was lost: the call may have taken effect, or still may.
    Unclear,
}

impl Survey {
    /// Chooses the set of this run that counts, if any: the one whose table is the target, otherwise one for this target
    /// that is committed or being committed. `sets` holds each set, from the name of its session, and whether it is
    /// committed or being committed.
    ///
    /// A published set may have been committed after the list was read, or have no rows: its session shows which.
    pub fn choose(target: TargetSeen, sets: impl Iterator<Item = (Winner, bool)>) -> Option<Winner> {
        let is_published = |set: &Winner| set.table.is_some_and(|table| target == TargetSeen::Is(table));
        let is_for_target = |set: &Winner| match target {
            TargetSeen::Missing => false,
            TargetSeen::Denied => !set.target.is_known(),
            TargetSeen::Is(id) => id == set.target || !set.target.is_known(),
        };
        sets.filter(|(set, is_committed)| is_published(set) || *is_committed && is_for_target(set))
            .map(|(set, _)| set)
            .max_by_key(|set| (is_published(set), set.nonce))
    }
}
