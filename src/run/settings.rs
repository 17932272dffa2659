//! What a run loads where, and within which limits.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::{Mode, RunId, Target};
use crate::part::CompressionLevel;
use crate::transfer::{PartSettings, TransferSettings};
use crate::treasure_data::Polling;
use crate::yotpo::LoyaltyCheck;

/// What keeps `replace` from publishing a broken result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplaceGuards {
    /// Whether a store without customers may empty the table.
    pub allow_empty: bool,
    /// Minimum share of the rows that were there before.
    pub min_rows_ratio: f64,
}

/// Whether an interrupted run is resumed.
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
    /// Whether an interrupted run is resumed.
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
    /// How customers get from the store to the session.
    pub transfer: TransferSettings,
    /// How load job and commit are waited for.
    pub polling: Polling,
    /// What keeps `replace` from publishing a broken result.
    pub guards: ReplaceGuards,
    /// Where records that cannot be read are written to; nowhere by default, because they are customer data.
    pub quarantine_folder: Option<PathBuf>,
    /// What is remembered between runs.
    pub resume: ResumeSettings,
    /// For how long a run may be attempted, counted from its first attempt.
    pub run_lifetime: Duration,
    /// Whether `replace` continues where the ids of tables cannot be read.
    pub without_table_ids: bool,
}

impl LoadSettings {
    /// Settings for making sure that a run loads nothing: what concerns fetching is as by default and not used.
    pub fn to_abandon(target: Target, mode: Mode, run_id: Option<RunId>, account: AbandonSettings) -> Self {
        let AbandonSettings { state_folder, polling, run_lifetime, without_table_ids } = account;
        Self {
            target,
            mode,
            transfer: TransferSettings {
                page_size: 100,
                parts: PartSettings {
                    max_rows: NonZeroUsize::MIN,
                    closing_size: 0,
                    level: CompressionLevel::FASTEST,
                },
                upload_workers: NonZeroUsize::MIN,
                loyalty_check: LoyaltyCheck::Off,
                max_error_records: 0,
            },
            polling,
            guards: ReplaceGuards { allow_empty: false, min_rows_ratio: 0.0 },
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
    /// Whether `replace` continues where the ids of tables cannot be read.
    pub without_table_ids: bool,
}
