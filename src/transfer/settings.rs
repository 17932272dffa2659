//! How customers are fetched and cut into parts.

use std::num::NonZeroUsize;

use crate::part::CompressionLevel;
use crate::yotpo::LoyaltyCheck;

/// How rows are cut into parts. At most `upload_workers + 1` parts are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSettings {
    /// Maximum rows in a part.
    pub max_rows: NonZeroUsize,
    /// Compressed size in bytes at which a part is closed; it may exceed it by one page.
    pub closing_size: usize,
    /// gzip level.
    pub level: CompressionLevel,
}

/// How customers get from the store to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferSettings {
    /// Customers on a page; a cursor belongs to its page size.
    pub page_size: u8,
    /// How rows are cut into parts.
    pub parts: PartSettings,
    /// Parts stored at once.
    pub upload_workers: NonZeroUsize,
    /// Whether missing loyalty data ends the transfer.
    pub loyalty_check: LoyaltyCheck,
    /// Maximum customers that may be left out because they cannot become rows.
    pub max_error_records: u64,
}
