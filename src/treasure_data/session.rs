//! The calls of a bulk import session. When to make them, and what to check before, is decided elsewhere.
//!
//! | call | on a lost response |
//! |---|---|
//! | list, show, list parts, job status, error records | repeated: they change nothing |
//! | upload | repeated: the same part name overwrites |
//! | delete part, delete session, kill job | repeated: 404 means gone |
//! | create, propose, freeze, perform, commit | reported as unclear; the caller checks the state first |

use bytes::Bytes;
use http::{Method, StatusCode};

use super::change::Change;
use super::client::{Call, Payload, TreasureDataClient};
use super::error::TreasureDataError;
use super::response::{JobState, JobTimes, PartList, Performed, SessionList, SessionState};
use crate::http::Effect;
use crate::identity::{DatabaseName, PartName, SessionName, TableName};
use crate::retry::Series;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It waits for a free slot.
    Queued,
    /// It is being started.
    Booting,
    /// It is running, or its status is unknown.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed or was killed.
    Failed,
}

impl TreasureDataClient {
    /// Lists all sessions of the account. Entries that cannot be parsed are skipped.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn sessions(&self) -> Result<Vec<SessionState>, TreasureDataError> {
        let call = Call::get("list the bulk import sessions", &["bulk_import", "list"]);
        let list: SessionList = self.fetch(call).await?;
        Ok(list.bulk_imports)
    }

    /// The current state of a session; `None` if it does not exist.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn session(&self, session: &SessionName) -> Result<Option<SessionState>, TreasureDataError> {
        let path = ["bulk_import", "show", session.as_str()];
        match self.fetch(Call::get("read the state of the bulk import session", &path)).await {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a session that loads into a table. Of all callers, exactly one succeeds.
    ///
    /// # Errors
    /// When the call fails, and checking the state cannot help.
    pub async fn create_session(
        &self,
        series: &mut Series,
        session: &SessionName,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<Change, TreasureDataError> {
        let names = [session.as_str(), database.as_str(), table.as_str()];
        let path = ["bulk_import", "create", names[0], names[1], names[2]];
        let call = Call::post("create the bulk import session", Effect::CheckFirst, &path);
        let result = self.change(series, call, &names).await.map(|(change, _)| change);
        result.map_err(|error| error.in_database(database))
    }

    /// Lists the names of the parts of a session. The inner error is [`Change::TableGone`] or [`Change::SessionGone`].
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn parts(
        &self,
        session: &SessionName,
    ) -> Result<Result<Vec<String>, Change>, TreasureDataError> {
        let path = ["bulk_import", "list_parts", session.as_str()];
        let list = self.probe::<PartList>(Call::get("list the parts", &path), &[session.as_str()]).await?;
        Ok(list.map(|list| list.parts))
    }

    /// Deletes a part of a session that accepts uploads. Succeeds if the part does not exist.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn delete_part(&self, session: &SessionName, part: &PartName) -> Result<(), TreasureDataError> {
        let path = ["bulk_import", "delete_part", session.as_str(), part.as_str()];
        match self.send(Call::post("delete a part", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    /// Uploads a part, with retries. A part of the same name is overwritten. Returns `false` if the session accepts no parts any
    /// more.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn upload_part(
        &self,
        session: &SessionName,
        part: &PartName,
        body: Bytes,
    ) -> Result<bool, TreasureDataError> {
        let path = ["bulk_import", "upload_part", session.as_str(), part.as_str()];
        let payload = Payload::Part(body);
        let call = Call { operation: "upload a part", effect: Effect::Repeatable, path: &path, payload };
        match self.send((Method::PUT, call)).await {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) || error.status_code() == Some(StatusCode::CONFLICT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds a proposal to a ballot: a part whose name contains the proposal and whose body cannot be loaded.
    ///
    /// # Errors
    /// As [`Self::create_session`].
    pub async fn propose(
        &self,
        series: &mut Series,
        ballot: &SessionName,
        proposal: &PartName,
    ) -> Result<Change, TreasureDataError> {
        let path = ["bulk_import", "upload_part", ballot.as_str(), proposal.as_str()];
        let payload =
            Payload::Part(Bytes::from_static(b"a proposal of yotpo-td: not data, never to be performed\n"));
        let call = Call {
            operation: "add a proposal to the ballot",
            effect: Effect::CheckFirst,
            path: &path,
            payload,
        };
        let names = [ballot.as_str(), proposal.as_str()];
        self.change(series, (Method::PUT, call), &names).await.map(|(change, _)| change)
    }

    /// Closes a session for uploads.
    ///
    /// # Errors
    /// As [`Self::create_session`].
    pub async fn freeze(
        &self,
        series: &mut Series,
        session: &SessionName,
    ) -> Result<Change, TreasureDataError> {
        let path = ["bulk_import", "freeze", session.as_str()];
        let call = Call::post("close the session for uploads", Effect::CheckFirst, &path);
        self.change(series, call, &[session.as_str()]).await.map(|(change, _)| change)
    }

    /// Starts the load job. Returns its id if the response contains it.
    ///
    /// # Errors
    /// As [`Self::create_session`].
    pub async fn perform(
        &self,
        series: &mut Series,
        session: &SessionName,
    ) -> Result<(Change, Option<String>), TreasureDataError> {
        let path = ["bulk_import", "perform", session.as_str()];
        let call = Call::post("start the load job", Effect::CheckFirst, &path);
        let (change, response) = self.change(series, call, &[session.as_str()]).await?;
        let job = response.and_then(|response| response.json::<Performed>().ok()?.job_id);
        Ok((change, job))
    }

    /// Starts the commit, which runs in the background.
    ///
    /// # Errors
    /// As [`Self::create_session`].
    pub async fn commit(
        &self,
        series: &mut Series,
        session: &SessionName,
    ) -> Result<Change, TreasureDataError> {
        let path = ["bulk_import", "commit", session.as_str()];
        let call = Call::post("commit the session", Effect::CheckFirst, &path);
        self.change(series, call, &[session.as_str()]).await.map(|(change, _)| change)
    }

    /// Deletes a session, whatever its state. Succeeds if it does not exist.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn delete_session(&self, session: &SessionName) -> Result<(), TreasureDataError> {
        let path = ["bulk_import", "delete", session.as_str()];
        match self.send(Call::post("delete the bulk import session", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    /// The state of a job. A session may remain `performing` after its job was killed.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn job_outcome(&self, job: &str) -> Result<JobOutcome, TreasureDataError> {
        let path = ["job", "status", job];
        let state: JobState = self.fetch(Call::get("read the state of the load job", &path)).await?;
        Ok(match state.status.as_str() {
            "error" | "killed" => JobOutcome::Failed,
            "success" => JobOutcome::Succeeded,
            "queued" => JobOutcome::Queued,
            "booting" => JobOutcome::Booting,
            _ => JobOutcome::Running,
        })
    }

    /// Kills a job. Succeeds if the job does not exist.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn kill_job(&self, job: &str) -> Result<(), TreasureDataError> {
        match self.send(Call::post("kill the job", Effect::Repeatable, &["job", "kill", job])).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    /// When a job ended, or else started, in Unix seconds; `None` if the response contains neither.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn job_time(&self, job: &str) -> Result<Option<u64>, TreasureDataError> {
        let times: JobTimes =
            self.fetch(Call::get("read the state of the load job", &["job", "show", job])).await?;
        Ok(times.end_at.or(times.start_at).and_then(|text| unix_seconds(&text)))
    }
}

/// 404 or 422: the session does not exist or is unusable.
fn is_gone(error: &crate::http::CallError) -> bool {
    matches!(error.status_code(), Some(StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY))
}

/// Parses a time such as `2026-11-23 04:00:00 UTC`, the format of job descriptions.
fn unix_seconds(text: &str) -> Option<u64> {
    let time =
        humantime::parse_rfc3339_weak(text.trim_end_matches("UTC").trim_end_matches('Z').trim()).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_times_are_parsed() {
        assert_eq!(unix_seconds("2026-11-23 04:00:00 UTC"), Some(1_795_406_400));
        assert_eq!(unix_seconds("2026-11-23T04:00:00Z"), Some(1_795_406_400));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
