//! Stop requests at any point: the report is true, and the next run completes the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::RecoveryState;
use yotpo_td::sandbox::{Control, Fault, FaultKind, FaultPlan, FaultTarget, Operation, Service};
use yotpo_td::shutdown::Signal;

use crate::in_process::fault_sweep::check_aftermath;
use crate::in_process::harness::{Scenario, TableContent, Verdict, World, requests};
use crate::in_process::watchdog::{in_parallel, on_virtual_time};

fn slow_service(mut scenario: Scenario) -> Scenario {
    scenario.sandbox.import_duration = Duration::from_secs(60);
    scenario.sandbox.commit_duration = Duration::from_secs(30);
    scenario
}

/// Requests of a whole run, and how often it reads the target: the last time shows that it is loaded.
async fn length_of(scenario: &Scenario) -> (u64, u64) {
    let world = World::start(scenario.clone()).await;
    world.run().await.unwrap();
    (world.requests(), world.control().operation_requests(Operation::ShowTable))
}

/// Whether a run knew that the target is loaded: another request followed the last of so many reads of the target.
fn is_loaded(control: &Control, target_reads: u64) -> bool {
    let log = control.request_log();
    let last = log.iter().rposition(|request| request.operation == Operation::ShowTable);
    control.operation_requests(Operation::ShowTable) == target_reads
        && last.is_some_and(|last| last + 1 < log.len())
}

#[test]
fn a_stop_after_any_request_can_be_resumed_as_reported() {
    for scenario in [slow_service(Scenario::append()), slow_service(Scenario::replace())] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let measured = scenario.clone();
        on_virtual_time(async move || sender.send(length_of(&measured).await).unwrap());
        let (length, target_reads) = receiver.recv().unwrap();
        assert!(length > 60, "{length}");
        let (ended, expected) = (Arc::new(AtomicU64::new(0)), length + 1);
        let counter = Arc::clone(&ended);
        in_parallel(Duration::from_secs(100), (0..=length).collect(), async move |after| {
            let world = World::start(scenario.clone()).await;
            world.control().start_request_log();
            let settings = world.settings();
            let mut was_loaded = None;
            let result = world.watched_run(&settings, |control| {
                if requests(control) < *after {
                    return Verdict::Continue;
                }
                was_loaded.get_or_insert_with(|| is_loaded(control, target_reads));
                Verdict::Stop
            });
            let result = result.await.unwrap();
            // Only after it read the target for the last time does the run complete in spite of the stop.
            assert_eq!(Some(result.is_ok()), was_loaded, "after {after}: {result:?}");
            if let Err(failure) = result {
                let interrupted = ExitStatus::Interrupted(Signal::Interrupt);
                assert_eq!(failure.error.diagnosis().status, interrupted, "after {after}: {failure:?}");
                check_aftermath(&world, &failure, &format!("stopped after {after}")).await;
            }
            assert_eq!(world.content(), TableContent::Complete, "after {after}");
            counter.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ended.load(Ordering::Relaxed), expected);
    }
}

/// Requests of an operation that were made after the stop, when every one of them hangs.
async fn requests_after_stop(scenario: Scenario, operation: Operation) -> u64 {
    let world = World::start(scenario).await;
    let settings = world.settings();
    let hang = Fault {
        service: Service::TreasureData,
        target: FaultTarget::EveryOf(operation),
        kind: FaultKind::Hang,
    };
    world.control().set_faults(FaultPlan { faults: vec![hang] });
    let mut at_stop = None;
    let result = world
        .watched_run(&settings, |control| {
            let made = control.operation_requests(operation);
            if made == 0 {
                return Verdict::Continue;
            }
            at_stop.get_or_insert(made);
            Verdict::Stop
        })
        .await;
    let failure = result.unwrap().unwrap_err();
    assert!(
        matches!(failure.error.diagnosis().status, ExitStatus::Interrupted(_)),
        "{operation:?}: {failure:?}"
    );
    world.assert_untouched_or_committing(&failure);
    let after = world.control().operation_requests(operation) - at_stop.unwrap();
    check_aftermath(&world, &failure, &format!("{operation:?}")).await;
    after
}

