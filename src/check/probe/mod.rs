//! Tests what the agreement between attempts assumes of Treasure Data (docs/guarantees.md), with throw-away sessions and
//! tables.
//!
//! Owns which probes run and that nothing stays: whatever ends them, what they created is deleted, and what cannot be
//! deleted is named. Invariant: nothing is ever committed, so no row reaches a table, and no object of anybody else is
//! changed. A verdict never says more than "not contradicted in n tries".

mod made;
mod sessions;
mod tables;
mod tally;

use self::made::Made;
use self::tally::Tally;
use super::finding::{CheckId, Finding, skip};
use crate::config::Settings;
use crate::identity::{DatabaseName, Nonce, ProbeName, SessionName, TableName};
use crate::run::RunError;
use crate::shutdown::{Signal, StopRequests};
use crate::treasure_data::{Change, TreasureDataClient, TreasureDataError};

/// How often each assumption is tested.
const TRIES: u32 = 3;

/// Which probes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// None: nothing is changed.
    None,
    /// Those that need only sessions.
    Sessions,
    /// Those that need tables, too.
    SessionsAndTables,
}

const OF_SESSIONS: &[CheckId] = &[
    CheckId::ProbeCreate,
    CheckId::ProbeOverwrite,
    CheckId::ProbeFrozen,
    CheckId::ProbeList,
    CheckId::ProbePerform,
    CheckId::ProbeCleanup,
];
const OF_SESSIONS_AND_TABLES: &[CheckId] = &[
    CheckId::ProbeCreate,
    CheckId::ProbeOverwrite,
    CheckId::ProbeFrozen,
    CheckId::ProbeList,
    CheckId::ProbePerform,
    CheckId::ProbeTableId,
    CheckId::ProbeLostTable,
    CheckId::ProbeCleanup,
];

impl Probes {
    /// The checks of the probes.
    pub(super) const fn ids(self) -> &'static [CheckId] {
        match self {
            Self::None => &[],
            Self::Sessions => OF_SESSIONS,
            Self::SessionsAndTables => OF_SESSIONS_AND_TABLES,
        }
    }

    /// Whether a check is reported: all but the probes that were not asked for.
    pub(super) fn include(self, id: CheckId) -> bool {
        !OF_SESSIONS_AND_TABLES.contains(&id) || self.ids().contains(&id)
    }
}

/// Why a probe cannot continue.
#[derive(Debug)]
enum ProbeError {
    /// A request failed.
    Call(TreasureDataError),
    /// The key may not do it.
    Denied,
    /// The table or the session is gone, although nobody else knows it, or another program changed it.
    Disturbed(&'static str),
}

impl From<TreasureDataError> for ProbeError {
    fn from(error: TreasureDataError) -> Self {
        Self::Call(error)
    }
}

/// Runs the probes.
pub(super) struct Prober<'a> {
    client: &'a TreasureDataClient,
    database: &'a DatabaseName,
    target: &'a TableName,
    /// The probe; `None` if the clock has no valid time.
    nonce: Option<ProbeName>,
    created: u16,
    made: Made,
}

impl<'a> Prober<'a> {
    /// Probes of the account with the database and table of `settings`.
    pub(super) fn new(client: &'a TreasureDataClient, settings: &'a Settings, seed: u64) -> Self {
        let target = &settings.load.target;
        let time = client.server_time().unwrap_or_else(|| client.clock().unix_time().as_secs());
        let name = |nonce| ProbeName { fingerprint: target.fingerprint(), nonce, number: 0 };
        Self {
            client,
            database: &target.database,
            target: &target.table,
            nonce: Nonce::new(time, fastrand::Rng::with_seed(seed).u64(..)).ok().map(name),
            created: 0,
            made: Made::default(),
        }
    }

