//! The own set, until it is loaded, proven and guarded.

use super::*;

/// The step that removes the set, which was never proposed.
#[track_caller]
fn is_given_up(walk: &Walk) {
    let own = walk.attempt.discarded.unwrap();
    walk.expect(Step::Discard(own)).then(Seen::Done).expect(Step::ShowBallot(0));
    assert_eq!(walk.attempt.own(), None);
}

fn set(seen: SetSeen) -> Seen {
    Seen::Set(seen)
}

/// Takes the same pair of results, the second of which ends a wait, `times` times.
#[track_caller]
fn waits(walk: &Walk, seen: Seen, times: usize) -> Walk {
    let mut walk = *walk;
    for _ in 0..times {
        walk = walk.then(seen).expect(Step::Wait).then(Seen::Done);
    }
    walk
}

#[test]
fn set_is_ready_once_its_rows_are_loaded_or_when_it_has_none() {
    use Progress::{Created, Planned, Ready, Tidy};
    for (suffix, expected) in [
        (TableSuffix::Rows, [false, false, false, true]),
        (TableSuffix::Empty, [false, false, true, true]),
        (TableSuffix::Abandon, [false, false, true, true]),
    ] {
        let is_ready = |progress| OwnSet { suffix, progress, ..planned() }.is_ready();
        assert_eq!([Planned, Created, Tidy, Ready].map(is_ready), expected, "{suffix:?}");
    }
}

#[test]
fn nonce_is_drawn_until_it_is_younger_than_the_abandonment() {
    let abandoned = Seen::Ballot(BallotSeen::OnTable(BallotTable::Abandon(nonce(10))));
    let walk = Walk::begin(&load(Mode::Replace))
        .then_all([nothing_committed(), abandoned, target_is(target()), NO_BALLOT, target_is(target())])
        .expect(Step::DrawNonce);
    for number in [9, 10] {
        walk.then(Seen::Nonce(nonce(number))).expect(Step::Wait).then(Seen::Done).expect(Step::DrawNonce);
    }
    let own = OwnSet::planned(nonce(11), target());
    walk.then(Seen::Nonce(nonce(11))).expect(Step::Fetch(own));
}

#[test]
fn store_without_customers_loads_nothing_or_replaces_the_target_by_an_empty_table() {
    let fetch = |mode| reach(mode, "fetch", 1).then(Seen::NoCustomers);
    fetch(Mode::Append).expect(Step::ShowBallot(0)).then(NO_BALLOT).ends(Ending::NothingToLoad);
    fetch(Mode::Append)
        .then(OPEN_BALLOT)
        .expect(Step::ListBallot(0))
        .then(Seen::Proposals(None))
        .ends(Ending::NothingToLoad);
    let empty = OwnSet { suffix: TableSuffix::Empty, ..planned() };
    let named = OwnSet { table: Some(temporary()), ..empty };
    let is_ready = OwnSet {
        progress: Progress::Tidy,
        totals: Some(PartTotals { parts: 0, valid: 0, rejected: 0 }),
        ..named
    };
    let named_walk = fetch(Mode::Replace)
        .expect(Step::CreateScratch(empty))
        .then_all([DONE, Seen::Table(Some(temporary())), DONE, Seen::Table(Some(temporary()))])
        .expect(Step::CreateSession(named));
    for walk in [named_walk.then(DONE), named_walk.then_all([UNCLEAR, set(SetSeen::Open)])] {
        assert_eq!(walk.attempt.own(), Some(&is_ready));
        let proposed = OwnSet { proposed: true, ..is_ready };
        walk.expect(Step::ShowBallot(0))
            .then_all([NO_BALLOT, nothing_committed()])
            .expect(Step::CreateBallot(0, Some(proposed)));
    }
}

