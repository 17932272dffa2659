//! Calls for bulk import sessions: the documented state machine.
//!
//! create → uploading; freeze; perform → performing → ready, or back to uploading if nothing can be loaded; commit →
//! committing → committed, or back to ready. A call in the wrong state is a conflict (409). A session accepts parts
//! only while it is `uploading` and not frozen, so exactly what was performed is committed. A session whose table was
//! deleted is invalid: only `show`, `list` and `delete` work on it.
//!
//! Every call holds the only lock from its check to its effect, so one of two conflicting calls always fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::reply::{Call, CallBody, Reply};
use super::super::spool::SpoolFile;
use super::import::{Imported, UploadedPart, import};
use super::lag::Lag;
use super::state::{Job, JobStatus, Moment, Phase, Session, State};
use super::tables::{missing_table, unknown_database, unknown_table};
use super::{
    BrokenPromise, ClosedSession, InjectedFailure, InvalidSession, InvalidStatus, RenamedTable,
    RepeatedPerform, SessionSummary, TreasureData, conflict, error, invalid, not_found,
};

const MIN_NAME_LENGTH: usize = 3;

impl TreasureData {
    pub(in super::super) fn sessions(&self) -> Vec<SessionSummary> {
        let (state, _) = self.lock();
        let summary = |(name, session): (&String, &Session)| SessionSummary {
            name: name.clone(),
            database: session.database.clone(),
            table: self.reported_table(session).to_owned(),
            table_id: session.table_id,
            is_valid: state.is_valid(session),
            status: session.phase.name(),
            upload_frozen: session.frozen,
            parts: session.parts.keys().cloned().collect(),
            valid_records: session.imported.as_ref().map(|imported| imported.valid_records),
        };
        state.sessions.iter().map(summary).collect()
    }

    /// Removes a session in any state; false if it does not exist.
    pub(in super::super) fn remove_session(&self, name: &str) -> bool {
        let (mut state, moment) = self.lock();
        state.remove_session(name, moment.unix)
    }

    /// Loads a part into a table immediately, without a session; `None` if the table does not exist.
    pub(in super::super) fn load_part(&self, database: &str, table: &str, file: SpoolFile) -> Option<u64> {
        let mut imported =
            import(&[("injected".to_owned(), UploadedPart::new(file))], &AtomicBool::new(false));
        let rows = imported.valid_records;
        let (mut state, moment) = self.lock();
        state.table_mut(database, table)?.load(&mut imported, moment, Duration::ZERO);
        Some(rows)
    }

    pub(super) fn create_session(&self, call: &Call) -> Reply {
        let [name, database, table] = [call.argument(0), call.argument(1), call.argument(2)];
        if name.len() < MIN_NAME_LENGTH {
            return invalid("Validation failed: name is too short (minimum is 3 characters)");
        }
        let (mut state, moment) = self.lock();
        if state.sessions.contains_key(name) {
            if self.breaks(BrokenPromise::CreatesTwice) {
                return acknowledged(name);
            }
            return conflict("Bulk import session already exists", None);
        }
        if !state.databases.contains_key(database) {
            return unknown_database(database);
        }
        let Some(table_id) = state.table(database, table).map(|table| table.id) else {
            return unknown_table(database, table);
        };
        let session = Session {
            database: database.to_owned(),
            table: table.to_owned(),
            current_table: table.to_owned(),
            table_id,
            created: moment.now,
            phase: Phase::Uploading,
            frozen: false,
            job: None,
            parts: std::collections::BTreeMap::new(),
            imported: None,
            lag: Lag::default(),
        };
        state.sessions.insert(name.to_owned(), session);
        acknowledged(name)
    }

    pub(super) fn show_session(&self, name: &str) -> Reply {
        let (mut state, _) = self.lock();
        let Some(session) = state.sessions.get(name) else { return unknown_session(name) };
        let now = self.session_json(name, session, state.is_valid(session));
        let shown = state.sessions.get_mut(name).map(|session| session.lag.apply(now));
        shown.map_or_else(|| unknown_session(name), |shown| Reply::ok(&shown))
    }

    pub(super) fn list_sessions(&self) -> Reply {
        let (state, _) = self.lock();
        let show =
            |(name, session): (&String, &Session)| self.session_json(name, session, state.is_valid(session));
        let sessions: Vec<_> = state.sessions.iter().map(show).collect();
        Reply::ok(&json!({"bulk_imports": sessions}))
    }

    pub(super) fn list_parts(&self, name: &str) -> Reply {
        self.with_valid_session(name, |session, _| {
            let is_late = session.frozen && self.breaks(BrokenPromise::ListsLate);
            let listed = session.parts.len() - usize::from(is_late && !session.parts.is_empty());
            let parts: Vec<_> = session.parts.keys().take(listed).collect();
            Reply::ok(&json!({"parts": parts, "name": name, "bulk_import": name}))
        })
    }

