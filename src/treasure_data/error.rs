//! Why a load into Treasure Data failed.

use std::time::Duration;

use super::session::RecordCounts;
use crate::http::CallError;
use crate::identity::{DatabaseName, SessionName, TableName};

/// A step of the load failed.
#[derive(Debug, thiserror::Error)]
pub enum TreasureDataError {
    /// The key is wrong or may not do this.
    #[error("Treasure Data refuses the API key, or the key may not do this")]
    Refused(#[source] CallError),
    /// A call failed.
    #[error("a call to Treasure Data failed")]
    Call(#[source] CallError),
    /// The database does not exist.
    #[error("database {database} was not found")]
    NoDatabase {
        /// The database.
        database: DatabaseName,
        /// The answer.
        source: CallError,
    },
    /// Another session has this name already, for another target or in a state that cannot be gone on with.
    #[error("a bulk import session {session} exists already and is not ours to use ({found})")]
    SessionTaken {
        /// The session.
        session: SessionName,
        /// What it is.
        found: String,
    },
    /// The load job ended without success.
    #[error("the load job {} of session {session} ended as {outcome}", job.as_deref().unwrap_or("(unknown)"))]
    LoadFailed {
        /// The session.
        session: SessionName,
        /// The job.
        job: Option<String>,
        /// Its status.
        outcome: String,
    },
    /// The session is in a state that this step does not expect.
    #[error("session {session} is {found} while we were waiting for it to be {expected}")]
    UnexpectedState {
        /// The session.
        session: SessionName,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A wait took longer than allowed.
    #[error("session {session} was still {found} after {}", humantime::format_duration(*.waited))]
    TookTooLong {
        /// The session.
        session: SessionName,
        /// What it was.
        found: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// What was loaded is not what was sent.
    #[error(
        "session {session} does not hold what was sent: {}, found {counts}",
        expected.map_or_else(|| "expected sound rows only".to_owned(), |rows| format!("expected {rows} rows"))
    )]
    CountsDiffer {
        /// The session.
        session: SessionName,
        /// Rows that were sent, when it is known.
        expected: Option<u64>,
        /// What the session says.
        counts: RecordCounts,
    },
    /// The commit fell back to `ready` again and again.
    #[error("the commit of session {session} into {database}.{table} failed {attempts} times")]
    CommitFailed {
        /// The session.
        session: SessionName,
        /// The database.
        database: DatabaseName,
        /// The table.
        table: TableName,
        /// How often it was tried.
        attempts: u32,
    },
}

impl TreasureDataError {
    /// What the user can do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(_) => {
                "check TD_API_KEY, its permissions (import) and the region: --site or --td-endpoint \
                                 (TD_API_SERVER)"
                    .to_owned()
            }
            Self::Call(source) => source
                .trust_hint()
                .unwrap_or("Treasure Data or the network is at fault; run it again")
                .to_owned(),
            Self::NoDatabase { database, .. } => {
                format!(
                    "create it (td db:create {database}) or set --database (TD_DATABASE) right; check --site"
                )
            }
            Self::SessionTaken { session, .. } => {
                format!(
                    "look at it with: td import:show {session}; delete it if nobody needs it, then run again"
                )
            }
            Self::LoadFailed { job: Some(job), .. } => {
                format!("the job's output in the console says why: td job:show {job}; then run again")
            }
            Self::LoadFailed { job: None, .. } | Self::CommitFailed { .. } => {
                "run it again; if it stays, ask Treasure Data's support with the session's name".to_owned()
            }
            Self::UnexpectedState { session, .. } => {
                format!("something else changed the session; look at it with: td import:show {session}")
            }
            Self::TookTooLong { session, .. } => {
                format!("look at it with: td import:show {session}; --perform-timeout allows more time")
            }
            Self::CountsDiffer { session, .. } => {
                format!("the rows that could not be read: td import:error_records {session}; then run again")
            }
        }
    }
}

impl From<CallError> for TreasureDataError {
    fn from(error: CallError) -> Self {
        if error.is_refused() { Self::Refused(error) } else { Self::Call(error) }
    }
}
