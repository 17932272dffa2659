//! What a run is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::{Mode, RunId, Target};
use crate::part::CompressionLevel;
use crate::treasure_data::Polling;
use crate::yotpo::LoyaltyCheck;

/// How rows are cut into parts. At most `upload_workers + 1` parts are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSettings {
    /// Most rows in a part.
    pub most_rows: NonZeroUsize,
    /// Compressed size in bytes at which a part is closed; it may exceed it by one page.
    pub closing_size: usize,
    /// gzip level.
    pub level: CompressionLevel,
}

/// What keeps `replace` from publishing a broken result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplaceGuards {
    /// Whether a store without customers may empty the table.
    pub allow_empty: bool,
    /// Least share of the rows that were there before.
    pub min_rows_ratio: f64,
}

/// Whether an interrupted run is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePolicy {
    /// When it is younger than this and its settings agree.
    Within(Duration),
    /// Never.
    Never,
}

/// What is remembered between runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeSettings {
    /// Folder of state and lock.
    pub state_folder: PathBuf,
    /// Whether an interrupted run is gone on with.
    pub policy: ResumePolicy,
    /// The run's id, when the user gives it.
    pub run_id: Option<RunId>,
}

/// What is loaded where, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadSettings {
    /// Store, services, database and table.
    pub target: Target,
    /// Whether rows are added or replaced.
    pub mode: Mode,
    /// Customers on a page; a cursor belongs to its page size.
    pub page_size: u8,
    /// How rows are cut into parts.
    pub parts: PartSettings,
    /// Parts uploaded at once.
    pub upload_workers: NonZeroUsize,
    /// How load job and commit are waited for.
    pub polling: Polling,
    /// Whether missing loyalty data ends the run.
    pub loyalty_check: LoyaltyCheck,
    /// What keeps `replace` from publishing a broken result.
    pub guards: ReplaceGuards,
    /// Most records that may be left out because they cannot be read.
    pub max_error_records: u64,
    /// Where records that cannot be read are written to; nowhere by default, because they are customer data.
    pub quarantine_folder: Option<PathBuf>,
    /// What is remembered between runs.
    pub resume: ResumeSettings,
    /// For how long a run may be attempted, counted from its first attempt.
    pub run_lifetime: Duration,
    /// Whether `replace` goes on where the ids of tables cannot be read.
    pub without_table_ids: bool,
}

impl LoadSettings {
    /// Settings for making sure that a run loads nothing: what concerns fetching is as by default and not used.
    pub fn to_abandon(target: Target, mode: Mode, run_id: Option<RunId>, account: AbandonSettings) -> Self {
        let AbandonSettings { state_folder, polling, run_lifetime, without_table_ids } = account;
        Self {
            target,
            mode,
            page_size: 100,
            parts: PartSettings {
                most_rows: NonZeroUsize::MIN,
                closing_size: 0,
                level: CompressionLevel::FASTEST,
            },
            upload_workers: NonZeroUsize::MIN,
            polling,
            loyalty_check: LoyaltyCheck::Off,
            guards: ReplaceGuards { allow_empty: false, min_rows_ratio: 0.0 },
            max_error_records: 0,
            quarantine_folder: None,
            resume: ResumeSettings { state_folder, policy: ResumePolicy::Within(Duration::MAX), run_id },
            run_lifetime,
            without_table_ids,
        }
    }
}

/// What is needed to abandon a run.
#[derive(Clone, Debug)]
pub struct AbandonSettings {
    /// Folder of state and lock.
    pub state_folder: PathBuf,
    /// How a commit in progress is waited for.
    pub polling: Polling,
    /// For how long a run may be attempted.
    pub run_lifetime: Duration,
    /// Whether `replace` goes on where the ids of tables cannot be read.
    pub without_table_ids: bool,
}
