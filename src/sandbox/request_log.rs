//! Counts and logs the requests of clients.
//!
//! Owns the counters per service and operation, the number of accepted connections and, if enabled, the full log in
//! order. The counters are bounded by the number of operations; the full log is for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::operation::{Operation, Service};

/// One request, in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// The service that received it.
    pub service: Service,
    /// The requested operation.
    pub operation: Operation,
    /// Its number among the requests of its service, from 1.
    pub ordinal: u64,
}

#[derive(Debug, Default)]
pub(super) struct RequestLog {
    state: Mutex<State>,
    yotpo_connections: AtomicU64,
    treasure_data_connections: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<Service, u64>,
    operations: BTreeMap<(Service, Operation), u64>,
    full: Option<Vec<LoggedRequest>>,
}

impl RequestLog {
    /// Counts a request and returns its ordinals within the service and the operation.
    pub(super) fn count(&self, service: Service, operation: Operation) -> (u64, u64) {
        let mut state = self.lock();
        let of_service = state.services.entry(service).or_default();
        *of_service += 1;
        let ordinal = *of_service;
        let of_operation = state.operations.entry((service, operation)).or_default();
        *of_operation += 1;
        let operation_ordinal = *of_operation;
        if let Some(full) = &mut state.full {
            full.push(LoggedRequest { service, operation, ordinal });
        }
        (ordinal, operation_ordinal)
    }

    pub(super) fn requests(&self, service: Service) -> u64 {
        self.lock().services.get(&service).copied().unwrap_or(0)
    }

    pub(super) fn operations(&self) -> BTreeMap<(Service, Operation), u64> {
        self.lock().operations.clone()
    }

    pub(super) fn start_full_log(&self) {
        self.lock().full.get_or_insert_default();
    }

    pub(super) fn full_log(&self) -> Vec<LoggedRequest> {
        self.lock().full.clone().unwrap_or_default()
    }

    pub(super) fn count_connection(&self, service: Service) {
        self.connections_of(service).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connections(&self, service: Service) -> u64 {
        self.connections_of(service).load(Ordering::Relaxed)
    }

    const fn connections_of(&self, service: Service) -> &AtomicU64 {
        match service {
            Service::Yotpo => &self.yotpo_connections,
            Service::TreasureData => &self.treasure_data_connections,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_count_per_service_and_per_operation() {
        let log = RequestLog::default();
        assert_eq!(log.count(Service::Yotpo, Operation::AccessToken), (1, 1));
        assert_eq!(log.count(Service::TreasureData, Operation::ListJobs), (1, 1));
        log.start_full_log();
        assert_eq!(log.count(Service::Yotpo, Operation::Customers), (2, 1));
        assert_eq!(log.count(Service::Yotpo, Operation::Customers), (3, 2));
        assert_eq!(log.requests(Service::Yotpo), 3);
        assert_eq!(log.operations().get(&(Service::Yotpo, Operation::Customers)), Some(&2));
        let ordinals: Vec<_> = log.full_log().iter().map(|request| request.ordinal).collect();
        assert_eq!(ordinals, [2, 3]);
    }
}
