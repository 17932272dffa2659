//! What the API answers, read leniently: numbers may come as texts, keys may be missing.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

/// Status of a bulk import session. "Frozen" is not one of them: see [`SessionState::upload_frozen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Parts can be uploaded, or were; a failed load job falls back to this.
    Uploading,
    /// The load job is at work.
    Performing,
    /// Loaded, nothing visible yet; a failed commit falls back to this.
    Ready,
    /// The commit is at work.
    Committing,
    /// The rows are in the table.
    Committed,
}

/// A bulk import session as `show` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SessionState {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The database that it loads into.
    #[serde(default)]
    pub database: String,
    /// The table that it loads into.
    #[serde(default)]
    pub table: String,
    /// Where it stands.
    pub status: SessionStatus,
    /// Whether uploads are closed.
    #[serde(default, deserialize_with = "lenient_bool")]
    pub upload_frozen: bool,
    /// The load job; none before perform.
    #[serde(default, deserialize_with = "job_id")]
    pub job_id: Option<String>,
    /// Rows that will be committed; none before perform.
    #[serde(default, deserialize_with = "count")]
    pub valid_records: Option<u64>,
    /// Rows that could not be read.
    #[serde(default, deserialize_with = "count")]
    pub error_records: Option<u64>,
    /// Parts that could be read.
    #[serde(default, deserialize_with = "count")]
    pub valid_parts: Option<u64>,
    /// Parts that could not be read.
    #[serde(default, deserialize_with = "count")]
    pub error_parts: Option<u64>,
}

/// A table as the list describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableState {
    /// Its name.
    pub name: String,
    /// Rows in it; lags behind a commit by up to minutes.
    #[serde(default, deserialize_with = "count")]
    pub count: Option<u64>,
}

/// Answer of `table/list`.
#[derive(Debug, Deserialize)]
pub(super) struct TableList {
    pub(super) tables: Vec<TableState>,
}

/// Answer of `bulk_import/list`.
#[derive(Debug, Deserialize)]
pub(super) struct SessionList {
    pub(super) bulk_imports: Vec<SessionState>,
}

/// Answer of `bulk_import/list_parts`.
#[derive(Debug, Deserialize)]
pub(super) struct PartList {
    pub(super) parts: Vec<String>,
}

/// Answer of `job/show`, of which only the times are read.
#[derive(Debug, Deserialize)]
pub(super) struct JobTimes {
    #[serde(default)]
    pub(super) end_at: Option<String>,
    #[serde(default)]
    pub(super) start_at: Option<String>,
}

/// Answer of `perform`.
#[derive(Debug, Deserialize)]
pub(super) struct Performed {
    #[serde(default, deserialize_with = "job_id")]
    pub(super) job_id: Option<String>,
}

/// Answer of `job/status`.
#[derive(Debug, Deserialize)]
pub(super) struct JobState {
    pub(super) status: String,
}

fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::Null => Ok(false),
        Value::String(text) if text == "true" || text == "1" => Ok(true),
        Value::String(text) if text == "false" || text == "0" || text.is_empty() => Ok(false),
        Value::Number(number) => Ok(number.as_u64() != Some(0)),
        _ => Err(D::Error::custom("not a truth value")),
    }
}

fn job_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text,
        _ => return Err(D::Error::custom("not a job id")),
    };
    // It reaches an address.
    if id.bytes().all(|byte| byte.is_ascii_digit()) && id.len() <= 20 {
        Ok((!id.is_empty()).then_some(id))
    } else {
        Err(D::Error::custom("not a job id"))
    }
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_u64().map(Some).ok_or_else(|| D::Error::custom("not a count")),
        Value::String(text) => text.parse().map(Some).map_err(D::Error::custom),
        _ => Err(D::Error::custom("not a count")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_job_are_absent_before_perform() {
        let text = r#"{"name":"s","database":"d","table":"t","status":"uploading","upload_frozen":false,
            "job_id":null,"valid_records":null,"error_records":null,"valid_parts":null,"error_parts":null}"#;
        let state: SessionState = serde_json::from_str(text).unwrap();
        assert_eq!((state.job_id, state.valid_records, state.error_parts), (None, None, None));
        assert!(!state.upload_frozen);
    }

    #[test]
    fn numbers_may_come_as_texts_and_keys_may_be_missing() {
        let text = r#"{"status":"ready","upload_frozen":"true","job_id":"123","valid_records":"7","error_records":0}"#;
        let state: SessionState = serde_json::from_str(text).unwrap();
        assert_eq!(
            (state.job_id.as_deref(), state.valid_records, state.error_records),
            (Some("123"), Some(7), Some(0))
        );
        assert_eq!((state.upload_frozen, state.error_parts), (true, None));
    }

    #[test]
    fn an_unknown_status_or_a_bent_job_id_is_refused() {
        for text in [
            r#"{"status":"paused"}"#,
            r#"{"status":"ready","job_id":"1/../2"}"#,
            r#"{"status":"ready","valid_records":-1}"#,
        ] {
            assert!(serde_json::from_str::<SessionState>(text).is_err(), "{text}");
        }
    }
}
