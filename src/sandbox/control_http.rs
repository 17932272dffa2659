//! [`Control`] over HTTP, for other processes.
//!
//! Owns the paths below `/sandbox/` on the address of Treasure Data. They need no key, are exempt from faults and are
//! not counted. The documentation of [`sandbox`](super) lists the calls.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::control::{Control, ControlError};
use super::operation::Service;
use super::read_back::Row;
use super::reply::Reply;
use super::shared::Shared;

const MAX_ROWS: usize = 1_000;
const DEFAULT_ROWS: usize = 100;

pub(super) async fn handle(
    shared: &Arc<Shared>,
    method: &Method,
    segments: &[String],
    query: Option<&str>,
) -> Reply {
    if method != Method::GET {
        return error_reply(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported under /sandbox/");
    }
    let mut control = Control::new(Arc::clone(shared));
    if let Some(store_id) = query.and_then(|query| parameter::<String>(query, "store")) {
        let Some(store_control) = control.for_store(&store_id) else {
            return error_reply(StatusCode::NOT_FOUND, "no such store");
        };
        control = store_control;
    }
    let segments = segments.to_vec();
    let query = query.unwrap_or_default().to_owned();
    let result = shared.clock.blocking(move || {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        handle_blocking(&control, &segments, &query)
    });
    result
        .await
        .unwrap_or_else(|_stopped| error_reply(StatusCode::SERVICE_UNAVAILABLE, "the sandbox is stopping"))
}

fn handle_blocking(control: &Control, segments: &[&str], query: &str) -> Reply {
    let result = match segments {
        ["sandbox", "tables"] => Ok(tables(control)),
        ["sandbox", "tables", database, table, "count"] => count(control, database, table),
        ["sandbox", "tables", database, table, "rows"] => rows(control, database, table, query),
        ["sandbox", "tables", database, table, "verify"] => verify(control, database, table, query),
        ["sandbox", "sessions"] => Ok(sessions(control)),
        ["sandbox", "requests"] => Ok(requests(control)),
        _ => return error_reply(StatusCode::NOT_FOUND, "no such call"),
    };
    match result {
        Ok(body) => Reply::ok(&body),
        Err(error @ ControlError::UnknownTable { .. }) => {
            error_reply(StatusCode::NOT_FOUND, &error.to_string())
        }
        Err(error) => error_reply(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn tables(control: &Control) -> Value {
    let table = |(database, table): (String, String)| {
        let rows = control.row_count(&database, &table);
        json!({"database": database, "table": table, "id": control.table_id(&database, &table), "rows": rows})
    };
    json!({"tables": control.tables().into_iter().map(table).collect::<Vec<_>>()})
}

fn count(control: &Control, database: &str, table: &str) -> Result<Value, ControlError> {
    let rows = control.row_count(database, table).ok_or_else(|| ControlError::UnknownTable {
        database: database.to_owned(),
        table: table.to_owned(),
    })?;
    Ok(json!({"rows": rows}))
}

fn rows(control: &Control, database: &str, table: &str, query: &str) -> Result<Value, ControlError> {
    let offset = parameter(query, "offset").unwrap_or(0);
    let limit = parameter(query, "limit").unwrap_or(DEFAULT_ROWS).min(MAX_ROWS);
    let mut rows = control.rows(database, table)?;
    rows.skip_rows(offset)?;
    let rows: Vec<Value> = rows.take(limit).map(|row| row.map(row_to_json)).collect::<Result<_, _>>()?;
    Ok(json!({"rows": rows}))
}

fn verify(control: &Control, database: &str, table: &str, query: &str) -> Result<Value, ControlError> {
    let from = parameter(query, "from").unwrap_or(0);
    let to = parameter(query, "to").unwrap_or(i64::MAX);
    let verification = control.verify_table(database, table, from..=to)?;
    let exact = verification.is_exact();
    let mut body = serde_json::to_value(verification).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("exact".to_owned(), Value::Bool(exact));
    }
    Ok(body)
}

fn sessions(control: &Control) -> Value {
    let sessions: Vec<Value> = control
        .sessions()
        .into_iter()
        .map(|session| {
            json!({
                "name": session.name,
                "database": session.database,
                "table": session.table,
                "table_id": session.table_id,
                "is_valid": session.is_valid,
                "status": session.status,
                "upload_frozen": session.upload_frozen,
                "parts": session.parts,
                "valid_records": session.valid_records,
            })
        })
        .collect();
    json!({"sessions": sessions})
}

fn requests(control: &Control) -> Value {
    let mut operations = Map::new();
    for ((_, operation), count) in control.operations() {
        let total = operations.get(operation.name()).and_then(Value::as_u64).unwrap_or(0) + count;
        operations.insert(operation.name().to_owned(), total.into());
    }
    json!({
        "operations": operations,
        "connections": {
            "yotpo": control.connections(Service::Yotpo),
            "treasure_data": control.connections(Service::TreasureData),
        },
        "applied_faults": control.applied_faults(),
        "max_requests_in_rolling_second": control.max_requests_in_rolling_second(),
    })
}

fn row_to_json(row: Row) -> Value {
    let mut fields: Map<String, Value> = row.columns.into_iter().collect();
    fields.insert("time".to_owned(), row.time.into());
    if let Some(json_response) = row.json_response {
        fields.insert("json_response".to_owned(), json_response.into());
    }
    Value::Object(fields)
}

fn parameter<T: std::str::FromStr>(query: &str, name: &str) -> Option<T> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

fn error_reply(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message}))
}
