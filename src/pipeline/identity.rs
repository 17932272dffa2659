//! What tells one run from all others, and the names that follow from it.

pub use crate::identity::RunId;
use crate::identity::{NameError, SessionName, TableName, Target};

/// Starts the name of every session that this program makes.
pub(super) const SESSION_PREFIX: &str = "yotpo_td_";
/// Starts the name of every temporary table that this program makes.
pub(super) const TEMPORARY_TABLE_PREFIX: &str = "yotpo_td_tmp_";

/// Names that follow from run and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunNames {
    pub(super) session: SessionName,
    pub(super) temporary_table: TableName,
}

impl RunNames {
    /// The target is part of the names, so that runs for several stores or tables may share an id.
    pub(super) fn new(id: &RunId, target: &Target) -> Result<Self, NameError> {
        let stem = target.file_stem();
        let fingerprint = stem.rsplit('.').next().unwrap_or_default();
        // Table names know neither capitals nor dashes, and two ids must not fall together.
        let folded = id.as_str().to_ascii_lowercase().replace('-', "_");
        let distinct = crc32fast::hash(id.as_str().as_bytes());
        Ok(Self {
            session: format!("{SESSION_PREFIX}{fingerprint}_{id}").parse()?,
            temporary_table: format!("{TEMPORARY_TABLE_PREFIX}{fingerprint}_{folded:.48}_{distinct:08x}")
                .parse()?,
        })
    }
}
