//! Inspects and controls a running sandbox from the same process.
//!
//! Owns nothing: it is a view of both mock servers for tests and the embedded run. It also works from memory after the
//! sandbox has ended, except that the rows are gone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::fault::FaultPlan;
use super::operation::{Operation, Service};
use super::read_back::{ReadBackError, Rows};
use super::request_log::LoggedRequest;
use super::shared::Shared;
use super::treasure_data::SessionSummary;
use super::verification::{Verification, verify};
use super::yotpo::Yotpo;

/// Inspects and controls a sandbox; cheap to clone. Calls about customers and Yotpo refer to one store: the first one,
/// unless the control comes from [`Control::for_store`].
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
    store: usize,
}

/// A call of [`Control`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The table does not exist.
    #[error("table {database}.{table} does not exist")]
    UnknownTable {
        /// Database name.
        database: String,
        /// Table name.
        table: String,
    },
    /// Loaded rows could not be read back.
    #[error("could not read back the rows of the table")]
    ReadBack(#[from] ReadBackError),
    /// The rows to insert could not be written.
    #[error("could not write rows to the spool directory")]
    Spool(#[from] std::io::Error),
    /// A row to insert is not an object with an integer `time`.
    #[error("{rejected} rows have no integer time")]
    BadRows {
        /// Number of such rows.
        rejected: u64,
    },
}

impl Control {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, store: 0 }
    }

    /// The same control for another store; `None` if no store has this id.
    pub fn for_store(&self, store_id: &str) -> Option<Self> {
        let store = self.shared.yotpo.position(store_id)?;
        Some(Self { shared: Arc::clone(&self.shared), store })
    }

    fn store(&self) -> &Yotpo {
        self.shared.yotpo.get(self.store)
    }

    /// Number of customers in the store.
    pub fn customers(&self) -> u64 {
        self.store().generator().customers()
    }

    /// Sets the number of customers; they are added or removed at the end.
    pub fn set_customers(&self, customers: u64) {
        self.store().generator().set_customers(customers);
    }

    /// The `json_response` that the Python job would have stored for customer `index` (from 0).
    pub fn expected_json_response(&self, index: u64) -> String {
        let mut row = Vec::new();
        self.store().generator().write_stored(index, &mut row);
        String::from_utf8_lossy(&row).into_owned()
    }

    /// Number of rows in a table, regardless of the count that it reports; `None` if it does not exist.
    pub fn row_count(&self, database: &str, table: &str) -> Option<u64> {
        self.shared.treasure_data.row_count(database, table)
    }

    /// Streams the rows of a table in the order in which they were loaded. Blocking.
    pub fn rows(&self, database: &str, table: &str) -> Result<Rows, ControlError> {
        let parts = self.shared.treasure_data.loaded_parts(database, table);
        parts.map(Rows::new).ok_or_else(|| ControlError::UnknownTable {
            database: database.to_owned(),
            table: table.to_owned(),
        })
    }

    /// Compares every row of a table with every customer; `times` is the range of allowed times in Unix seconds.
    /// Blocking and streaming: it needs one bit of memory per customer.
    pub fn verify_table(
        &self,
        database: &str,
        table: &str,
        times: RangeInclusive<i64>,
    ) -> Result<Verification, ControlError> {
        Ok(verify(self.rows(database, table)?, self.store().generator(), &times)?)
    }

    /// Creates an empty database; false if it exists.
    pub fn create_database(&self, database: &str) -> bool {
        self.shared.treasure_data.add_database(database)
    }

    /// Creates an empty table and, if needed, its database; false if the table exists.
    pub fn create_table(&self, database: &str, table: &str) -> bool {
        self.shared.treasure_data.add_table(database, table)
    }

    /// The id of a table, as the API reports it; `None` if it does not exist.
    pub fn table_id(&self, database: &str, table: &str) -> Option<u64> {
        self.shared.treasure_data.table_id(database, table)
    }

    /// Deletes a table, as another client would; false if it does not exist.
    pub fn delete_table(&self, database: &str, table: &str) -> bool {
        self.shared.treasure_data.remove_table(database, table)
    }

    /// Deletes a table if it exists and creates an empty one with a new id, like `td_ddl> empty_tables` of another
    /// client. False if the database does not exist.
    pub fn recreate_table(&self, database: &str, table: &str) -> bool {
        self.shared.treasure_data.recreate_table(database, table)
    }

    /// Removes a bulk import session in any state, as another client or the retention policy would; false if it does
    /// not exist.
    pub fn remove_session(&self, name: &str) -> bool {
        self.shared.treasure_data.remove_session(name)
    }

    /// Adds rows to an existing table; each must be an object with an integer `time`. Blocking.
    pub fn insert_rows(&self, database: &str, table: &str, rows: &[Value]) -> Result<(), ControlError> {
        let is_row = |row: &&Value| row.get("time").is_some_and(Value::is_u64);
        let rejected = rows.len() - rows.iter().filter(is_row).count();
        if rejected > 0 {
            return Err(ControlError::BadRows { rejected: rejected as u64 });
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for row in rows {
            write_msgpack(row, &mut encoder)?;
        }
        let mut writer = self.shared.treasure_data.spool().create()?;
        writer.write(&encoder.finish()?)?;
        let loaded = self.shared.treasure_data.load_part(database, table, writer.finish());
        loaded.map(drop).ok_or_else(|| ControlError::UnknownTable {
            database: database.to_owned(),
            table: table.to_owned(),
        })
    }

    /// Database and table names, sorted.
    pub fn tables(&self) -> Vec<(String, String)> {
        self.shared.treasure_data.table_names()
    }

    /// All bulk import sessions, sorted by name.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        self.shared.treasure_data.sessions()
    }

    /// Number of import jobs started so far.
    pub fn import_jobs(&self) -> usize {
        self.shared.treasure_data.import_jobs()
    }

    /// Number of requests to a service so far.
    pub fn requests(&self, service: Service) -> u64 {
        self.shared.log.requests(service)
    }

    /// Number of requests of one operation so far.
    pub fn operation_requests(&self, operation: Operation) -> u64 {
        let operations = self.shared.log.operations();
        operations.iter().filter(|((_, named), _)| *named == operation).map(|(_, count)| count).sum()
    }

    /// Number of requests per service and operation; operations without requests are omitted.
    pub fn operations(&self) -> BTreeMap<(Service, Operation), u64> {
        self.shared.log.operations()
    }

    /// How often each page of customers was served, by the number of its first customer; limited to a million pages.
    pub fn page_fetches(&self) -> BTreeMap<u64, u32> {
        self.store().page_fetches()
    }

    /// Starts keeping every request in memory; for tests.
    pub fn start_request_log(&self) {
        self.shared.log.start_full_log();
    }

    /// The requests since [`Control::start_request_log`], in order of arrival.
    pub fn request_log(&self) -> Vec<LoggedRequest> {
        self.shared.log.full_log()
    }

    /// Maximum number of requests to Yotpo in any rolling second on the clock, including rate-limited ones.
    pub fn max_requests_in_rolling_second(&self) -> usize {
        self.store().max_requests_in_rolling_second()
    }

    /// Number of connections accepted so far, including those reset by faults.
    pub fn connections(&self, service: Service) -> u64 {
        self.shared.log.connections(service)
    }

    /// Replaces the faults. Ordinals still count from the start of the sandbox.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.faults.set(plan);
    }

    /// Number of requests affected by a fault so far.
    pub fn applied_faults(&self) -> u64 {
        self.shared.faults.applied()
    }

    /// Invalidates every token of the store.
    pub fn expire_tokens(&self) {
        self.store().expire_tokens();
    }

    /// Invalidates every page cursor of the store.
    pub fn invalidate_cursors(&self) {
        self.store().invalidate_cursors();
    }
}

fn write_msgpack(value: &Value, out: &mut impl std::io::Write) -> std::io::Result<()> {
    use rmp::encode;
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    match value {
        Value::Null => encode::write_nil(out),
        Value::Bool(boolean) => encode::write_bool(out, *boolean),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                encode::write_uint(out, number)?;
            } else if let Some(number) = number.as_i64() {
                encode::write_sint(out, number)?;
            } else {
                encode::write_f64(out, number.as_f64().unwrap_or(0.0))?;
            }
            Ok(())
        }
        Value::String(text) => Ok(encode::write_str(out, text)?),
        Value::Array(items) => {
            encode::write_array_len(out, length(items.len()))?;
            items.iter().try_for_each(|item| write_msgpack(item, out))
        }
        Value::Object(fields) => {
            encode::write_map_len(out, length(fields.len()))?;
            fields.iter().try_for_each(|(key, item)| {
                encode::write_str(out, key)?;
                write_msgpack(item, out)
            })
        }
    }
}
