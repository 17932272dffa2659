//! Reintroduces bugs into the protocol to verify that the search finds them: the test of the model.
//!
//! Each is a bug that occurred in practice (docs/guarantees.md, ADR 12), modelled as a wrong observation of the
//! attempt.

use yotpo_td::identity::Proposal;
use yotpo_td::run::decide::{BallotSeen, BallotTable, OwnSet, PartsSeen, Seen, Step, TargetSeen, Winner};

use crate::attempt::Live;
use crate::request::Request;
use crate::treasure_data::Service;

/// A bug in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutation {
    /// A frozen session is assumed to be complete.
    TrustFrozen,
    /// There is no ballot: each attempt assumes that its set is the winner.
    NoBallot,
    /// `append`: the target is assumed to be the same table as when the run began.
    TargetUnchecked,
    /// `replace`: a rename that was sent is assumed to be done, regardless of the response.
    RenameAssumed,
    /// An attempt that creates its session deletes those of the others, as if they were orphans.
    DeletesOthers,
    /// `replace`: the target is assumed to be the same table as when the run began, and newer runs have no fence.
    StaleRename,
}

/// The observation of the mutated program.
pub(crate) fn seen(mutation: Option<Mutation>, live: &Live, seen: Seen) -> Seen {
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
        (Some(Mutation::StaleRename), Seen::Target(_), Step::ReadTarget)
            if !live.attempt.has_renamed() && !live.is_lone() =>
        {
            let is_own = |winner: &Winner| own_winner(live).is_some_and(|own| own.nonce == winner.nonce);
            winner.filter(is_own).map_or(seen, |winner| Seen::Target(TargetSeen::Is(winner.target)))
        }
        (Some(Mutation::RenameAssumed), Seen::Target(_), Step::ReadTarget) if live.attempt.has_renamed() => {
            let table = winner.and_then(|winner| winner.table);
            table.map_or(seen, |table| Seen::Target(TargetSeen::Is(table)))
        }
        _ => seen,
    }
}

/// The set of the attempt, once it is loaded.
fn own_winner(live: &Live) -> Option<OwnSet> {
    live.attempt.own().copied().filter(|own| own.proposed)
}

fn proposal(own: OwnSet) -> Option<Proposal> {
    let totals = own.totals?;
    let OwnSet { nonce, target, .. } = own;
    Some(Proposal::Set { nonce, target, parts: totals.parts, valid: totals.valid, rejected: totals.rejected })
}

/// The additional effect of a call of the mutated program.
pub(crate) fn side_effect(
    mutation: Option<Mutation>,
    process: usize,
    request: Request,
    service: &mut Service,
) {
    let Request::CreateSession(name) = request else { return };
    // Only one of them does it: two would never end.
    if mutation == Some(Mutation::DeletesOthers) && process == 1 {
        for set in
            (0..name.set).filter(|set| service.history.drawn_by[usize::from(*set)] == 0).collect::<Vec<_>>()
        {
            service.delete_session(set);
        }
    }
}

/// Whether a newer run deletes the tables of this one before it publishes.
pub(crate) fn newer_runs_have_fence(mutation: Option<Mutation>) -> bool {
    mutation != Some(Mutation::StaleRename)
}
