//! What the probes created, and its deletion.
//!
//! Invariant: a name is recorded before the request that creates it, and forgotten only when it is deleted.

use crate::check::finding::{CheckId, Finding};
use crate::identity::{DatabaseName, ProbeName, SessionName, TableName};
use crate::telemetry::words;
use crate::treasure_data::{TreasureDataClient, TreasureDataError};

/// What may exist because of the probes.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) sessions: Vec<SessionName>,
    pub(super) tables: Vec<TableName>,
    /// Load jobs that should not have been started and could not be killed yet.
    pub(super) jobs: Vec<String>,
    deleted: u64,
    /// Whether tables were ever created.
    has_tables: bool,
}

impl Made {
    /// Records a table that is about to be created.
    pub(super) fn record_table(&mut self, table: &TableName) {
        self.has_tables = true;
        self.tables.push(table.clone());
    }

    /// The key may not create tables, and so may not delete any.
    pub(super) fn table_not_created(&mut self, table: &TableName) {
        self.tables.retain(|made| made != table);
    }

    pub(super) fn forget_session(&mut self, session: &SessionName) {
        self.deleted += 1;
        self.sessions.retain(|made| made != session);
    }

    pub(super) fn forget_table(&mut self, table: &TableName) {
        self.deleted += 1;
        self.tables.retain(|made| made != table);
    }

    pub(super) fn forget_job(&mut self, job: &str) {
        self.jobs.retain(|started| started != job);
    }

    /// Deletes everything: load jobs first, then sessions, then tables. Each is tried, whatever happens to the others.
    pub(super) async fn delete(
        &mut self,
        client: &TreasureDataClient,
        database: &DatabaseName,
        probe: Option<ProbeName>,
    ) -> Finding {
        let mut error = None;
        for job in self.jobs.clone() {
            match client.kill_job(&job).await {
                Ok(()) => self.forget_job(&job),
                Err(failed) => error = error.or(Some(failed)),
            }
        }
        self.delete_objects(client, database, &mut error).await;
        // A request that was cancelled may have arrived since.
        if let Some(probe) = probe.filter(|_| error.is_none()) {
            match self.find_late(client, database, probe).await {
                Ok(()) => self.delete_objects(client, database, &mut error).await,
                Err(failed) => error = Some(failed),
            }
        }
        match error {
            None => Finding::passed(
                CheckId::ProbeCleanup,
                format!("{} deleted, nothing is left", self.objects_deleted()),
            ),
            Some(error) => self.left(Finding::failed(CheckId::ProbeCleanup, error), database),
        }
    }

    async fn delete_objects(
        &mut self,
        client: &TreasureDataClient,
        database: &DatabaseName,
        error: &mut Option<TreasureDataError>,
    ) {
        for session in self.sessions.clone() {
            match client.delete_session(&session).await {
                Ok(()) => self.forget_session(&session),
                Err(failed) => _ = error.get_or_insert(failed),
            }
        }
        for table in self.tables.clone() {
            match client.delete_table(database, &table).await {
                Ok(()) => self.forget_table(&table),
                Err(failed) => _ = error.get_or_insert(failed),
            }
        }
    }

    /// Finds what exists although it was deleted. Tables are looked up only if the probes created any.
    async fn find_late(
        &mut self,
        client: &TreasureDataClient,
        database: &DatabaseName,
        probe: ProbeName,
    ) -> Result<(), TreasureDataError> {
        let is_of_probe = |name: &str| {
            ProbeName::parse(name)
                .is_some_and(|found| (found.fingerprint, found.nonce) == (probe.fingerprint, probe.nonce))
        };
        for session in client.sessions().await? {
            if is_of_probe(&session.name) {
                self.sessions.extend(session.name.parse());
            }
        }
        if !self.has_tables {
            return Ok(());
        }
        // A key that may not read tables may not delete them either.
        for table in client.tables(database).await.unwrap_or_default() {
            if is_of_probe(&table.name) {
                self.tables.extend(table.name.parse());
            }
        }
        Ok(())
    }

    /// A second signal came before everything was deleted.
    pub(super) fn not_deleted(&self, database: &DatabaseName) -> Finding {
        self.left(Finding::warning(CheckId::ProbeCleanup, "stopped by a second signal", ""), database)
    }

    /// Names what may be left, and the commands that remove it.
    fn left(&self, mut finding: Finding, database: &DatabaseName) -> Finding {
        let sessions = self.sessions.iter().map(|name| format!("session {name}"));
        let tables = self.tables.iter().map(|name| format!("table {name}"));
        let jobs = self.jobs.iter().map(|job| format!("load job {job}"));
        let left: Vec<String> = sessions.chain(tables).chain(jobs).collect();
        let may_be_left =
            if left.is_empty() { "what a cancelled request made later".to_owned() } else { left.join(", ") };
        finding.seen = format!("{}; may be left: {may_be_left}", finding.seen);
        let kill = self.jobs.iter().map(|job| format!("td job:kill {job}"));
        let commands: Vec<String> =
            kill.chain([format!("yotpo-td runs clean --database {database}")]).collect();
        finding.hint = Some(format!("remove it with: {}", commands.join("; ")));
        finding.with_fact("left", left)
    }

    fn objects_deleted(&self) -> String {
        words::count(self.deleted, "throw-away object", "throw-away objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_is_counted_and_no_longer_named() {
        let mut made = Made::default();
        let [first, second] = ["first", "second"].map(|name| name.parse::<SessionName>().unwrap());
        let [old, new] = ["old", "new"].map(|name| name.parse::<TableName>().unwrap());
        made.sessions.extend([first.clone(), second]);
        made.record_table(&old);
        made.record_table(&new);
        made.jobs.extend(["4711", "4712"].map(str::to_owned));
        made.forget_session(&first);
        made.forget_table(&old);
        made.forget_job("4711");
        assert_eq!(made.objects_deleted(), "2 throw-away objects");
        let finding = made.not_deleted(&"loyalty".parse().unwrap());
        let expected = "stopped by a second signal; may be left: session second, table new, load job 4712";
        assert_eq!(finding.seen, expected);
        let hint = "remove it with: td job:kill 4712; yotpo-td runs clean --database loyalty";
        assert_eq!(finding.hint.as_deref(), Some(hint));
    }
}
