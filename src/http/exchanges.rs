//! Counts the exchanges of one client: how many of each operation, how they ended, how long they lasted, how large they were.
//!
//! Owns the buckets of the latency histogram. An exchange begins when the rate limiter has let the request go, and ends with
//! the whole response; one that is cancelled is not counted. It never sees content.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the latency buckets, in seconds. From a service on this machine up to the request timeout and beyond.
pub const LATENCY_BOUNDS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx, and numbers that no class has.
    ServerError,
    /// There was no complete response.
    NoResponse,
}

impl StatusClass {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::Redirection, Self::ClientError, Self::ServerError, Self::NoResponse];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::NoResponse => "none",
        }
    }

    fn of(status: Option<StatusCode>) -> Self {
        match status.map(|status| status.as_u16()) {
            Some(200..=299) => Self::Success,
            Some(300..=399) => Self::Redirection,
            Some(400..=499) => Self::ClientError,
            Some(_) => Self::ServerError,
            None => Self::NoResponse,
        }
    }
}

/// How long exchanges lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Exchanges in each bucket of [`LATENCY_BOUNDS`], and above the last one.
    pub counts: [u64; LATENCY_BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

/// The exchanges of one operation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationUse {
    /// Exchanges by how they ended, in the order of [`StatusClass::ALL`].
    pub by_status: [u64; StatusClass::ALL.len()],
    /// How long they lasted.
    pub latencies: Latencies,
    /// Bytes of request bodies.
    pub sent_bytes: u64,
    /// Bytes of response bodies, as received: before they are decompressed.
    pub received_bytes: u64,
}

/// The counters of one client. Reading them does not wait for the network.
#[derive(Debug, Default)]
pub(super) struct Exchanges(Mutex<BTreeMap<&'static str, OperationUse>>);

impl Exchanges {
    /// Counts an exchange that ended.
    pub(super) fn ended(
        &self,
        operation: &'static str,
        status: Option<StatusCode>,
        lasted: Duration,
        sent: usize,
    ) {
        let mut operations = self.lock();
        let counters = operations.entry(operation).or_default();
        if let Some(count) = counters.by_status.get_mut(StatusClass::of(status) as usize) {
            *count += 1;
        }
        let seconds = lasted.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = counters.latencies.counts.get_mut(bucket) {
            *count += 1;
        }
        counters.latencies.sum += lasted;
        counters.sent_bytes += u64::try_from(sent).unwrap_or_default();
    }

    /// Counts bytes of a response body.
    pub(super) fn received(&self, operation: &'static str, bytes: usize) {
        self.lock().entry(operation).or_default().received_bytes += u64::try_from(bytes).unwrap_or_default();
    }

    /// Bytes of response bodies of all operations.
    pub(super) fn received_bytes(&self) -> u64 {
        self.lock().values().map(|operation| operation.received_bytes).sum()
    }

    /// Every operation so far, by its name in logs.
    pub(super) fn by_operation(&self) -> Vec<(&'static str, OperationUse)> {
        self.lock().iter().map(|(name, operation)| (*name, *operation)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, OperationUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_counted_by_operation_outcome_and_duration() {
        let exchanges = Exchanges::default();
        let page = "fetch a page of customers";
        for (status, millis) in [(Some(200), 5), (Some(200), 6), (Some(429), 61_000), (None, 30_000)] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            exchanges.ended(page, status, Duration::from_millis(millis), 10);
        }
        exchanges.received(page, 100);
        exchanges.received("get an access token", 7);
        assert_eq!(exchanges.received_bytes(), 107);
        let operations = exchanges.by_operation();
        assert_eq!(
            operations.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            [page, "get an access token"]
        );
        let counted = operations[0].1;
        assert_eq!(counted.by_status, [2, 0, 1, 0, 1]);
        // Bounds are inclusive, as Prometheus reads them.
        assert_eq!(counted.latencies.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(counted.latencies.sum, Duration::from_millis(91_011));
        assert_eq!((counted.sent_bytes, counted.received_bytes), (40, 100));
    }

    #[test]
    fn every_class_has_its_place() {
        for (index, class) in StatusClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
        for (status, name) in [(204, "2xx"), (302, "3xx"), (404, "4xx"), (503, "5xx"), (999, "5xx")] {
            assert_eq!(StatusClass::of(StatusCode::from_u16(status).ok()).name(), name);
        }
    }
}
