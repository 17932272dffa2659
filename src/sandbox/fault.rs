//! Faults on purpose: which request is hit by what.
//!
//! Owns the plan and which of its faults were applied. A plan is data: the same plan hits the same requests of the
//! same run. It does not carry faults out; the server does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::operation::{Operation, Service};

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// In no order; where several hit the same request, the first one not yet used up is applied.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose requests are counted.
    pub service: Service,
    /// Which of them is hit.
    pub target: FaultTarget,
    /// What happens to it.
    pub kind: FaultKind,
}

/// Which requests of a service a fault hits. Ordinals start at 1, run since the start of the sandbox and leave out
/// the calls under `/sandbox/`.
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
    /// The connection is reset before the service acts, and so are the next n connections, as soon as they are made.
    RefuseConnections(u32),
    /// The connection is reset; the service did not act.
    ResetBeforeAction,
    /// The service acted, then the connection is reset instead of an answer.
    ResetAfterAction,
    /// No action and never an answer; on virtual time it does not keep deadlines from passing.
    Hang,
    /// This status with an error body; the service did not act.
    Status(u16, Option<RetryDelay>),
    /// 200 with an HTML page, as of a proxy; the service did not act.
    HtmlOk,
    /// The service acted and answers 200 with an empty body.
    EmptyOk,
    /// The service acted; the connection ends in the middle of the body.
    TruncatedBody,
    /// The service acted; the answer says it is `text/html`.
    WrongContentType,
    /// The service acted; blanks before the JSON make the body this many bytes longer.
    Padded(usize),
    /// The service acted; the body trickles for this long on the clock.
    SlowBody(Duration),
    /// The service acted twice and gives the second answer.
    DuplicateDelivery,
    /// The service acts and responds, and acts on the same request once more this much later on the clock.
    DeliveredAgain(Duration),
    /// The connection is reset, and the service acts on the request this much later on the clock.
    LateAfterReset(Duration),
    /// There is never a response, and the service acts on the request this much later on the clock.
    LateAfterTimeout(Duration),
    /// 200 whose body says "rate limit"; the service did not act.
    RateLimitTextOk,
    /// The import that this request starts fails (bulk import perform).
    FailImport,
    /// The commit that this request starts fails, the session falls back to ready.
    FailCommit,
    /// All Yotpo tokens expire just before this request.
    ExpireToken,
}

/// How a refusal says when to come back.
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

    /// Draws `count` faults for a run that makes about `expected_requests` requests to each service.
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
            0 => Self::RefuseConnections(random.u32(1..4)),
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

/// The plan in force.
#[derive(Debug)]
pub(super) struct FaultInjector {
    armed: Mutex<Armed>,
}

#[derive(Debug)]
struct Armed {
    faults: Vec<(Fault, u64)>,
    applied: u64,
}

impl FaultInjector {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let injector = Self { armed: Mutex::new(Armed { faults: Vec::new(), applied: 0 }) };
        injector.set(plan);
        injector
    }

    pub(super) fn set(&self, plan: FaultPlan) {
        self.lock().faults = plan.faults.into_iter().map(|fault| (fault, 0)).collect();
    }

    /// How many requests were hit so far, by this and earlier plans.
    pub(super) fn applied(&self) -> u64 {
        self.lock().applied
    }

    /// The fault for the request with these ordinals, which counts as applied.
    pub(super) fn take(
        &self,
        service: Service,
        ordinal: u64,
        operation: Operation,
        operation_ordinal: u64,
    ) -> Option<FaultKind> {
        let mut armed = self.lock();
        let hit = |(fault, applied): &&mut (Fault, u64)| {
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
        let (fault, applied) = armed.faults.iter_mut().find(hit)?;
        *applied += 1;
        let kind = fault.kind.clone();
        armed.applied += 1;
        Some(kind)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nth_request_is_hit_once_and_every_always() {
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
