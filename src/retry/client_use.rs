//! What one client has sent to its service.

use super::counters::RequestCounts;
use crate::http::OperationUse;

/// What one client has sent so far.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientUse {
    /// The service, as in logs.
    pub service: &'static str,
    /// Its requests and retries.
    pub requests: RequestCounts,
    /// The part of the retry budget that is left, from 0 to 1.
    pub retry_budget: f64,
    /// Its exchanges by operation, as in logs.
    pub operations: Vec<(&'static str, OperationUse)>,
}

impl ClientUse {
    /// Bytes of request bodies.
    pub fn sent_bytes(&self) -> u64 {
        self.operations.iter().map(|(_, used)| used.sent_bytes).sum()
    }

    /// Bytes of response bodies, as received.
    pub fn received_bytes(&self) -> u64 {
        self.operations.iter().map(|(_, used)| used.received_bytes).sum()
    }
}
