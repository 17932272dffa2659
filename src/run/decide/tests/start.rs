//! How an attempt starts, which set of the run counts, and what is removed at the end.

use super::*;

fn survey(target: TargetSeen) -> Survey {
    Survey { target, committed: None, oldest: None, other_protocol: None }
}

#[test]
fn replace_needs_the_ids_of_tables_unless_the_user_accepts_that_they_are_unknown() {
    let denied = Seen::Surveyed(survey(TargetSeen::Denied));
    Walk::begin(&load(Mode::Replace)).then(denied).ends(Ending::NoTableIds);
    Walk::begin(&load(Mode::Replace).accepting_unknown_tables()).then(denied).expect(Step::ShowBallot(0));
    Walk::begin(&load(Mode::Append)).then(denied).expect(Step::ShowBallot(0));
}

#[test]
fn other_version_of_the_protocol_ends_the_attempt() {
    let seen = Survey { other_protocol: Some(2), ..survey(TargetSeen::Is(target())) };
    Walk::begin(&load(Mode::Append)).then(Seen::Surveyed(seen)).ends(Ending::OtherProtocol(2));
}

#[test]
fn committed_set_of_another_attempt_is_seen_through() {
    for mode in BOTH {
        let winner = other_winner(mode);
        let walk = Walk::begin(&load(mode)).then(surveyed(Some(winner))).expect(Step::ShowWinner(winner));
        assert_eq!(walk.attempt.oldest(), Some(NOW + 5));
        let own = OwnSet { nonce: nonce(10), ..ready(mode) };
        Walk::begin(&load(mode).resuming(own)).then(surveyed(Some(winner))).expect(Step::ShowWinner(winner));
    }
}

#[test]
fn own_set_that_is_committed_counts_only_if_it_may_have_been_proposed() {
    let own = ready(Mode::Append);
    let committed = surveyed(Some(own.as_winner()));
    Walk::begin(&load(Mode::Append).resuming(own)).then(committed).ends(Ending::WinnerChanged);
    let proposed = OwnSet { proposed: true, ..own };
    Walk::begin(&load(Mode::Append).resuming(proposed))
        .then(committed)
        .expect(Step::ShowWinner(own.as_winner()));
}

#[test]
fn set_of_an_earlier_process_is_resumed_or_removed() {
    for mode in BOTH {
        let own = created(mode);
        let start = |attempt| Walk::begin(&attempt).then_all([nothing_committed(), NO_BALLOT]);
        start(load(mode).resuming(own)).expect(Step::ShowOwn(own));
        start(load(mode).discarding(own))
            .expect(Step::Discard(own))
            .then(Seen::Done)
            .expect(Step::ShowBallot(0))
            .then(NO_BALLOT)
            .expect(Step::ReadTarget);
        let proposed = OwnSet { proposed: true, ..own };
        start(load(mode).discarding(proposed)).expect(Step::ReadTarget);
    }
}

#[test]
fn resumed_set_without_rows_or_for_another_target_is_removed() {
    let start =
        |own| Walk::begin(&load(Mode::Replace).resuming(own)).then_all([nothing_committed(), NO_BALLOT]);
    for own in [
        OwnSet { suffix: TableSuffix::Empty, ..created(Mode::Replace) },
        OwnSet { suffix: TableSuffix::Abandon, ..created(Mode::Replace) },
        OwnSet { target: foreign(), ..created(Mode::Replace) },
    ] {
        start(own).expect(Step::Discard(own));
        // A set that was proposed may have won: it stays.
        start(OwnSet { proposed: true, ..own }).expect(Step::ShowBallot(0));
    }
}

#[test]
fn set_is_begun_until_the_run_is_too_old() {
    let start = |oldest| {
        let seen = Survey { oldest: Some(oldest), ..survey(TargetSeen::Is(target())) };
        let walk = Walk::begin(&load(Mode::Append)).then(Seen::Surveyed(seen));
        assert_eq!(walk.attempt.oldest(), Some(oldest));
        walk.then(NO_BALLOT)
    };
    start(NOW + 20 - LIFETIME.propose).expect(Step::ReadTarget);
    start(NOW + 20 - LIFETIME.propose - 1).ends(Ending::RunTooOld);
}

