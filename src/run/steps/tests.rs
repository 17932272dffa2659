use super::*;
use crate::identity::{Mode, PartTotals};
use crate::run::context::restored;
use crate::run::decide::Lifetime;
use crate::run::fixture::Fixture;
use crate::run::settings::RowSource;
use crate::shutdown::Signal;

/// A step of this set.
type MakeStep = fn(OwnSet) -> Step;

/// Tries something with an executor of a run, which has begun a set, and with that set.
fn with_executor<T>(
    fixture: &Fixture,
    purpose: Purpose,
    try_it: impl FnOnce(&mut Executor<'_>, OwnSet) -> T,
) -> T {
    let state = fixture.state();
    let own = restored(state.set.as_ref().unwrap());
    let run = fixture.saved_run(state);
    let lifetime = Lifetime { propose: 1_000, commit: 1_200 };
    let attempt = Attempt::new(fixture.settings.mode, purpose, lifetime).resuming(own);
    let (_sender, stop) = StopRequests::channel();
    try_it(&mut Executor::new(&run, &attempt, &stop), own)
}

fn proposal(own: &OwnSet) -> Proposal {
    Proposal::Set { nonce: own.nonce, target: own.target, parts: 1, valid: 1, rejected: 0 }
}

#[test]
fn each_step_is_in_its_phase() {
    let phase_after = |purpose, step: &dyn Fn(OwnSet) -> Step| {
        let fixture = Fixture::new(Mode::Replace, RowSource::Store);
        with_executor(&fixture, purpose, |executor, own| {
            executor.run.phases.enter(Phase::Starting);
            executor.phase_of(step(own));
        });
        fixture.progress.snapshot().phase
    };
    let steps: [(&dyn Fn(OwnSet) -> Step, Phase); 13] = [
        (&|own| Step::Fetch(own), Phase::Fetching),
        (&|own| Step::FreezeOwn(own), Phase::Uploading),
        (&|own| Step::ProveParts(own), Phase::Uploading),
        (&|own| Step::Perform(own.as_winner()), Phase::Loading),
        (&|own| Step::CreateBallot(0, Some(own)), Phase::Committing),
        (&|own| Step::Propose(0, proposal(&own)), Phase::Committing),
        (&|_| Step::FreezeBallot(0), Phase::Committing),
        (&|own| Step::Commit(own.as_winner()), Phase::Committing),
        (&|own| Step::Fence(own.as_winner()), Phase::Publishing),
        (&|own| Step::Publish(own.as_winner()), Phase::Publishing),
        (&|_| Step::Survey, Phase::Starting),
        (&|_| Step::Wait, Phase::Starting),
        (&|own| Step::ShowOwn(own), Phase::Starting),
    ];
    for (step, expected) in steps {
        assert_eq!(phase_after(Purpose::Load, step), expected);
    }
    // An abandonment uses the same steps, and commits nothing.
    for (step, _) in &steps[4..7] {
        assert_eq!(phase_after(Purpose::Abandon, *step), Phase::Starting);
    }
}

#[tokio::test]
async fn what_a_step_may_create_or_decide_is_saved_before_it() {
    let saved_by = async |step: MakeStep| {
        let fixture = Fixture::new(Mode::Replace, RowSource::Store);
        let state = fixture.state();
        // The set has become complete since it was saved.
        let totals = Some(PartTotals { parts: 1, valid: 1, rejected: 0 });
        let own = OwnSet { totals, ..restored(state.set.as_ref().unwrap()) };
        let run = fixture.saved_run(state);
        let lifetime = Lifetime { propose: 1_000, commit: 1_200 };
        let attempt = Attempt::new(Mode::Replace, Purpose::Load, lifetime).resuming(own);
        let (_sender, stop) = StopRequests::channel();
        Executor::new(&run, &attempt, &stop).save_before(step(own)).await.unwrap();
        let saved = fixture.store.run().unwrap().unwrap();
        (saved.phase, saved.set.unwrap().totals == totals)
    };
    let steps: [(MakeStep, _); 9] = [
        (Step::CreateScratch, (RunPhase::Uploading, true)),
        (Step::NameTemporary, (RunPhase::Uploading, true)),
        (Step::CreateSession, (RunPhase::Uploading, true)),
        (|own| Step::CreateBallot(0, Some(own)), (RunPhase::Proposed, true)),
        (|own| Step::Propose(0, proposal(&own)), (RunPhase::Proposed, true)),
        (|own| Step::Commit(own.as_winner()), (RunPhase::Proposed, true)),
        (|own| Step::Publish(own.as_winner()), (RunPhase::Proposed, true)),
        (|_| Step::Survey, (RunPhase::Uploading, false)),
        (|own| Step::Perform(own.as_winner()), (RunPhase::Uploading, false)),
    ];
    for (number, (step, expected)) in steps.into_iter().enumerate() {
        assert_eq!(saved_by(step).await, expected, "{number}");
    }
}

#[test]
fn an_attempt_waits_until_it_does_anything_but_look() {
    let fixture = Fixture::new(Mode::Append, RowSource::Store);
    with_executor(&fixture, Purpose::Load, |executor, own| {
        assert_eq!(executor.waiting_since, None);
        let since = Some(Duration::ZERO);
        for step in
            [Step::Wait, Step::ShowOwn(own), Step::ReadTarget, Step::ShowWinner(own.as_winner()), Step::Wait]
        {
            executor.note_waiting(step);
            assert_eq!(executor.waiting_since, since, "{step:?}");
        }
        executor.note_waiting(Step::Survey);
        assert_eq!(executor.waiting_since, None);
    });
}

/// Cancelled, it would have to be repeated, and its result would not be known.
#[tokio::test]
async fn a_publication_is_finished_when_a_stop_is_requested_and_a_commit_is_left_to_the_next_run() {
    let steps: [(MakeStep, Option<Seen>, usize); 3] = [
        (|own| Step::Publish(own.as_winner()), Some(Seen::Sent(Sent::Done)), 1),
        (|own| Step::Fence(own.as_winner()), Some(Seen::Done), 1),
        (|own| Step::Commit(own.as_winner()), None, 0),
    ];
    for (step, expected, requests) in steps {
        let fixture = Fixture::with_account(Mode::Replace, &[("200 OK", r#"{"tables": []}"#)]);
        let state = fixture.state();
        let own = restored(state.set.as_ref().unwrap());
        let run = fixture.saved_run(state);
        let (sender, stop) = StopRequests::channel();
        sender.stop(Signal::Terminate);
        let lifetime = Lifetime { propose: 1_000, commit: 1_200 };
        let attempt = Attempt::new(Mode::Replace, Purpose::Load, lifetime).resuming(own);
        let result = Executor::new(&run, &attempt, &stop).execute(step(own)).await;
        match (result, expected) {
            (Ok(seen), Some(expected)) => assert_eq!(seen, expected),
            (Err(RunError::Interrupted(signal)), None) => assert_eq!(signal, Signal::Terminate),
            (result, _) => panic!("{result:?}"),
        }
        assert_eq!(fixture.requests().len(), requests);
    }
}