#[test]
fn missing_target_is_created_before_the_set() {
    for mode in BOTH {
        let walk = reach(mode, "read_target", 1)
            .then_all([Seen::Target(TargetSeen::Missing), Seen::Nonce(nonce(10)), Seen::FirstRows])
            .expect(Step::CreateTarget);
        walk.then(Seen::Sent(Sent::Denied)).ends(Ending::NoTarget);
        let own = planned();
        let begun = walk.then(DONE).expect(Step::ReadTarget).then(target_is(target()));
        begun.expect(match mode {
            Mode::Append => Step::CreateSession(own),
            Mode::Replace => Step::CreateScratch(own),
        });
        let missing = Seen::Target(TargetSeen::Missing);
        for sent in [DONE, Seen::Sent(Sent::Conflict)] {
            let mut created = walk;
            for _ in 0..MAX_SETBACKS {
                created = waits(&created.then(sent), missing, 10).expect(Step::ReadTarget).then(missing);
                created.expect(Step::CreateTarget);
            }
            waits(&created.then(sent), missing, 10).then(missing).ends(Ending::NoProgress);
        }
        let mut lost = walk;
        for _ in 0..MAX_SETBACKS {
            lost = lost.then_all([UNCLEAR, missing]).expect(Step::CreateTarget);
        }
        lost.then_all([UNCLEAR, missing]).ends(Ending::NoProgress);
    }
}

#[test]
fn frozen_session_that_is_still_open_is_polled_and_frozen_again_until_there_were_too_many_setbacks() {
    let mut walk = reach(Mode::Append, "freeze_own", 1);
    let own = *walk.attempt.own().unwrap();
    let open = set(SetSeen::Open);
    walk.then_all([DONE, open, Seen::Done, NOT_LOADED]).expect(Step::ProveParts(own));
    for setbacks in 0..MAX_SETBACKS {
        walk = waits(&walk.then(DONE), open, 10).expect(Step::ShowOwn(own));
        assert_eq!(walk.attempt.setbacks, setbacks, "a stale status is no setback");
        walk = walk.then(open).expect(Step::FreezeOwn(own));
    }
    waits(&walk.then(DONE), open, 10).then(open).ends(Ending::NoProgress);
    // Without a response, it is frozen again immediately.
    reach(Mode::Append, "freeze_own", 1).then_all([UNCLEAR, open]).expect(Step::FreezeOwn(own));
}

#[test]
fn target_whose_id_is_denied_is_created_without_being_read() {
    let own = OwnSet::planned(nonce(10), TableId::unknown());
    let walk = reach(Mode::Append, "read_target", 1)
        .then_all([Seen::Target(TargetSeen::Denied), Seen::Nonce(nonce(10))])
        .expect(Step::Fetch(own))
        .then(Seen::FirstRows)
        .expect(Step::CreateTarget)
        .then(Seen::Sent(Sent::Denied))
        .expect(Step::CreateSession(own));
    walk.then(TABLE_GONE).ends(Ending::NoTarget);
}

#[test]
fn table_whose_creation_was_lost_is_created_again_until_there_were_too_many_setbacks() {
    let mut walk = reach(Mode::Replace, "read_scratch", 1);
    for _ in 0..MAX_SETBACKS {
        walk = walk.then(Seen::Table(None)).expect(Step::CreateScratch(planned())).then(UNCLEAR);
    }
    walk.then(Seen::Table(None)).ends(Ending::NoProgress);
}

#[test]
fn table_without_its_name_is_read_again_and_must_be_the_same() {
    let walk = reach(Mode::Replace, "read_temporary", 1);
    let own = *walk.attempt.own().unwrap();
    for seen in [None, Some(foreign())] {
        let again = walk.then(Seen::Table(seen)).expect(Step::ReadScratch(own));
        again.then(Seen::Table(Some(temporary()))).expect(Step::NameTemporary(own));
        is_given_up(&again.then(Seen::Table(Some(foreign()))));
        is_given_up(&again.then(Seen::Table(None)));
    }
    let mut walk = walk;
    for _ in 0..MAX_SETBACKS {
        walk = walk.then_all([Seen::Table(None), Seen::Table(Some(temporary())), DONE]);
    }
    walk.then(Seen::Table(None)).ends(Ending::NoProgress);
}

