//! The life of a bulk import session, as types: each step is only there where it is allowed, and a session that was
//! left by another process is taken up where it stands ([`Session::attach`]).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::{SessionState, SessionStatus};
use super::client::TreasureDataClient;
use super::error::TreasureDataError;
use super::wait::{JobOutcome, Polling, Wait};
use crate::identity::{DatabaseName, PartName, SessionName, TableName};

/// How often a load job's end is looked for while the session still says "uploading".
const STALE_STATE_LOOKS: u32 = 10;
/// How often `ready` is believed to be older than the commit that was asked for.
const STALE_READY_LOOKS: u32 = 2;

/// What a session says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCounts {
    /// Rows that will be committed.
    pub valid_records: u64,
    /// Rows that could not be read.
    pub error_records: u64,
    /// Parts that could not be read.
    pub error_parts: u64,
}

/// A session's name and target; nothing is known of its state.
#[derive(Clone, Debug)]
pub struct Session {
    client: Arc<TreasureDataClient>,
    name: SessionName,
    database: DatabaseName,
    table: TableName,
}

/// Where a session stands.
#[derive(Debug)]
pub enum Stage {
    /// There is no such session.
    Absent,
    /// It takes parts.
    Open(OpenSession),
    /// Its uploads are closed.
    Frozen(FrozenSession),
    /// The load job is at work.
    Performing(PerformingSession),
    /// It is loaded; nothing is visible yet.
    Loaded(LoadedSession),
    /// The commit is at work.
    Committing(CommittingSession),
    /// The rows are in the table.
    Committed(CommittedSession),
}

/// A session that takes parts.
#[derive(Clone, Debug)]
pub struct OpenSession(Session);

/// A session whose uploads are closed.
#[derive(Debug)]
pub struct FrozenSession {
    session: Session,
    /// The job of a load that failed.
    failed_job: Option<String>,
}

/// A session whose load job is at work.
#[derive(Debug)]
pub struct PerformingSession {
    session: Session,
    job: Option<String>,
}

/// A session that is loaded; nothing is visible yet.
#[derive(Debug)]
pub struct LoadedSession {
    session: Session,
    job: Option<String>,
    counts: RecordCounts,
}

/// A loaded session that holds what was sent.
#[derive(Debug)]
pub struct VerifiedSession(Session);

/// A session whose commit was asked for.
#[derive(Debug)]
pub struct CommittingSession(Session);

/// A session whose rows are in the table.
#[derive(Debug)]
pub struct CommittedSession(Session);

impl Session {
    /// Names a session; nothing is sent.
    pub fn new(
        client: Arc<TreasureDataClient>,
        name: SessionName,
        database: DatabaseName,
        table: TableName,
    ) -> Self {
        Self { client, name, database, table }
    }

    /// The session's name.
    pub fn name(&self) -> &SessionName {
        &self.name
    }

    /// Creates the session. That it exists already is fine when it is of the same table and open.
    ///
    /// # Errors
    /// When the name is taken by something else, or a call fails for good.
    pub async fn create(&self) -> Result<OpenSession, TreasureDataError> {
        self.client.create_session(&self.name, &self.database, &self.table).await?;
        Ok(OpenSession(self.clone()))
    }

    /// Finds out where the session stands.
    ///
    /// # Errors
    /// When it belongs to another table, or a call fails for good.
    pub async fn attach(&self) -> Result<Stage, TreasureDataError> {
        let Some(state) = self.client.find_session(&self.name).await? else { return Ok(Stage::Absent) };
        let other = |found: &str, ours: &str| !found.is_empty() && found != ours;
        if other(&state.database, self.database.as_str()) || other(&state.table, self.table.as_str()) {
            let found = self.client.redactor().scrub(&format!("of {}.{}", state.database, state.table));
            return Err(TreasureDataError::SessionTaken { session: self.name.clone(), found });
        }
        let session = self.clone();
        Ok(match state.status {
            SessionStatus::Uploading if !state.upload_frozen => Stage::Open(OpenSession(session)),
            SessionStatus::Uploading => match state.job_id {
                // A job that failed left it here: it may be performed again. One that only began did not.
                Some(job) if !self.job_outcome(Some(&job)).await?.is_failure() => {
                    Stage::Performing(PerformingSession { session, job: Some(job) })
                }
                failed_job => Stage::Frozen(FrozenSession { session, failed_job }),
            },
            SessionStatus::Performing => Stage::Performing(PerformingSession { session, job: state.job_id }),
            SessionStatus::Ready => Stage::Loaded(LoadedSession::new(session, state)),
            SessionStatus::Committing => Stage::Committing(CommittingSession(session)),
            SessionStatus::Committed => Stage::Committed(CommittedSession(session)),
        })
    }

