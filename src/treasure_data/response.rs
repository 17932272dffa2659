//! The API's responses, parsed leniently: numbers may be strings, keys may be missing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;

/// Status of a bulk import session. "Frozen" is not one of them: see [`SessionState::upload_frozen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Parts can be or were uploaded. The status returns to this when a load job fails.
    Uploading,
    /// The load job is running.
    Performing,
    /// Loaded but not visible yet. The status returns to this when a commit fails.
    Ready,
    /// The commit is running.
    Committing,
    /// The rows are in the table.
    Committed,
    /// An undocumented status, such as that of a session whose table was deleted.
    #[serde(other)]
    Unknown,
}

/// A bulk import session, as returned by `show`.
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
    /// Its status.
    pub status: SessionStatus,
    /// Whether uploads are closed.
    #[serde(default, deserialize_with = "lenient_bool")]
    pub upload_frozen: bool,
    /// The load job; `None` before perform.
    #[serde(default, deserialize_with = "job_id")]
    pub job_id: Option<String>,
    /// Rows that will be committed; `None` before perform.
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

/// A table, as returned by the list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableState {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The id of the table object.
    #[serde(default, deserialize_with = "table_id")]
    pub id: Option<String>,
    /// Number of rows; may be minutes behind a commit.
    #[serde(default, deserialize_with = "count")]
    pub count: Option<u64>,
}

/// Response of `table/list`.
#[derive(Debug, Deserialize)]
pub(super) struct TableList {
    pub(super) tables: Vec<TableState>,
}

/// Response of `bulk_import/list`, without the sessions that cannot be parsed: one unexpected entry must not invalidate the list.
#[derive(Debug, Deserialize)]
pub(super) struct SessionList {
    #[serde(deserialize_with = "readable_sessions")]
    pub(super) bulk_imports: Vec<SessionState>,
}

/// Parses one entry at a time, so that a long list is never in memory as a tree.
fn readable_sessions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SessionState>, D::Error> {
    struct Readable;

    impl<'de> Visitor<'de> for Readable {
        type Value = Vec<SessionState>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array of sessions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut sessions = Vec::new();
            while let Some(entry) = entries.next_element::<Value>()? {
                sessions.extend(serde_json::from_value::<SessionState>(entry));
            }
            Ok(sessions)
        }
    }

    deserializer.deserialize_seq(Readable)
}

/// Response of `bulk_import/list_parts`.
#[derive(Debug, Deserialize)]
pub(super) struct PartList {
    pub(super) parts: Vec<String>,
}

/// Response of `job/show`, of which only the times are used.
#[derive(Debug, Deserialize)]
pub(super) struct JobTimes {
    #[serde(default)]
    pub(super) end_at: Option<String>,
    #[serde(default)]
    pub(super) start_at: Option<String>,
}

/// Response of `perform`.
#[derive(Debug, Deserialize)]
pub(super) struct Performed {
    #[serde(default, deserialize_with = "job_id")]
    pub(super) job_id: Option<String>,
}

/// Response of `job/status`.
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
        _ => Err(D::Error::custom("not a boolean")),
    }
}

fn job_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text,
        _ => return Err(D::Error::custom("not a job id")),
    };
    // The id becomes part of a URL.
    if id.bytes().all(|byte| byte.is_ascii_digit()) && id.len() <= 20 {
        Ok((!id.is_empty()).then_some(id))
    } else {
        Err(D::Error::custom("not a job id"))
    }
}

/// An id may be a number or a string.
pub(super) fn table_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        _ => None,
    })
}

pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_u64().map(Some).ok_or_else(|| D::Error::custom("not a count")),
        Value::String(text) => text.parse().map(Some).map_err(D::Error::custom),
        _ => Err(D::Error::custom("not a count")),
    }
}

