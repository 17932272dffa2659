//! State of the Treasure Data mock, and its changes over time.
//!
//! Owns databases, tables, bulk import sessions and jobs. Every access first calls [`State::advance_to`], which
//! completes the imports and commits that are due and removes expired sessions before they can be seen. Rows stay in
//! spooled parts; a table is a list of them.
//!
//! A session belongs to a table *object*. A rename gives the object, with its id and its sessions, another name. A
//! table created later with the same name is another object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::behaviour::Retention;
use super::import::{Imported, UploadedPart};
use super::lag::Lag;
use super::loaded_part::LoadedPart;

/// Duration of imports, commits and counting rows, on the clock.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Durations {
    pub(in super::super) import: Duration,
    pub(in super::super) commit: Duration,
    pub(in super::super) row_count_lag: Duration,
}

/// A moment in both times of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Monotonic time, for what is due.
    pub(super) now: Duration,
    /// Wall time, for what is reported.
    pub(super) unix: Duration,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) durations: Durations,
    retention: Retention,
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) jobs: BTreeMap<u64, Job>,
    last_id: u64,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) id: u64,
    pub(super) created: Duration,
    pub(super) tables: BTreeMap<String, Table>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) id: u64,
    pub(super) created: Duration,
    pub(super) updated: Duration,
    pub(super) columns: Vec<Column>,
    pub(super) parts: Vec<LoadedPart>,
    pub(super) latest_time: Option<i64>,
    /// Loads that the reported count does not include yet, and from when it does.
    uncounted: Vec<(Duration, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) alias: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) database: String,
    /// Name of the table when the session was created.
    pub(super) table: String,
    /// Current or last name of the table.
    pub(super) current_table: String,
    /// The table for which the session was created; another table with that name is not the same.
    pub(super) table_id: u64,
    /// Monotonic time.
    pub(super) created: Duration,
    pub(super) phase: Phase,
    pub(super) frozen: bool,
    pub(super) job: Option<u64>,
    pub(super) parts: BTreeMap<String, UploadedPart>,
    /// Result of the last import; `None` before the first.
    pub(super) imported: Option<Imported>,
    /// How much `show` lags behind.
    pub(super) lag: Lag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Uploading,
    Performing { started: Duration },
    Ready,
    Committing { started: Duration, fails: bool },
    Committed,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) session: String,
    pub(super) database: String,
    pub(super) status: JobStatus,
    pub(super) created: Moment,
    pub(super) ended: Option<Duration>,
    pub(super) message: String,
    pub(super) records: u64,
    /// Whether the import fails because of an injected fault.
    pub(super) fails: bool,
    /// The result, until the import is due.
    pub(super) found: Option<Imported>,
    /// Stops the import.
    pub(super) cancelled: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobStatus {
    Active,
    Success,
    Error,
    Killed,
}

impl State {
    pub(super) fn new(durations: Durations, retention: Retention) -> Self {
        Self {
            durations,
            retention,
            databases: BTreeMap::new(),
            sessions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            last_id: 1_000,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Creates a database; false if the name is in use.
    pub(super) fn create_database(&mut self, name: &str, unix: Duration) -> bool {
        if self.databases.contains_key(name) {
            return false;
        }
        let database = Database { id: self.next_id(), created: unix, tables: BTreeMap::new() };
        self.databases.insert(name.to_owned(), database);
        true
    }

    /// Creates an empty table; false if the name is in use, `None` if the database does not exist.
    pub(super) fn create_table(&mut self, database: &str, table: &str, unix: Duration) -> Option<bool> {
        let id = self.next_id();
        let tables = &mut self.databases.get_mut(database)?.tables;
        if tables.contains_key(table) {
            return Some(false);
        }
        tables.insert(table.to_owned(), Table::new(id, unix));
        Some(true)
    }

    pub(super) fn table(&self, database: &str, table: &str) -> Option<&Table> {
        self.databases.get(database)?.tables.get(table)
    }

    pub(super) fn table_mut(&mut self, database: &str, table: &str) -> Option<&mut Table> {
        self.databases.get_mut(database)?.tables.get_mut(table)
    }

    /// Deletes a table permanently; false if it does not exist. Its sessions become invalid.
    pub(super) fn delete_table(&mut self, database: &str, table: &str) -> bool {
        self.databases.get_mut(database).and_then(|database| database.tables.remove(table)).is_some()
    }

    /// Renames a table; a table with the new name is deleted. Does nothing if the table does not exist.
    pub(super) fn rename_table(&mut self, database: &str, from: &str, to: &str, unix: Duration) {
        let Some(tables) = self.databases.get_mut(database).map(|database| &mut database.tables) else {
            return;
        };
        if let Some(mut table) = tables.remove(from) {
            table.updated = unix;
            let id = table.id;
            tables.insert(to.to_owned(), table);
            self.rename_in_sessions(id, to);
        }
    }

    /// Swaps the names of two tables. Does nothing if one is missing.
    pub(super) fn swap_tables(&mut self, database: &str, one: &str, other: &str) {
        let Some(tables) = self.databases.get_mut(database).map(|database| &mut database.tables) else {
            return;
        };
        let ids = [one, other].map(|name| tables.get(name).map(|table| table.id));
        if let [Some(first), Some(second)] = ids
            && let (Some(table), Some(other_table)) = (tables.remove(one), tables.remove(other))
        {
            tables.insert(one.to_owned(), other_table);
            tables.insert(other.to_owned(), table);
            self.rename_in_sessions(first, other);
            self.rename_in_sessions(second, one);
        }
    }

    /// Updates the table name in the sessions of a table.
    fn rename_in_sessions(&mut self, table_id: u64, name: &str) {
        for session in self.sessions.values_mut().filter(|session| session.table_id == table_id) {
            name.clone_into(&mut session.current_table);
        }
    }

    /// Whether the table for which `session` was created still exists, under any name.
    pub(super) fn is_valid(&self, session: &Session) -> bool {
        let table = self.table(&session.database, &session.current_table);
        table.is_some_and(|table| table.id == session.table_id)
    }

    /// Removes a session and kills its job; false if it does not exist.
    pub(super) fn remove_session(&mut self, name: &str, unix: Duration) -> bool {
        let Some(session) = self.sessions.remove(name) else { return false };
        if let Some(job) = session.job.and_then(|job| self.jobs.get_mut(&job)) {
            job.kill(unix);
        }
        true
    }

    /// Completes every import and commit that is due, and removes expired sessions.
    pub(super) fn advance_to(&mut self, moment: Moment) {
        let due = |session: &Session| match session.phase {
            Phase::Performing { started } => moment.now >= started + self.durations.import,
            Phase::Committing { started, .. } => moment.now >= started + self.durations.commit,
            _ => false,
        };
        let due: Vec<String> =
            self.sessions.iter().filter(|(_, session)| due(session)).map(|(name, _)| name.clone()).collect();
        for name in due {
            if let Some(mut session) = self.sessions.remove(&name) {
                match session.phase {
                    Phase::Performing { .. } => self.finish_import(&mut session, moment),
                    Phase::Committing { fails, .. } => self.finish_commit(&mut session, fails, moment),
                    _ => {}
                }
                self.sessions.insert(name, session);
            }
        }
        self.expire(moment);
    }

    fn expire(&mut self, moment: Moment) {
        let retention = self.retention;
        let expired = |session: &Session| {
            let kept = match session.phase {
                Phase::Committing { .. } => None,
                Phase::Committed => retention.committed,
                _ if session.job.is_some() => retention.performed,
                _ => retention.never_performed,
            };
            kept.is_some_and(|kept| moment.now >= session.created.saturating_add(kept))
        };
        let expired: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, session)| expired(session))
            .map(|(name, _)| name.clone())
            .collect();
        for name in expired {
            self.remove_session(&name, moment.unix);
        }
    }

