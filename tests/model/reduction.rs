//! Partial-order reduction: calls that need not be interleaved with those of other processes.
//!
//! Owns the decision which calls commute with everything that others do.

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::{Step, TargetSeen, Winner};

use crate::attempt::Live;
use crate::faults::Scenario;
use crate::treasure_data::{Service, Status};

/// Whether the next call commutes with everything that other processes, jobs and commits can do, so that only faults
/// affect it. Each cycle of an attempt contains a call that does not.
pub(crate) fn is_private(live: &Live, service: &Service, scenario: &Scenario) -> bool {
    let own = live.attempt.own().filter(|own| !own.proposed && live.attempt.winner().is_none());
    let status = |winner: &Winner| service.set(service.set_of(winner.nonce)).map(|session| session.status);
    let is_decided = |generation| match service.mode {
        Mode::Append => service.ballot(generation).is_some_and(|ballot| ballot.frozen),
        Mode::Replace => !scenario.follows_renames && service.ballot(generation).is_some(),
    };
    match live.step {
        Step::CreateScratch(_)
        | Step::ReadScratch(_)
        | Step::NameTemporary(_)
        | Step::TidyParts(_)
        | Step::FreezeOwn(_)
        | Step::ProveParts(_)
        | Step::Guard(_)
        | Step::Wait => true,
        Step::Fetch(_) => scenario.faults.changes == 0,
        Step::ReadTemporary(_) | Step::Perform(_) => own.is_some(),
        // The rest depends on the time, or on what exists only for a time.
        _ if !scenario.ticks.is_empty() => false,
        Step::CreateSession(_) => service.target() != TargetSeen::Missing,
        // Only `replace` renames over it.
        Step::ReadTarget => service.mode == Mode::Append && service.target() != TargetSeen::Missing,
        Step::ShowOwn(own) => !matches!(
            status(&own.as_winner()),
            Some(Status::Performing | Status::Stuck | Status::Ready | Status::Committing)
        ),
        Step::ShowWinner(winner) => status(&winner) == Some(Status::Committed),
        Step::ShowBallot(generation) | Step::ListBallot(generation) => is_decided(generation),
        _ => false,
    }
}