#[test]
fn oldest_attempt_is_the_oldest_that_was_seen() {
    let seen = Survey { oldest: Some(NOW + 7), ..survey(TargetSeen::Is(target())) };
    let walk = Walk::begin(&load(Mode::Append)).then(Seen::Surveyed(seen));
    let drawn = walk.then_all([NO_BALLOT, target_is(target()), Seen::Nonce(nonce(10))]);
    assert_eq!(drawn.attempt.oldest(), Some(NOW + 7));
    let winner = other_winner(Mode::Append);
    let decided = walk.then_all([FROZEN_BALLOT, Seen::Proposals(Some(proposal_of(winner)))]);
    assert_eq!(decided.attempt.oldest(), Some(NOW + 5));
}

#[test]
fn set_is_for_the_table_that_is_the_target_or_for_an_unknown_one() {
    let is_target = |seen, set_target| {
        let mut attempt = load(Mode::Append);
        attempt.target = Some(seen);
        attempt.is_target_of(&Winner { target: set_target, ..other_winner(Mode::Append) })
    };
    assert!(is_target(TargetSeen::Is(target()), target()));
    assert!(!is_target(TargetSeen::Is(foreign()), target()));
    assert!(is_target(TargetSeen::Is(foreign()), TableId::unknown()));
    assert!(is_target(TargetSeen::Denied, TableId::unknown()));
    assert!(!is_target(TargetSeen::Denied, target()));
    assert!(!is_target(TargetSeen::Missing, TableId::unknown()));
}

#[test]
fn published_set_counts_else_the_youngest_committed_one_for_this_target() {
    let replaced = |number| Winner { nonce: nonce(number), ..ready(Mode::Replace).as_winner() };
    let published = Winner { target: foreign(), table: Some(target()), ..replaced(1) };
    let for_other = Winner { target: foreign(), ..replaced(4) };
    let for_unknown = Winner { target: TableId::unknown(), ..replaced(3) };
    let choose = |seen, sets: &[(Winner, bool)]| Survey::choose(seen, sets.iter().copied());
    let is = TargetSeen::Is(target());
    assert_eq!(choose(is, &[(published, false), (replaced(2), true)]), Some(published));
    assert_eq!(choose(is, &[(replaced(2), true), (replaced(3), true)]), Some(replaced(3)));
    assert_eq!(choose(is, &[(replaced(2), false)]), None);
    assert_eq!(choose(is, &[(for_other, true)]), None);
    assert_eq!(choose(is, &[(for_unknown, true), (for_other, true)]), Some(for_unknown));
    assert_eq!(choose(TargetSeen::Denied, &[(for_unknown, true), (for_other, true)]), Some(for_unknown));
    assert_eq!(choose(TargetSeen::Missing, &[(for_unknown, true), (replaced(2), true)]), None);
}

#[test]
fn own_set_is_removed_after_it_lost_unless_its_name_states_the_age_of_the_run() {
    let mode = Mode::Append;
    let own = ready(mode);
    let start = Walk::begin(&load(mode).resuming(own)).then(nothing_committed());
    assert_eq!(start.attempt.cleanup(false), Cleanup { own: None, run: true });
    let lost =
        start.then_all([FROZEN_BALLOT, Seen::Proposals(Some(proposal_of(other_winner(mode))))]).attempt;
    assert_eq!(lost.cleanup(false), Cleanup { own: Some(own), run: true });
    assert_eq!(lost.cleanup(true), Cleanup { own: Some(own), run: false });
    let is_younger = Winner { nonce: nonce(15), ..other_winner(mode) };
    let seen = Survey { oldest: Some(NOW + 10), ..survey(TargetSeen::Is(target())) };
    let start = Walk::begin(&load(mode).resuming(own)).then(Seen::Surveyed(seen));
    let oldest = start.then_all([FROZEN_BALLOT, Seen::Proposals(Some(proposal_of(is_younger)))]).attempt;
    assert_eq!(oldest.cleanup(true), Cleanup { own: None, run: false });
    assert_eq!(oldest.cleanup(false), Cleanup { own: Some(own), run: true });
    let won = reach(mode, "commit", 1).attempt;
    assert_eq!(won.cleanup(false), Cleanup { own: None, run: true });
}