impl SessionStatus {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Performing => "performing",
            Self::Ready => "ready",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Unknown => "in an unknown state",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_job_are_null_before_perform() {
        let text = r#"{"name":"s","database":"d","table":"t","status":"uploading","upload_frozen":false,
            "job_id":null,"valid_records":null,"error_records":null,"valid_parts":null,"error_parts":null}"#;
        let state: SessionState = serde_json::from_str(text).unwrap();
        assert_eq!((state.job_id, state.valid_records, state.error_parts), (None, None, None));
        assert!(!state.upload_frozen);
    }

    #[test]
    fn numbers_may_be_strings_and_keys_may_be_missing() {
        let text = r#"{"status":"ready","upload_frozen":"true","job_id":"123","valid_records":"7","error_records":0}"#;
        let state: SessionState = serde_json::from_str(text).unwrap();
        assert_eq!(
            (state.job_id.as_deref(), state.valid_records, state.error_records),
            (Some("123"), Some(7), Some(0))
        );
        assert_eq!((state.upload_frozen, state.error_parts), (true, None));
    }

    #[test]
    fn invalid_job_id_or_count_is_rejected() {
        for text in [r#"{"status":"ready","job_id":"1/../2"}"#, r#"{"status":"ready","valid_records":-1}"#] {
            assert!(serde_json::from_str::<SessionState>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_status_is_accepted_and_invalid_entry_is_skipped() {
        let text = r#"{"bulk_imports":[{"name":"one","status":"invalid"},{"name":"two","status":7},"three",
            {"name":"four","status":"ready","valid_records":-1},{"name":"five","status":"ready"}]}"#;
        let list: SessionList = serde_json::from_str(text).unwrap();
        let found: Vec<_> = list.bulk_imports.into_iter().map(|state| (state.name, state.status)).collect();
        assert_eq!(
            found,
            [("one".to_owned(), SessionStatus::Unknown), ("five".to_owned(), SessionStatus::Ready)]
        );
    }

    #[test]
    fn table_id_may_be_a_number_a_string_or_missing() {
        for (text, id) in [
            (r#"{"id":284213,"name":"t"}"#, Some("284213")),
            (r#"{"id":"284213"}"#, Some("284213")),
            (r#"{"name":"t"}"#, None),
            (r#"{"id":null}"#, None),
        ] {
            assert_eq!(serde_json::from_str::<TableState>(text).unwrap().id.as_deref(), id, "{text}");
        }
    }

    #[test]
    fn frozen_flag_may_be_a_word_a_number_null_or_empty() {
        for (value, frozen) in [
            ("true", true),
            ("1", true),
            (r#""1""#, true),
            ("false", false),
            ("null", false),
            ("0", false),
            (r#""0""#, false),
            (r#""false""#, false),
            (r#""""#, false),
        ] {
            let text = format!(r#"{{"status":"ready","upload_frozen":{value}}}"#);
            assert_eq!(serde_json::from_str::<SessionState>(&text).unwrap().upload_frozen, frozen, "{text}");
        }
    }

    #[test]
    fn value_of_another_type_is_named_as_what_it_is_not() {
        for (field, reason) in [
            (r#""upload_frozen":"maybe""#, "not a boolean"),
            (r#""upload_frozen":[]"#, "not a boolean"),
            (r#""job_id":true"#, "not a job id"),
            (r#""job_id":"123456789012345678901""#, "not a job id"),
            (r#""valid_records":{}"#, "not a count"),
        ] {
            let text = format!(r#"{{"status":"ready",{field}}}"#);
            let message = serde_json::from_str::<SessionState>(&text).unwrap_err().to_string();
            assert!(message.starts_with(reason), "{text}: {message}");
        }
    }

    #[test]
    fn empty_job_id_or_table_id_is_none() {
        let session: SessionState = serde_json::from_str(r#"{"status":"ready","job_id":""}"#).unwrap();
        let table: TableState = serde_json::from_str(r#"{"id":""}"#).unwrap();
        assert_eq!((session.job_id, table.id), (None, None));
    }

    #[test]
    fn session_list_that_is_not_an_array_is_rejected() {
        let message = serde_json::from_str::<SessionList>(r#"{"bulk_imports":7}"#).unwrap_err().to_string();
        assert!(message.contains("expected an array of sessions"), "{message}");
    }

    #[test]
    fn status_has_the_same_name_as_in_the_api() {
        for name in ["uploading", "performing", "ready", "committing", "committed"] {
            let state: SessionState = serde_json::from_str(&format!(r#"{{"status":"{name}"}}"#)).unwrap();
            assert_eq!(state.status.name(), name);
        }
        assert_eq!(SessionStatus::Unknown.name(), "in an unknown state");
    }
}
