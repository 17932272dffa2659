//! Behaviour of Treasure Data that is not documented.
//!
//! Owns only these settings. Where a lenient interpretation could hide a client's mistake, the default is the strict
//! one. Where both are plausible and neither is stricter, tests try both.

use std::time::Duration;

/// Behaviour of Treasure Data that its documentation leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreasureDataBehaviour {
    /// Which name a session reports after its table was renamed.
    pub renamed_table: RenamedTable,
    /// The response to calls on a session whose table was deleted, except `show`, `list` and `delete`, which work.
    pub invalid_session: InvalidSession,
    /// The reported status of a session whose table was deleted.
    pub invalid_status: InvalidStatus,
    /// The response to uploads and part deletions that the session does not accept, or no longer accepts.
    pub closed_session: ClosedSession,
    /// The effect of `perform` on a session that is `ready`.
    pub repeated_perform: RepeatedPerform,
    /// The state of a session after its load job was killed.
    pub killed_job: KilledJob,
    /// Whether a write-only key may create tables.
    pub write_only_table_creation: WriteOnlyTableCreation,
    /// When sessions are removed.
    pub retention: Retention,
    /// How many `show` calls still return the session as it was before its last `perform` or `commit`.
    pub stale_show_calls: u32,
    /// How many `show` calls return `null` for the counters of a loaded session.
    pub show_calls_without_counters: u32,
    /// A promise that is broken, for tests of `check`: runs rely on all of them.
    pub broken_promise: BrokenPromise,
}

/// A promise that runs rely on, and that the service does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenPromise {
    /// All are kept.
    #[default]
    None,
    /// Creating a session that exists succeeds.
    CreatesTwice,
    /// A second upload of the same part is a conflict.
    RefusesSameName,
    /// A frozen session accepts parts.
    AcceptsWhenFrozen,
    /// The list of parts of a frozen session lacks the last one.
    ListsLate,
    /// A session that is not frozen can be performed.
    PerformsOpenSessions,
    /// A renamed table gets another id.
    RenameChangesId,
    /// Deleting a table deletes its sessions.
    ForgetsSessions,
}

/// Which name `show` and `list` report for the table of a session after it was renamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenamedTable {
    /// The name of the table when the session was created.
    #[default]
    OldName,
    /// The current name of the table, or its last one if it was deleted.
    NewName,
}

/// The response to a call on an invalid session, one whose table was deleted. Both name the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidSession {
    /// 404
    #[default]
    NotFound,
    /// 422
    Unprocessable,
}

/// The status that `show` and `list` report for an invalid session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidStatus {
    /// The last status before.
    #[default]
    LastStatus,
    /// `unknown`
    Unknown,
}

/// The response to an upload or a part deletion in a session that is frozen or past `uploading`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClosedSession {
    /// 409
    #[default]
    Conflict,
    /// 422
    Unprocessable,
}

/// The effect of `perform` on a session that is `ready`. Clients must expect that it is accepted and starts a second
/// job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepeatedPerform {
    /// 409
    #[default]
    Conflict,
    /// It starts another job, and the result of the earlier one is discarded.
    Accepted,
}

/// The state of a session after its load job was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KilledJob {
    /// It returns to `uploading`, as after a failed job.
    #[default]
    FallsBack,
    /// It stays `performing` forever.
    StaysPerforming,
}

/// Whether a write-only key may create tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteOnlyTableCreation {
    /// 403
    #[default]
    Denied,
    /// Like any other key.
    Allowed,
}

/// How long after its creation, on the clock, a session is removed; `None` keeps it forever. A session with a running
/// commit is kept until the commit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For sessions without a load job.
    pub never_performed: Option<Duration>,
    /// For sessions with a load job that are not committed.
    pub performed: Option<Duration>,
    /// For committed sessions.
    pub committed: Option<Duration>,
}

impl Default for Retention {
    /// The documented policy of 2024, interpreted strictly: sessions that are not committed are removed after seven
    /// days.
    fn default() -> Self {
        const SEVEN_DAYS: Duration = Duration::from_hours(7 * 24);
        Self { never_performed: Some(SEVEN_DAYS), performed: Some(SEVEN_DAYS), committed: None }
    }
}
