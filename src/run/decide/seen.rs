//! What an attempt can see: the answers that [`Attempt::decide`](super::Attempt::decide) decides by.
//!
//! Owns small values without names or texts, so that the model of the protocol uses them as they are.

use crate::identity::{Nonce, PartTotals, Proposal, TableId, TableSuffix};

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// The sessions of the run were listed, then the target was read.
    Surveyed(Survey),
    /// The target's id.
    Target(TargetSeen),
    /// The id of a table of our own; none when there is no table of that name.
    Table(Option<TableId>),
    /// The ballot.
    Ballot(BallotSeen),
    /// The proposal that wins among those in the ballot.
    Proposals(Option<Proposal>),
    /// A nonce for a new set.
    Nonce(Nonce),
    /// The first customers are there.
    FirstRows,
    /// The store has no customers, and the guards let that pass.
    NoCustomers,
    /// A session that holds a set.
    Set(SetSeen),
    /// The parts of the own session.
    Parts(PartsSeen),
    /// How the upload ended.
    Uploaded(UploadEnd),
    /// The guards let the loaded rows pass.
    GuardsPassed,
    /// What came of a call that changes something.
    Sent(Sent),
    /// A local or unconditional step is done.
    Done,
}

/// The sessions of the run and the target's id, read in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Survey {
    /// The target, read after the list.
    pub target: TargetSeen,
    /// The set of this run that is in the target, or on its way into it, by [`Survey::choose`].
    pub committed: Option<Winner>,
    /// When the oldest known attempt of the run began, Unix seconds.
    pub oldest: Option<u64>,
    /// A version of the protocol, other than ours, that attempts of this run speak.
    pub other_protocol: Option<u8>,
}

/// What is known of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetSeen {
    /// There is no such table.
    Missing,
    /// The API key may not look.
    Denied,
    /// The table object that is the target now.
    Is(TableId),
}

/// A ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BallotSeen {
    /// There is none: nothing is decided.
    Absent,
    /// `append`: it takes proposals.
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
    /// A table that stands for "nothing is loaded".
    Abandon(Nonce),
    /// By its name it is the target: the winner's table was renamed.
    Target,
    /// None of ours.
    Foreign,
}

/// A set that the ballot names, whoever made it.
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
    /// What it holds, where the ballot says so.
    pub totals: Option<PartTotals>,
}

/// A session that holds a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetSeen {
    /// There is none of that name.
    Absent,
    /// It takes parts.
    Open,
    /// It takes no parts; not loaded.
    Frozen(JobSeen),
    /// The load job works.
    Performing {
        /// The job itself says that it failed or was killed.
        ended: bool,
    },
    /// Loaded; nothing is visible yet.
    Ready(CountsSeen),
    /// The commit works.
    Committing,
    /// The rows are in the table that it belongs to.
    Committed,
    /// Its table is gone, or its status is unknown to us: nothing can come of it.
    Invalid,
}

/// The load job that a frozen session names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobSeen {
    /// None.
    None,
    /// It failed or was killed.
    Failed,
    /// It works, or nothing is known of it.
    Working,
}

/// The record counts of a loaded session, against what its parts prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountsSeen {
    /// Not there yet.
    Unknown,
    /// As proven, or nothing to compare with.
    Proven,
    /// Other than proven.
    Wrong,
}

/// The parts of the own session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartsSeen {
    /// Open: exactly what is known to be stored; surplus was removed.
    Stored,
    /// Frozen: exactly one complete set.
    Complete(PartTotals),
    /// Anything else.
    Differ,
}

/// How the upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UploadEnd {
    /// All parts are stored, the last one with these totals.
    Complete(PartTotals),
    /// The ballot was seen to be decided, or about to be.
    BallotMoved,
    /// The session takes no parts any more.
    SessionLost,
    /// A resumed scan had no further customer, so that the last part would be empty.
    NothingFurther,
}

/// What came of a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Done.
    Done,
    /// Refused because of the state that something is in.
    Conflict,
    /// Refused because the table is gone.
    TableGone,
    /// Refused because the session is gone.
    SessionGone,
    /// The API key may not do it.
    Denied,
    /// The answer was lost: it may have been done, or may be done yet.
    Unclear,
}

impl Survey {
    /// Which of the sets of this run counts, if any: the one whose table is the target, else one for this target that is
    /// listed as committed or committing. `sets`: what the names of their sessions say, and whether that is so.
    ///
    /// What is published may have been committed since the list was made, or be a set without rows: its session says which.
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
