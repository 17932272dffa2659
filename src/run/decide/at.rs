//! Where an attempt stands: which step it has taken last, and why.
//!
//! Owns values only. [`Attempt::decide`](super::Attempt::decide) uses them to interpret the result of that step.

use super::step::OwnSet;

/// Which step the next result belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
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
    ShowOwn(OwnFor),
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
pub(super) enum SurveyFor {
    /// Nothing is known.
    Start,
    /// A ballot is about to be created.
    Ballot,
    /// The target is neither the table that it was nor the winner's table.
    OtherTarget,
}

/// Why the target is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TargetFor {
    NewSet,
    /// Its creation has an unclear result, for this set or for an abandonment.
    CreatedPerhaps(Option<OwnSet>),
    /// Its creation was acknowledged.
    Created(Option<OwnSet>),
    ReadySet,
    Generation,
    Commit,
    Last,
    Publish,
    /// Confirms what was read before.
    PublishAgain {
        there: bool,
        absent: u8,
    },
}

/// Why this attempt's session is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum OwnFor {
    Decide,
    /// Freezing it was acknowledged.
    Frozen,
}

/// Why the ballot is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BallotFor {
    Decide,
    /// Its creation was acknowledged, or refused because it exists.
    Created,
    /// Freezing it was acknowledged.
    Frozen,
    /// Whether there is a next generation.
    NextGeneration,
    /// The store has no customers.
    NothingToLoad,
    /// This attempt's load failed, possibly because the run was decided and the fence deleted its table.
    FailedLoad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListFor {
    Open(BallotFor),
    Frozen,
    /// This attempt has frozen it, after a proposal was acknowledged or listed.
    FrozenNow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AfterDiscard {
    Ballot,
    NewSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AfterWait {
    ReadCreatedTarget(Option<OwnSet>),
    ShowBallot(BallotFor),
    ShowOwn(OwnFor),
    ShowWinner,
    Publish,
    Nonce,
}