    pub(super) fn upload_part(&self, call: &Call) -> Reply {
        let [name, part] = [call.argument(0), call.argument(1)];
        if part.contains('/') || part.matches('.').count() > 1 {
            return not_found("Resource not found");
        }
        let CallBody::Spooled(file) = &call.body else {
            return invalid("Validation failed: the part is missing");
        };
        let uploaded = UploadedPart::new(file.clone());
        let to_validate = uploaded.clone();
        let reply = self.with_open_session(name, |session| {
            if self.breaks(BrokenPromise::RefusesSameName) && session.parts.contains_key(part) {
                return conflict("Part already exists", None);
            }
            session.parts.insert(part.to_owned(), uploaded);
            acknowledged(name)
        });
        // On virtual time, the import is awaited anyway, and validating a session that is then abandoned would be
        // wasted work.
        if reply.status.is_success() && !self.clock.is_virtual() {
            #[expect(
                clippy::disallowed_methods,
                reason = "only on the machine's clock, and nothing waits for it"
            )]
            drop(tokio::task::spawn_blocking(move || to_validate.validate()));
        }
        reply
    }

    pub(super) fn delete_part(&self, name: &str, part: &str) -> Reply {
        self.with_open_session(name, |session| match session.parts.remove(part) {
            Some(_) => acknowledged(name),
            None => not_found(&format!("Part '{part}' does not exist")),
        })
    }

    pub(super) fn freeze(&self, name: &str) -> Reply {
        self.with_valid_session(name, |session, _| {
            if session.frozen {
                return conflict("Bulk import session is already frozen", None);
            }
            if session.phase != Phase::Uploading {
                return wrong_state("frozen", session);
            }
            session.frozen = true;
            acknowledged(name)
        })
    }

    pub(super) fn unfreeze(&self, name: &str) -> Reply {
        self.with_valid_session(name, |session, _| {
            if session.phase != Phase::Uploading {
                return wrong_state("unfrozen", session);
            }
            session.frozen = false;
            acknowledged(name)
        })
    }

    pub(super) async fn perform(self: &Arc<Self>, name: &str, injected: InjectedFailure) -> Reply {
        let started = self.start_import(name, injected);
        let (job, parts, cancelled) = match started {
            Ok(started) => started,
            Err(error) => return *error,
        };
        let service = Arc::clone(self);
        #[expect(clippy::disallowed_methods, reason = "nothing waits for it on the machine's clock")]
        let reading = tokio::task::spawn_blocking(move || {
            let found = import(&parts, &cancelled);
            service.finish_reading(job, found);
        });
        // On virtual time, hours pass instantly for the client, so reading must not race against them.
        if self.clock.is_virtual() {
            drop(reading.await);
        }
        Reply::ok(&json!({"name": name, "bulk_import": name, "job_id": job}))
    }

    pub(super) fn commit(&self, name: &str, injected: InjectedFailure) -> Reply {
        self.with_valid_session(name, |session, moment| {
            if session.phase != Phase::Ready {
                return wrong_state("committed", session);
            }
            let fails = injected == InjectedFailure::Commit;
            let before = self.session_json(name, session, true);
            session.lag.committed(before, &self.behaviour);
            session.phase = Phase::Committing { started: moment.now, fails };
            acknowledged(name)
        })
    }

    pub(super) fn delete_session(&self, name: &str) -> Reply {
        let (mut state, moment) = self.lock();
        let Some(session) = state.sessions.get(name) else { return unknown_session(name) };
        if matches!(session.phase, Phase::Committing { .. }) && state.is_valid(session) {
            return wrong_state("deleted", session);
        }
        state.remove_session(name, moment.unix);
        acknowledged(name)
    }

    pub(super) fn error_records(&self, name: &str) -> Reply {
        self.with_valid_session(name, |session, _| {
            let Some(imported) = &session.imported else {
                return not_found("There are no error records yet");
            };
            let sample = Bytes::copy_from_slice(&imported.error_sample);
            let mut reply = Reply::bytes(StatusCode::OK, "application/octet-stream", sample);
            reply.compressible = false;
            reply
        })
    }

    /// Runs `work` on a session whose table exists.
    fn with_valid_session(&self, name: &str, work: impl FnOnce(&mut Session, Moment) -> Reply) -> Reply {
        let (mut state, moment) = self.lock();
        match self.valid_session(&mut state, name) {
            Ok(session) => work(session, moment),
            Err(error) => *error,
        }
    }

    /// Runs `work` on a session that accepts parts.
    fn with_open_session(&self, name: &str, work: impl FnOnce(&mut Session) -> Reply) -> Reply {
        self.with_valid_session(name, |session, _| {
            let is_frozen = session.frozen && !self.breaks(BrokenPromise::AcceptsWhenFrozen);
            if !is_frozen && session.phase == Phase::Uploading {
                return work(session);
            }
            let status = match self.behaviour.closed_session {
                ClosedSession::Conflict => StatusCode::CONFLICT,
                ClosedSession::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Reply { status, ..wrong_state("changed", session) }
        })
    }

    /// A session whose table exists; otherwise the response to any call except `show`, `list` and `delete`.
    fn valid_session<'state>(
        &self,
        state: &'state mut State,
        name: &str,
    ) -> Result<&'state mut Session, Box<Reply>> {
        let session = state.sessions.get(name).ok_or_else(|| unknown_session(name))?;
        if !state.is_valid(session) {
            let message = missing_table(&session.database, self.reported_table(session));
            return Err(match self.behaviour.invalid_session {
                InvalidSession::NotFound => not_found(&message),
                InvalidSession::Unprocessable => invalid(&format!("Validation failed: {message}")),
            }
            .into());
        }
        state.sessions.get_mut(name).ok_or_else(|| unknown_session(name).into())
    }

    fn reported_table<'session>(&self, session: &'session Session) -> &'session str {
        match self.behaviour.renamed_table {
            RenamedTable::OldName => &session.table,
            RenamedTable::NewName => &session.current_table,
        }
    }

    fn session_json(&self, name: &str, session: &Session, is_valid: bool) -> Value {
        let imported = session.imported.as_ref();
        let hides_status = self.behaviour.invalid_status == InvalidStatus::Unknown;
        let status = if hides_status && !is_valid { "unknown" } else { session.phase.name() };
        json!({
            "name": name,
            "database": session.database,
            "table": self.reported_table(session),
            "status": status,
            "upload_frozen": session.frozen,
            "job_id": session.job,
            "valid_records": imported.map(|imported| imported.valid_records),
            "error_records": imported.map(|imported| imported.error_records),
            "valid_parts": imported.map(|imported| imported.valid_parts),
            "error_parts": imported.map(|imported| imported.error_parts),
        })
    }

    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn start_import(
        &self,
        name: &str,
        injected: InjectedFailure,
    ) -> Result<(u64, Vec<(String, UploadedPart)>, Arc<AtomicBool>), Box<Reply>> {
        let (mut state, moment) = self.lock();
        let state: &mut State = &mut state;
        let session = self.valid_session(state, name)?;
        let can_start = match session.phase {
            Phase::Uploading => session.frozen || self.breaks(BrokenPromise::PerformsOpenSessions),
            Phase::Ready => self.behaviour.repeated_perform == RepeatedPerform::Accepted,
            Phase::Performing { .. } | Phase::Committing { .. } | Phase::Committed => false,
        };
        if !can_start {
            return Err(wrong_state("performed", session).into());
        }
        let number = state.next_id();
        let session = state.sessions.get_mut(name).ok_or_else(|| unknown_session(name))?;
        let before = self.session_json(name, session, true);
        session.lag.performed(before, &self.behaviour);
        session.phase = Phase::Performing { started: moment.now };
        session.job = Some(number);
        session.imported = None;
        let cancelled = Arc::new(AtomicBool::new(self.stopped.load(Ordering::Relaxed)));
        let job = Job {
            session: name.to_owned(),
            database: session.database.clone(),
            status: JobStatus::Active,
            created: moment,
            ended: None,
            message: String::new(),
            records: 0,
            fails: injected == InjectedFailure::Import,
            found: None,
            cancelled: Arc::clone(&cancelled),
        };
        state.jobs.insert(number, job);
        let parts = session.parts.iter().map(|(name, file)| (name.clone(), file.clone())).collect();
        Ok((number, parts, cancelled))
    }

    fn finish_reading(&self, job: u64, found: Imported) {
        let (mut state, _) = self.lock();
        if let Some(job) = state.jobs.get_mut(&job)
            && job.status == JobStatus::Active
        {
            job.found = Some(found);
        }
    }
}

fn acknowledged(name: &str) -> Reply {
    Reply::ok(&json!({"name": name, "bulk_import": name}))
}

fn unknown_session(name: &str) -> Reply {
    not_found(&format!("Bulk import session '{name}' does not exist"))
}

fn wrong_state(what: &str, session: &Session) -> Reply {
    let frozen = if session.frozen { "frozen" } else { "not frozen" };
    let message =
        format!("Bulk import session cannot be {what}: it is {} and {frozen}", session.phase.name());
    error(StatusCode::CONFLICT, &message)
}