#[test]
fn a_stop_does_not_wait_for_calls_that_hang() {
    for (scenario, operation) in [
        (Scenario::append(), Operation::ListSessions),
        (Scenario::append(), Operation::CreateTable),
        (Scenario::append(), Operation::CreateSession),
        (Scenario::append(), Operation::UploadPart),
        (Scenario::append(), Operation::FreezeSession),
        (Scenario::append(), Operation::PerformSession),
        (Scenario::append(), Operation::AppendSchema),
        (Scenario::append(), Operation::CommitSession),
        (Scenario::replace(), Operation::ListTables),
        (Scenario::replace(), Operation::RenameTable),
    ] {
        on_virtual_time(async move || {
            let after = requests_after_stop(scenario, operation).await;
            // Two uploads may be in flight, and each may be retried once within the grace period.
            assert!(after <= 4, "{operation:?}: {after} more requests after the stop");
        });
    }
}

#[test]
fn a_stop_before_anything_was_created_leaves_nothing() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let settings = world.settings();
        let failure = world.watched_run(&settings, |_| Verdict::Stop).await.unwrap().unwrap_err();
        assert_eq!(failure.recovery, RecoveryState::NothingCreated);
        world.assert_clean();
        assert_eq!(world.requests(), 0);
    });
}

#[test]
fn a_stop_while_nothing_is_stored_deletes_the_session() {
    on_virtual_time(async || {
        let world = World::start(Scenario { closing_size: 1 << 20, ..Scenario::append() }).await;
        let settings = world.settings();
        let watch = |control: &Control| {
            let opened = control.operation_requests(Operation::CreateSession) > 0;
            if opened { Verdict::Stop } else { Verdict::Continue }
        };
        let failure = world.watched_run(&settings, watch).await.unwrap().unwrap_err();
        assert_eq!(failure.recovery, RecoveryState::Deleted, "{failure:?}");
        assert_eq!(world.control().operation_requests(Operation::DeleteSession), 1);
        world.assert_clean();
        check_aftermath(&world, &failure, "nothing stored").await;
    });
}

#[test]
fn a_stop_does_not_wait_for_a_deletion_that_hangs_and_names_the_session() {
    on_virtual_time(async || {
        let world = World::start(Scenario { closing_size: 1 << 20, ..Scenario::append() }).await;
        let hang = Fault {
            service: Service::TreasureData,
            target: FaultTarget::EveryOf(Operation::DeleteSession),
            kind: FaultKind::Hang,
        };
        world.control().set_faults(FaultPlan { faults: vec![hang] });
        let mut stopped_at = None;
        let settings = world.settings();
        let watch = |control: &Control| {
            if control.operation_requests(Operation::CreateSession) == 0 {
                return Verdict::Continue;
            }
            stopped_at.get_or_insert_with(|| world.clock.now());
            Verdict::Stop
        };
        let failure = world.watched_run(&settings, watch).await.unwrap().unwrap_err();
        let took = world.clock.now().saturating_sub(stopped_at.unwrap());
        assert!(took < Duration::from_secs(12), "{took:?}: eight seconds of grace and three for the cleanup");
        let RecoveryState::CleanupFailed(session) = &failure.recovery else { panic!("{failure:?}") };
        assert_eq!(world.leftovers(), [session.as_str()]);
        check_aftermath(&world, &failure, "the deletion hangs").await;
    });
}

#[test]
fn a_stop_saves_the_uploads_in_flight() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let failure = world.interrupted_run(2).await;
        let RecoveryState::Resumable { parts, rows, .. } = failure.recovery else { panic!("{failure:?}") };
        assert!(parts >= 2, "{parts}");
        assert_eq!(rows, parts * 10);
        let uploaded = world.control().sessions()[0].parts.len() as u64;
        assert_eq!(uploaded, parts, "what was uploaded is in the checkpoint");
    });
}