    /// Runs the probes and deletes what they created. A signal ends them early; a second one also ends the deletion.
    pub(super) async fn run(
        mut self,
        probes: Probes,
        has_table: bool,
        stop: &StopRequests,
    ) -> (Vec<Finding>, Option<Signal>) {
        if self.nonce.is_none() {
            return (skip(probes.ids(), "the clock is out of range"), None);
        }
        if probes == Probes::Sessions && !has_table {
            let reason =
                "there is no table that could be read to create a session for; --probe-tables creates one";
            return (skip(probes.ids(), reason), None);
        }
        let mut tallies = Tallies::new();
        let (error, signal) = tokio::select! {
            biased;
            signal = stop.graceful() => (None, Some(signal)),
            result = self.probe(probes, &mut tallies) => (result.err(), None),
        };
        let cleaned = tokio::select! {
            biased;
            _ = stop.forced() => self.made.not_deleted(self.database),
            cleaned = self.made.delete(self.client, self.database, self.nonce) => cleaned,
        };
        let mut findings = tallies.findings(probes, error, signal);
        findings.push(cleaned);
        (findings, signal)
    }

    async fn probe(&mut self, probes: Probes, tallies: &mut Tallies) -> Result<(), ProbeError> {
        // A table of the probe's own keeps the target out of everything.
        let table = match probes {
            Probes::SessionsAndTables => self.create_table().await?,
            Probes::None | Probes::Sessions => self.target.clone(),
        };
        for _ in 0..TRIES {
            self.probe_uploads(&table, tallies).await?;
        }
        for _ in 0..TRIES {
            if !tallies.perform.is_contradicted() {
                self.probe_perform(&table, tallies).await?;
            }
        }
        if probes == Probes::SessionsAndTables {
            for _ in 0..TRIES {
                self.probe_table_id(tallies).await?;
                self.probe_lost_table(tallies).await?;
            }
        }
        Ok(())
    }

    /// A name that nothing has yet.
    fn next_name(&mut self) -> Result<ProbeName, ProbeError> {
        let name = self.nonce.ok_or(ProbeError::Disturbed("the clock is out of range"))?;
        self.created += 1;
        Ok(ProbeName { number: self.created, ..name })
    }

    /// A session that is deleted in the end. It is not created yet.
    fn new_session(&mut self) -> Result<SessionName, ProbeError> {
        let session = self.next_name()?.session();
        self.made.sessions.push(session.clone());
        Ok(session)
    }

    /// A new table.
    async fn create_table(&mut self) -> Result<TableName, ProbeError> {
        let table = self.next_name()?.table();
        self.made.record_table(&table);
        let mut series = self.client.series();
        loop {
            match self.client.create_table(&mut series, self.database, &table).await? {
                // Nobody else knows the name, so an earlier request created it.
                Change::Done | Change::Conflict => return Ok(table),
                Change::Unclear => {}
                Change::Denied => {
                    self.made.table_not_created(&table);
                    return Err(ProbeError::Denied);
                }
                Change::TableGone | Change::SessionGone => {
                    return Err(ProbeError::Disturbed("the database is gone"));
                }
            }
        }
    }

    /// A new session of a table.
    async fn create_session(&mut self, table: &TableName) -> Result<SessionName, ProbeError> {
        let session = self.new_session()?;
        let mut series = self.client.series();
        loop {
            match self.client.create_session(&mut series, &session, self.database, table).await? {
                Change::Done | Change::Conflict => return Ok(session),
                Change::Unclear => {}
                Change::Denied => return Err(ProbeError::Denied),
                Change::TableGone | Change::SessionGone => {
                    return Err(ProbeError::Disturbed("the table is gone"));
                }
            }
        }
    }

    /// Deletes a session that is not needed any more. If that fails, the end tries again.
    async fn drop_session(&mut self, session: &SessionName) {
        if self.client.delete_session(session).await.is_ok() {
            self.made.forget_session(session);
        }
    }

    /// Deletes a table that is not needed any more. If that fails, the end tries again.
    async fn drop_table(&mut self, table: &TableName) {
        if self.client.delete_table(self.database, table).await.is_ok() {
            self.made.forget_table(table);
        }
    }
}

