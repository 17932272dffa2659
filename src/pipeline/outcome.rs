//! What a successful run says about itself.

use std::time::Duration;

use super::progress::ProgressSnapshot;
use crate::retry::RequestCounts;

/// How a run succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every customer is in the table.
    Committed {
        /// Rows that the table got; unknown of a run that another machine began.
        rows: Option<u64>,
        /// The load job, when it is known.
        job: Option<String>,
    },
    /// The store has no customers, and the table was replaced by an empty one.
    Emptied,
    /// The store has no customers; nothing was made.
    NothingToLoad,
}

/// Everything that a summary tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The run's id.
    pub run_id: String,
    /// The bulk import session.
    pub session: String,
    /// The `time` of every row, Unix seconds.
    pub ingestion_time: u64,
    /// Whether an interrupted run was gone on with.
    pub resumed: bool,
    /// Records that were left out because they cannot be read.
    pub error_records: u64,
    /// What was fetched and loaded.
    pub progress: ProgressSnapshot,
    /// Requests to Yotpo.
    pub yotpo: RequestCounts,
    /// Requests to Treasure Data.
    pub treasure_data: RequestCounts,
    /// Time of the whole run.
    pub duration: Duration,
}
