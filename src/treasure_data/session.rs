//! The life of a bulk import session, as types: each step is only there where it is allowed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{SessionState, SessionStatus};
use super::client::TreasureDataClient;
use super::error::TreasureDataError;
use super::name::{DatabaseName, PartName, SessionName, TableName};

/// How often a commit that fell back to `ready` is asked for again.
const COMMIT_ATTEMPTS: u32 = 3;
/// How often a load job's end is looked for while the session still says "uploading".
const STALE_STATE_LOOKS: u32 = 10;

/// How a wait for the service is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Time between two looks.
    pub interval: Duration,
    /// Longest wait for the load job, and for the commit.
    pub timeout: Duration,
}

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

/// A session that takes parts.
#[derive(Clone, Debug)]
pub struct OpenSession(Session);

/// A session whose uploads are closed.
#[derive(Debug)]
pub struct FrozenSession(Session);

/// A session that is loaded; nothing is visible yet.
#[derive(Debug)]
pub struct LoadedSession {
    session: Session,
    job: Option<String>,
    counts: RecordCounts,
}

/// A loaded session that holds exactly what was sent.
#[derive(Debug)]
pub struct VerifiedSession(Session);

/// Removes a session, in whatever state it is.
#[derive(Clone, Debug)]
pub struct Cleanup(Session);

#[derive(Clone, Debug)]
struct Session {
    client: Arc<TreasureDataClient>,
    name: SessionName,
    database: DatabaseName,
    table: TableName,
}

impl OpenSession {
    /// Creates a session for a table that exists.
    ///
    /// # Errors
    /// When the name is taken by something else, or a call fails for good.
    pub async fn create(
        client: Arc<TreasureDataClient>,
        name: SessionName,
        database: DatabaseName,
        table: TableName,
    ) -> Result<Self, TreasureDataError> {
        client.create_session(&name, &database, &table).await?;
        Ok(Self(Session { client, name, database, table }))
    }

    /// The session's name.
    pub fn name(&self) -> &SessionName {
        &self.0.name
    }

    /// What removes this session.
    pub fn cleanup(&self) -> Cleanup {
        Cleanup(self.0.clone())
    }

    /// Uploads a part; a part of the same name is overwritten.
    ///
    /// # Errors
    /// When the part could not be stored.
    pub async fn upload(&self, part: &PartName, body: Bytes) -> Result<(), TreasureDataError> {
        Ok(self.0.client.upload_part(&self.0.name, part, body).await?)
    }

    /// Closes the session for uploads.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn freeze(self) -> Result<FrozenSession, TreasureDataError> {
        self.0.client.freeze_session(&self.0.name).await?;
        Ok(FrozenSession(self.0))
    }
}

impl FrozenSession {
    /// Starts the load job and waits for its end.
    ///
    /// # Errors
    /// When the job fails or takes too long, or a call fails for good.
    pub async fn perform(self, polling: Polling) -> Result<LoadedSession, TreasureDataError> {
        let session = self.0;
        let mut job = session.client.perform_session(&session.name).await?;
        tracing::info!(session = %session.name, job = job.as_deref().unwrap_or("unknown"), "load job started");
        let state = session.wait_for_load(&mut job, polling).await?;
        let counts = RecordCounts {
            valid_records: state.valid_records.unwrap_or_default(),
            error_records: state.error_records.unwrap_or_default(),
            error_parts: state.error_parts.unwrap_or_default(),
        };
        Ok(LoadedSession { session, job, counts })
    }
}

impl LoadedSession {
    /// The load job, when it is known.
    pub fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// Makes sure that the session holds exactly `expected` rows and nothing that could not be read.
    ///
    /// # Errors
    /// When it does not: nothing may be committed then.
    pub fn verify(self, expected: u64) -> Result<VerifiedSession, TreasureDataError> {
        let sound = RecordCounts { valid_records: expected, error_records: 0, error_parts: 0 };
        if self.counts == sound {
            return Ok(VerifiedSession(self.session));
        }
        Err(TreasureDataError::CountsDiffer { session: self.session.name, expected, counts: self.counts })
    }
}

impl VerifiedSession {
    /// Commits: the rows become visible, all at once. Returns when Treasure Data says so.
    ///
    /// # Errors
    /// When the commit fails again and again or takes too long, or a call fails for good.
    pub async fn commit(self, polling: Polling) -> Result<(), TreasureDataError> {
        let session = self.0;
        for attempt in 1..=COMMIT_ATTEMPTS {
            session.client.commit_session(&session.name).await?;
            if session.wait_for_commit(polling).await? {
                return Ok(());
            }
            tracing::warn!(session = %session.name, attempt, "the commit fell back to ready");
        }
        let Session { name, database, table, .. } = session;
        Err(TreasureDataError::CommitFailed { session: name, database, table, attempts: COMMIT_ATTEMPTS })
    }
}

