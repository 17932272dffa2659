//! The ballot: proposals, decisions, abandonments and generations.

use super::*;

fn abandoned_by(number: u64) -> Seen {
    Seen::Ballot(BallotSeen::OnTable(BallotTable::Abandon(nonce(number))))
}

/// The step after the decision that nothing comes of the generation: the next one begins.
#[track_caller]
fn is_next_generation(walk: &Walk, generation: u8) {
    let walk = walk.expect(Step::ReadTarget).then(target_is(target())).expect(Step::ShowBallot(generation));
    assert_eq!((walk.attempt.generation(), walk.attempt.winner()), (generation, None));
}

/// The attempt that abandons has read the ballot, which does not exist.
fn abandoning(mode: Mode) -> Walk {
    Walk::begin(&abandon(mode)).then_all([nothing_committed(), NO_BALLOT])
}

#[test]
fn loaded_set_is_proposed_in_an_open_ballot() {
    let shown = reach(Mode::Append, "create_ballot", 1).then(DONE);
    let proposal = proposal_of(ready(Mode::Append).as_winner());
    let walk = shown.then(OPEN_BALLOT).expect(Step::Propose(0, proposal));
    assert!(walk.attempt.own().unwrap().proposed);
    let is_in_time = shown.then_at(NOW + 10 + LIFETIME.propose, OPEN_BALLOT);
    is_in_time.expect(Step::Propose(0, proposal));
    let is_late = shown.then_at(NOW + 11 + LIFETIME.propose, OPEN_BALLOT);
    is_late.expect(Step::ListBallot(0));
}

#[test]
fn attempt_without_a_loaded_set_lists_an_open_ballot() {
    let start = Walk::begin(&load(Mode::Append)).then_all([nothing_committed(), OPEN_BALLOT]);
    start.expect(Step::ListBallot(0)).then(Seen::Proposals(None)).expect(Step::ReadTarget);
    let proposal = proposal_of(other_winner(Mode::Append));
    start.then(Seen::Proposals(Some(proposal))).expect(Step::FreezeBallot(0));
    let uploading = reach(Mode::Append, "upload", 1).then(Seen::Uploaded(UploadEnd::BallotMoved));
    uploading.then(OPEN_BALLOT).expect(Step::ListBallot(0));
}

#[test]
fn set_is_not_proposed_for_a_target_that_is_another_table() {
    for mode in BOTH {
        let survey = reach(mode, "survey", 1);
        let other =
            Survey { target: TargetSeen::Is(foreign()), committed: None, oldest: None, other_protocol: None };
        let own = *survey.attempt.own().unwrap();
        survey.then(Seen::Surveyed(other)).expect(Step::Discard(own));
    }
}

#[test]
fn ballot_is_created_until_the_run_is_too_old() {
    for mode in BOTH {
        let survey = reach(mode, "survey", 1).expect(Step::Survey);
        let created = survey.then_at(NOW + 10 + LIFETIME.propose, nothing_committed());
        assert_eq!(created.step.name(), "create_ballot");
        survey.then_at(NOW + 11 + LIFETIME.propose, nothing_committed()).ends(Ending::RunTooOld);
    }
}

#[test]
fn ballot_whose_table_is_gone_is_not_created() {
    let replaced = reach(Mode::Replace, "create_ballot", 1).then(TABLE_GONE).expect(Step::ShowBallot(0));
    assert_eq!(replaced.attempt.own(), None);
    let mut walk = reach(Mode::Append, "create_ballot", 1);
    for _ in 0..MAX_SETBACKS {
        walk = walk.then(TABLE_GONE).expect(Step::Survey).then_all([
            nothing_committed(),
            NO_BALLOT,
            nothing_committed(),
        ]);
        assert_eq!(walk.step, Step::CreateBallot(0, None));
    }
    walk.then(TABLE_GONE).ends(Ending::NoProgress);
}

#[test]
fn unclear_result_of_a_ballot_is_looked_at_until_there_were_too_many_setbacks() {
    let is_looked_at = |walk: &Walk| walk.then(UNCLEAR).expect(Step::ShowBallot(0));
    is_looked_at(&reach(Mode::Append, "freeze_ballot", 1));
    is_looked_at(&reach(Mode::Append, "list_ballot", 1));
    let mut walk = reach(Mode::Append, "propose", 1);
    for _ in 0..MAX_SETBACKS {
        walk = is_looked_at(&walk).then(OPEN_BALLOT);
        assert_eq!(walk.step.name(), "propose");
    }
    walk.then(UNCLEAR).ends(Ending::NoProgress);
}

