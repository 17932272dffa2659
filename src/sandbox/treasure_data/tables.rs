//! Calls for databases and tables.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

use super::super::operation::Operation;
use super::super::read_back;
use super::super::reply::{Call, Reply};
use super::loaded_part::LoadedPart;
use super::state::{Column, Database, Moment, Session, Table};
use super::{BrokenPromise, TreasureData, conflict, error, invalid, not_found, timestamp};

/// Maximum number of rows that `tail` returns.
const MAX_TAIL_ROWS: u64 = 10_000;
/// Number of rows that `tail` returns by default.
const DEFAULT_TAIL_ROWS: u64 = 80;

impl TreasureData {
    pub(in super::super) fn add_database(&self, name: &str) -> bool {
        let (mut state, moment) = self.lock();
        state.create_database(name, moment.unix)
    }

    /// Creates a table and, if needed, its database; false if the table exists.
    pub(in super::super) fn add_table(&self, database: &str, table: &str) -> bool {
        let (mut state, moment) = self.lock();
        state.create_database(database, moment.unix);
        state.create_table(database, table, moment.unix).unwrap_or(false)
    }

    /// Deletes a table; false if it does not exist.
    pub(in super::super) fn remove_table(&self, database: &str, table: &str) -> bool {
        self.lock().0.delete_table(database, table)
    }

    /// Deletes a table if it exists and creates an empty one with a new id, in one step; false if the database does not
    /// exist.
    pub(in super::super) fn recreate_table(&self, database: &str, table: &str) -> bool {
        let (mut state, moment) = self.lock();
        state.delete_table(database, table);
        state.create_table(database, table, moment.unix).is_some()
    }

    pub(in super::super) fn table_id(&self, database: &str, table: &str) -> Option<u64> {
        self.lock().0.table(database, table).map(|table| table.id)
    }

    pub(in super::super) fn row_count(&self, database: &str, table: &str) -> Option<u64> {
        self.lock().0.table(database, table).map(Table::rows)
    }

    pub(in super::super) fn loaded_parts(&self, database: &str, table: &str) -> Option<Vec<LoadedPart>> {
        self.lock().0.table(database, table).map(|table| table.parts.clone())
    }

    /// Database and table names.
    pub(in super::super) fn table_names(&self) -> Vec<(String, String)> {
        let (state, _) = self.lock();
        let of = |(name, database): (&String, &Database)| {
            database.tables.keys().map(|table| (name.clone(), table.clone())).collect::<Vec<_>>()
        };
        state.databases.iter().flat_map(of).collect()
    }

    pub(super) fn list_databases(&self) -> Reply {
        let (state, moment) = self.lock();
        let databases: Vec<_> =
            state.databases.iter().map(|(name, database)| show_database(name, database, moment)).collect();
        Reply::ok(&json!({"databases": databases}))
    }

    pub(super) fn show_database(&self, name: &str) -> Reply {
        let (state, moment) = self.lock();
        match state.databases.get(name) {
            Some(database) => Reply::ok(&show_database(name, database, moment)),
            None => unknown_database(name),
        }
    }

    pub(super) fn create_database(&self, name: &str) -> Reply {
        if !is_valid_name(name) {
            return invalid("Validation failed: database name must be 3 to 128 of [a-z0-9_]");
        }
        let (mut state, moment) = self.lock();
        if state.create_database(name, moment.unix) {
            return Reply::ok(&json!({"database": name}));
        }
        conflict("Database already exists", state.databases.get(name).map(|database| database.id))
    }

    pub(super) fn delete_database(&self, name: &str) -> Reply {
        let (mut state, _) = self.lock();
        match state.databases.remove(name) {
            Some(_) => Reply::ok(&json!({"database": name})),
            None => unknown_database(name),
        }
    }

    pub(super) fn list_tables(&self, name: &str) -> Reply {
        let (state, moment) = self.lock();
        let Some(database) = state.databases.get(name) else { return unknown_database(name) };
        let tables: Vec<_> = database
            .tables
            .iter()
            .map(|(table_name, table)| show_table(name, table_name, table, moment))
            .collect();
        Reply::ok(&json!({"database": name, "name": name, "tables": tables}))
    }

