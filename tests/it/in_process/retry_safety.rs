//! The retry-safety table, line by line: a response that is lost after the service acted, and a request that is delivered
//! twice, lead to the same result as no fault. A refusal is not taken for success, a 404 least of all.

use std::time::Duration;

use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{Outcome, RecoveryState, RunError};
use yotpo_td::sandbox::{
    Control, Fault, FaultKind, FaultPlan, FaultTarget, Operation, RetryDelay, Service, SessionSummary,
};

use crate::in_process::fault_sweep::check_aftermath;
use crate::in_process::harness::{BEGINNING, Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;

/// An unknown part after the checkpoint of every interrupted run here.
const SURPLUS_PART: &str = "part_00000009_0123456789abcdef";
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What precedes the run with the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// An interrupted run, which left one part more than its checkpoint contains.
    Interrupted,
    /// A run whose load job failed.
    FailedLoad,
    /// A finished run with an id, whose marker is old by now.
    OldMarker,
    /// An interrupted run, and the next one starts over with `--fresh`.
    Abandoned,
}

fn scenario(before: Before, mode: Mode) -> Scenario {
    let mut scenario = match mode {
        Mode::Append => Scenario::append(),
        Mode::Replace => Scenario::replace(),
    };
    // The second delivery arrives while the service still processes the first.
    scenario.sandbox.import_duration = Duration::from_secs(30);
    scenario.sandbox.commit_duration = Duration::from_secs(10);
    if before == Before::OldMarker {
        scenario = scenario.flag("run-id", "later");
    }
    scenario
}

impl Before {
    async fn happen(self, world: &World) {
        match self {
            Self::Nothing => {}
            Self::Interrupted | Self::Abandoned => {
                world.interrupted_run(2).await;
                world.upload_to_own_session(SURPLUS_PART, b"surplus".to_vec()).await;
            }
            Self::FailedLoad => {
                let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
                world.control().set_faults(FaultPlan { faults: vec![fault] });
                let failure = world.run().await.unwrap_err();
                assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            }
            Self::OldMarker => {
                world.run_with(&[("run-id", "earlier")]).await.unwrap();
                assert_eq!(world.leftovers().len(), 2, "{:?}", world.leftovers());
                world.clock.advance(9 * DAY);
            }
        }
    }

    /// What exists in Treasure Data at the end of a successful run.
    fn assert_left(self, world: &World) {
        if self == Self::OldMarker {
            let left = world.leftovers();
            assert_eq!(left.len(), 2, "{left:?}");
            assert!(left.iter().all(|name| name.ends_with("_later")), "{left:?}");
        } else {
            world.assert_clean();
        }
    }
}

/// Hits the n-th call of `operation` in the last run and compares the result with that of a run without a fault.
fn survives(operation: Operation, ordinal: u64, before: Before, mode: Mode) {
    for kind in [FaultKind::ResetAfterAction, FaultKind::DuplicateDelivery] {
        on_virtual_time(async move || {
            let world = World::start(scenario(before, mode)).await;
            before.happen(&world).await;
            let control = world.control();
            let (faults, jobs) = (control.applied_faults(), control.import_jobs());
            let nth = control.operation_requests(operation) + ordinal;
            control.set_faults(FaultPlan { faults: vec![Fault::on(operation, nth, kind.clone())] });
            let flags: &[(&str, &str)] = if before == Before::Abandoned { &[("fresh", "on")] } else { &[] };
            let report = world.run_with(flags).await.unwrap();
            assert_eq!(control.applied_faults(), faults + 1, "{kind:?} was not met");
            assert_eq!(report.outcome, Outcome::Committed, "{kind:?}");
            assert_eq!((report.rows, report.error_records, report.joined), (Some(100), 0, false), "{kind:?}");
            world.assert_complete();
            before.assert_left(&world);
            assert_eq!(control.import_jobs(), jobs + 1, "{kind:?}: exactly one load job");
            let time = report.ingestion_time.unwrap();
            assert!((BEGINNING..BEGINNING + 10 * DAY.as_secs()).contains(&time));
            let time = i64::try_from(time).unwrap();
            let table = control.verify_table(world.database(), TABLE, time..=time).unwrap();
            assert!(table.is_exact(), "{kind:?} {table:?}");
        });
    }
}

