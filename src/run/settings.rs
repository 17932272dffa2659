//! The settings of a run: what it loads, where, and within which limits.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::ExportOrigin;
use crate::export::CompleteExport;
use crate::identity::{Mode, RunId, StoreId, Target};
use crate::part::CompressionLevel;
use crate::transfer::{PartSettings, TransferSettings};
use crate::treasure_data::Polling;
use crate::yotpo::LoyaltyCheck;

/// The guards against publishing a broken result in `replace` mode.
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
    /// If it is younger than this and its settings match.
    Within(Duration),
    /// Never.
    Never,
}

/// What is exported, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSettings {
    /// The store.
    pub store: StoreId,
    /// The address at which it is read.
    pub yotpo_endpoint: String,
    /// How customers are transferred from the store to the directory.
    pub transfer: TransferSettings,
    /// The directory for unreadable records. None by default, because they are customer data.
    pub quarantine_directory: Option<PathBuf>,
    /// Whether an interrupted export is resumed.
    pub policy: ResumePolicy,
    /// The run's id, if set by the user.
    pub run_id: Option<RunId>,
}

/// What is kept between runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeSettings {
    /// Directory of state and lock.
    pub state_directory: PathBuf,
    /// Whether an interrupted run is resumed.
    pub policy: ResumePolicy,
    /// The run's id, if set by the user.
    pub run_id: Option<RunId>,
}

/// Where the rows of a run come from.
#[derive(Clone, Debug, PartialEq)]
pub enum RowSource {
    /// The store.
    Store,
    /// An export of the store.
    Export(Arc<CompleteExport>),
}

impl RowSource {
    /// What the state says about it.
    pub fn origin(&self) -> Option<ExportOrigin> {
        match self {
            Self::Store => None,
            Self::Export(export) => Some(ExportOrigin { sha256: export.sha256, time: export.manifest.time }),
        }
    }
}

/// What is loaded where, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadSettings {
    /// Store, services, database and table.
    pub target: Target,
    /// Where the rows come from.
    pub source: RowSource,
    /// How rows reach the table.
    pub mode: Mode,
    /// How customers are transferred from the store to the session.
    pub transfer: TransferSettings,
    /// How to wait for the load job and the commit.
    pub polling: Polling,
    /// The guards against publishing a broken result in `replace` mode.
    pub guards: ReplaceGuards,
    /// The directory for unreadable records. None by default, because they are customer data.
    pub quarantine_directory: Option<PathBuf>,
    /// What is kept between runs.
    pub resume: ResumeSettings,
    /// How long attempts of a run may load, counted from its first attempt.
    pub run_lifetime: Duration,
    /// Whether `replace` continues if table ids cannot be read.
    pub without_table_ids: bool,
}

impl LoadSettings {
    /// Settings for abandoning a run. Those about fetching have defaults and are not used.
    pub fn to_abandon(target: Target, mode: Mode, run_id: Option<RunId>, account: AbandonSettings) -> Self {
        let AbandonSettings { state_directory, polling, run_lifetime, without_table_ids } = account;
        Self {
            target,
            source: RowSource::Store,
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
            quarantine_directory: None,
            resume: ResumeSettings { state_directory, policy: ResumePolicy::Within(Duration::MAX), run_id },
            run_lifetime,
            without_table_ids,
        }
    }
}

/// The settings that abandoning a run needs.
#[derive(Clone, Debug)]
pub struct AbandonSettings {
    /// Directory of state and lock.
    pub state_directory: PathBuf,
    /// How to wait for a commit in progress.
    pub polling: Polling,
    /// How long attempts of a run may load.
    pub run_lifetime: Duration,
    /// Whether `replace` continues if table ids cannot be read.
    pub without_table_ids: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixture::export;

    #[test]
    fn rows_of_an_export_are_known_by_its_digest_and_time() {
        assert_eq!(RowSource::Store.origin(), None);
        let origin = RowSource::Export(Arc::new(export())).origin().unwrap();
        assert_eq!((origin.sha256, origin.time), (export().sha256, export().manifest.time));
    }
}
