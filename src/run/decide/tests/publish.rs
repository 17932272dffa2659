//! The winner: committed, published and compared with the target.

use super::*;

fn set(seen: SetSeen) -> Seen {
    Seen::Set(seen)
}

const MISSING: Seen = Seen::Target(TargetSeen::Missing);
const DENIED: Seen = Seen::Target(TargetSeen::Denied);
const NO_TABLE: Seen = Seen::Table(None);

fn is_temporary() -> Seen {
    Seen::Table(Some(temporary()))
}

/// An attempt that found the winner, of another attempt, among the sessions.
fn joining_by_session(mode: Mode) -> Walk {
    Walk::begin(&load(mode))
        .then(surveyed(Some(other_winner(mode))))
        .expect(Step::ShowWinner(other_winner(mode)))
}

#[track_caller]
fn is_loaded(walk: &Walk, winner: Winner) {
    let joined = winner.nonce != nonce(10);
    walk.ends(Ending::Loaded { winner, joined });
}

/// The winner is lost, so the next generation begins.
#[track_caller]
fn is_lost(walk: &Walk) {
    let walk = walk.expect(Step::ReadTarget).then(target_is(target())).expect(Step::ShowBallot(1));
    assert_eq!(walk.attempt.winner(), None);
    assert_eq!(walk.attempt.own(), None);
}

#[track_caller]
fn waits(walk: &Walk, seen: &[Seen], times: usize) -> Walk {
    let mut walk = *walk;
    for _ in 0..times {
        walk = seen.iter().fold(walk, |walk, seen| walk.then(*seen)).expect(Step::Wait).then(Seen::Done);
    }
    walk
}

#[test]
fn winner_whose_counts_are_unknown_is_looked_at_ten_times() {
    let unknown = set(SetSeen::Ready(CountsSeen::Unknown));
    let walk = waits(&joining(Mode::Append), &[unknown], 10);
    walk.expect(Step::ShowWinner(other_winner(Mode::Append))).then(unknown).ends(Ending::LoadStuck);
}

#[test]
fn winner_in_an_unexpected_state_ends_the_attempt() {
    for mode in BOTH {
        let joining = joining(mode);
        joining.then(set(SetSeen::Open)).ends(Ending::WinnerChanged);
        joining.then(set(SetSeen::Ready(CountsSeen::Wrong))).ends(Ending::WinnerChanged);
        joining.then(set(SetSeen::Absent)).ends(Ending::WinnerGone);
    }
}

#[test]
fn published_winner_with_an_open_session_has_no_rows() {
    let walk = joining_by_session(Mode::Replace).then(set(SetSeen::Open)).expect(Step::ReadTarget);
    let winner = Winner { suffix: TableSuffix::Empty, ..other_winner(Mode::Replace) };
    is_loaded(&walk.then(target_is(temporary())), winner);
}

#[test]
fn winner_that_is_being_loaded_or_committed_is_waited_for() {
    for mode in BOTH {
        let winner = other_winner(mode);
        for seen in [SetSeen::Committing, SetSeen::Performing { ended: false }] {
            let walk = waits(&joining(mode), &[set(seen)], 30).expect(Step::ShowWinner(winner));
            // The ballot is read again before a commit.
            walk.then(LOADED).expect(Step::ShowBallot(0));
        }
    }
}

#[test]
fn winner_whose_load_failed_is_loaded_once_more() {
    let winner = other_winner(Mode::Append);
    let failed = set(SetSeen::Performing { ended: true });
    for seen in [NOT_LOADED, set(SetSeen::Frozen(JobSeen::Failed)), failed] {
        let again = joining(Mode::Append).then(seen).expect(Step::Perform(winner)).then(UNCLEAR);
        again.expect(Step::ShowWinner(winner));
        again.then(failed).ends(Ending::LoadFailed);
        waits(&again, &[NOT_LOADED], 10).then(NOT_LOADED).ends(Ending::LoadFailed);
        again.then(LOADED).expect(Step::ShowBallot(0));
    }
}

#[test]
fn winner_is_committed_until_the_run_is_too_old() {
    let loaded = reach(Mode::Append, "show_winner", 1);
    loaded.then_at(NOW + 10 + LIFETIME.commit, LOADED).expect(Step::ReadTarget);
    loaded.then_at(NOW + 11 + LIFETIME.commit, LOADED).ends(Ending::RunTooOld);
}

