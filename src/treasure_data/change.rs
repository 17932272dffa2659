//! A single attempt of a call that changes something, and its result.
//!
//! Owns the interpretation of error responses: which of them mean that a table or a session is missing.
//! [`TreasureDataClient::change`] never repeats a call that the service may have acted on: the caller checks the state first
//! ([`Change::Unclear`]), even after throttling, since time has passed. It does not know the purpose of the change.

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::blame::{blames_path, message};
use super::client::{Call, TreasureDataClient};
use super::error::TreasureDataError;
use crate::http::{CallError, Response};
use crate::retry::Series;

/// The result of one attempt to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The change was made.
    Done,
    /// The state of an object does not allow it.
    Conflict,
    /// The table is missing.
    TableGone,
    /// The session is missing.
    SessionGone,
    /// The API key does not have the permission.
    Denied,
    /// There was no usable response, or the request was throttled: the change may have been made, or may still be made.
    Unclear,
}

impl TreasureDataClient {
    /// Makes one attempt of `call`. After a failure that can be retried, waits until `series` permits the next attempt and
    /// returns [`Change::Unclear`]. `names` contains the session and the tables in the call.
    pub(super) async fn change(
        &self,
        series: &mut Series,
        call: (Method, Call<'_>),
        names: &[&str],
    ) -> Result<(Change, Option<Response>), TreasureDataError> {
        match self.retrier().attempt_in(series, call.1.operation, self.attempt_change(&call, names)).await? {
            Some(Attempted::Change(change, response)) => Ok((change, response)),
            Some(Attempted::NoDatabase(source)) => {
                Err(TreasureDataError::NoDatabase { database: None, source })
            }
            None => Ok((Change::Unclear, None)),
        }
    }

    /// Repeats a call that changes nothing until it succeeds. The inner error is the missing object: [`Change::TableGone`],
    /// or [`Change::SessionGone`] for every other 404.
    pub(super) async fn probe<T: DeserializeOwned>(
        &self,
        call: (Method, Call<'_>),
        names: &[&str],
    ) -> Result<Result<T, Change>, TreasureDataError> {
        let attempt = || async {
            let (request, response) = self.exchange(&call).await?;
            if response.status.is_success() {
                self.retrier().apply_delay_hint(response.delay);
                return Ok(Ok(response.json().map_err(|problem| self.body_error(&call.1, problem))?));
            }
            match interpret(&response, names) {
                Some(Change::TableGone) => Ok(Err(Change::TableGone)),
                _ if response.status == StatusCode::NOT_FOUND && !blames_path(&response.body) => {
                    Ok(Err(Change::SessionGone))
                }
                _ => Err(self.failure(&request, &response)),
            }
        };
        Ok(self.retrier().call(call.1.operation, attempt).await?)
    }

    async fn attempt_change(
        &self,
        call: &(Method, Call<'_>),
        names: &[&str],
    ) -> Result<Attempted, CallError> {
        let (request, response) = self.exchange(call).await?;
        if response.status.is_success() {
            // A web page comes from a proxy and says nothing about what Treasure Data did, whatever its status.
            response.reject_html().map_err(|problem| self.body_error(&call.1, problem))?;
            self.retrier().apply_delay_hint(response.delay);
            return Ok(Attempted::Change(Change::Done, Some(response)));
        }
        match interpret(&response, names) {
            Some(change) => Ok(Attempted::Change(change, None)),
            None if is_missing_database(&response, names) => {
                Ok(Attempted::NoDatabase(self.failure(&request, &response)))
            }
            None => Err(self.failure(&request, &response)),
        }
    }
}

/// The result of an attempt that is not retried.
enum Attempted {
    Change(Change, Option<Response>),
    NoDatabase(CallError),
}

fn is_missing_database(response: &Response, names: &[&str]) -> bool {
    response.status == StatusCode::NOT_FOUND
        && missing_object(&response.body, names) == Some(MissingObject::Database)
}

/// The meaning of an error response; `None` for other failures. Uses the response as received, before redaction.
fn interpret(response: &Response, names: &[&str]) -> Option<Change> {
    // A web page comes from a proxy and says nothing about what the service did.
    response.reject_html().ok()?;
    let (status, body) = (response.status, &response.body);
    match status {
        StatusCode::CONFLICT => Some(Change::Conflict),
        StatusCode::FORBIDDEN => Some(Change::Denied),
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
            let object = missing_object(body, names)?;
            match (object, status) {
                (MissingObject::Table, _) => Some(Change::TableGone),
                (MissingObject::Session, StatusCode::NOT_FOUND) => Some(Change::SessionGone),
                // The validation failed, but not because an object is missing: the state shows why.
                (_, StatusCode::UNPROCESSABLE_ENTITY) => Some(Change::Conflict),
                _ => None,
            }
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MissingObject {
    Session,
    Table,
    Database,
    Other,
}

/// The object that the message reports as missing. Names are removed first, because a table may be named `sessions`.
fn missing_object(body: &[u8], names: &[&str]) -> Option<MissingObject> {
    let mut text = message(body)?;
    for name in names {
        text = text.replace(&name.to_ascii_lowercase(), "");
    }
    Some(if text.contains("database") {
        MissingObject::Database
    } else if text.contains("table") {
        MissingObject::Table
    } else if text.contains("bulk import") || text.contains("bulk_import") || text.contains("session") {
        MissingObject::Session
    } else {
        MissingObject::Other
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::DelayHint;

    fn response(status: u16, body: String) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        let (headers, delay) = (HeaderMap::new(), DelayHint::default());
        Response { status, headers, body: body.into(), delay }
    }

    #[test]
    fn a_database_is_missing_only_if_a_404_says_so() {
        for (status, message, expected) in [
            (404, "Database 'shop' does not exist", true),
            (422, "Database 'shop' does not exist", false),
            (404, "Table 'shop.customers' does not exist", false),
            (404, "Resource not found", false),
            (500, "Try again", false),
        ] {
            let response = response(status, serde_json::json!({"error": message}).to_string());
            assert_eq!(is_missing_database(&response, &["shop"]), expected, "{status} {message}");
        }
    }

    #[test]
    fn error_response_is_about_the_object_in_its_message() {
        let names = ["yotpo_td_v1_0_s_1", "database", "session_tables"];
        let interpret_body = |status, body: String| interpret(&response(status, body), &names);
        let interpret_message =
            |status, message: &str| interpret_body(status, serde_json::json!({"error": message}).to_string());
        let gone = "Table 'shop.session_tables' does not exist";
        assert_eq!(interpret_message(404, gone), Some(Change::TableGone));
        assert_eq!(interpret_message(422, gone), Some(Change::TableGone));
        assert_eq!(
            interpret_message(404, "Bulk import session 'yotpo_td_v1_0_s_1' does not exist"),
            Some(Change::SessionGone)
        );
        for missing in ["Bulk import not found", "bulk_import not found", "Session not found"] {
            assert_eq!(interpret_message(404, missing), Some(Change::SessionGone), "{missing}");
        }
        assert_eq!(
            interpret_message(422, "Bulk import session 'yotpo_td_v1_0_s_1' is frozen"),
            Some(Change::Conflict)
        );
        assert_eq!(interpret_message(422, "Validation failed"), Some(Change::Conflict));
        assert_eq!(interpret_message(409, "anything"), Some(Change::Conflict));
        assert_eq!(interpret_message(403, "anything"), Some(Change::Denied));
        assert_eq!(interpret_message(404, "Database 'shop' does not exist"), None);
        assert_eq!(interpret_message(404, "path and method do not match any API endpoint"), None);
        for status in [403, 404, 409, 422] {
            assert_eq!(
                interpret_body(status, "<html>Bulk import session table</html>".to_owned()),
                None,
                "{status}"
            );
        }
        assert_eq!(interpret_message(400, gone), None);
        assert_eq!(interpret_message(500, gone), None);
    }
}