/// Sees the same result of a ballot while it is stale, and then one time more.
#[track_caller]
fn outlasts<const N: usize>(walk: &Walk, seen: [Seen; N]) -> Walk {
    let mut walk = *walk;
    for _ in 0..MAX_STALE_POLLS {
        walk = walk.then_all(seen).expect(Step::Wait).then(Seen::Done).expect(Step::ShowBallot(0));
        assert_eq!(walk.attempt.setbacks, 0, "a stale status is no setback");
    }
    walk.then_all(seen)
}

#[test]
fn frozen_ballot_that_is_still_listed_as_open_is_polled_and_frozen_again_until_there_were_too_many_setbacks()
{
    let mut walk = reach(Mode::Append, "freeze_ballot", 1);
    let stale = walk.then_all([DONE, OPEN_BALLOT, Seen::Done]);
    stale.then(FROZEN_BALLOT).expect(Step::ListBallot(0));
    for setbacks in 0..MAX_SETBACKS {
        assert_eq!(walk.attempt.setbacks, setbacks);
        walk = walk.then(DONE);
        for _ in 0..MAX_STALE_POLLS {
            walk = walk.then(OPEN_BALLOT).expect(Step::Wait).then(Seen::Done).expect(Step::ShowBallot(0));
        }
        walk = walk.then(OPEN_BALLOT).expect(Step::FreezeBallot(0));
    }
    let mut walk = walk.then(DONE);
    for _ in 0..MAX_STALE_POLLS {
        walk = walk.then_all([OPEN_BALLOT, Seen::Done]);
    }
    walk.then(OPEN_BALLOT).ends(Ending::NoProgress);
}

#[test]
fn frozen_ballot_that_is_gone_is_a_setback() {
    let walk = reach(Mode::Append, "freeze_ballot", 1).then_all([DONE, NO_BALLOT]).expect(Step::Survey);
    assert_eq!(walk.attempt.setbacks, 1);
}

#[test]
fn ballot_that_was_created_or_exists_and_is_missing_is_polled() {
    for mode in BOTH {
        for sent in [Sent::Done, Sent::Conflict] {
            let created = reach(mode, "create_ballot", 1).then(Seen::Sent(sent));
            let walk = outlasts(&created, [NO_BALLOT]).expect(Step::Survey);
            assert_eq!(walk.attempt.setbacks, 1);
        }
        reach(mode, "create_ballot", 1).then_all([UNCLEAR, NO_BALLOT]).expect(Step::Survey);
        let gone = reach(mode, "create_ballot", 1).then(Seen::Sent(Sent::SessionGone));
        assert_eq!((gone.step, gone.attempt.setbacks), (Step::ShowBallot(0), 1));
    }
}

#[test]
fn proposals_that_are_missing_after_the_freeze_are_polled() {
    let frozen = reach(Mode::Append, "freeze_ballot", 1).then(DONE);
    let walk = outlasts(&frozen, [FROZEN_BALLOT, Seen::Proposals(None)]);
    assert_eq!(walk.attempt.setbacks, 1);
    is_next_generation(&walk, 1);
    let late = frozen.then_all([FROZEN_BALLOT, Seen::Proposals(None), Seen::Done, FROZEN_BALLOT]);
    let winner = other_winner(Mode::Append);
    late.then(Seen::Proposals(Some(proposal_of(winner)))).expect(Step::ShowWinner(winner));
}

#[test]
fn winner_whose_ballot_is_gone_or_open_again_is_a_setback() {
    for seen in [NO_BALLOT, OPEN_BALLOT] {
        let walk = joining(Mode::Append).then_all([LOADED, target_is(target()), UNCLEAR, LOADED]);
        let walk = walk.expect(Step::ShowBallot(0)).then(seen);
        assert_eq!((walk.attempt.setbacks, walk.attempt.winner()), (1, None));
    }
}

#[test]
fn other_winner_of_the_same_ballot_is_a_setback() {
    let walk = joining(Mode::Replace).then_all([LOADED, UNCLEAR, LOADED]).expect(Step::ShowBallot(0));
    let other = Winner { nonce: nonce(6), ..other_winner(Mode::Replace) };
    let walk = walk.then(ballot_for(other)).expect(Step::ShowWinner(other));
    assert_eq!(walk.attempt.setbacks, 1);
}

