//! The calls of a bulk import session, each with its rule for a lost answer:
//!
//! | call | before it is repeated |
//! |---|---|
//! | create | a 409 may be our first try: `show`, compare database, table and status |
//! | upload | nothing: the same part name overwrites |
//! | delete part | nothing: 404 means gone |
//! | freeze | nothing: 409 is fine |
//! | perform | `show`: performing, ready or a new job mean that it was taken; so after a 409 |
//! | commit | `show`: committing or committed mean that it was taken; so after a 409 |
//! | delete | nothing: 404 means gone |

use bytes::Bytes;
use http::{Method, StatusCode};

use super::answer::{JobState, JobTimes, PartList, Performed, SessionList, SessionState, SessionStatus};
use super::client::{Call, Payload, TreasureDataClient};
use super::error::TreasureDataError;
use crate::http::{CallError, Effect};
use crate::identity::{DatabaseName, PartName, SessionName, TableName};

impl TreasureDataClient {
    /// Creates a session for a table. Afterwards it exists, is empty or holds parts of an earlier attempt, and is
    /// still open for uploads.
    pub(super) async fn create_session(
        &self,
        session: &SessionName,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<(), TreasureDataError> {
        let path = ["bulk_import", "create", session.as_str(), database.as_str(), table.as_str()];
        let call = Call::post("create the bulk import session", Effect::Repeatable, &path);
        match self.send(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.status_code() == Some(StatusCode::CONFLICT) => {
                let state = self.show_session(session).await?;
                let ours = state.database == database.as_str() && state.table == table.as_str();
                if ours && state.status == SessionStatus::Uploading && !state.upload_frozen {
                    tracing::debug!(%session, "the session exists already and is ours");
                    return Ok(());
                }
                let found = format!("{} of {}.{}", state.status.name(), state.database, state.table);
                let found = self.redactor().scrub(&found);
                Err(TreasureDataError::SessionTaken { session: session.clone(), found })
            }
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => {
                Err(TreasureDataError::NoDatabase { database: database.clone(), source: error })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The session as it is now.
    pub(super) async fn show_session(&self, session: &SessionName) -> Result<SessionState, CallError> {
        let path = ["bulk_import", "show", session.as_str()];
        self.fetch(Call::get("look at the bulk import session", &path)).await
    }

    /// The session, or `None` when there is none of this name.
    pub(super) async fn find_session(
        &self,
        session: &SessionName,
    ) -> Result<Option<SessionState>, CallError> {
        match self.show_session(session).await {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All sessions of the account.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn sessions(&self) -> Result<Vec<SessionState>, TreasureDataError> {
        let call = Call::get("list the bulk import sessions", &["bulk_import", "list"]);
        let list: SessionList = self.fetch(call).await?;
        Ok(list.bulk_imports)
    }

    /// Deletes a session that was found in the list; that it is gone already is fine.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn remove_session(&self, session: &SessionName) -> Result<(), TreasureDataError> {
        Ok(self.delete_session(session).await?)
    }

    /// When a job ended, or else began: Unix seconds; `None` when its description does not say.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn job_time(&self, job: &str) -> Result<Option<u64>, TreasureDataError> {
        let times: JobTimes = self.fetch(Call::get("look at the load job", &["job", "show", job])).await?;
        Ok(times.end_at.or(times.start_at).and_then(|text| unix_seconds(&text)))
    }

    /// Names of the parts that the session holds.
    pub(super) async fn list_parts(&self, session: &SessionName) -> Result<Vec<String>, CallError> {
        let path = ["bulk_import", "list_parts", session.as_str()];
        let list: PartList = self.fetch(Call::get("list the parts", &path)).await?;
        Ok(list.parts)
    }

    pub(super) async fn delete_part(&self, session: &SessionName, part: &PartName) -> Result<(), CallError> {
        let path = ["bulk_import", "delete_part", session.as_str(), part.as_str()];
        match self.send(Call::post("delete a part", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => result.map(drop),
        }
    }

    /// The records that could not be read, as Treasure Data gives them: a gzip file of `MessagePack` values.
    pub(super) async fn error_records(&self, session: &SessionName) -> Result<Bytes, CallError> {
        let path = ["bulk_import", "error_records", session.as_str()];
        self.send(Call::get("fetch the error records", &path)).await.map(|response| response.body)
    }

    pub(super) async fn upload_part(
        &self,
        session: &SessionName,
        part: &PartName,
        body: Bytes,
    ) -> Result<(), CallError> {
        let path = ["bulk_import", "upload_part", session.as_str(), part.as_str()];
        let payload = Payload::Part(body);
        let call = Call { operation: "upload a part", effect: Effect::Repeatable, path: &path, payload };
        self.send((Method::PUT, call)).await.map(drop)
    }

    pub(super) async fn freeze_session(&self, session: &SessionName) -> Result<(), CallError> {
        let path = ["bulk_import", "freeze", session.as_str()];
        match self.send(Call::post("close the session for uploads", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::CONFLICT) => {
                // It may be frozen already, or be somewhere where it cannot be: its state tells.
                if self.show_session(session).await?.upload_frozen { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    /// Starts the load job, once. Gives its id when the answer had it. `previous` is the job of an earlier load that
    /// failed: the session goes on naming it until another is started.
    pub(super) async fn perform_session(
        &self,
        session: &SessionName,
        previous: Option<&str>,
    ) -> Result<Option<String>, CallError> {
        let path = ["bulk_import", "perform", session.as_str()];
        let call = Call::post("start the load job", Effect::AskFirst, &path);
        let attempt =
            || async { self.attempt_json(&call).await.map(|performed: Performed| performed.job_id) };
        let taken = |state: SessionState| {
            let is_new = state.job_id.is_some() && state.job_id.as_deref() != previous;
            (state.status != SessionStatus::Uploading || is_new).then_some(state.job_id)
        };
        let ask = || async { self.show_session(session).await.map(taken) };
        let result = self.retrier().call_asking(attempt, ask).await;
        unless_taken(result, ask).await
    }

    /// Asks for the commit, once; it goes on by itself.
    pub(super) async fn commit_session(&self, session: &SessionName) -> Result<(), CallError> {
        let path = ["bulk_import", "commit", session.as_str()];
        let call = Call::post("commit the session", Effect::AskFirst, &path);
        let attempt = || async { self.attempt(&call).await.map(drop) };
        let taken = |state: SessionState| {
            matches!(state.status, SessionStatus::Committing | SessionStatus::Committed).then_some(())
        };
        let ask = || async { self.show_session(session).await.map(taken) };
        let result = self.retrier().call_asking(attempt, ask).await;
        unless_taken(result, ask).await
    }

    pub(super) async fn delete_session(&self, session: &SessionName) -> Result<(), CallError> {
        let path = ["bulk_import", "delete", session.as_str()];
        match self.send(Call::post("delete the bulk import session", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => result.map(drop),
        }
    }

    /// The status of a job: queued, booting, running, success, error, killed.
    pub(super) async fn job_status(&self, job: &str) -> Result<String, CallError> {
        let path = ["job", "status", job];
        let state: JobState = self.fetch(Call::get("look at the load job", &path)).await?;
        Ok(self.redactor().scrub(&state.status))
    }
}

/// A conflict may mean that the call was delivered before: the state tells.
async fn unless_taken<T>(
    result: Result<T, CallError>,
    ask: impl AsyncFnOnce() -> Result<Option<T>, CallError>,
) -> Result<T, CallError> {
    match result {
        Err(error) if error.status_code() == Some(StatusCode::CONFLICT) => ask().await?.ok_or(error),
        result => result,
    }
}

/// A time such as `2026-11-23 04:00:00 UTC`, as job descriptions have it.
fn unix_seconds(text: &str) -> Option<u64> {
    let time =
        humantime::parse_rfc3339_weak(text.trim_end_matches("UTC").trim_end_matches('Z').trim()).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

impl SessionStatus {
    /// The API's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Performing => "performing",
            Self::Ready => "ready",
            Self::Committing => "committing",
            Self::Committed => "committed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_times_are_read() {
        assert_eq!(unix_seconds("2026-11-23 04:00:00 UTC"), Some(1_795_406_400));
        assert_eq!(unix_seconds("2026-11-23T04:00:00Z"), Some(1_795_406_400));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