#[test]
fn session_whose_creation_is_unclear_is_looked_at() {
    for mode in BOTH {
        let walk = reach(mode, "create_session", 1);
        let own = *walk.attempt.own().unwrap();
        let shown = walk.then(UNCLEAR).expect(Step::ShowOwn(own));
        shown.then(set(SetSeen::Absent)).expect(Step::CreateSession(own));
        let created = OwnSet { progress: Progress::Created, ..own };
        let tidied = shown.then(set(SetSeen::Open)).expect(Step::TidyParts(created));
        is_given_up(&tidied.then(set_parts(PartsSeen::Differ)));
        is_given_up(&tidied.then(set_parts(PartsSeen::Complete(TOTALS))));
        let tidy = OwnSet { progress: Progress::Tidy, ..own };
        tidied
            .then(set_parts(PartsSeen::Stored))
            .expect(Step::ShowOwn(tidy))
            .then(set(SetSeen::Open))
            .expect(Step::Upload(tidy));
        is_given_up(&walk.then(TABLE_GONE));
        let mut absent = walk;
        for _ in 0..MAX_SETBACKS {
            absent = absent.then_all([UNCLEAR, set(SetSeen::Absent)]).expect(Step::CreateSession(own));
        }
        absent.then(UNCLEAR).ends(Ending::NoProgress);
    }
}

fn set_parts(parts: PartsSeen) -> Seen {
    Seen::Parts(parts)
}

#[test]
fn set_that_vanished_after_the_upload_is_given_up() {
    for seen in [SetSeen::Absent, SetSeen::Invalid, SetSeen::Performing { ended: true }] {
        is_given_up(&reach(Mode::Append, "show_own", 1).then(set(seen)));
    }
    for sent in [Sent::TableGone, Sent::SessionGone] {
        is_given_up(&reach(Mode::Append, "freeze_own", 1).then(Seen::Sent(sent)));
        is_given_up(&reach(Mode::Append, "perform", 1).then(Seen::Sent(sent)));
    }
}

#[test]
fn own_set_that_is_committed_already_is_surveyed() {
    for seen in [SetSeen::Committing, SetSeen::Committed] {
        let walk = reach(Mode::Append, "show_own", 1).then(set(seen)).expect(Step::Survey);
        assert_eq!(walk.attempt.own(), None);
        walk.then(nothing_committed()).expect(Step::ShowBallot(0));
    }
}

#[test]
fn upload_that_ends_early_looks_at_the_ballot_or_gives_the_set_up() {
    let upload = reach(Mode::Append, "upload", 1);
    let moved = upload.then(Seen::Uploaded(UploadEnd::BallotMoved)).expect(Step::ShowBallot(0));
    let own = OwnSet { progress: Progress::Created, ..*upload.attempt.own().unwrap() };
    moved.then(NO_BALLOT).expect(Step::ShowOwn(own)).then(set(SetSeen::Open)).expect(Step::TidyParts(own));
    for end in [UploadEnd::SessionLost, UploadEnd::NothingFurther] {
        is_given_up(&upload.then(Seen::Uploaded(end)));
    }
}

#[test]
fn conflict_is_looked_at_until_there_were_too_many_setbacks() {
    let mut walk = reach(Mode::Append, "freeze_own", 1);
    let own = *walk.attempt.own().unwrap();
    for _ in 0..MAX_SETBACKS {
        walk = walk.then(Seen::Sent(Sent::Conflict)).expect(Step::ShowOwn(own)).then(set(SetSeen::Open));
    }
    walk.expect(Step::FreezeOwn(own)).then(Seen::Sent(Sent::Conflict)).ends(Ending::NoProgress);
}

#[test]
fn parts_that_are_not_the_uploaded_set_are_not_loaded() {
    let prove = reach(Mode::Append, "prove_parts", 1);
    let others = PartTotals { parts: 2, ..TOTALS };
    for parts in [PartsSeen::Differ, PartsSeen::Stored, PartsSeen::Complete(others)] {
        is_given_up(&prove.then(set_parts(parts)));
    }
}

