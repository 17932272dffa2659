//! Injected faults, and which requests they affect.
//!
//! Owns the plan and which of its faults were applied. A plan is data: the same plan affects the same requests of the
//! same run. The server applies the faults.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::operation::{Operation, Service};

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// In any order. If several match the same request, the first one that was not applied yet is used.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The service that the fault affects.
    pub service: Service,
    /// Which of its requests are affected.
    pub target: FaultTarget,
    /// What happens to them.
    pub kind: FaultKind,
}

/// The requests of a service that a fault affects. Ordinals start at 1 and count from the start of the sandbox; calls
/// under `/sandbox/` are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// The n-th request of the service.
    Request(u64),
    /// The n-th request of one operation.
    Operation(Operation, u64),
    /// Every request of the service.
    Every,
    /// Every request of one operation.
    EveryOf(Operation),
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The connection is reset before the request is processed, and so are the next n connections as soon as they are
    /// opened.
    ResetNextConnections(u32),
    /// The connection is reset before the request is processed.
    ResetBeforeAction,
    /// The request is processed, then the connection is reset without a response.
    ResetAfterAction,
    /// The request is not processed and never gets a response. On virtual time, deadlines still pass.
    Hang,
    /// This status with an error body; the request is not processed.
    Status(u16, Option<RetryDelay>),
    /// 200 with an empty JSON object; the request is not processed.
    Acknowledged,
    /// 200 with an HTML page, like that of a proxy; the request is not processed.
    HtmlOk,
    /// The request is processed, and the response is 200 with an empty body.
    EmptyOk,
    /// The request is processed, and the connection is closed in the middle of the body.
    TruncatedBody,
    /// The request is processed, and the content type of the response is `text/html`.
    WrongContentType,
    /// The request is processed, and spaces before the JSON make the body this many bytes longer.
    Padded(usize),
    /// The request is processed, and sending the body takes this long on the clock.
    SlowBody(Duration),
    /// The request is processed twice, and the second response is sent.
    DuplicateDelivery,
    /// The request is processed and gets its response, and is processed again this much later on the clock.
    DeliveredAgain(Duration),
    /// The connection is reset, and the request is processed this much later on the clock.
    LateAfterReset(Duration),
    /// There is never a response, and the request is processed this much later on the clock.
    LateAfterTimeout(Duration),
    /// 200 with a body about the rate limit; the request is not processed.
    RateLimitTextOk,
    /// The import that this request starts (`perform`) fails.
    FailImport,
    /// The commit that this request starts fails, and the session returns to ready.
    FailCommit,
    /// All Yotpo tokens expire just before this request.
    ExpireToken,
}

/// How an error response says when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDelay {
    /// `RateLimit-Reset: <seconds>`.
    RateLimitReset(u64),
    /// `Retry-After: <seconds>`.
    RetryAfterSeconds(u64),
    /// `Retry-After: <HTTP date>`, this many seconds from now on the clock.
    RetryAfterDate(u64),
}

impl FaultPlan {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Draws `count` random faults for a run with about `expected_requests` requests to each service.
    pub fn random(seed: u64, count: usize, expected_requests: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self { faults: (0..count).map(|_| Fault::random(&mut random, expected_requests.max(1))).collect() }
    }
}

impl Fault {
    /// `kind` for the n-th request of `operation`.
    pub fn on(operation: Operation, ordinal: u64, kind: FaultKind) -> Self {
        let service = operation.service().unwrap_or(Service::TreasureData);
        Self { service, target: FaultTarget::Operation(operation, ordinal), kind }
    }

    fn random(random: &mut fastrand::Rng, expected_requests: u64) -> Self {
        match random.u8(0..10) {
            0..=3 => {
                let target = FaultTarget::Request(random.u64(1..=expected_requests));
                Self { service: Service::Yotpo, target, kind: FaultKind::random(random, Service::Yotpo) }
            }
            4..=6 => {
                let target = FaultTarget::Request(random.u64(1..=expected_requests));
                let service = Service::TreasureData;
                Self { service, target, kind: FaultKind::random(random, service) }
            }
            7 => Self::on(Operation::PerformSession, 1, FaultKind::FailImport),
            8 => Self::on(Operation::CommitSession, 1, FaultKind::FailCommit),
            _ => {
                const STEPS: &[Operation] = &[
                    Operation::CreateSession,
                    Operation::UploadPart,
                    Operation::FreezeSession,
                    Operation::PerformSession,
                    Operation::ShowSession,
                    Operation::CommitSession,
                    Operation::DeleteSession,
                ];
                let operation = random.choice(STEPS).copied().unwrap_or(Operation::CommitSession);
                Self::on(operation, 1, FaultKind::random(random, Service::TreasureData))
            }
        }
    }
}