    /// Deletes the session, in whatever state it is; that it is gone already is fine.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn delete(&self) -> Result<(), TreasureDataError> {
        Ok(self.client.delete_session(&self.name).await?)
    }

    async fn job_outcome(&self, job: Option<&str>) -> Result<JobOutcome, TreasureDataError> {
        match job {
            Some(job) => Ok(JobOutcome::new(self.client.job_status(job).await?)),
            None => Ok(JobOutcome::new("unknown".to_owned())),
        }
    }

    fn unexpected(&self, found: SessionStatus, expected: SessionStatus) -> TreasureDataError {
        let session = self.name.clone();
        TreasureDataError::UnexpectedState { session, found: found.name(), expected: expected.name() }
    }
}

impl Stage {
    /// A word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Open(_) => "open",
            Self::Frozen(_) => "frozen",
            Self::Performing(_) => SessionStatus::Performing.name(),
            Self::Loaded(_) => SessionStatus::Ready.name(),
            Self::Committing(_) => SessionStatus::Committing.name(),
            Self::Committed(_) => SessionStatus::Committed.name(),
        }
    }
}

impl OpenSession {
    /// Uploads a part; a part of the same name is overwritten.
    ///
    /// # Errors
    /// When the part could not be stored.
    pub async fn upload(&self, part: &PartName, body: Bytes) -> Result<(), TreasureDataError> {
        Ok(self.0.client.upload_part(&self.0.name, part, body).await?)
    }

    /// Makes the session hold exactly its first `count` parts; `false` when one of them is missing.
    ///
    /// # Errors
    /// When a call fails for good.
    pub async fn keep_first_parts(&self, count: u64) -> Result<bool, TreasureDataError> {
        let Session { client, name, .. } = &self.0;
        let mut found: BTreeSet<String> = client.list_parts(name).await?.into_iter().collect();
        for position in 0..count {
            if !found.remove(PartName::at(position).as_str()) {
                return Ok(false);
            }
        }
        for surplus in found {
            // A name that is none of ours cannot be ours to keep either, but it cannot be put into an address.
            let Ok(part) = surplus.parse() else { return Ok(false) };
            client.delete_part(name, &part).await?;
        }
        Ok(true)
    }

    /// Closes the session for uploads.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn freeze(self) -> Result<FrozenSession, TreasureDataError> {
        self.0.client.freeze_session(&self.0.name).await?;
        Ok(FrozenSession { session: self.0, failed_job: None })
    }
}

impl FrozenSession {
    /// Whether the session holds its first `count` parts and no other.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn holds_first_parts(&self, count: u64) -> Result<bool, TreasureDataError> {
        let found: BTreeSet<String> =
            self.session.client.list_parts(&self.session.name).await?.into_iter().collect();
        let expected = (0..count).map(|position| PartName::at(position).as_str().to_owned()).collect();
        Ok(found == expected)
    }

    /// Starts the load job.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn perform(self) -> Result<PerformingSession, TreasureDataError> {
        let Self { session, failed_job } = self;
        let job = session.client.perform_session(&session.name, failed_job.as_deref()).await?;
        Ok(PerformingSession { session, job })
    }
}

impl PerformingSession {
    /// The load job, when it is known.
    pub fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// Waits until the load job made the session `ready`. A failed job leaves it `uploading`.
    ///
    /// # Errors
    /// When the job fails or takes too long, or a call fails for good.
    pub async fn wait(self, polling: Polling) -> Result<LoadedSession, TreasureDataError> {
        let Self { session, mut job } = self;
        let mut wait = Wait::start(session.client.clock(), &session.name, polling);
        let mut stale_looks = 0;
        loop {
            let mut state = session.client.show_session(&session.name).await?;
            job = job.or_else(|| state.job_id.take());
            match state.status {
                SessionStatus::Ready => {
                    state.job_id = job;
                    return Ok(LoadedSession::new(session, state));
                }
                SessionStatus::Performing => {}
                SessionStatus::Uploading => {
                    let outcome = session.job_outcome(job.as_deref()).await?;
                    // A job that has not ended, or not badly, means that the session's state only lags behind.
                    stale_looks += u32::from(!outcome.is_under_way());
                    if outcome.is_failure() || stale_looks > STALE_STATE_LOOKS {
                        let outcome = outcome.into_text();
                        return Err(TreasureDataError::LoadFailed { session: session.name, job, outcome });
                    }
                }
                found @ (SessionStatus::Committing | SessionStatus::Committed) => {
                    return Err(session.unexpected(found, SessionStatus::Ready));
                }
            }
            wait.pause(state.status).await?;
        }
    }
}

