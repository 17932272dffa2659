//! Single decisions, each after the steps that lead to it. What the decisions achieve together is checked by `tests/model`.

mod ballot;
mod names;
mod own_set;
mod publish;
mod start;
mod termination;

use super::*;
use crate::identity::{PartTotals, Proposal, TableId, TableSuffix};

const LIFETIME: Lifetime = Lifetime { propose: 1_000, commit: 2_000 };
/// The time at which everything happens, Unix seconds.
const NOW: u64 = 1_700_000_000;
const BOTH: [Mode; 2] = [Mode::Append, Mode::Replace];
const TOTALS: PartTotals = PartTotals { parts: 3, valid: 300, rejected: 1 };

/// The nonce of an attempt that began `number` seconds after [`NOW`].
fn nonce(number: u64) -> Nonce {
    Nonce::new(NOW + number, number).unwrap()
}

fn target() -> TableId {
    TableId::from_api("100")
}

/// The temporary table of the attempt's set.
fn temporary() -> TableId {
    TableId::from_api("200")
}

fn foreign() -> TableId {
    TableId::from_api("300")
}

/// The set of the attempt, before anything is created.
fn planned() -> OwnSet {
    OwnSet::planned(nonce(10), target())
}

/// The set of the attempt once its session exists; it has a table in `replace` mode.
fn created(mode: Mode) -> OwnSet {
    let table = (mode == Mode::Replace).then(temporary);
    OwnSet { table, progress: Progress::Created, ..planned() }
}

/// The set of the attempt once it is loaded.
fn ready(mode: Mode) -> OwnSet {
    OwnSet { totals: Some(TOTALS), progress: Progress::Ready, ..created(mode) }
}

/// A loaded set of another, older attempt.
fn other_winner(mode: Mode) -> Winner {
    Winner { nonce: nonce(5), ..ready(mode).as_winner() }
}

fn proposal_of(winner: Winner) -> Proposal {
    let PartTotals { parts, valid, rejected } = TOTALS;
    Proposal::Set { nonce: winner.nonce, target: winner.target, parts, valid, rejected }
}

fn nothing_committed() -> Seen {
    surveyed(None)
}

fn surveyed(committed: Option<Winner>) -> Seen {
    let target = TargetSeen::Is(target());
    Seen::Surveyed(Survey { target, committed, oldest: None, other_protocol: None })
}

fn target_is(id: TableId) -> Seen {
    Seen::Target(TargetSeen::Is(id))
}

const DONE: Seen = Seen::Sent(Sent::Done);
const UNCLEAR: Seen = Seen::Sent(Sent::Unclear);
const TABLE_GONE: Seen = Seen::Sent(Sent::TableGone);
const NO_BALLOT: Seen = Seen::Ballot(BallotSeen::Absent);
const OPEN_BALLOT: Seen = Seen::Ballot(BallotSeen::Open);
const FROZEN_BALLOT: Seen = Seen::Ballot(BallotSeen::Frozen);
const LOADED: Seen = Seen::Set(SetSeen::Ready(CountsSeen::Proven));
const NOT_LOADED: Seen = Seen::Set(SetSeen::Frozen(JobSeen::None));
const COMMITTED: Seen = Seen::Set(SetSeen::Committed);

fn ballot_for(winner: Winner) -> Seen {
    Seen::Ballot(BallotSeen::OnTable(BallotTable::Set(winner)))
}

/// An attempt and its next step.
#[derive(Clone, Copy, Debug)]
struct Walk {
    attempt: Attempt,
    step: Step,
}

impl Walk {
    fn begin(attempt: &Attempt) -> Self {
        let (attempt, step) = attempt.begin();
        Self { attempt, step }
    }

    /// Takes the next step, which has this result.
    fn then(self, seen: Seen) -> Self {
        self.then_at(NOW + 20, seen)
    }

    fn then_at(self, now: u64, seen: Seen) -> Self {
        let (attempt, step) = self.attempt.decide(seen, now);
        Self { attempt, step }
    }

    /// Takes the next steps, which have these results.
    fn then_all<const N: usize>(self, seen: [Seen; N]) -> Self {
        seen.into_iter().fold(self, Self::then)
    }

    #[track_caller]
    fn expect(self, step: Step) -> Self {
        assert_eq!(self.step, step, "{:?}", self.attempt);
        self
    }

    #[track_caller]
    fn ends(self, ending: Ending) {
        self.expect(Step::Finish(ending));
    }
}

fn load(mode: Mode) -> Attempt {
    Attempt::new(mode, Purpose::Load, LIFETIME)
}

fn abandon(mode: Mode) -> Attempt {
    Attempt::new(mode, Purpose::Abandon, LIFETIME)
}