impl FaultKind {
    fn random(random: &mut fastrand::Rng, service: Service) -> Self {
        let delay = match random.u8(0..4) {
            0 => None,
            1 => Some(RetryDelay::RateLimitReset(random.u64(1..5))),
            2 => Some(RetryDelay::RetryAfterSeconds(random.u64(1..5))),
            _ => Some(RetryDelay::RetryAfterDate(random.u64(1..5))),
        };
        match random.u8(0..14) {
            0 => Self::ResetNextConnections(random.u32(1..4)),
            1 => Self::ResetBeforeAction,
            2 | 3 => Self::ResetAfterAction,
            4 => Self::Hang,
            5 => Self::Status(429, delay),
            6 => Self::Status(random.choice([500, 502, 503, 504]).unwrap_or(500), delay),
            7 => Self::HtmlOk,
            8 => Self::EmptyOk,
            9 => Self::TruncatedBody,
            10 => Self::SlowBody(Duration::from_millis(random.u64(1..200))),
            11 => Self::DuplicateDelivery,
            12 if service == Service::Yotpo => Self::ExpireToken,
            12 => Self::Status(408, None),
            _ if service == Service::Yotpo => Self::RateLimitTextOk,
            _ => Self::WrongContentType,
        }
    }
}

/// The active plan.
#[derive(Debug)]
pub(super) struct FaultInjector {
    active: Mutex<ActivePlan>,
}

#[derive(Debug)]
struct ActivePlan {
    faults: Vec<(Fault, u64)>,
    applied: u64,
}

impl FaultInjector {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let injector = Self { active: Mutex::new(ActivePlan { faults: Vec::new(), applied: 0 }) };
        injector.set(plan);
        injector
    }

    pub(super) fn set(&self, plan: FaultPlan) {
        self.lock().faults = plan.faults.into_iter().map(|fault| (fault, 0)).collect();
    }

    /// Number of requests affected so far, by this and earlier plans.
    pub(super) fn applied(&self) -> u64 {
        self.lock().applied
    }

    /// The fault for the request with these ordinals; it then counts as applied.
    pub(super) fn take(
        &self,
        service: Service,
        ordinal: u64,
        operation: Operation,
        operation_ordinal: u64,
    ) -> Option<FaultKind> {
        let mut active = self.lock();
        let matches = |(fault, applied): &&mut (Fault, u64)| {
            fault.service == service
                && match fault.target {
                    FaultTarget::Request(nth) => *applied == 0 && nth == ordinal,
                    FaultTarget::Operation(named, nth) => {
                        *applied == 0 && named == operation && nth == operation_ordinal
                    }
                    FaultTarget::Every => true,
                    FaultTarget::EveryOf(named) => named == operation,
                }
        };
        let (fault, applied) = active.faults.iter_mut().find(matches)?;
        *applied += 1;
        let kind = fault.kind.clone();
        active.applied += 1;
        Some(kind)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ActivePlan> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nth_request_is_affected_once_and_every_request_always() {
        let injector = FaultInjector::new(FaultPlan {
            faults: vec![
                Fault { service: Service::Yotpo, target: FaultTarget::Request(2), kind: FaultKind::HtmlOk },
                Fault::on(Operation::UploadPart, 3, FaultKind::ResetAfterAction),
                Fault {
                    service: Service::TreasureData,
                    target: FaultTarget::EveryOf(Operation::ListJobs),
                    kind: FaultKind::EmptyOk,
                },
            ],
        });
        let yotpo = |nth| injector.take(Service::Yotpo, nth, Operation::Customers, nth);
        assert_eq!([yotpo(1), yotpo(2), yotpo(2), yotpo(3)], [None, Some(FaultKind::HtmlOk), None, None]);
        let upload = |nth| injector.take(Service::TreasureData, 40 + nth, Operation::UploadPart, nth);
        assert_eq!([upload(2), upload(3)], [None, Some(FaultKind::ResetAfterAction)]);
        let jobs = |nth| injector.take(Service::TreasureData, nth, Operation::ListJobs, nth);
        assert_eq!([jobs(8), jobs(9)], [Some(FaultKind::EmptyOk), Some(FaultKind::EmptyOk)]);
        assert_eq!(injector.applied(), 4);
    }

    #[test]
    fn random_plans_repeat_by_seed_and_differ_between_seeds() {
        let plan = FaultPlan::random(7, 5, 100);
        assert_eq!(plan.faults.len(), 5);
        assert_eq!(FaultPlan::random(7, 5, 100), plan);
        assert_ne!(FaultPlan::random(8, 5, 100), plan);
    }
}
