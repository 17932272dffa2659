//! One attempt of a call that changes something, and what came of it.
//!
//! Owns the reading of refusals: which of them say that a table or a session is gone. A call that may have been acted on
//! is not repeated by [`TreasureDataClient::change`]: whoever made it looks first ([`Change::Unclear`]), even after a refusal because of a rate limit,
//! since time has passed. It does not know what the change is for.

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::blame::{blames_path, message};
use super::client::{Call, TreasureDataClient};
use super::error::TreasureDataError;
use crate::http::{CallError, Response};
use crate::retry::Series;

/// What came of one attempt to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was done.
    Done,
    /// It was refused because of the state that something is in.
    Conflict,
    /// It was refused because the table is gone.
    TableGone,
    /// It was refused because the session is gone.
    SessionGone,
    /// The API key may not do it.
    Denied,
    /// Nothing usable came back, or too many requests were made: it may have been done, or may be done yet.
    Unclear,
}

impl TreasureDataClient {
    /// Makes one attempt of `call`. After a failure that another attempt may mend it waits as long as `series` says and
    /// reports [`Change::Unclear`]. `names` are those of the session and the tables in the call.
    pub(super) async fn change(
        &self,
        series: &mut Series,
        call: (Method, Call<'_>),
        names: &[&str],
    ) -> Result<(Change, Option<Response>), TreasureDataError> {
        match self.retrier().attempt_in(series, self.attempt_change(&call, names)).await? {
            Some(Attempted::Change(change, response)) => Ok((change, response)),
            Some(Attempted::NoDatabase(source)) => {
                Err(TreasureDataError::NoDatabase { database: None, source })
            }
            None => Ok((Change::Unclear, None)),
        }
    }

    /// Makes a call that changes nothing until it succeeds. The inner error says what the service blames when it refuses:
    /// [`Change::TableGone`], or [`Change::SessionGone`] for every other 404.
    pub(super) async fn look<T: DeserializeOwned>(
        &self,
        call: (Method, Call<'_>),
        names: &[&str],
    ) -> Result<Result<T, Change>, TreasureDataError> {
        let attempt = || async {
            let (request, response) = self.exchange(&call).await?;
            if response.status.is_success() {
                self.retrier().apply_delay_hint(response.delay);
                return Ok(Ok(response.json().map_err(|problem| self.unusable(&call.1, problem))?));
            }
            match refusal(&response, names) {
                Some(Change::TableGone) => Ok(Err(Change::TableGone)),
                _ if response.status == StatusCode::NOT_FOUND && !blames_path(&response.body) => {
                    Ok(Err(Change::SessionGone))
                }
                _ => Err(self.failure(&request, &response)),
            }
        };
        Ok(self.retrier().call(attempt).await?)
    }

    async fn attempt_change(
        &self,
        call: &(Method, Call<'_>),
        names: &[&str],
    ) -> Result<Attempted, CallError> {
        let (request, response) = self.exchange(call).await?;
        if response.status.is_success() {
            // A proxy's page says nothing about what Treasure Data did, whatever its status.
            response.reject_html().map_err(|problem| self.unusable(&call.1, problem))?;
            self.retrier().apply_delay_hint(response.delay);
            return Ok(Attempted::Change(Change::Done, Some(response)));
        }
        match refusal(&response, names) {
            Some(change) => Ok(Attempted::Change(change, None)),
            None if blames_database(&response, names) => {
                Ok(Attempted::NoDatabase(self.failure(&request, &response)))
            }
            None => Err(self.failure(&request, &response)),
        }
    }
}

/// What came of an attempt that needs no further one.
enum Attempted {
    Change(Change, Option<Response>),
    NoDatabase(CallError),
}

fn blames_database(response: &Response, names: &[&str]) -> bool {
    response.status == StatusCode::NOT_FOUND && blamed(&response.body, names) == Some(Blamed::Database)
}

/// What a refusal says; `None` when it is a failure like any other. Decided on what was received, not on what is shown.
fn refusal(response: &Response, names: &[&str]) -> Option<Change> {
    // A web page comes from something before the service, and says nothing of what that did.
    response.reject_html().ok()?;
    let (status, body) = (response.status, &response.body);
    match status {
        StatusCode::CONFLICT => Some(Change::Conflict),
        StatusCode::FORBIDDEN => Some(Change::Denied),
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
            let blamed = blamed(body, names)?;
            match (blamed, status) {
                (Blamed::Table, _) => Some(Change::TableGone),
                (Blamed::Session, StatusCode::NOT_FOUND) => Some(Change::SessionGone),
                // A validation that failed for another reason than a missing thing: the state tells why.
                (_, StatusCode::UNPROCESSABLE_ENTITY) => Some(Change::Conflict),
                _ => None,
            }
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blamed {
    Session,
    Table,
    Database,
    Other,
}

/// What the message says is missing. Names in it are not read as words: a table may be called `sessions`.
fn blamed(body: &[u8], names: &[&str]) -> Option<Blamed> {
    let mut text = message(body)?;
    for name in names {
        text = text.replace(&name.to_ascii_lowercase(), "");
    }
    Some(if text.contains("database") {
        Blamed::Database
    } else if text.contains("table") {
        Blamed::Table
    } else if text.contains("bulk import") || text.contains("bulk_import") || text.contains("session") {
        Blamed::Session
    } else {
        Blamed::Other
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::DelayHint;

    #[test]
    fn a_refusal_blames_what_its_message_names() {
        let names = ["yotpo_td_v1_0_s_1", "database", "session_tables"];
        let refused_as = |status, body: String| {
            let status = StatusCode::from_u16(status).unwrap();
            let (headers, delay) = (HeaderMap::new(), DelayHint::default());
            refusal(&Response { status, headers, body: body.into(), delay }, &names)
        };
        let refused =
            |status, message: &str| refused_as(status, serde_json::json!({"error": message}).to_string());
        let gone = "Table 'shop.session_tables' does not exist";
        assert_eq!(refused(404, gone), Some(Change::TableGone));
        assert_eq!(refused(422, gone), Some(Change::TableGone));
        assert_eq!(
            refused(404, "Bulk import session 'yotpo_td_v1_0_s_1' does not exist"),
            Some(Change::SessionGone)
        );
        assert_eq!(refused(422, "Bulk import session 'yotpo_td_v1_0_s_1' is frozen"), Some(Change::Conflict));
        assert_eq!(refused(422, "Validation failed"), Some(Change::Conflict));
        assert_eq!(refused(409, "anything"), Some(Change::Conflict));
        assert_eq!(refused(403, "anything"), Some(Change::Denied));
        assert_eq!(refused(404, "Database 'shop' does not exist"), None);
        assert_eq!(refused(404, "path and method do not match any API endpoint"), None);
        for status in [403, 404, 409, 422] {
            assert_eq!(
                refused_as(status, "<html>Bulk import session table</html>".to_owned()),
                None,
                "{status}"
            );
        }
        assert_eq!(refused(400, gone), None);
        assert_eq!(refused(500, gone), None);
    }
}