#[test]
fn ballot_whose_table_is_gone_begins_the_next_generation() {
    for name in ["propose", "freeze_ballot", "list_ballot"] {
        is_next_generation(&reach(Mode::Append, name, 1).then(TABLE_GONE), 1);
    }
    // Another attempt froze it.
    let frozen = Walk::begin(&load(Mode::Append)).then_all([nothing_committed(), FROZEN_BALLOT]);
    is_next_generation(&frozen.then(Seen::Proposals(None)), 1);
}

#[test]
fn winner_of_a_frozen_ballot_is_the_smallest_proposal() {
    let winner = other_winner(Mode::Append);
    let walk = reach(Mode::Append, "list_ballot", 1).then(Seen::Proposals(Some(proposal_of(winner))));
    let walk = walk.expect(Step::ShowWinner(winner)).then_all([COMMITTED, target_is(target())]);
    walk.ends(Ending::Loaded { winner, joined: true });
}

#[test]
fn empty_winner_needs_no_commit() {
    let winner = Winner { suffix: TableSuffix::Empty, ..other_winner(Mode::Replace) };
    assert!(winner.is_empty() && !other_winner(Mode::Replace).is_empty());
    let walk = Walk::begin(&load(Mode::Replace)).then_all([nothing_committed(), ballot_for(winner)]);
    walk.expect(Step::ReadTarget).then(target_is(target())).expect(Step::ReadTemporary(winner));
}

#[test]
fn foreign_ballot_ends_the_attempt() {
    let seen = Seen::Ballot(BallotSeen::OnTable(BallotTable::Foreign));
    Walk::begin(&load(Mode::Replace)).then_all([nothing_committed(), seen]).ends(Ending::ForeignBallot);
}

#[test]
fn ballot_on_the_target_is_looked_up_in_the_survey() {
    let seen = Seen::Ballot(BallotSeen::OnTable(BallotTable::Target));
    let mut walk =
        Walk::begin(&load(Mode::Replace)).then_all([nothing_committed(), seen]).expect(Step::Survey);
    let next = walk.then(nothing_committed()).expect(Step::ShowBallot(1));
    assert_eq!(next.attempt.generation(), 0);
    next.then(NO_BALLOT).ends(Ending::Superseded);
    let winner = other_winner(Mode::Replace);
    let decided = next.then(ballot_for(winner)).expect(Step::ShowWinner(winner));
    assert_eq!(decided.attempt.generation(), 1);
    walk.then(surveyed(Some(winner))).expect(Step::ShowWinner(winner));
    for generation in 1..MAX_SETBACKS {
        walk = walk.then_all([nothing_committed(), seen]).expect(Step::Survey);
        assert_eq!(walk.attempt.generation(), generation);
    }
    walk.then_all([nothing_committed(), seen]).ends(Ending::NoProgress);
}

#[test]
fn abandoned_generation_is_followed_by_the_next_unless_the_attempt_has_begun() {
    let start = |attempt| Walk::begin(&attempt).then_all([nothing_committed(), abandoned_by(7)]);
    is_next_generation(&start(load(Mode::Replace)), 1);
    let begun = reach(Mode::Replace, "show_ballot", 2).then(abandoned_by(7));
    begun.ends(Ending::AbandonedByOthers);
    let in_list = Walk::begin(&load(Mode::Append)).then_all([nothing_committed(), FROZEN_BALLOT]);
    is_next_generation(&in_list.then(Seen::Proposals(Some(Proposal::Abandon { nonce: nonce(7) }))), 1);
}

#[test]
fn resumed_set_that_is_not_younger_than_the_abandonment_is_removed() {
    let own = created(Mode::Replace);
    let start = |number| {
        Walk::begin(&load(Mode::Replace).resuming(own)).then_all([
            nothing_committed(),
            abandoned_by(number),
            target_is(target()),
            NO_BALLOT,
        ])
    };
    start(9).expect(Step::ShowOwn(own));
    start(10).expect(Step::Discard(own));
    start(11).expect(Step::Discard(own));
}

