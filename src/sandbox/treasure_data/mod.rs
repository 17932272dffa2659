//! Mock of the Treasure Data REST API: databases, tables, bulk import sessions and jobs.
//!
//! Owns authorization and the formats of errors; the calls are in the submodules. Everything behaves as the published
//! clients and documents describe it, strictly where a client could make a mistake.

mod behaviour;
mod bulk_import;
mod import;
mod jobs;
mod lag;
mod loaded_part;
mod state;
mod tables;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use serde_json::json;

pub use self::behaviour::{
    BrokenPromise, ClosedSession, InvalidSession, InvalidStatus, KilledJob, RenamedTable, RepeatedPerform,
    Retention, TreasureDataBehaviour, WriteOnlyTableCreation,
};
pub(super) use self::loaded_part::LoadedPart;
pub(super) use self::state::Durations;
use self::state::{Moment, State};
use super::operation::Operation;
use super::reply::{Call, Reply};
use super::spool::Spool;
use crate::clock::Clock;

/// Permissions of the API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// Everything.
    #[default]
    Master,
    /// Import only: bulk import, jobs and `append-schema`. Reading databases, tables and rows, deleting and renaming
    /// tables, and `update-schema` are denied, and so is creating tables unless [`WriteOnlyTableCreation::Allowed`].
    WriteOnly,
}

/// A failure to inject inside the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InjectedFailure {
    #[default]
    None,
    Import,
    Commit,
}

/// A bulk import session, as seen by tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// Unique name.
    pub name: String,
    /// Target database.
    pub database: String,
    /// Target table, by the name that `show` reports.
    pub table: String,
    /// Id of the table for which the session was created.
    pub table_id: u64,
    /// Whether that table still exists, under any name.
    pub is_valid: bool,
    /// `uploading`, `performing`, `ready`, `committing` or `committed`, regardless of what `show` reports.
    pub status: &'static str,
    /// Whether the session is frozen.
    pub upload_frozen: bool,
    /// Names of the parts; empty once committed.
    pub parts: Vec<String>,
    /// Number of valid records in the last import.
    pub valid_records: Option<u64>,
}

#[derive(Debug)]
pub(super) struct TreasureData {
    state: Mutex<State>,
    clock: Clock,
    spool: Spool,
    authorization: String,
    account_id: u64,
    key_kind: KeyKind,
    behaviour: TreasureDataBehaviour,
    stopped: AtomicBool,
}

