//! The calls that show what an API key may see: its kind, a database, the columns of a table. They change nothing.

use http::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::client::{Call, TreasureDataClient};
use super::error::TreasureDataError;
use super::response::{count, table_id};
use crate::identity::{DatabaseName, TableId, TableName};

/// Maximum length of a word of the service that is reported.
const MAX_WORD: usize = 40;

/// What Treasure Data says of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its kind, such as `master` or `write_only`; `None` if the response does not say.
    pub kind: Option<String>,
    /// Whether its user is an administrator.
    pub administrator: Option<bool>,
}

impl KeyInfo {
    /// Whether the key may only import.
    pub fn is_import_only(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.contains("write") || kind.contains("import"))
    }
}

/// A table with its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDetails {
    /// The table object; `None` if the response has no id.
    pub id: Option<TableId>,
    /// Number of rows; may be minutes behind a commit.
    pub rows: Option<u64>,
    /// Its columns without `time`; `None` if they could not be read.
    pub columns: Option<Vec<Column>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as the service writes it.
    pub kind: String,
}

/// What a key may see of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableAccess {
    /// It exists.
    Granted(TableDetails),
    /// It does not exist.
    Missing,
    /// The key may not read it.
    Denied,
}

/// Whether a key may read an object that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// It may not.
    Denied,
}

#[derive(Deserialize)]
struct KeyState {
    #[serde(default)]
    key_type: Value,
    #[serde(default)]
    administrator: Value,
}

#[derive(Deserialize)]
struct DetailedState {
    #[serde(default, deserialize_with = "table_id")]
    id: Option<String>,
    #[serde(default, deserialize_with = "count")]
    count: Option<u64>,
    #[serde(default)]
    schema: Value,
}

impl TreasureDataClient {
    /// What Treasure Data says of the API key.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn key_info(&self) -> Result<KeyInfo, TreasureDataError> {
        let call = Call::get("read the kind of the API key", &["user", "apikey", "validate"]);
        let KeyState { key_type, administrator } = self.fetch(call).await?;
        let is_word = |text: &&str| {
            (1..=MAX_WORD).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'))
        };
        let kind = key_type.as_str().filter(is_word).map(str::to_ascii_lowercase);
        Ok(KeyInfo { kind, administrator: administrator.as_bool() })
    }

    /// Whether the key may read a database.
    ///
    /// # Errors
    /// When the call fails after all retries, or the database does not exist.
    pub async fn database(&self, database: &DatabaseName) -> Result<Access, TreasureDataError> {
        let path = ["database", "show", database.as_str()];
        match self.fetch::<IgnoredAny>(Call::get("read the state of the database", &path)).await {
            Ok(_) => Ok(Access::Granted),
            Err(error) if error.status_code() == Some(StatusCode::FORBIDDEN) => Ok(Access::Denied),
            Err(source) if source.status_code() == Some(StatusCode::NOT_FOUND) => {
                Err(TreasureDataError::NoDatabase { database: Some(database.clone()), source })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A table with its columns.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn table_details(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<TableAccess, TreasureDataError> {
        let path = ["table", "show", database.as_str(), table.as_str()];
        match self.fetch::<DetailedState>(Call::get("read the state of the table", &path)).await {
            Ok(DetailedState { id, count, schema }) => Ok(TableAccess::Granted(TableDetails {
                id: id.as_deref().map(TableId::from_api),
                rows: count,
                columns: columns(&schema),
            })),
            Err(error) => match error.status_code() {
                Some(StatusCode::NOT_FOUND) => Ok(TableAccess::Missing),
                Some(StatusCode::FORBIDDEN) => Ok(TableAccess::Denied),
                _ => Err(error.into()),
            },
        }
    }
}

/// The columns in a schema: a list of `[name, type]` or `[name, type, alias]`, as JSON or as a text of JSON. `None` for
/// anything else.
fn columns(schema: &Value) -> Option<Vec<Column>> {
    let parsed: Value = match schema {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let column = |entry: &Value| {
        let text = |at: usize| entry.get(at).and_then(Value::as_str).map(str::to_owned);
        Some(Column { name: text(0)?, kind: text(1)? })
    };
    parsed.as_array()?.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_read_from_a_text_or_a_list() {
        let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
        let expected = Some(vec![column("json_response", "string"), column("id", "long")]);
        let text = r#"[["json_response","string"],["id","long","number"]]"#;
        assert_eq!(columns(&json!(text)), expected);
        assert_eq!(columns(&serde_json::from_str(text).unwrap()), expected);
        assert_eq!(columns(&json!("[]")), Some(Vec::new()));
        for unreadable in [json!(null), json!("x"), json!("{}"), json!([["a"]]), json!([7])] {
            assert_eq!(columns(&unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn an_import_only_key_is_recognised() {
        let kind = |kind: &str| KeyInfo { kind: Some(kind.to_owned()), administrator: None };
        assert!(kind("write_only").is_import_only() && kind("import-only").is_import_only());
        assert!(!kind("master").is_import_only());
        assert!(!KeyInfo { kind: None, administrator: None }.is_import_only());
    }
}
