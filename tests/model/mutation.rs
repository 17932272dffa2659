//! Faults that are put back into the protocol, to see that the search finds them: the model's own test.
//!
//! Each is one of those that were found in the field (docs/guarantees.md, ADR 12), as a lie about what the attempt sees.

use yotpo_td::identity::Proposal;
use yotpo_td::run::decide::{
    Attempt, BallotSeen, BallotTable, Cleanup, OwnSet, PartsSeen, Seen, Step, TargetSeen,
};

use crate::attempt::Live;
use crate::treasure_data::Service;

/// A change of the protocol that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutation {
    /// A frozen session is taken for a complete one.
    TrustFrozen,
    /// There is no ballot: each attempt takes its own set for the winner.
    NoBallot,
    /// `append`: the target is taken for the table that it was when the run began.
    TargetUnchecked,
    /// `replace`: a rename that was sent is taken for done, whatever came back.
    RenameBelieved,
}

/// What the mutated program sees.
pub(crate) fn seen(mutation: Option<Mutation>, live: &Live, seen: Seen, _service: &Service) -> Seen {
    let winner = live.attempt.winner().copied();
    match (mutation, seen, live.step) {
        (Some(Mutation::TrustFrozen), Seen::Parts(PartsSeen::Differ), Step::ProveParts(own)) => {
            own.totals.map_or(seen, |totals| Seen::Parts(PartsSeen::Complete(totals)))
        }
        (Some(Mutation::NoBallot), Seen::Ballot(BallotSeen::OnTable(BallotTable::Set(_))), _) => {
            own_winner(live)
                .map_or(seen, |own| Seen::Ballot(BallotSeen::OnTable(BallotTable::Set(own.as_winner()))))
        }
        (Some(Mutation::NoBallot), Seen::Proposals(Some(Proposal::Set { .. })), _) => {
            own_winner(live).and_then(proposal).map_or(seen, |own| Seen::Proposals(Some(own)))
        }
        (Some(Mutation::TargetUnchecked), Seen::Target(_), Step::ReadTarget) => {
            winner.map_or(seen, |winner| Seen::Target(TargetSeen::Is(winner.target)))
        }
        (Some(Mutation::RenameBelieved), Seen::Target(_), Step::ReadTarget) if live.attempt.has_renamed() => {
            let table = winner.and_then(|winner| winner.table);
            table.map_or(seen, |table| Seen::Target(TargetSeen::Is(table)))
        }
        _ => seen,
    }
}

/// The own set, once it is loaded.
fn own_winner(live: &Live) -> Option<OwnSet> {
    live.attempt.own().copied().filter(|own| own.proposed)
}

fn proposal(own: OwnSet) -> Option<Proposal> {
    let totals = own.totals?;
    let OwnSet { nonce, target, .. } = own;
    Some(Proposal::Set { nonce, target, parts: totals.parts, valid: totals.valid, rejected: totals.rejected })
}

/// What the mutated program does.
pub(crate) fn step(_mutation: Option<Mutation>, live: &Live, _service: &Service) -> Step {
    live.step
}

/// What the mutated program removes.
pub(crate) fn cleanup(_mutation: Option<Mutation>, attempt: &Attempt, _service: &Service) -> Cleanup {
    attempt.cleanup(true)
}
