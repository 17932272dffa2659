//! Tables: creating, naming their columns, renaming over another, deleting.
//!
//! | call | on a lost answer |
//! |---|---|
//! | create | repeated: 409 means it exists |
//! | append-schema | repeated: the same columns again change nothing |
//! | rename | repeated: 404 on the temporary table means that it was renamed; the list of tables must agree |
//! | delete | repeated: 404 means gone |

use std::time::Duration;

use http::{Method, StatusCode};

use super::answer::{TableList, TableState};
use super::client::{Call, Payload, TreasureDataClient};
use super::error::TreasureDataError;
use crate::http::{BodyProblem, CallError, Effect};
use crate::identity::{DatabaseName, TableName};

/// How often a rename that the list of tables does not show is asked for.
const RENAME_ATTEMPTS: u32 = 5;
/// Time that the list of tables gets to show a rename.
const RENAME_PAUSE: Duration = Duration::from_secs(2);

/// Whether a table was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableOrigin {
    /// It was made just now.
    Created,
    /// It existed, or the key may not make tables: a write-only key finds out when the session is created.
    Existing,
}

impl TreasureDataClient {
    /// Makes sure that a table exists.
    ///
    /// A lost answer is harmless: the repeated call says that it exists (409).
    ///
    /// # Errors
    /// When the database does not exist, the key is refused, or the call fails.
    pub async fn ensure_table(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<TableOrigin, TreasureDataError> {
        let path = ["table", "create", database.as_str(), table.as_str(), "log"];
        let result = self.send(Call::post("create the table", Effect::Repeatable, &path)).await;
        match result {
            Ok(_) => Ok(TableOrigin::Created),
            Err(error) => match error.status_code() {
                Some(StatusCode::CONFLICT) => Ok(TableOrigin::Existing),
                Some(StatusCode::FORBIDDEN) => {
                    tracing::debug!("the key may not create tables, trusting that it exists");
                    Ok(TableOrigin::Existing)
                }
                Some(StatusCode::NOT_FOUND) => {
                    Err(TreasureDataError::NoDatabase { database: database.clone(), source: error })
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Names the type of the one column that is ours, so that it is not guessed from the data. A table that has
    /// another type for it already (422), or a key that may not, keeps what there is.
    ///
    /// # Errors
    /// When the call fails for another reason.
    pub async fn declare_columns(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<(), TreasureDataError> {
        let path = ["table", "append-schema", database.as_str(), table.as_str()];
        let payload = Payload::Json(r#"{"schema":[["json_response","string"]]}"#.to_owned());
        let operation = "name the table's columns";
        let call = Call { operation, effect: Effect::Repeatable, path: &path, payload };
        match self.send((Method::POST, call)).await {
            Ok(_) => Ok(()),
            Err(error) => match error.status_code() {
                Some(StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) => {
                    tracing::warn!(cause = %error.cause(), "the column's type could not be named, it stays as it is");
                    Ok(())
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Puts `from` in the place of `to`, in one step: readers see the old rows until then and the new ones after.
    ///
    /// That `from` is not there any more (404) means that an earlier attempt was taken: it is only called for a table
    /// that was there. Success is believed once the list of tables shows it.
    ///
    /// # Errors
    /// When the call fails for good, or goes on having no effect.
    pub async fn rename_over(
        &self,
        database: &DatabaseName,
        from: &TableName,
        to: &TableName,
    ) -> Result<(), TreasureDataError> {
        let path = ["table", "rename", database.as_str(), from.as_str(), to.as_str()];
        let payload = Payload::Form(&[("overwrite", "true")]);
        let operation = "put the new table in the place of the old";
        let effect = Effect::Repeatable;
        let mut attempts = 0;
        loop {
            let call = Call { operation, effect, path: &path, payload: payload.clone() };
            let error = match self.send((Method::POST, call)).await {
                Ok(_) => CallError::body(operation, effect, BodyProblem::WithoutEffect),
                Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => error,
                Err(error) => return Err(error.into()),
            };
            if self.is_renamed(database, from, to).await {
                return Ok(());
            }
            attempts += 1;
            if attempts >= RENAME_ATTEMPTS {
                return Err(error.into());
            }
            self.clock().sleep(RENAME_PAUSE).await;
        }
    }

    /// Whether `to` is there and `from` is not. Who may not list tables (a write-only key) has only the answer to the
    /// rename, and believes it.
    async fn is_renamed(&self, database: &DatabaseName, from: &TableName, to: &TableName) -> bool {
        match self.tables(database).await {
            Ok(tables) => {
                let is_there = |name: &TableName| tables.iter().any(|table| table.name == name.as_str());
                is_there(to) && !is_there(from)
            }
            Err(error) => {
                tracing::debug!(%error, "the tables could not be listed, the answer to the rename is believed");
                true
            }
        }
    }

    /// Deletes a table; that it is gone already is fine.
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn delete_table(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<(), TreasureDataError> {
        let path = ["table", "delete", database.as_str(), table.as_str()];
        match self.send(Call::post("delete the table", Effect::Repeatable, &path)).await {
            Err(error) if error.status_code() == Some(StatusCode::NOT_FOUND) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    /// All tables of a database. A write-only key may not ask (403).
    ///
    /// # Errors
    /// When the call fails for good.
    pub async fn tables(&self, database: &DatabaseName) -> Result<Vec<TableState>, TreasureDataError> {
        let path = ["table", "list", database.as_str()];
        let list: TableList = self.fetch(Call::get("list the tables", &path)).await?;
        Ok(list.tables)
    }
}
