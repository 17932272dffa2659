//! The table calls: create, read ids, declare columns, rename, delete.
//!
//! | call | on a lost response |
//! |---|---|
//! | show, list | repeated: they change nothing |
//! | append-schema | repeated: declaring the same columns again changes nothing |
//! | delete | repeated: 404 means gone |
//! | create, rename | reported as unclear; the caller checks the state first. A 404 never means that the call had succeeded |

use http::{Method, StatusCode};

use super::change::Change;
use super::client::{Call, Payload, TreasureDataClient};
use super::error::TreasureDataError;
use super::response::{TableList, TableState};
use crate::http::Effect;
use crate::identity::{DatabaseName, TableId, TableName};
use crate::retry::Series;

/// What is known about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLookup {
    /// No table has this name.
    Missing,
    /// The API key may not read it, or the response has no id.
    Denied,
    /// The table object that currently has this name.
    Is(TableId),
}

/// The result of declaring the type of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnDeclaration {
    /// The column has the type.
    Done,
    /// The column keeps another type, or the key may not declare it. A warning was logged.
    Rejected,
    /// The table does not exist or is not visible yet.
    TableMissing,
}

/// Whether a rename may replace another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Replace the table of that name in one step.
    Allowed,
    /// Fail if such a table exists.
    Forbidden,
}

impl TreasureDataClient {
    /// Creates a table. [`Change::Conflict`] means that it exists.
    ///
    /// # Errors
    /// When the database does not exist, or the call fails and checking the state cannot help.
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

    /// The table object that currently has a name.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn table(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<TableLookup, TreasureDataError> {
        let path = ["table", "show", database.as_str(), table.as_str()];
        match self.fetch::<TableState>(Call::get("read the state of the table", &path)).await {
            Ok(state) => {
                Ok(state.id.map_or(TableLookup::Denied, |id| TableLookup::Is(TableId::from_api(&id))))
            }
            Err(error) => match error.status_code() {
                Some(StatusCode::NOT_FOUND) => Ok(TableLookup::Missing),
                Some(StatusCode::FORBIDDEN) => Ok(TableLookup::Denied),
                _ => Err(error.into()),
            },
        }
    }

    /// Declares the type of the column that this program writes, so that it is not inferred from the data. The type stays as it
    /// is if the table already has another one, or if the key may not declare it.
    ///
    /// # Errors
    /// When the call fails for another reason.
    pub async fn declare_columns(
        &self,
        database: &DatabaseName,
        table: &TableName,
    ) -> Result<ColumnDeclaration, TreasureDataError> {
        let path = ["table", "append-schema", database.as_str(), table.as_str()];
        let payload = Payload::Json(r#"{"schema":[["json_response","string"]]}"#.to_owned());
        let operation = "declare the table's columns";
        let call = Call { operation, effect: Effect::Repeatable, path: &path, payload };
        match self.send((Method::POST, call)).await {
            Ok(_) => Ok(ColumnDeclaration::Done),
            Err(error) => match error.status_code() {
                Some(StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT) => {
                    let cause = error.cause();
                    tracing::warn!(
                        %database, %table, %cause,
                        "the column json_response is not a string in this table: the rows are loaded, but queries may not be \
                         able to read them; load another table, or delete that column"
                    );
                    Ok(ColumnDeclaration::Rejected)
                }
                Some(StatusCode::FORBIDDEN) => {
                    let cause = error.cause();
                    tracing::warn!(%database, %table, %cause, "the type of the column could not be declared and is unchanged");
                    Ok(ColumnDeclaration::Rejected)
                }
                Some(StatusCode::NOT_FOUND) => Ok(ColumnDeclaration::TableMissing),
                _ => Err(error.into()),
            },
        }
    }

    /// Renames a table within its database.
    ///
    /// # Errors
    /// When the call fails, and checking the state cannot help.
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

    /// Deletes a table. Succeeds if it does not exist.
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

    /// Lists all tables of a database. A write-only key has no permission (403).
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn tables(&self, database: &DatabaseName) -> Result<Vec<TableState>, TreasureDataError> {
        let path = ["table", "list", database.as_str()];
        let list: TableList = self.fetch(Call::get("list the tables", &path)).await?;
        Ok(list.tables)
    }
}
