//! The calls about tables: creating, reading ids, naming columns, renaming, deleting.
//!
//! | call | on a lost response |
//! |---|---|
//! | show, list | repeated: they change nothing |
//! | append-schema | repeated: the same columns again change nothing |
//! | delete | repeated: 404 means gone |
//! | create, rename | reported as unclear; the caller looks first. A 404 never means "done already" |

use http::{Method, StatusCode};

use super::change::Change;
use super::client::{Call, Payload, TreasureDataClient};
use super::error::TreasureDataError;
use super::response::{TableList, TableState};
use crate::http::Effect;
use crate::identity::{DatabaseName, TableId, TableName};
use crate::retry::Series;

/// What is known of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLook {
    /// There is none of this name.
    Missing,
    /// The API key may not look, or the response has no id.
    Denied,
    /// The table object that has this name now.
    Is(TableId),
}

/// What came of naming the type of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// It has the type.
    Done,
    /// It keeps another one, or the key may not name it; a warning says so.
    Refused,
    /// The table is gone, or not to be seen yet.
    TableMissing,
}

/// Whether a rename may replace another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It replaces the table of that name in one step.
    Allowed,
    /// It fails where there is one.
    Forbidden,
}

impl TreasureDataClient {
    /// Creates a table; [`Change::Conflict`] means that it exists.
    ///
    /// # Errors
    /// When the database does not exist, or the call fails in a way that looking at the state cannot mend.
    pub async fn create_table(
        &self,
        series: &mut Series,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<Change, TreasureDataError> {
        let path = ["table", "create", database.as_str(), table.as_str(), "log"];
        let call = Call::post("create the table", Effect::CheckFirst, &path);
        let result =
            self.change(series, call, &[table.as_str(), database.as_str()]).await.map(|(change, _)| change);
        result.map_err(|error| error.in_database(database))
    }

    /// The table object that has a name now.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn table(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<TableLook, TreasureDataError> {
        let path = ["table", "show", database.as_str(), table.as_str()];
        match self.fetch::<TableState>(Call::get("look at the table", &path)).await {
            Ok(state) => Ok(state.id.map_or(TableLook::Denied, |id| TableLook::Is(TableId::from_api(&id)))),
            Err(error) => match error.status_code() {
                Some(StatusCode::NOT_FOUND) => Ok(TableLook::Missing),
                Some(StatusCode::FORBIDDEN) => Ok(TableLook::Denied),
                _ => Err(error.into()),
            },
        }
    }

    /// Names the type of the one column that is ours, so that it is not guessed from the data. A table that has
    /// another type for it already, or a key that may not, keeps what there is.
    ///
    /// # Errors
    /// When the call fails for another reason.
    pub async fn declare_columns(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<Declared, TreasureDataError> {
        let path = ["table", "append-schema", database.as_str(), table.as_str()];
        let payload = Payload::Json(r#"{"schema":[["json_response","string"]]}"#.to_owned());
        let operation = "name the table's columns";
        let call = Call { operation, effect: Effect::Repeatable, path: &path, payload };
        match self.send((Method::POST, call)).await {
            Ok(_) => Ok(Declared::Done),
            Err(error) => match error.status_code() {
                Some(StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT) => {
                    let cause = error.cause();
                    tracing::warn!(
                        %database, %table, %cause,
                        "the column json_response is not a string in this table: rows are loaded as ever, but queries may \
                         not read them; load another table, or delete that column"
                    );
                    Ok(Declared::Refused)
                }
                Some(StatusCode::FORBIDDEN) => {
                    let cause = error.cause();
                    tracing::warn!(%database, %table, %cause, "the column's type could not be named, it stays as it is");
                    Ok(Declared::Refused)
                }
                Some(StatusCode::NOT_FOUND) => Ok(Declared::TableMissing),
                _ => Err(error.into()),
            },
        }
    }

    /// Renames a table within its database.
    ///
    /// # Errors
    /// When the call fails in a way that looking at the state cannot mend.
    pub async fn rename_table(
        &self,
        series: &mut Series,
        database: &DatabaseName,
        from: &TableName,
        to: &TableName,
        overwrite: Overwrite,
    ) -> Result<Change, TreasureDataError> {
        let names = [from.as_str(), to.as_str()];
        let path = ["table", "rename", database.as_str(), names[0], names[1]];
        let payload = match overwrite {
            Overwrite::Allowed => Payload::Form(&[("overwrite", "true")]),
            Overwrite::Forbidden => Payload::None,
        };
        let call = Call { operation: "rename the table", effect: Effect::CheckFirst, path: &path, payload };
        self.change(series, (Method::POST, call), &names).await.map(|(change, _)| change)
    }

    /// Deletes a table; that it is gone already is fine.
    ///
    /// # Errors
    /// When the call fails after all retries.
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
    /// When the call fails after all retries.
    pub async fn tables(&self, database: &DatabaseName) -> Result<Vec<TableState>, TreasureDataError> {
        let path = ["table", "list", database.as_str()];
        let list: TableList = self.fetch(Call::get("list the tables", &path)).await?;
        Ok(list.tables)
    }
}
