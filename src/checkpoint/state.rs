//! What is saved about a run, and about runs that finished before it.

use serde::{Deserialize, Serialize};

use crate::identity::{
    Mode, Nonce, PartTotals, PartsDigest, RunId, SessionName, Sha256Sum, StoreId, TableId, TableName,
    TableSuffix, Target,
};
use crate::yotpo::{EndedBy, LoyaltyCounts, Position};

/// Number of finished runs in the history of each target.
const MAX_HISTORY: usize = 10;

/// The phase of a run. Each phase can be repeated after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Pages are fetched and parts uploaded.
    Uploading,
    /// All pages are fetched and all parts stored. They are being loaded, proven and guarded.
    Loading,
    /// The set may have been proposed: from now on, any attempt may commit it.
    Proposed,
    /// The winner's rows are in the target. The cleanup remains.
    Finished,
}

impl RunPhase {
    /// Its name, as in the state file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Loading => "loading",
            Self::Proposed => "proposed",
            Self::Finished => "finished",
        }
    }
}

/// The set of rows that an attempt makes. All names are derived from this, the target and the run id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSet {
    /// The attempt; its time is the `time` of every row.
    pub nonce: Nonce,
    /// The target's id when the attempt began.
    pub target_id: TableId,
    /// The id of its temporary table, in `replace` mode, once that exists.
    pub table_id: Option<TableId>,
    /// Whether it has rows.
    pub content: TableSuffix,
    /// Whether it may have been proposed.
    pub proposed: bool,
    /// What it holds, once all parts are stored.
    pub totals: Option<PartTotals>,
}

/// A run, saved after every durable step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// The run's id.
    pub run_id: RunId,
    /// Whether the user set the id: then ballot and winner stay as the run's marker.
    pub keeps_marker: bool,
    /// Its target.
    pub target: Target,
    /// How rows reach the table.
    pub mode: Mode,
    /// Maximum customers per page.
    pub page_size: u8,
    /// When the run began, Unix seconds.
    pub started_at: u64,
    /// When this state was saved, Unix seconds.
    pub updated_at: u64,
    /// Its phase.
    pub phase: RunPhase,
    /// The set of this machine's attempt; `None` before it has started one.
    pub set: Option<SavedSet>,
    /// The position after the contiguous stored parts.
    pub position: Position,
    /// What the loyalty check counted in the contiguous stored parts.
    pub loyalty: LoyaltyCounts,
    /// Number of contiguous stored parts.
    pub parts: u64,
    /// A digest over their names in order.
    pub parts_digest: PartsDigest,
    /// Rows in them.
    pub rows: u64,
    /// Rejected customers up to this position.
    pub rejected_customers: u64,
    /// Records that Treasure Data could not read.
    pub error_records: u64,
    /// The load job.
    pub job_id: Option<String>,
    /// The export that it loads; `None` if its rows are fetched from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportOrigin>,
}

/// The export that a run loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOrigin {
    /// The digest of its manifest.
    pub sha256: Sha256Sum,
    /// The `time` of its rows, Unix seconds.
    pub time: u64,
}

/// How a run succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishedAs {
    /// Its rows are in the table.
    Committed,
    /// The table was replaced by an empty one.
    Emptied,
    /// The store has no customers, and nothing was created.
    NothingToLoad,
}

/// A run that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRun {
    /// The run's id.
    pub run_id: RunId,
    /// Which store it read; unknown for runs of earlier releases.
    #[serde(default)]
    pub store_id: Option<StoreId>,
    /// How rows reached the table; unknown for runs of earlier releases.
    pub mode: Option<Mode>,
    /// How it ended.
    pub outcome: FinishedAs,
    /// Whether another attempt's rows were committed.
    pub joined: bool,
    /// The `time` of its rows, Unix seconds.
    pub ingestion_time: Option<u64>,
    /// Rows that it loaded; unknown if another machine loaded them.
    pub rows: Option<u64>,
    /// Customers that Yotpo listed, as far as this machine saw them.
    pub customers: u64,
    /// Customers with loyalty data among them.
    pub customers_with_loyalty_data: u64,
    /// Pages that were fetched.
    pub pages: u64,
    /// Records that were left out.
    pub error_records: u64,
    /// What showed that there are no further pages.
    pub ended_by: Option<EndedBy>,
    /// The load job.
    pub job_id: Option<String>,
    /// When the run began, Unix seconds.
    pub started_at: u64,
    /// When it ended, Unix seconds.
    pub finished_at: u64,
}