macro_rules! each_call_survives {
    ($($name:ident: $operation:ident $ordinal:literal, $before:ident, $mode:ident;)+) => {
        $(
            #[test]
            fn $name() {
                survives(Operation::$operation, $ordinal, Before::$before, Mode::$mode);
            }
        )+
    };
}

each_call_survives! {
    token_survives_a_lost_response: AccessToken 1, Nothing, Append;
    first_page_survives_a_lost_response: Customers 1, Nothing, Append;
    last_page_survives_a_lost_response: Customers 10, Nothing, Append;
    survey_survives_a_lost_response: ListSessions 1, Nothing, Append;
    survey_before_the_ballot_survives_a_lost_response: ListSessions 2, Nothing, Append;
    first_look_at_the_target_survives_a_lost_response: ShowTable 1, Nothing, Append;
    second_look_at_the_target_survives_a_lost_response: ShowTable 2, Nothing, Append;
    last_look_at_the_target_survives_a_lost_response: ShowTable 6, Nothing, Append;
    target_creation_survives_a_lost_response: CreateTable 1, Nothing, Append;
    scratch_table_creation_survives_a_lost_response: CreateTable 1, Nothing, Replace;
    reading_the_scratch_table_survives_a_lost_response: ShowTable 3, Nothing, Replace;
    rename_of_the_scratch_table_survives_a_lost_response: RenameTable 1, Nothing, Replace;
    reading_the_temporary_table_survives_a_lost_response: ShowTable 4, Nothing, Replace;
    session_creation_survives_a_lost_response: CreateSession 1, Nothing, Append;
    session_creation_on_the_temporary_table_survives_a_lost_response: CreateSession 1, Nothing, Replace;
    first_upload_survives_a_lost_response: UploadPart 1, Nothing, Append;
    last_upload_survives_a_lost_response: UploadPart 10, Nothing, Append;
    freeze_survives_a_lost_response: FreezeSession 1, Nothing, Append;
    part_list_of_an_interrupted_run_survives_a_lost_response: ListParts 1, Interrupted, Append;
    part_deletion_survives_a_lost_response: DeletePart 1, Interrupted, Append;
    reading_an_interrupted_run_survives_a_lost_response: ShowSession 2, Interrupted, Replace;
    part_list_that_proves_the_set_survives_a_lost_response: ListParts 1, Nothing, Append;
    perform_survives_a_lost_response: PerformSession 1, Nothing, Append;
    perform_on_the_temporary_table_survives_a_lost_response: PerformSession 1, Nothing, Replace;
    second_perform_survives_a_lost_response: PerformSession 1, FailedLoad, Append;
    job_status_survives_a_lost_response: JobStatus 1, FailedLoad, Append;
    reading_the_ballot_survives_a_lost_response: ShowSession 1, Nothing, Append;
    look_while_loading_survives_a_lost_response: ShowSession 8, Nothing, Append;
    schema_survives_a_lost_response: AppendSchema 1, Nothing, Append;
    table_list_of_the_guard_survives_a_lost_response: ListTables 1, Nothing, Replace;
    table_list_of_the_second_guard_survives_a_lost_response: ListTables 2, Nothing, Replace;
    ballot_creation_survives_a_lost_response: CreateSession 2, Nothing, Append;
    ballot_creation_on_the_temporary_table_survives_a_lost_response: CreateSession 2, Nothing, Replace;
    proposal_survives_a_lost_response: UploadPart 11, Nothing, Append;
    ballot_freeze_survives_a_lost_response: FreezeSession 2, Nothing, Append;
    list_of_proposals_survives_a_lost_response: ListParts 2, Nothing, Append;
    commit_survives_a_lost_response: CommitSession 1, Nothing, Append;
    commit_into_the_temporary_table_survives_a_lost_response: CommitSession 1, Nothing, Replace;
    table_list_of_the_fence_survives_a_lost_response: ListTables 3, Nothing, Replace;
    rename_over_the_target_survives_a_lost_response: RenameTable 2, Nothing, Replace;
    ballot_deletion_survives_a_lost_response: DeleteSession 1, Nothing, Append;
    winner_deletion_survives_a_lost_response: DeleteSession 2, Nothing, Append;
    deletion_of_an_abandoned_session_survives_a_lost_response: DeleteSession 1, Abandoned, Replace;
    deletion_of_an_abandoned_ballot_survives_a_lost_response: DeleteSession 2, Abandoned, Replace;
    deletion_of_an_abandoned_table_survives_a_lost_response: DeleteTable 1, Abandoned, Replace;
    proposal_to_abandon_survives_a_lost_response: UploadPart 1, Abandoned, Append;
    ballot_of_an_abandonment_survives_a_lost_response: CreateSession 1, Abandoned, Replace;
    marker_deletion_survives_a_lost_response: DeleteSession 1, OldMarker, Replace;
}

