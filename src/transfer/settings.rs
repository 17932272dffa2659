//! Settings of a transfer.

use std::num::NonZeroUsize;

use crate::part::CompressionLevel;
use crate::yotpo::LoyaltyCheck;

/// How to split rows into parts. At most `upload_workers + 1` parts are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSettings {
    /// Maximum rows in a part.
    pub max_rows: NonZeroUsize,
    /// Compressed size in bytes at which a part is closed. A part may exceed it by one batch.
    pub closing_size: usize,
    /// gzip level.
    pub level: CompressionLevel,
}

/// How to transfer customers from the store to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferSettings {
    /// Customers per page. A cursor is only valid with the same page size.
    pub page_size: u8,
    /// How to split rows into parts.
    pub parts: PartSettings,
    /// Number of parts stored concurrently.
    pub upload_workers: NonZeroUsize,
    /// Whether missing loyalty data fails the transfer.
    pub loyalty_check: LoyaltyCheck,
    /// Maximum number of rejected customers.
    pub max_error_records: u64,
}