/// A run that was saved by a release without ballots, in which each run had one session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LegacyRun {
    /// The run's id.
    pub run_id: RunId,
    /// Its target.
    pub target: Target,
    /// How rows reach the table.
    pub mode: Mode,
    /// The `time` of every row, Unix seconds.
    pub ingestion_time: u64,
    /// The bulk import session.
    pub session: SessionName,
    /// The table that is loaded in `replace` mode.
    pub temporary_table: Option<TableName>,
    /// How far it was.
    pub phase: LegacyPhase,
    /// Rows in the session before its commit, as verified.
    #[serde(default)]
    pub loaded_rows: Option<u64>,
}

/// The phase of a run of an earlier release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyPhase {
    /// Pages were fetched and parts uploaded.
    Uploading,
    /// All parts were stored.
    Frozen,
    /// The load job was requested.
    Performing,
    /// The rows were loaded and verified.
    Ready,
    /// The commit was requested.
    Committing,
    /// Treasure Data reported "committed".
    Committed,
    /// The new rows replaced the old.
    Renamed,
    /// Nothing was left to do.
    Cleaned,
}

/// Adds a finished run to the history, the newest first. A repetition, which found the rows in the table, knows less than the run
/// that loaded them, and is not added.
pub(super) fn remember(history: &mut Vec<FinishedRun>, finished: FinishedRun) {
    if finished.joined && history.iter().any(|run| run.run_id == finished.run_id && !run.joined) {
        return;
    }
    history.retain(|run| run.run_id != finished.run_id);
    history.insert(0, finished);
    history.truncate(MAX_HISTORY);
}

impl RunState {
    /// A run that starts now, in Unix seconds.
    pub fn new(
        run_id: RunId,
        keeps_marker: bool,
        target: Target,
        mode: Mode,
        page_size: u8,
        now: u64,
    ) -> Self {
        Self {
            run_id,
            keeps_marker,
            target,
            mode,
            page_size,
            started_at: now,
            updated_at: now,
            phase: RunPhase::Uploading,
            set: None,
            position: Position::Start,
            loyalty: LoyaltyCounts::default(),
            parts: 0,
            parts_digest: PartsDigest::default(),
            rows: 0,
            rejected_customers: 0,
            error_records: 0,
            job_id: None,
            export: None,
        }
    }

    /// The `time` of the rows of a set, Unix seconds.
    pub fn ingestion_time(&self, nonce: Nonce) -> u64 {
        self.export.map_or(nonce.time(), |export| export.time)
    }

    /// Resets what was stored, because a new set is started.
    pub fn begin_set(&mut self) {
        self.phase = RunPhase::Uploading;
        self.set = None;
        self.position = Position::Start;
        self.loyalty = LoyaltyCounts::default();
        self.parts = 0;
        self.parts_digest = PartsDigest::default();
        self.rows = 0;
        self.rejected_customers = 0;
        self.error_records = 0;
        self.job_id = None;
    }

    /// Whether parts are stored that need not be fetched again.
    pub fn has_stored_parts(&self) -> bool {
        self.set.is_some_and(|set| self.parts > 0 || set.totals.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format::tests::example;

    #[test]
    fn a_new_set_starts_with_the_first_page_and_nothing_stored() {
        let export = Some(ExportOrigin { sha256: Sha256Sum::of(b"manifest"), time: 1_795_320_000 });
        let mut run = RunState {
            phase: RunPhase::Proposed,
            rejected_customers: 2,
            error_records: 3,
            job_id: Some("4711".to_owned()),
            export,
            ..example()
        };
        assert!(run.has_stored_parts());
        run.begin_set();
        let RunState { run_id, keeps_marker, target, mode, page_size, started_at, updated_at, .. } =
            example();
        let fresh = RunState::new(run_id, keeps_marker, target, mode, page_size, started_at);
        assert_eq!(run, RunState { updated_at, export, ..fresh });
        assert!(!run.has_stored_parts());
    }
}