#[test]
fn winner_is_not_committed_into_a_table_that_is_not_the_target_any_more() {
    is_lost(&reach(Mode::Append, "show_winner", 1).then_all([LOADED, target_is(foreign())]));
    is_lost(&reach(Mode::Append, "show_winner", 2).then_all([COMMITTED, target_is(foreign())]));
    is_lost(&joining(Mode::Append).then_all([LOADED, target_is(foreign())]));
}

/// From a winner that is loaded to its commit.
fn commit_again(mode: Mode, walk: &Walk) -> Walk {
    let winner = walk.attempt.winner().copied().unwrap();
    match mode {
        Mode::Append => walk.then_all([
            LOADED,
            FROZEN_BALLOT,
            Seen::Proposals(Some(proposal_of(winner))),
            LOADED,
            target_is(target()),
        ]),
        Mode::Replace => walk.then_all([LOADED, ballot_for(winner), LOADED]),
    }
    .expect(Step::Commit(winner))
}

#[test]
fn commit_without_a_response_is_repeated_after_another_look_at_the_ballot() {
    for mode in BOTH {
        let mut walk = reach(mode, "commit", 1);
        for _ in 0..2 {
            walk = commit_again(mode, &walk.then(UNCLEAR));
        }
        walk.then(UNCLEAR).then(LOADED).ends(Ending::CommitFailed);
    }
}

#[test]
fn commit_that_was_acknowledged_is_waited_for_twice() {
    for mode in BOTH {
        let mut walk = reach(mode, "commit", 1);
        for _ in 0..2 {
            walk = commit_again(mode, &waits(&walk.then(DONE), &[LOADED], 2));
        }
        waits(&walk.then(DONE), &[LOADED], 2).then(LOADED).ends(Ending::CommitFailed);
    }
}

#[test]
fn acknowledged_rename_is_not_an_acknowledged_commit() {
    let winner = other_winner(Mode::Replace);
    let published = joining(Mode::Replace)
        .then_all([COMMITTED, target_is(target()), is_temporary(), Seen::Done, DONE])
        .expect(Step::ReadTarget);
    let shown = published.then(target_is(foreign())).expect(Step::Survey).then(surveyed(Some(winner)));
    shown.expect(Step::ShowWinner(winner)).then(LOADED).expect(Step::ShowBallot(0));
}

#[test]
fn counters_of_a_winner_do_not_count_for_the_next() {
    let committed = reach(Mode::Append, "commit", 1);
    let walk = commit_again(Mode::Append, &committed.then(UNCLEAR)).then(TABLE_GONE);
    is_lost(&walk);
    let winner = other_winner(Mode::Append);
    let next = [FROZEN_BALLOT, Seen::Proposals(Some(proposal_of(winner))), LOADED, target_is(target())];
    let mut walk = walk.then(target_is(target())).then_all(next).expect(Step::Commit(winner));
    for _ in 0..2 {
        walk = commit_again(Mode::Append, &walk.then(UNCLEAR));
    }
    walk.then(UNCLEAR).then(LOADED).ends(Ending::CommitFailed);
}

#[test]
fn winner_whose_table_is_gone_is_lost() {
    let invalid = set(SetSeen::Invalid);
    is_lost(&reach(Mode::Append, "commit", 1).then(TABLE_GONE));
    is_lost(&joining(Mode::Append).then(invalid));
    for walk in [reach(Mode::Replace, "commit", 1).then(TABLE_GONE), joining(Mode::Replace).then(invalid)] {
        is_lost(&walk.expect(Step::ReadTarget).then(target_is(target())));
        let winner = *walk.attempt.winner().unwrap();
        is_loaded(&walk.then(target_is(temporary())), winner);
        // The target is another table, perhaps of a set of this run.
        walk.then(target_is(foreign())).expect(Step::Survey);
    }
}

#[test]
fn lost_winner_that_was_found_by_its_session_leaves_the_generation_and_counts_no_more() {
    let winner = other_winner(Mode::Append);
    let mut walk = joining_by_session(Mode::Append).then(set(SetSeen::Invalid)).expect(Step::ReadTarget);
    assert_eq!(walk.attempt.winner(), None);
    walk = walk.then(target_is(target())).expect(Step::ShowBallot(0));
    // It is still listed as committed.
    let steps = undisturbed(Mode::Append);
    for (seen, _) in steps.iter().skip(1) {
        walk = walk.then(*seen);
        if walk.step == Step::Survey {
            break;
        }
    }
    walk.expect(Step::Survey).then(surveyed(Some(winner))).expect(Step::CreateBallot(0, None));
}