#[test]
fn set_as_old_as_an_abandonment_is_not_proposed() {
    let mut attempt = load(Mode::Append).resuming(ready(Mode::Append));
    attempt.target = Some(TargetSeen::Is(target()));
    attempt.younger_than = Some(nonce(9));
    assert_eq!(attempt.create_ballot().1, Step::CreateBallot(0, None));
    assert_eq!(attempt.make_set().1, Step::ShowOwn(ready(Mode::Append)));
    for number in [10, 11] {
        attempt.younger_than = Some(nonce(number));
        assert_eq!(attempt.create_ballot().1, Step::Discard(ready(Mode::Append)), "{number}");
        assert_eq!(attempt.make_set().1, Step::Discard(ready(Mode::Append)), "{number}");
    }
}

#[test]
fn abandonment_of_an_append_is_proposed_without_a_table() {
    let drawn = abandoning(Mode::Append)
        .expect(Step::ReadTarget)
        .then_all([target_is(target()), Seen::Nonce(nonce(10))])
        .expect(Step::ShowBallot(0));
    let proposal = Proposal::Abandon { nonce: nonce(10) };
    let created = drawn
        .then(NO_BALLOT)
        .expect(Step::Survey)
        .then(nothing_committed())
        .expect(Step::CreateBallot(0, None))
        .then(DONE);
    let proposed = created
        .then(OPEN_BALLOT)
        .expect(Step::ListBallot(0))
        .then(Seen::Proposals(None))
        .expect(Step::Propose(0, proposal));
    let decided = proposed.then_all([DONE, DONE, FROZEN_BALLOT]);
    decided.then(Seen::Proposals(Some(proposal))).ends(Ending::Abandoned);
    // Another attempt may have abandoned an earlier start of the run.
    let by_other = Proposal::Abandon { nonce: nonce(3) };
    is_next_generation(&decided.then(Seen::Proposals(Some(by_other))), 1);
    created
        .then_all([OPEN_BALLOT, Seen::Proposals(Some(proposal_of(other_winner(Mode::Append))))])
        .expect(Step::FreezeBallot(0));
}

#[test]
fn abandonment_of_an_append_creates_a_missing_target() {
    let missing = Seen::Target(TargetSeen::Missing);
    let drawn = abandoning(Mode::Append).then_all([missing, Seen::Nonce(nonce(10)), NO_BALLOT]);
    let created = drawn.expect(Step::CreateTarget).then(DONE).expect(Step::ReadTarget);
    created.then(target_is(target())).expect(Step::ShowBallot(0));
}

#[test]
fn abandonment_of_a_replace_has_a_table_and_no_session() {
    let own = OwnSet { suffix: TableSuffix::Abandon, ..planned() };
    let scratch = abandoning(Mode::Replace)
        .then_all([target_is(target()), Seen::Nonce(nonce(10))])
        .expect(Step::CreateScratch(own));
    let totals = Some(PartTotals { parts: 0, valid: 0, rejected: 0 });
    let ready = OwnSet { table: Some(temporary()), totals, progress: Progress::Tidy, proposed: true, ..own };
    let named = scratch
        .then_all([DONE, Seen::Table(Some(temporary())), DONE, Seen::Table(Some(temporary()))])
        .expect(Step::ShowBallot(0));
    let shown = named
        .then(NO_BALLOT)
        .expect(Step::Survey)
        .then(nothing_committed())
        .expect(Step::CreateBallot(0, Some(ready)))
        .then(DONE);
    shown.then(abandoned_by(10)).ends(Ending::Abandoned);
    is_next_generation_of_abandonment(&shown.then(abandoned_by(3)));
}

/// The table was not proposed in the next generation, so it is kept.
#[track_caller]
fn is_next_generation_of_abandonment(walk: &Walk) {
    let walk = walk.expect(Step::ReadTarget).then(target_is(target())).expect(Step::ShowBallot(1));
    walk.then(NO_BALLOT).expect(Step::Survey);
}

#[test]
fn set_for_another_target_is_dropped_when_a_generation_begins() {
    let gone = reach(Mode::Append, "propose", 1).then(TABLE_GONE).expect(Step::ReadTarget);
    assert!(gone.then(target_is(target())).attempt.own().is_some());
    assert!(gone.then(target_is(foreign())).attempt.own().is_none());
}

#[test]
fn generations_end() {
    let mut walk = Walk::begin(&load(Mode::Append)).then(nothing_committed());
    for generation in 0..MAX_GENERATION {
        walk = walk.expect(Step::ShowBallot(generation)).then_all([
            FROZEN_BALLOT,
            Seen::Proposals(None),
            target_is(target()),
        ]);
    }
    walk.then_all([FROZEN_BALLOT, Seen::Proposals(None)]).ends(Ending::NoProgress);
}