/// The observations of all assumptions.
struct Tallies {
    create: Tally,
    overwrite: Tally,
    frozen: Tally,
    list: Tally,
    perform: Tally,
    table_id: Tally,
    lost_table: Tally,
}

impl Tallies {
    fn new() -> Self {
        Self {
            create: Tally::new(
                CheckId::ProbeCreate,
                "Does creating a session succeed for exactly one of several callers?",
            ),
            overwrite: Tally::new(CheckId::ProbeOverwrite, "Is a part of the same name overwritten?"),
            frozen: Tally::new(CheckId::ProbeFrozen, "Does a frozen session refuse uploads?"),
            list: Tally::new(CheckId::ProbeList, "Is list_parts current directly after a freeze?"),
            perform: Tally::new(
                CheckId::ProbePerform,
                "Is perform refused for a session that is not frozen?",
            ),
            table_id: Tally::new(
                CheckId::ProbeTableId,
                "Does a table keep its id in a rename, and does a recreated table have another one?",
            ),
            lost_table: Tally::new(
                CheckId::ProbeLostTable,
                "Does show still work for a session whose table is deleted, and do changes name the missing table?",
            ),
        }
    }

    /// A finding for each probe. The first one without an observation failed with `error`.
    fn findings(self, probes: Probes, error: Option<ProbeError>, signal: Option<Signal>) -> Vec<Finding> {
        let Self { create, overwrite, frozen, list, perform, table_id, lost_table } = self;
        let tallies = [create, overwrite, frozen, list, perform, table_id, lost_table];
        let reason = match (&error, signal) {
            (_, Some(_)) => "stopped by a signal",
            (Some(_), None) => "a probe before it failed",
            (None, None) => "it was not reached",
        };
        let mut error = error;
        let ids = probes.ids().iter().filter(|id| **id != CheckId::ProbeCleanup);
        let mut findings: Vec<Finding> = ids
            .zip(tallies)
            .map(|(id, tally)| {
                tally.finding().unwrap_or_else(|| match error.take() {
                    Some(error) => failed(*id, error),
                    None => Finding::skipped(*id, reason),
                })
            })
            .collect();
        // Each has observations, but a later try failed.
        if let (Some(error), Some(last)) = (error, findings.last_mut()) {
            let ended = failed(last.id, error);
            last.seen = format!("{}; then a request failed: {}", last.seen, ended.seen);
        }
        findings
    }
}

fn failed(id: CheckId, error: ProbeError) -> Finding {
    match error {
        ProbeError::Call(error) => Finding::failed(id, error),
        ProbeError::Denied => Finding::failed(id, RunError::Denied),
        ProbeError::Disturbed(what) => {
            Finding::warning(id, format!("unclear: {what}"), "run the command again while no run is active")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn verdicts(tallies: Tallies, error: Option<ProbeError>, signal: Option<Signal>) -> Vec<Verdict> {
        tallies.findings(Probes::Sessions, error, signal).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn the_first_probe_without_an_observation_has_the_error_and_the_rest_is_skipped() {
        use Verdict::{Failed, Passed, Skipped};
        let some = || {
            let mut tallies = Tallies::new();
            tallies.create.held();
            tallies
        };
        let denied = || Some(ProbeError::Denied);
        assert_eq!(verdicts(some(), denied(), None), [Passed, Failed, Skipped, Skipped, Skipped]);
        let stopped = verdicts(some(), None, Some(Signal::Interrupt));
        assert_eq!(stopped, [Passed, Skipped, Skipped, Skipped, Skipped]);
    }

    #[test]
    fn probes_that_were_not_asked_for_are_not_reported() {
        assert!(Probes::None.include(CheckId::Table) && !Probes::None.include(CheckId::ProbeCleanup));
        assert!(Probes::Sessions.include(CheckId::ProbePerform));
        assert!(!Probes::Sessions.include(CheckId::ProbeTableId));
        assert!(CheckId::ALL.iter().all(|id| Probes::SessionsAndTables.include(*id)));
    }
}