    pub(super) fn show_table(&self, database: &str, name: &str) -> Reply {
        let (state, moment) = self.lock();
        match state.table(database, name) {
            Some(table) => Reply::ok(&show_table(database, name, table, moment)),
            None => unknown_table(database, name),
        }
    }

    pub(super) fn create_table(&self, database: &str, name: &str, kind: &str) -> Reply {
        if !is_valid_name(name) {
            return invalid("Validation failed: table name must be 3 to 128 of [a-z0-9_]");
        }
        if kind != "log" {
            return invalid("Validation failed: table type must be log");
        }
        let (mut state, moment) = self.lock();
        match state.create_table(database, name, moment.unix) {
            None => unknown_database(database),
            Some(true) => Reply::ok(&json!({"database": database, "table": name, "type": "log"})),
            Some(false) => {
                conflict("Table already exists", state.table(database, name).map(|table| table.id))
            }
        }
    }

    pub(super) fn delete_table(&self, database: &str, name: &str) -> Reply {
        let (mut state, moment) = self.lock();
        let id = state.table(database, name).map(|table| table.id);
        if state.delete_table(database, name) {
            if self.breaks(BrokenPromise::ForgetsSessions) {
                let is_of_table = |session: &Session| Some(session.table_id) == id;
                let sessions = state.sessions.iter().filter(|(_, session)| is_of_table(session));
                let names: Vec<String> = sessions.map(|(name, _)| name.clone()).collect();
                for name in names {
                    state.remove_session(&name, moment.unix);
                }
            }
            Reply::ok(&json!({"database": database, "table": name, "type": "log"}))
        } else {
            unknown_table(database, name)
        }
    }

    pub(super) fn rename_table(&self, call: &Call) -> Reply {
        let [database, from, to] = [call.argument(0), call.argument(1), call.argument(2)];
        if !is_valid_name(to) {
            return invalid("Validation failed: table name must be 3 to 128 of [a-z0-9_]");
        }
        let overwrite = call.parameter("overwrite").is_some_and(|value| value == "true" || value == "1");
        let (mut state, moment) = self.lock();
        let Some(tables) = state.databases.get(database).map(|database| &database.tables) else {
            return unknown_database(database);
        };
        if !tables.contains_key(from) {
            return unknown_table(database, from);
        }
        if let Some(target) = tables.get(to)
            && (!overwrite || from == to)
        {
            return conflict("Table already exists", Some(target.id));
        }
        state.rename_table(database, from, to, moment.unix);
        if self.breaks(BrokenPromise::RenameChangesId) {
            let id = state.next_id();
            if let Some(table) = state.table_mut(database, to) {
                table.id = id;
            }
        }
        Reply::ok(&json!({"database": database, "table": to, "type": "log"}))
    }

    pub(super) fn swap_tables(&self, call: &Call) -> Reply {
        let [database, one, other] = [call.argument(0), call.argument(1), call.argument(2)];
        let (mut state, _) = self.lock();
        let Some(tables) = state.databases.get(database).map(|database| &database.tables) else {
            return unknown_database(database);
        };
        if let Some(missing) = [one, other].iter().find(|name| !tables.contains_key(**name)) {
            return unknown_table(database, missing);
        }
        state.swap_tables(database, one, other);
        Reply::ok(&json!({"database": database, "table1": one, "table2": other}))
    }

    pub(super) fn change_schema(&self, call: &Call) -> Reply {
        let [database, name] = [call.argument(0), call.argument(1)];
        let columns = match call.parameter("schema").as_deref().map(read_schema) {
            Some(Ok(columns)) => columns,
            Some(Err(message)) => return invalid(message),
            None => return invalid("Validation failed: schema is missing"),
        };
        let (mut state, moment) = self.lock();
        let Some(table) = state.table_mut(database, name) else { return unknown_table(database, name) };
        if call.operation == Operation::UpdateSchema {
            table.columns = columns;
        } else {
            let changes =
                |new: &Column| table.columns.iter().any(|old| old.name == new.name && old.kind != new.kind);
            if columns.iter().any(changes) {
                return invalid("Validation failed: the type of a column cannot be changed");
            }
            for column in columns {
                if !table.columns.iter().any(|old| old.name == column.name) {
                    table.columns.push(column);
                }
            }
        }
        table.updated = moment.unix;
        Reply::ok(&json!({"database": database, "table": name, "type": "log"}))
    }

