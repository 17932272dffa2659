//! The steps of an attempt: each is one call or local work, unless stated otherwise.
//!
//! Owns values only; the caller renders names from them.

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
    /// Show the ballot of a generation.
    ShowBallot(u8),
    /// List the proposals in the ballot of a generation.
    ListBallot(u8),
    /// Draw a nonce by Treasure Data's clock.
    DrawNonce,
    /// Fetch from Yotpo until there are rows, with the set's ingestion time.
    Fetch(OwnSet),
    /// Create the set's table under its scratch name.
    CreateScratch(OwnSet),
    /// Read the id of the table under the scratch name.
    ReadScratch(OwnSet),
    /// Rename the scratch table to the set's temporary table, never over an existing table.
    NameTemporary(OwnSet),
    /// Read the id of the set's temporary table.
    ReadTemporary(Winner),
    /// Create the set's session.
    CreateSession(OwnSet),
    /// Show the set's session, and its load job where that has more information.
    ShowOwn(OwnSet),
    /// List the parts of the open session and remove unknown ones of an earlier process: several calls.
    TidyParts(OwnSet),
    /// Upload everything after the parts that are known to be stored: many calls.
    Upload(OwnSet),
    /// Freeze the session: it accepts no more uploads.
    FreezeOwn(OwnSet),
    /// List the parts of the frozen session.
    ProveParts(OwnSet),
    /// Start the load job of a set whose parts are proven.
    Perform(Winner),
    /// Check the loaded rows with the guards, and declare the columns.
    Guard(OwnSet),
    /// Create the ballot, on the target or on the set's temporary table.
    CreateBallot(u8, Option<OwnSet>),
    /// Put a proposal into the ballot.
    Propose(u8, Proposal),
    /// Freeze the ballot.
    FreezeBallot(u8),
    /// Show the winner's session.
    ShowWinner(Winner),
    /// Commit the winner.
    Commit(Winner),
    /// Delete temporary tables that older runs of this target left: several calls.
    Fence(Winner),
    /// Rename the winner's table over the target.
    Publish(Winner),
    /// Delete the session and the tables of this attempt's set, which was never proposed.
    Discard(OwnSet),
    /// Wait for one poll interval.
    Wait,
    /// The attempt ends.
    Finish(Ending),
}

impl Step {
    /// Whether it only looks for a change while the attempt waits.
    pub const fn is_polled(&self) -> bool {
        matches!(
            self,
            Self::ReadTarget
                | Self::ShowBallot(_)
                | Self::ListBallot(_)
                | Self::DrawNonce
                | Self::ShowOwn(_)
                | Self::ShowWinner(_)
        )
    }
}

/// The set of rows that this attempt makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnSet {
    /// The attempt that makes it.
    pub nonce: Nonce,
    /// The target's id when the set was started.
    pub target: TableId,
    /// Its temporary table, in `replace` mode, once that exists.
    pub table: Option<TableId>,
    /// Whether it has rows.
    pub suffix: TableSuffix,
    /// What it holds, once all parts are stored.
    pub totals: Option<PartTotals>,
    /// Its progress.
    pub progress: Progress,
    /// Whether it may have been proposed: then it may have won and must not be deleted.
    pub proposed: bool,
}

/// The progress of this attempt's set, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    /// Its session is not known to exist.
    Planned,
    /// Its session exists; its parts must be listed.
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
        /// The set whose rows they are.
        winner: Winner,
        /// Whether another attempt made them.
        joined: bool,
    },
    /// The store has no customers, and nothing was created.
    NothingToLoad,
    /// The ballot decided that this generation of the run loads nothing.
    Abandoned,
    /// Another attempt abandoned the run while this one was running.
    AbandonedByOthers,
    /// The target was replaced or recreated by others since the run began.
    Superseded,
    /// The run is so old that its attempts can no longer be told apart.
    RunTooOld,
    /// The winner's session was deleted by others.
    WinnerGone,
    /// The winner is in a state in which no attempt can have left it.
    WinnerChanged,
    /// The ballot is bound to a table that this program did not create.
    ForeignBallot,
    /// Attempts with another protocol version are active.
    OtherProtocol(u8),
    /// `replace` needs table ids, and the API key may not read them.
    NoTableIds,
    /// The target is missing and cannot be created.
    NoTarget,
    /// The load job failed.
    LoadFailed,
    /// The load job succeeded, but its session never shows it.
    LoadStuck,
    /// The loaded rows are not what was sent.
    CountsDiffer,
    /// The commit fell back to `ready` repeatedly.
    CommitFailed,
    /// The rename over the target has no effect.
    PublishFailed,
    /// Something else kept interfering.
    NoProgress,
    /// A step returned a result of another step: a bug.
    UnexpectedResult,
}

impl OwnSet {
    /// A set of which nothing was created yet.
    pub const fn planned(nonce: Nonce, target: TableId) -> Self {
        let (table, totals) = (None, None);
        let suffix = TableSuffix::Rows;
        Self { nonce, target, table, suffix, totals, progress: Progress::Planned, proposed: false }
    }

    /// A set that won, with what the ballot says about it.
    pub const fn of_winner(winner: &Winner) -> Self {
        let Winner { nonce, target, table, suffix, totals } = *winner;
        Self { nonce, target, table, suffix, totals, progress: Progress::Created, proposed: true }
    }

    /// The set as a ballot would identify it.
    pub const fn as_winner(&self) -> Winner {
        let Self { nonce, target, table, suffix, totals, .. } = *self;
        Winner { nonce, target, table, suffix, totals }
    }
}
