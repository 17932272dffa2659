//! What an attempt does next: each step is one call, or local work, unless it says otherwise.
//!
//! Owns values only; names are rendered from them where the calls are made.

use super::seen::Winner;
use crate::identity::{Nonce, PartTotals, Proposal, TableId, TableSuffix};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// List all sessions, then read the target: two calls in this order.
    Survey,
    /// Read the target's id.
    ReadTarget,
    /// Create the target.
    CreateTarget,
    /// Look at the ballot of a generation.
    ShowBallot(u8),
    /// List the proposals in the ballot of a generation.
    ListBallot(u8),
    /// Take a nonce, by Treasure Data's clock.
    DrawNonce,
    /// Fetch from Yotpo until there are rows, with the set's time.
    Fetch(OwnSet),
    /// Create the set's table under its scratch name.
    CreateScratch(OwnSet),
    /// Read the id of the table under the scratch name.
    ReadScratch(OwnSet),
    /// Rename the scratch table to the set's temporary table; never over another.
    NameTemporary(OwnSet),
    /// Read the id of the set's temporary table.
    ReadTemporary(Winner),
    /// Create the set's session.
    CreateSession(OwnSet),
    /// Look at the set's session, and at its load job where that says more.
    ShowOwn(OwnSet),
    /// List the parts of the open session and remove surplus of an earlier life: some calls.
    TidyParts(OwnSet),
    /// Upload the rest, from what is known to be stored: many calls.
    Upload(OwnSet),
    /// Close the session for uploads.
    FreezeOwn(OwnSet),
    /// List the parts of the frozen session.
    ProveParts(OwnSet),
    /// Start the load job of a set whose parts are proven.
    Perform(Winner),
    /// Compare the loaded rows with the guards, name the columns.
    Guard(OwnSet),
    /// Create the ballot: on the target, or on the set's temporary table.
    CreateBallot(u8, Option<OwnSet>),
    /// Put a proposal into the ballot.
    Propose(u8, Proposal),
    /// Close the ballot.
    FreezeBallot(u8),
    /// Look at the winner's session.
    ShowWinner(Winner),
    /// Commit the winner.
    Commit(Winner),
    /// Delete temporary tables that older runs of this target left: some calls.
    Fence(Winner),
    /// Rename the winner's table over the target.
    Publish(Winner),
    /// Delete the session and the tables of a set of our own that was never proposed.
    Discard(OwnSet),
    /// Wait for one poll interval.
    Wait,
    /// The attempt ends.
    Finish(Ending),
}

/// The set of rows that this attempt makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnSet {
    /// Which attempt makes it.
    pub nonce: Nonce,
    /// The target's id when it was begun.
    pub target: TableId,
    /// Its temporary table, in `replace` mode, once that is there.
    pub table: Option<TableId>,
    /// Whether it has rows at all.
    pub suffix: TableSuffix,
    /// What it holds, once all parts are stored.
    pub totals: Option<PartTotals>,
    /// How far it is.
    pub progress: Progress,
    /// Whether it may have been proposed: then it may have won, and is not ours to delete.
    pub proposed: bool,
}

/// How far the own set is, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    /// Its session is not known to exist.
    Planned,
    /// Its session exists; what it holds must be looked at.
    Created,
    /// It holds what is known to be stored, and nothing else.
    Tidy,
    /// It is loaded, proven and guarded.
    Ready,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The winner's rows are in the target, or were when a newer run replaced them.
    Loaded {
        /// Whose rows.
        winner: Winner,
        /// Whether another attempt made them.
        joined: bool,
    },
    /// The store has no customers; nothing was made.
    NothingToLoad,
    /// It is decided that this generation of the run loads nothing.
    Abandoned,
    /// Somebody else abandoned the run while this attempt was at work.
    AbandonedByOthers,
    /// The target was replaced or recreated by others since the run began.
    Superseded,
    /// The run is older than attempts of it can be told apart.
    RunTooOld,
    /// The winner's session is gone: somebody deleted it.
    WinnerGone,
    /// The winner is not in a state that an attempt can have left it in.
    WinnerChanged,
    /// The ballot is bound to a table that is none of ours.
    ForeignBallot,
    /// Attempts of another version of the protocol are at work.
    OtherProtocol(u8),
    /// `replace` needs the ids of tables, and the API key may not read them.
    NoTableIds,
    /// The target is missing and cannot be created.
    NoTarget,
    /// The load job failed.
    LoadFailed,
    /// The load job ended well, and its session never says so.
    LoadStuck,
    /// The loaded rows are not what was sent.
    CountsDiffer,
    /// The commit fell back to `ready` again and again.
    CommitFailed,
    /// The rename over the target has no effect.
    PublishFailed,
    /// Something always came in between.
    NoProgress,
    /// A step was answered with something that is no answer to it: a defect.
    Unanswerable,
}

impl OwnSet {
    /// A set that nothing was made of yet.
    pub const fn planned(nonce: Nonce, target: TableId) -> Self {
        let (table, totals) = (None, None);
        let suffix = TableSuffix::Rows;
        Self { nonce, target, table, suffix, totals, progress: Progress::Planned, proposed: false }
    }

    /// A set that won, as far as a ballot tells.
    pub const fn of_winner(winner: &Winner) -> Self {
        let Winner { nonce, target, table, suffix, totals } = *winner;
        Self { nonce, target, table, suffix, totals, progress: Progress::Created, proposed: true }
    }

    /// The set as a ballot would name it.
    pub const fn as_winner(&self) -> Winner {
        let Self { nonce, target, table, suffix, totals, .. } = *self;
        Winner { nonce, target, table, suffix, totals }
    }
}