#[test]
fn target_that_is_the_temporary_table_is_published_and_another_one_is_looked_up() {
    let winner = other_winner(Mode::Replace);
    let committed = joining(Mode::Replace).then(COMMITTED).expect(Step::ReadTarget);
    is_loaded(&committed.then(target_is(temporary())), winner);
    committed.then(target_is(foreign())).expect(Step::Survey);
    let absent = committed.then(MISSING).expect(Step::ReadTemporary(winner));
    let again = absent.then(is_temporary()).expect(Step::ReadTarget);
    again.then(MISSING).expect(Step::Publish(winner));
    // The target exists again: perhaps the winner's table was renamed in between.
    is_loaded(&again.then(target_is(temporary())), winner);
    again.then(target_is(target())).expect(Step::ReadTemporary(winner));
}

#[test]
fn missing_target_and_temporary_table_are_read_once_more_before_the_winner_is_lost() {
    let winner = other_winner(Mode::Replace);
    let again = joining(Mode::Replace).then_all([COMMITTED, MISSING, NO_TABLE]).expect(Step::ReadTarget);
    let third = again.then(MISSING).expect(Step::ReadTarget);
    is_lost(&third.then(MISSING));
    for walk in [again, third] {
        is_loaded(&walk.then(target_is(temporary())), winner);
        walk.then(target_is(target())).expect(Step::ReadTemporary(winner));
    }
}

#[test]
fn winner_without_a_temporary_table_beside_its_target_is_lost() {
    let joining = joining(Mode::Replace).then_all([COMMITTED, target_is(target())]);
    for seen in [NO_TABLE, Seen::Table(Some(foreign()))] {
        let again = joining.then(seen).expect(Step::ReadTarget);
        is_lost(&again.then(target_is(target())));
        is_loaded(&again.then(target_is(temporary())), other_winner(Mode::Replace));
        again.then(target_is(foreign())).expect(Step::Survey);
    }
}

#[test]
fn second_look_ends_after_too_many_setbacks() {
    let mut walk = joining(Mode::Replace).then_all([COMMITTED, MISSING, NO_TABLE]);
    for _ in 0..MAX_SETBACKS {
        walk = walk.then_all([DENIED, UNCLEAR, MISSING, NO_TABLE]);
        assert_eq!(walk.step, Step::ReadTarget);
        walk.attempt.renames = 0;
    }
    walk.then(DENIED).ends(Ending::NoProgress);
}

#[test]
fn rename_without_a_response_is_repeated_five_times() {
    let mut walk = reach(Mode::Replace, "publish", 1);
    for _ in 0..4 {
        walk = walk.then_all([UNCLEAR, target_is(target()), is_temporary()]);
        walk = walk.then(Seen::Done);
        assert_eq!(walk.step.name(), "publish");
    }
    walk.then_all([UNCLEAR, target_is(target()), is_temporary(), Seen::Done]).ends(Ending::PublishFailed);
}

#[test]
fn effect_of_an_acknowledged_rename_is_waited_for_ten_times() {
    let walk = reach(Mode::Replace, "publish", 1).then(DONE);
    let stale = [target_is(target()), is_temporary()];
    waits(&walk, &stale, 10).expect(Step::ReadTarget).then_all(stale).ends(Ending::PublishFailed);
}

#[test]
fn rename_is_assumed_if_it_was_acknowledged_and_the_target_cannot_be_read() {
    let committed = reach(Mode::Replace, "show_winner", 2).then(COMMITTED).expect(Step::ReadTarget);
    let winner = *committed.attempt.winner().unwrap();
    // Only the commit was acknowledged so far.
    let renamed = committed.then(DENIED).expect(Step::Publish(winner));
    renamed.then_all([UNCLEAR, DENIED]).expect(Step::Publish(winner));
    is_loaded(&renamed.then_all([DONE, DENIED]), winner);
}

#[test]
fn dead_winner_beside_an_unreadable_target_is_published() {
    let set_of_unknown = Winner { target: TableId::unknown(), ..other_winner(Mode::Replace) };
    let walk = Walk::begin(&load(Mode::Replace).accepting_unknown_tables())
        .then_all([nothing_committed(), ballot_for(set_of_unknown), set(SetSeen::Invalid)])
        .expect(Step::ReadTarget);
    walk.then(DENIED).expect(Step::Publish(set_of_unknown));
}

#[test]
fn unanswerable_without_a_winner() {
    let attempt = load(Mode::Append);
    assert_eq!(attempt.show_winner().1, Step::Finish(Ending::UnexpectedResult));
    assert_eq!(attempt.winner_is_lost().1, Step::Finish(Ending::UnexpectedResult));
}