    fn finish_import(&mut self, session: &mut Session, moment: Moment) {
        let is_valid = self.is_valid(session);
        let Some(job) = session.job.and_then(|job| self.jobs.get_mut(&job)) else { return };
        let Some(found) = job.found.take() else { return };
        let failure = if job.fails {
            Some("import failed on purpose")
        } else if !is_valid {
            Some("the table does not exist")
        } else if found.valid_records == 0 {
            Some("no valid records")
        } else {
            None
        };
        job.ended = Some(moment.unix);
        job.records = found.valid_records;
        job.status = if failure.is_some() { JobStatus::Error } else { JobStatus::Success };
        job.message =
            failure.map_or_else(|| found.summary(), |failure| format!("{failure}: {}", found.summary()));
        session.phase = if failure.is_some() { Phase::Uploading } else { Phase::Ready };
        session.imported = Some(found);
    }

    fn finish_commit(&mut self, session: &mut Session, fails: bool, moment: Moment) {
        let lag = self.durations.row_count_lag;
        let is_valid = self.is_valid(session);
        let table = self.table_mut(&session.database, &session.current_table);
        match (table, session.imported.as_mut()) {
            (Some(table), Some(imported)) if is_valid && !fails => {
                table.load(imported, moment, lag);
                session.phase = Phase::Committed;
                session.parts.clear();
            }
            _ => session.phase = Phase::Ready,
        }
    }
}

impl Table {
    fn new(id: u64, unix: Duration) -> Self {
        Self {
            id,
            created: unix,
            updated: unix,
            columns: Vec::new(),
            parts: Vec::new(),
            latest_time: None,
            uncounted: Vec::new(),
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// Number of rows that are reported.
    pub(super) fn reported_rows(&self, now: Duration) -> u64 {
        let hidden = self.uncounted.iter().filter(|(visible, _)| now < *visible).map(|(_, rows)| rows);
        self.rows().saturating_sub(hidden.sum())
    }

    /// Adds the rows of an import; the reported count includes them after `lag`.
    pub(super) fn load(&mut self, imported: &mut Imported, moment: Moment, lag: Duration) {
        self.uncounted.retain(|(visible, _)| moment.now < *visible);
        self.uncounted.push((moment.now + lag, imported.valid_records));
        self.parts.append(&mut imported.parts);
        self.latest_time = self.latest_time.max(imported.latest_time);
        self.updated = moment.unix;
        for (name, kind) in &imported.columns {
            if name != "time" && !name.is_empty() && !self.columns.iter().any(|column| column.name == *name) {
                let kind = (*kind).to_owned();
                self.columns.push(Column { name: name.clone(), kind, alias: None });
            }
        }
    }
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Performing { .. } => "performing",
            Self::Ready => "ready",
            Self::Committing { .. } => "committing",
            Self::Committed => "committed",
        }
    }
}

impl Job {
    /// The reported status, which goes through all documented ones.
    pub(super) fn shown_status(&self, now: Duration, import: Duration) -> &'static str {
        let elapsed = now.saturating_sub(self.created.now);
        match self.status {
            JobStatus::Success => "success",
            JobStatus::Error => "error",
            JobStatus::Killed => "killed",
            JobStatus::Active if elapsed * 4 < import => "queued",
            JobStatus::Active if elapsed * 2 < import => "booting",
            JobStatus::Active => "running",
        }
    }
}
