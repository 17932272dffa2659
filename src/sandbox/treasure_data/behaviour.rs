//! What Treasure Data does where its documentation is silent.
//!
//! Owns these settings only. Where a reading could hide a client's mistake, the default is the strict one; where both
//! readings are plausible and neither is stricter, tests try both.

use std::time::Duration;

/// How Treasure Data behaves where its documentation leaves it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreasureDataBehaviour {
    /// Which name a session reports after its table was renamed.
    pub renamed_table: RenamedTable,
    /// The response to calls on a session whose table was deleted; `show`, `list` and `delete` work on it.
    pub invalid_session: InvalidSession,
    /// The status that a session whose table was deleted reports.
    pub invalid_status: InvalidStatus,
    /// The response to uploads and part deletions that the session does not accept (any more).
    pub closed_session: ClosedSession,
    /// What `perform` does to a session that is `ready`.
    pub repeated_perform: RepeatedPerform,
    /// What becomes of a session whose load job is killed.
    pub killed_job: KilledJob,
    /// Whether a write-only key may create tables.
    pub write_only_table_creation: WriteOnlyTableCreation,
    /// When sessions are removed.
    pub retention: Retention,
    /// How many looks at a session (`show`) still see it as it was before its last `perform` or `commit`.
    pub stale_looks: u32,
    /// How many looks at a loaded session see `null` in place of its counters.
    pub looks_without_counters: u32,
}

/// Which name `show` and `list` report for the table of a session, once that was renamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenamedTable {
    /// The name that the table had when the session was created.
    #[default]
    OldName,
    /// The name that the table has now; after it was deleted, the last one.
    NewName,
}

/// The response to a call on an invalid session, one whose table was deleted. Either names the table.
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
    /// The one it had before.
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

/// What `perform` does to a session that is `ready`. Clients have to expect a second job, so it may be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepeatedPerform {
    /// It is out of turn: 409.
    #[default]
    Refused,
    /// It starts another job; the result of the earlier one is discarded.
    Accepted,
}

/// What becomes of a session whose load job is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KilledJob {
    /// It falls back to `uploading`, as after a failed job.
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
    /// As for any other key.
    Allowed,
}

/// How long after its creation, on the clock, a session is removed; none keeps it forever. A session whose commit is
/// running stays until that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// No load job was ever started.
    pub never_performed: Option<Duration>,
    /// A load job was started, nothing is committed.
    pub performed: Option<Duration>,
    /// Committed.
    pub committed: Option<Duration>,
}

impl Default for Retention {
    /// The documented policy of 2024, read strictly: what was not imported is removed after seven days.
    fn default() -> Self {
        const SEVEN_DAYS: Duration = Duration::from_hours(7 * 24);
        Self { never_performed: Some(SEVEN_DAYS), performed: Some(SEVEN_DAYS), committed: None }
    }
}