#[test]
fn load_job_that_was_not_started_is_started_again() {
    let prove = reach(Mode::Append, "prove_parts", 1);
    // Freezing is acknowledged too, but that is not the start of the job.
    assert!(!prove.attempt.acknowledged);
    let own = *prove.attempt.own().unwrap();
    reach(Mode::Append, "perform", 1).then(UNCLEAR).then(NOT_LOADED).expect(Step::ProveParts(own));
    let failed = set(SetSeen::Frozen(JobSeen::Failed));
    reach(Mode::Append, "show_own", 2).then(failed).expect(Step::ProveParts(own));
}

#[test]
fn load_job_that_is_not_visible_is_waited_for_ten_times() {
    let performed = reach(Mode::Append, "perform", 1).then(DONE);
    let own = *performed.attempt.own().unwrap();
    let working = set(SetSeen::Frozen(JobSeen::Working));
    for seen in [NOT_LOADED, working, set(SetSeen::Ready(CountsSeen::Unknown))] {
        waits(&performed, seen, 10).expect(Step::ShowOwn(own)).then(seen).ends(Ending::LoadStuck);
    }
    let performing = set(SetSeen::Performing { ended: false });
    waits(&performed, performing, 100).expect(Step::ShowOwn(own));
    // The waits before a job is started again do not count.
    let again = waits(&reach(Mode::Append, "show_own", 2), working, 10).then_all([
        NOT_LOADED,
        Seen::Parts(PartsSeen::Complete(TOTALS)),
        DONE,
    ]);
    waits(&again, working, 10).then(working).ends(Ending::LoadStuck);
}

#[test]
fn failed_load_ends_the_attempt_unless_the_run_was_decided() {
    let performed = reach(Mode::Append, "perform", 1).then(DONE);
    for seen in [SetSeen::Frozen(JobSeen::Failed), SetSeen::Performing { ended: true }] {
        let failed = performed.then(set(seen)).expect(Step::ShowBallot(0));
        failed.then(NO_BALLOT).ends(Ending::LoadFailed);
        failed.then_all([OPEN_BALLOT, Seen::Proposals(None)]).ends(Ending::LoadFailed);
        let proposal = proposal_of(other_winner(Mode::Append));
        failed.then_all([OPEN_BALLOT, Seen::Proposals(Some(proposal))]).expect(Step::FreezeBallot(0));
    }
}

#[test]
fn rows_that_are_not_those_of_the_parts_end_the_attempt() {
    reach(Mode::Append, "perform", 1)
        .then_all([DONE, set(SetSeen::Ready(CountsSeen::Wrong))])
        .ends(Ending::CountsDiffer);
}

#[test]
fn set_is_given_up_when_the_target_is_another_table_by_then() {
    for mode in BOTH {
        let ready = reach(mode, "guard", 1).then(Seen::GuardsPassed).expect(Step::ReadTarget);
        is_given_up(&ready.then(target_is(foreign())));
    }
}

#[test]
fn next_set_is_begun_after_the_old_one_was_removed() {
    let walk =
        reach(Mode::Append, "guard", 1).then_all([Seen::GuardsPassed, target_is(foreign()), Seen::Done]);
    let own = OwnSet::planned(nonce(12), foreign());
    walk.expect(Step::ShowBallot(0))
        .then(NO_BALLOT)
        .expect(Step::ReadTarget)
        .then_all([target_is(foreign()), Seen::Nonce(nonce(12))])
        .expect(Step::Fetch(own))
        .then_all([Seen::FirstRows, DONE, Seen::Uploaded(UploadEnd::Complete(TOTALS))])
        // Its load was never started, though that of the first set was.
        .then(set(SetSeen::Frozen(JobSeen::Failed)))
        .expect(Step::ProveParts(OwnSet { progress: Progress::Tidy, totals: Some(TOTALS), ..own }));
}

#[test]
fn attempt_whose_sets_are_always_given_up_ends() {
    let mut walk = reach(Mode::Append, "create_session", 1);
    for number in 11..11 + u64::from(MAX_SETBACKS) {
        walk = walk.then_all([
            TABLE_GONE,
            Seen::Done,
            NO_BALLOT,
            target_is(target()),
            Seen::Nonce(nonce(number)),
            Seen::FirstRows,
        ]);
        assert_eq!(walk.step.name(), "create_session");
    }
    walk.then(TABLE_GONE).ends(Ending::NoProgress);
}