impl TreasureData {
    pub(super) fn new(
        clock: Clock,
        spool: Spool,
        api_key: &str,
        key_kind: KeyKind,
        behaviour: TreasureDataBehaviour,
        durations: Durations,
    ) -> Self {
        let account = api_key.split_once('/').and_then(|(account, _)| account.parse().ok());
        Self {
            state: Mutex::new(State::new(durations, behaviour.retention)),
            clock,
            spool,
            authorization: format!("TD1 {api_key}"),
            account_id: account.unwrap_or(1),
            key_kind,
            behaviour,
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) const fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Stops imports that are still reading.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        for job in self.lock().0.jobs.values() {
            job.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// The error response to a request that is not authorized, which is sent before its body is read.
    pub(super) fn authorization_error(
        &self,
        operation: Operation,
        authorization: Option<&str>,
    ) -> Option<Reply> {
        if matches!(operation, Operation::ServerStatus | Operation::Unknown) {
            return None;
        }
        if authorization != Some(self.authorization.as_str()) {
            return Some(error(StatusCode::UNAUTHORIZED, "Authentication failed: invalid API key"));
        }
        let is_denied = self.key_kind == KeyKind::WriteOnly && self.needs_full_access(operation);
        is_denied.then(|| error(StatusCode::FORBIDDEN, "Permission denied: the key is write-only"))
    }

    /// Whether a write-only key is denied an operation.
    fn needs_full_access(&self, operation: Operation) -> bool {
        match operation {
            Operation::ListDatabases
            | Operation::ShowDatabase
            | Operation::CreateDatabase
            | Operation::DeleteDatabase
            | Operation::ListTables
            | Operation::ShowTable
            | Operation::DeleteTable
            | Operation::RenameTable
            | Operation::SwapTables
            | Operation::UpdateSchema
            | Operation::TailTable => true,
            Operation::CreateTable => {
                self.behaviour.write_only_table_creation == WriteOnlyTableCreation::Denied
            }
            _ => false,
        }
    }

    pub(super) async fn handle(self: &Arc<Self>, call: &Call, injected: InjectedFailure) -> Reply {
        match call.operation {
            Operation::ServerStatus => Reply::ok(&json!({"status": "ok"})),
            Operation::ValidateKey => self.validate_key(),
            Operation::ShowUser => self.show_user(),
            Operation::ListDatabases => self.list_databases(),
            Operation::ShowDatabase => self.show_database(call.argument(0)),
            Operation::CreateDatabase => self.create_database(call.argument(0)),
            Operation::DeleteDatabase => self.delete_database(call.argument(0)),
            Operation::ListTables => self.list_tables(call.argument(0)),
            Operation::ShowTable => self.show_table(call.argument(0), call.argument(1)),
            Operation::CreateTable => self.create_table(call.argument(0), call.argument(1), call.argument(2)),
            Operation::DeleteTable => self.delete_table(call.argument(0), call.argument(1)),
            Operation::RenameTable => self.rename_table(call),
            Operation::SwapTables => self.swap_tables(call),
            Operation::AppendSchema | Operation::UpdateSchema => self.change_schema(call),
            Operation::TailTable => self.tail_table(call).await,
            Operation::CreateSession => self.create_session(call),
            Operation::ShowSession => self.show_session(call.argument(0)),
            Operation::ListSessions => self.list_sessions(),
            Operation::ListParts => self.list_parts(call.argument(0)),
            Operation::UploadPart => self.upload_part(call),
            Operation::DeletePart => self.delete_part(call.argument(0), call.argument(1)),
            Operation::FreezeSession => self.freeze(call.argument(0)),
            Operation::UnfreezeSession => self.unfreeze(call.argument(0)),
            Operation::PerformSession => self.perform(call.argument(0), injected).await,
            Operation::CommitSession => self.commit(call.argument(0), injected),
            Operation::DeleteSession => self.delete_session(call.argument(0)),
            Operation::ErrorRecords => self.error_records(call.argument(0)),
            Operation::ListJobs => self.list_jobs(call),
            Operation::JobStatus => self.job_status(call.argument(0)),
            Operation::ShowJob => self.show_job(call.argument(0)),
            Operation::KillJob => self.kill_job(call.argument(0)),
            Operation::AccessToken | Operation::Customers | Operation::Unknown => {
                not_found("path and method do not match any API endpoint")
            }
        }
    }

    fn breaks(&self, promise: BrokenPromise) -> bool {
        self.behaviour.broken_promise == promise
    }

    /// The state after applying everything that is due, and the current moment.
    fn lock(&self) -> (MutexGuard<'_, State>, Moment) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = Moment { now: self.clock.now(), unix: self.clock.unix_time() };
        state.advance_to(moment);
        (state, moment)
    }

    fn validate_key(&self) -> Reply {
        let (key_type, administrator) = match self.key_kind {
            KeyKind::Master => ("master", true),
            KeyKind::WriteOnly => ("write_only", false),
        };
        Reply::ok(&json!({
            "key_type": key_type,
            "account_id": self.account_id,
            "user_id": 1,
            "administrator": administrator,
        }))
    }

    fn show_user(&self) -> Reply {
        Reply::ok(&json!({
            "id": 1,
            "name": "Sandbox User",
            "first_name": "Sandbox",
            "last_name": "User",
            "email": "sandbox@example.com",
            "phone": null,
            "gravatar_url": "https://example.com/avatar.png",
            "administrator": self.key_kind == KeyKind::Master,
            "created_at": timestamp(Duration::ZERO),
            "updated_at": timestamp(Duration::ZERO),
            "account_owner": true,
        }))
    }
}

/// An error in the usual format.
fn error(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message, "text": message, "severity": "error"}))
}

fn not_found(message: &str) -> Reply {
    error(StatusCode::NOT_FOUND, message)
}

fn invalid(message: &str) -> Reply {
    error(StatusCode::UNPROCESSABLE_ENTITY, message)
}

/// A conflict, which has a different format.
fn conflict(message: &str, with: Option<u64>) -> Reply {
    let body = json!({"message": message, "details": {"conflicts_with": with}, "stacktrace": null});
    Reply::json(StatusCode::CONFLICT, &body)
}

fn timestamp(unix: Duration) -> String {
    UNIX_EPOCH
        .checked_add(unix)
        .map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string())
}