impl Cleanup {
    /// The session's name.
    pub fn session(&self) -> &SessionName {
        &self.0.name
    }

    /// Whether the rows are in the table already, or may be any moment.
    ///
    /// # Errors
    /// When the state cannot be had.
    pub async fn is_past_commit(&self) -> Result<bool, TreasureDataError> {
        let state = self.0.client.show_session(&self.0.name).await?;
        Ok(matches!(state.status, SessionStatus::Committing | SessionStatus::Committed))
    }

    /// Deletes the session; that it is gone already is fine.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn delete(&self) -> Result<(), TreasureDataError> {
        Ok(self.0.client.delete_session(&self.0.name).await?)
    }
}

impl Session {
    /// Waits until the load job made the session `ready`. A failed job leaves it `uploading`.
    async fn wait_for_load(
        &self,
        job: &mut Option<String>,
        polling: Polling,
    ) -> Result<SessionState, TreasureDataError> {
        let mut wait = Wait::start(self, polling);
        let mut stale_looks = 0;
        loop {
            let state = self.client.show_session(&self.name).await?;
            if job.is_none() {
                job.clone_from(&state.job_id);
            }
            match state.status {
                SessionStatus::Ready => return Ok(state),
                SessionStatus::Performing => {}
                SessionStatus::Uploading => {
                    let outcome = self.job_outcome(job.as_deref()).await?;
                    // A job that has not ended, or not badly, means that the session's state only lags behind.
                    stale_looks += u32::from(!outcome.is_under_way());
                    if outcome.is_failure() || stale_looks > STALE_STATE_LOOKS {
                        let outcome = outcome.0;
                        let (session, job) = (self.name.clone(), job.take());
                        return Err(TreasureDataError::LoadFailed { session, job, outcome });
                    }
                }
                SessionStatus::Committing | SessionStatus::Committed => {
                    return Err(TreasureDataError::UnexpectedState {
                        session: self.name.clone(),
                        found: state.status.name(),
                        expected: SessionStatus::Ready.name(),
                    });
                }
            }
            wait.pause(state.status).await?;
        }
    }

    async fn job_outcome(&self, job: Option<&str>) -> Result<JobOutcome, TreasureDataError> {
        match job {
            Some(job) => Ok(JobOutcome(self.client.job_status(job).await?)),
            None => Ok(JobOutcome("unknown".to_owned())),
        }
    }

    /// Waits for the end of a commit: `true` when committed, `false` when it fell back to `ready`.
    async fn wait_for_commit(&self, polling: Polling) -> Result<bool, TreasureDataError> {
        let mut wait = Wait::start(self, polling);
        let mut ready_looks = 0;
        loop {
            let state = self.client.show_session(&self.name).await?;
            match state.status {
                SessionStatus::Committed => return Ok(true),
                SessionStatus::Committing => {}
                // The first look may come before the commit began.
                SessionStatus::Ready if ready_looks < 2 => ready_looks += 1,
                SessionStatus::Ready => return Ok(false),
                SessionStatus::Uploading | SessionStatus::Performing => {
                    return Err(TreasureDataError::UnexpectedState {
                        session: self.name.clone(),
                        found: state.status.name(),
                        expected: SessionStatus::Committed.name(),
                    });
                }
            }
            wait.pause(state.status).await?;
        }
    }
}

/// A job's status.
struct JobOutcome(String);

impl JobOutcome {
    fn is_failure(&self) -> bool {
        matches!(self.0.as_str(), "error" | "killed")
    }

    fn is_under_way(&self) -> bool {
        matches!(self.0.as_str(), "queued" | "booting" | "running")
    }
}

/// A wait with an end.
struct Wait<'a> {
    session: &'a Session,
    polling: Polling,
    started: Duration,
}

impl<'a> Wait<'a> {
    fn start(session: &'a Session, polling: Polling) -> Self {
        Self { session, polling, started: session.client.clock().now() }
    }

    async fn pause(&mut self, status: SessionStatus) -> Result<(), TreasureDataError> {
        let clock = self.session.client.clock();
        let waited = clock.now().saturating_sub(self.started);
        if waited >= self.polling.timeout {
            let session = self.session.name.clone();
            return Err(TreasureDataError::TookTooLong { session, found: status.name(), waited });
        }
        clock.sleep(self.polling.interval).await;
        Ok(())
    }
}

impl fmt::Display for RecordCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { valid_records, error_records, error_parts } = self;
        write!(formatter, "{valid_records} valid, {error_records} error records, {error_parts} error parts")
    }
}