    pub(super) async fn tail_table(&self, call: &Call) -> Reply {
        let [database, name] = [call.argument(0), call.argument(1)];
        let Some(parts) = self.loaded_parts(database, name) else { return unknown_table(database, name) };
        if call.query_parameter("format").is_some_and(|format| format != "msgpack") {
            return invalid("Validation failed: only the format msgpack is offered");
        }
        let count = match call.query_parameter("count").map(|count| count.parse::<u64>()) {
            None => DEFAULT_TAIL_ROWS,
            Some(Ok(count)) => count.min(MAX_TAIL_ROWS),
            Some(Err(_)) => return invalid("Validation failed: count must be a number"),
        };
        let tail = self.clock.blocking(move || read_back::tail(&parts, count)).await;
        match tail {
            Ok(Ok(rows)) => Reply::bytes(StatusCode::OK, "application/x-msgpack", Bytes::from(rows)),
            _ => error(StatusCode::INTERNAL_SERVER_ERROR, "Reading the table failed"),
        }
    }
}

fn show_database(name: &str, database: &Database, moment: Moment) -> Value {
    let rows: u64 = database.tables.values().map(|table| table.reported_rows(moment.now)).sum();
    json!({
        "id": database.id.to_string(),
        "name": name,
        "count": rows,
        "created_at": timestamp(database.created),
        "updated_at": timestamp(database.created),
        "organization": null,
        "permission": "administrator",
        "delete_protected": false,
    })
}

fn show_table(database: &str, name: &str, table: &Table, moment: Moment) -> Value {
    let schema: Vec<Vec<&str>> = table
        .columns
        .iter()
        .map(|column| {
            let mut tuple = vec![column.name.as_str(), column.kind.as_str()];
            tuple.extend(column.alias.as_deref());
            tuple
        })
        .collect();
    let size: u64 = table.parts.iter().map(|part| part.file.size()).sum();
    let latest = table.latest_time.and_then(|time| u64::try_from(time).ok());
    json!({
        "id": table.id,
        "database": database,
        "name": name,
        "type": "log",
        "count": table.reported_rows(moment.now),
        "schema": json!(schema).to_string(),
        "estimated_storage_size": size,
        "last_log_timestamp": latest.map(|time| timestamp(Duration::from_secs(time))),
        "counter_updated_at": timestamp(table.updated),
        "expire_days": null,
        "delete_protected": false,
        "include_v": true,
        "created_at": timestamp(table.created),
        "updated_at": timestamp(table.updated),
    })
}

fn read_schema(text: &str) -> Result<Vec<Column>, &'static str> {
    const BAD_SCHEMA: &str =
        "Validation failed: schema must be a list of [name, type] or [name, type, alias]";
    let tuples: Vec<Vec<String>> = serde_json::from_str(text).map_err(|_| BAD_SCHEMA)?;
    let column = |tuple: Vec<String>| {
        let mut tuple = tuple.into_iter();
        let (Some(name), Some(kind), alias, None) = (tuple.next(), tuple.next(), tuple.next(), tuple.next())
        else {
            return Err(BAD_SCHEMA);
        };
        if name == "time" || name == "v" {
            return Err("Validation failed: time and v are reserved");
        }
        if !is_valid_column(alias.as_deref().unwrap_or(&name)) {
            return Err("Validation failed: column name must match [a-z_][a-z0-9_]*");
        }
        let plain = matches!(kind.as_str(), "int" | "long" | "float" | "double" | "string");
        if !plain && !kind.starts_with("array<") && !kind.starts_with("map<") {
            return Err("Validation failed: unknown column type");
        }
        Ok(Column { name, kind, alias })
    };
    tuples.into_iter().map(column).collect()
}

fn is_valid_column(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_valid_name(name: &str) -> bool {
    (3..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

pub(super) fn unknown_database(name: &str) -> Reply {
    not_found(&format!("Database '{name}' does not exist"))
}

pub(super) fn unknown_table(database: &str, name: &str) -> Reply {
    not_found(&missing_table(database, name))
}

pub(super) fn missing_table(database: &str, name: &str) -> String {
    format!("Table '{database}.{name}' does not exist")
}
