//! Faults that are put back into the protocol, to see that the search finds them: the model's own test.

use yotpo_td::run::decide::{Attempt, Cleanup, Seen, Step};

use crate::attempt::Live;
use crate::treasure_data::Service;

/// A change of the protocol that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutation {
    /// A frozen session is taken for a complete one.
    TrustFrozen,
}

/// What the mutated program sees.
pub(crate) fn seen(mutation: Option<Mutation>, _live: &Live, seen: Seen, _service: &Service) -> Seen {
    match mutation {
        _ => seen,
    }
}

/// What the mutated program does.
pub(crate) fn step(_mutation: Option<Mutation>, live: &Live, _service: &Service) -> Step {
    live.step
}

/// What the mutated program removes.
pub(crate) fn cleanup(_mutation: Option<Mutation>, attempt: &Attempt, _service: &Service) -> Cleanup {
    attempt.cleanup(true)
}