#[test]
fn a_lost_perform_response_after_a_quick_load_starts_no_second_job() {
    for kind in [FaultKind::ResetAfterAction, FaultKind::EmptyOk, FaultKind::TruncatedBody] {
        on_virtual_time(async move || {
            // The session is ready when it is read next, and a second perform would be accepted.
            let fault = Fault::on(Operation::PerformSession, 1, kind.clone());
            let mut scenario = Scenario::append().faults(vec![fault]);
            scenario.sandbox.treasure_data.repeated_perform = yotpo_td::sandbox::RepeatedPerform::Accepted;
            let world = World::start(scenario).await;
            world.run().await.unwrap();
            assert_eq!(world.control().import_jobs(), 1, "{kind:?}");
            assert_eq!(world.control().operation_requests(Operation::PerformSession), 1, "{kind:?}");
            world.assert_complete();
            world.assert_clean();
        });
    }
}

/// Refusals of a call before the service acted.
fn refusals() -> [FaultKind; 5] {
    [
        FaultKind::ResetBeforeAction,
        FaultKind::Hang,
        FaultKind::HtmlOk,
        FaultKind::Status(503, None),
        FaultKind::Status(429, Some(RetryDelay::RetryAfterSeconds(2))),
    ]
}

/// Calls whose effect is checked before they are repeated, by their ordinal in a run, and what precedes it.
const CHANGES: [(Operation, u64, Before, Mode); 15] = [
    (Operation::CreateTable, 1, Before::Nothing, Mode::Append),
    (Operation::CreateTable, 1, Before::Nothing, Mode::Replace),
    (Operation::RenameTable, 1, Before::Nothing, Mode::Replace),
    (Operation::RenameTable, 2, Before::Nothing, Mode::Replace),
    (Operation::CreateSession, 1, Before::Nothing, Mode::Append),
    (Operation::CreateSession, 2, Before::Nothing, Mode::Append),
    (Operation::CreateSession, 2, Before::Nothing, Mode::Replace),
    (Operation::FreezeSession, 1, Before::Nothing, Mode::Append),
    (Operation::FreezeSession, 2, Before::Nothing, Mode::Append),
    (Operation::UploadPart, 11, Before::Nothing, Mode::Append),
    (Operation::PerformSession, 1, Before::Nothing, Mode::Append),
    (Operation::PerformSession, 1, Before::Nothing, Mode::Replace),
    (Operation::PerformSession, 1, Before::FailedLoad, Mode::Append),
    (Operation::CommitSession, 1, Before::Nothing, Mode::Append),
    (Operation::CommitSession, 1, Before::Nothing, Mode::Replace),
];

#[test]
fn a_refused_change_is_not_taken_for_done() {
    for (operation, ordinal, before, mode) in CHANGES {
        for kind in refusals() {
            on_virtual_time(async move || {
                let context = format!("{operation:?} {ordinal} {mode:?} {kind:?}");
                let world = World::start(scenario(before, mode)).await;
                before.happen(&world).await;
                let control = world.control();
                let (faults, jobs) = (control.applied_faults(), control.import_jobs());
                let nth = control.operation_requests(operation) + ordinal;
                control.set_faults(FaultPlan { faults: vec![Fault::on(operation, nth, kind.clone())] });
                let report = world.run().await.expect(&context);
                assert_eq!(control.applied_faults(), faults + 1, "{context}");
                assert_eq!((report.rows, report.joined), (Some(100), false), "{context}");
                world.assert_complete();
                world.assert_clean();
                assert_eq!(control.import_jobs(), jobs + 1, "{context}");
            });
        }
    }
}

#[test]
fn a_change_with_status_404_is_not_taken_for_done() {
    for (operation, ordinal, before, mode) in CHANGES {
        on_virtual_time(async move || {
            let context = format!("{operation:?} {ordinal} {mode:?}");
            let world = World::start(scenario(before, mode)).await;
            before.happen(&world).await;
            let nth = world.control().operation_requests(operation) + ordinal;
            let fault = Fault::on(operation, nth, FaultKind::Status(404, None));
            world.control().set_faults(FaultPlan { faults: vec![fault] });
            // It does not say what is missing, so it proves nothing.
            let failure = world.run().await.expect_err(&context);
            assert_eq!(
                failure.error.diagnosis().status,
                ExitStatus::TreasureDataFailed,
                "{context} {failure:?}"
            );
            world.assert_untouched();
            check_aftermath(&world, &failure, &context).await;
        });
    }
}

