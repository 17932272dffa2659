//! What is known of a run.

use serde::{Deserialize, Serialize};

use crate::identity::{Mode, Target};
use crate::yotpo::{EndedBy, LoyaltyCounts};
/// Where a run leads: two runs with the same target must not be active at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The Yotpo store.
    pub store: String,
    /// Address of the Yotpo API.
    pub yotpo_endpoint: String,
    /// Address of the Treasure Data API.
    pub treasure_data_endpoint: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,

/// How far a run is. Each phase can be entered again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Pages are fetched and parts uploaded.
    Uploading,
    /// All pages are fetched and all parts stored; the session is being closed for uploads or is closed.
    Frozen,
    /// The load job was asked for.
    Performing,
    /// The rows are loaded and verified.
    Ready,
    /// The commit was asked for.
    Committing,
    /// Treasure Data said "committed"; in `replace` mode the rename was asked for.
    Committed,
    /// The new rows took the target's place.
    Renamed,
    /// Nothing is left to do.
    Cleaned,
}

/// A run, as it is saved after every durable step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// The run's id.
    pub run_id: String,
    /// Whether the user gave the id: then the committed session stays as the run's marker.
    pub keeps_marker: bool,
    /// Where it leads.
    pub target: Target,
    /// How rows reach the table.
    pub mode: Mode,
    /// Customers on a page.
    pub page_size: u8,
    /// The `time` of every row, Unix seconds.
    pub ingestion_time: u64,
    /// When the run began, Unix seconds.
    pub started_at: u64,
    /// When this state was saved, Unix seconds.
    pub updated_at: u64,
    /// The bulk import session.
    pub session: String,
    /// The table that is loaded in `replace` mode.
    pub temporary_table: Option<String>,
    /// How far it is.
    pub phase: RunPhase,
    /// Cursor behind the last page of the last contiguous durable part; none before the first and behind the last.
    pub cursor: Option<String>,
    /// Whether only `limit` accompanies the cursor, once it is known.
    pub limit_only: Option<bool>,
    /// What said that there is no further page, once every page is in the contiguous durable parts.
    #[serde(default)]
    pub ended_by: Option<EndedBy>,
    /// What the loyalty check counted in the contiguous durable parts.
    #[serde(default)]
    pub loyalty: LoyaltyCounts,
    /// Pages in the contiguous durable parts.
    pub pages: u64,
    /// Rows in the contiguous durable parts.
    pub customers: u64,
    /// Contiguous durable parts.
    pub parts: u64,
    /// Customers that were put aside because no row can be made of them.
    pub refused_customers: u64,
    /// Rows that the session must hold: known once all pages are fetched, and not of a run that another machine began.
    pub expected_rows: Option<u64>,
    /// Rows that the session was found to hold before its commit.
    pub loaded_rows: Option<u64>,
    /// The load job.
    pub job: Option<String>,
}

/// What the last successful run of a target loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSuccess {
    /// The run's id.
    pub run_id: String,
    /// Rows that it loaded.
    pub customers: u64,
    /// Pages that it fetched.
    pub pages: u64,
    /// When it ended, Unix seconds.
    pub finished_at: u64,
}
