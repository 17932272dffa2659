//! What a successful run says about itself.

use std::time::Duration;

use super::progress::ProgressSnapshot;
use crate::rate_limit::RateUse;
use crate::retry::RequestCounts;

/// How a run succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every customer is in the table.
    Committed,
    /// Every customer was in the table before this process started: the run id was loaded earlier.
    AlreadyCommitted,
    /// The store has no customers, and the table was replaced by an empty one.
    Emptied,
    /// The store has no customers; nothing was made.
    NothingToLoad,
}

/// Everything that a summary tells. What concerns the rows is that of the set that was committed, whoever made it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether another attempt of this run made the rows that were committed.
    pub joined: bool,
    /// Rows that the table got; unknown only where Treasure Data does not say.
    pub rows: Option<u64>,
    /// The run's id.
    pub run_id: String,
    /// The bulk import session; none when nothing was loaded.
    pub session: Option<String>,
    /// The load job, when it is known.
    pub job_id: Option<String>,
    /// The `time` of every row, Unix seconds; none when nothing was loaded.
    pub ingestion_time: Option<u64>,
    /// Whether the rows are those of an interrupted run that was resumed.
    pub resumed: bool,
    /// Records that were left out because they cannot be read.
    pub error_records: u64,
    /// What this process fetched and loaded.
    pub progress: ProgressSnapshot,
    /// Requests to Yotpo.
    pub yotpo: RequestCounts,
    /// How the store's rate limit was used.
    pub rate: RateUse,
    /// Requests to Treasure Data.
    pub treasure_data: RequestCounts,
    /// Time of the whole run.
    pub duration: Duration,
}