/// A run during which `meddle` interferes once, as soon as it can. It returns whether it did.
async fn run_meddled_with(
    world: &World,
    mut meddle: impl FnMut(&Control) -> bool,
) -> Result<yotpo_td::run::RunReport, yotpo_td::run::RunFailure> {
    let mut is_done = false;
    let result = world
        .watched_run(&world.settings(), |control| {
            is_done = is_done || meddle(control);
            Verdict::Continue
        })
        .await;
    assert!(is_done, "there was an occasion");
    result.expect("it is not killed")
}

/// The session that holds a set, once it is in this state.
fn set_session(control: &Control, status: &str, is_frozen: bool) -> Option<SessionSummary> {
    let is_wanted = |session: &SessionSummary| {
        session.status == status && session.upload_frozen == is_frozen && !session.parts.is_empty()
    };
    control.sessions().into_iter().find(is_wanted)
}

#[test]
fn a_session_that_is_deleted_before_its_load_is_recreated() {
    for mode in [Mode::Append, Mode::Replace] {
        on_virtual_time(async move || {
            let world = World::start(scenario(Before::Nothing, mode)).await;
            let report = run_meddled_with(&world, |control| {
                control.operation_requests(Operation::ListParts) > 0
                    && set_session(control, "uploading", true)
                        .is_some_and(|session| control.remove_session(&session.name))
            })
            .await
            .unwrap();
            assert_eq!(report.rows, Some(100));
            assert_eq!(
                world.control().operation_requests(Operation::CreateSession),
                3,
                "two sets and a ballot"
            );
            assert_eq!(world.control().operation_requests(Operation::Customers), 20, "fetched again");
            assert_eq!(world.control().import_jobs(), 1);
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn a_winner_that_is_deleted_before_its_commit_needs_attention() {
    for mode in [Mode::Append, Mode::Replace] {
        on_virtual_time(async move || {
            let world = World::start(scenario(Before::Nothing, mode)).await;
            let failure = run_meddled_with(&world, |control| {
                control.operation_requests(Operation::CreateSession) == 2
                    && set_session(control, "ready", true)
                        .is_some_and(|session| control.remove_session(&session.name))
            })
            .await
            .unwrap_err();
            let RunError::Ended { ending, .. } = &failure.error else { panic!("{failure:?}") };
            assert_eq!(*ending, Ending::WinnerGone);
            assert_eq!(failure.error.diagnosis().status, ExitStatus::NeedsAttention);
            assert_eq!(failure.recovery, RecoveryState::Unknown);
            world.assert_untouched();
        });
    }
}

#[test]
fn a_temporary_table_that_is_deleted_before_the_rename_is_loaded_again() {
    on_virtual_time(async || {
        let world = World::start(scenario(Before::Nothing, Mode::Replace)).await;
        let database = world.database().to_owned();
        let report = run_meddled_with(&world, |control| {
            let is_committed = control.sessions().iter().any(|session| session.status == "committed");
            let tables = control.tables();
            let temporary = tables.iter().find(|(_, table)| table.starts_with("yotpo_td_"));
            is_committed && temporary.is_some_and(|(_, table)| control.delete_table(&database, table))
        })
        .await
        .unwrap();
        assert_eq!((report.outcome, report.rows), (Outcome::Committed, Some(100)));
        assert_eq!(world.control().import_jobs(), 2);
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_rename_whose_responses_are_always_lost_is_detected_by_the_id_of_the_target() {
    on_virtual_time(async || {
        let world = World::start(scenario(Before::Nothing, Mode::Replace)).await;
        let target = FaultTarget::EveryOf(Operation::RenameTable);
        let fault = Fault { service: Service::TreasureData, target, kind: FaultKind::ResetAfterAction };
        world.control().set_faults(FaultPlan { faults: vec![fault] });
        let report = world.run().await.unwrap();
        assert_eq!(report.rows, Some(100));
        assert_eq!(world.control().operation_requests(Operation::RenameTable), 2, "each was made once");
        world.assert_complete();
        world.assert_clean();
    });
}