impl LoadedSession {
    fn new(session: Session, state: SessionState) -> Self {
        let counts = RecordCounts {
            valid_records: state.valid_records.unwrap_or_default(),
            error_records: state.error_records.unwrap_or_default(),
            error_parts: state.error_parts.unwrap_or_default(),
        };
        Self { session, job: state.job_id, counts }
    }

    /// The load job, when it is known.
    pub fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// What the session says that it holds.
    pub fn counts(&self) -> RecordCounts {
        self.counts
    }

    /// The records that could not be read: a gzip file of `MessagePack` values, which is customer data.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn error_records(&self) -> Result<Bytes, TreasureDataError> {
        Ok(self.session.client.error_records(&self.session.name).await?)
    }

    /// Makes sure that the session holds `expected` rows, of which at most `allowed_errors` could not be read.
    /// Without an expectation (a run that another machine began) it must hold rows and no more errors than allowed.
    ///
    /// # Errors
    /// When it does not: nothing may be committed then.
    pub fn verify(
        self,
        expected: Option<u64>,
        allowed_errors: u64,
    ) -> Result<VerifiedSession, TreasureDataError> {
        if self.counts.are_whole(expected, allowed_errors) {
            return Ok(VerifiedSession(self.session));
        }
        Err(TreasureDataError::CountsDiffer { session: self.session.name, expected, counts: self.counts })
    }
}

impl VerifiedSession {
    /// Asks for the commit, which goes on by itself.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn commit(self) -> Result<CommittingSession, TreasureDataError> {
        self.0.client.commit_session(&self.0.name).await?;
        Ok(CommittingSession(self.0))
    }
}

impl CommittingSession {
    /// Waits for the end of the commit; `None` when it fell back to `ready`, which means that it failed.
    ///
    /// # Errors
    /// When it takes too long or a call fails for good.
    pub async fn wait(self, polling: Polling) -> Result<Option<CommittedSession>, TreasureDataError> {
        let session = self.0;
        let mut wait = Wait::start(session.client.clock(), &session.name, polling);
        let mut ready_looks = 0;
        loop {
            let state = session.client.show_session(&session.name).await?;
            match state.status {
                SessionStatus::Committed => return Ok(Some(CommittedSession(session))),
                SessionStatus::Committing => {}
                SessionStatus::Ready if ready_looks < STALE_READY_LOOKS => ready_looks += 1,
                SessionStatus::Ready => return Ok(None),
                found @ (SessionStatus::Uploading | SessionStatus::Performing) => {
                    return Err(session.unexpected(found, SessionStatus::Committed));
                }
            }
            wait.pause(state.status).await?;
        }
    }
}

impl CommittedSession {
    /// The session, to be deleted or left as a marker.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl RecordCounts {
    /// Whether these are the counts of a session that may be committed: see [`LoadedSession::verify`].
    fn are_whole(self, expected: Option<u64>, allowed_errors: u64) -> bool {
        let Self { valid_records, error_records, error_parts } = self;
        let whole = match expected {
            Some(expected) => valid_records.checked_add(error_records) == Some(expected),
            None => valid_records > 0,
        };
        whole && error_records <= allowed_errors && error_parts == 0
    }
}

impl fmt::Display for RecordCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { valid_records, error_records, error_parts } = self;
        write!(formatter, "{valid_records} valid, {error_records} error records, {error_parts} error parts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_counts_may_be_committed() {
        let counts = |valid_records, error_records, error_parts| RecordCounts {
            valid_records,
            error_records,
            error_parts,
        };
        assert!(counts(10, 0, 0).are_whole(Some(10), 0));
        assert!(counts(8, 2, 0).are_whole(Some(10), 2));
        assert!(counts(10, 0, 0).are_whole(None, 0));
        for (found, expected, allowed) in [
            (counts(9, 0, 0), Some(10), 0),
            (counts(11, 0, 0), Some(10), 0),
            (counts(8, 2, 0), Some(10), 1),
            (counts(9, 0, 0), Some(10), 5),
            (counts(10, 0, 1), Some(10), 9),
            // Of a run that another machine began, only the errors tell that something is missing.
            (counts(10, 0, 1), None, 9),
            (counts(10, 1, 0), None, 0),
            (counts(0, 0, 0), None, 0),
            (counts(u64::MAX, 1, 0), Some(0), 1),
        ] {
            assert!(!found.are_whole(expected, allowed), "{found} {expected:?} {allowed}");
        }
    }
}