/// What an undisturbed attempt sees, and what it does next.
fn undisturbed(mode: Mode) -> Vec<(Seen, Step)> {
    let tidy = OwnSet { progress: Progress::Tidy, ..created(mode) };
    let uploaded = OwnSet { totals: Some(TOTALS), ..tidy };
    let proposed = OwnSet { proposed: true, ..ready(mode) };
    let winner = proposed.as_winner();
    let mut steps = vec![
        (nothing_committed(), Step::ShowBallot(0)),
        (NO_BALLOT, Step::ReadTarget),
        (target_is(target()), Step::DrawNonce),
        (Seen::Nonce(nonce(10)), Step::Fetch(planned())),
    ];
    let named = OwnSet { progress: Progress::Planned, ..created(mode) };
    match mode {
        Mode::Append => steps.push((Seen::FirstRows, Step::CreateSession(planned()))),
        Mode::Replace => steps.extend([
            (Seen::FirstRows, Step::CreateScratch(planned())),
            (DONE, Step::ReadScratch(planned())),
            (Seen::Table(Some(temporary())), Step::NameTemporary(named)),
            (DONE, Step::ReadTemporary(named.as_winner())),
            (Seen::Table(Some(temporary())), Step::CreateSession(named)),
        ]),
    }
    steps.extend([
        (DONE, Step::Upload(tidy)),
        (Seen::Uploaded(UploadEnd::Complete(TOTALS)), Step::ShowOwn(uploaded)),
        (Seen::Set(SetSeen::Open), Step::FreezeOwn(uploaded)),
        (DONE, Step::ShowOwn(uploaded)),
        (NOT_LOADED, Step::ProveParts(uploaded)),
        (Seen::Parts(PartsSeen::Complete(TOTALS)), Step::Perform(uploaded.as_winner())),
        (DONE, Step::ShowOwn(uploaded)),
        (LOADED, Step::Guard(uploaded)),
        (Seen::GuardsPassed, Step::ReadTarget),
        (target_is(target()), Step::ShowBallot(0)),
        (NO_BALLOT, Step::Survey),
    ]);
    match mode {
        Mode::Append => steps.extend([
            (nothing_committed(), Step::CreateBallot(0, None)),
            (DONE, Step::ShowBallot(0)),
            (OPEN_BALLOT, Step::Propose(0, proposal_of(winner))),
            (DONE, Step::FreezeBallot(0)),
            (DONE, Step::ShowBallot(0)),
            (FROZEN_BALLOT, Step::ListBallot(0)),
            (Seen::Proposals(Some(proposal_of(winner))), Step::ShowWinner(winner)),
            (LOADED, Step::ReadTarget),
            (target_is(target()), Step::Commit(winner)),
            (DONE, Step::ShowWinner(winner)),
            (COMMITTED, Step::ReadTarget),
            (target_is(target()), Step::Finish(Ending::Loaded { winner, joined: false })),
        ]),
        Mode::Replace => steps.extend([
            (nothing_committed(), Step::CreateBallot(0, Some(proposed))),
            (DONE, Step::ShowBallot(0)),
            (ballot_for(winner), Step::ShowWinner(winner)),
            (LOADED, Step::Commit(winner)),
            (DONE, Step::ShowWinner(winner)),
            (COMMITTED, Step::ReadTarget),
            (target_is(target()), Step::ReadTemporary(winner)),
            (Seen::Table(Some(temporary())), Step::Fence(winner)),
            (Seen::Done, Step::Publish(winner)),
            (DONE, Step::ReadTarget),
            (target_is(temporary()), Step::Finish(Ending::Loaded { winner, joined: false })),
        ]),
    }
    steps
}

/// An attempt that is undisturbed until the `nth` step of this name.
#[track_caller]
fn reach(mode: Mode, name: &str, nth: usize) -> Walk {
    let mut walk = Walk::begin(&load(mode));
    let mut left = nth;
    for (seen, _) in undisturbed(mode) {
        walk = walk.then(seen);
        left -= usize::from(walk.step.name() == name);
        if left == 0 {
            return walk;
        }
    }
    panic!("an undisturbed attempt has no {nth}th step {name}");
}

/// An attempt without rows that sees the set of another attempt win, and is about to look at it.
fn joining(mode: Mode) -> Walk {
    let walk = Walk::begin(&load(mode)).then(nothing_committed());
    let winner = other_winner(mode);
    match mode {
        Mode::Append => walk.then_all([FROZEN_BALLOT, Seen::Proposals(Some(proposal_of(winner)))]),
        Mode::Replace => walk.then(ballot_for(winner)),
    }
    .expect(Step::ShowWinner(winner))
}

#[test]
fn undisturbed_attempt_loads_its_own_set() {
    for mode in BOTH {
        let mut walk = Walk::begin(&load(mode)).expect(Step::Survey);
        for (seen, step) in undisturbed(mode) {
            assert!(!walk.attempt.has_renamed());
            walk = walk.then(seen).expect(step);
            if matches!(step, Step::Publish(_)) {
                break;
            }
        }
        assert_eq!(walk.attempt.has_renamed(), mode == Mode::Replace);
        let own = OwnSet { proposed: true, ..ready(mode) };
        assert_eq!(walk.attempt.own(), Some(&own));
        assert_eq!(walk.attempt.winner(), Some(&own.as_winner()));
        assert_eq!((walk.attempt.generation(), walk.attempt.oldest()), (0, Some(NOW + 10)));
        if mode == Mode::Replace {
            let joined = false;
            walk.then_all([DONE, target_is(temporary())])
                .ends(Ending::Loaded { winner: own.as_winner(), joined });
        }
    }
}

#[test]
fn result_of_another_step_ends_the_attempt() {
    Walk::begin(&load(Mode::Append)).then(DONE).ends(Ending::UnexpectedResult);
}
