//! The retry-safety table, line by line: an answer that is lost after the server acted, and a second delivery, lead to
//! the same result as no fault.

use std::sync::Arc;
use std::time::Duration;

use yotpo_td::pipeline::RecoveryState;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, RetryDelay};
use yotpo_td::treasure_data::{PartName, Session, Stage};

use crate::harness::{BEGINNING, Scenario, TABLE, World};
use crate::watchdog::on_virtual_time;

/// What precedes the run that meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// An interrupted run, which left a part more than its checkpoint says.
    Interrupted,
    /// A run whose load job failed.
    FailedLoad,
    /// A complete run with an id, whose marker is old by now.
    OldMarker,
    /// An interrupted run of `replace`, and the next one is told to start over.
    Abandoned,
}

fn scenario(before: Before, replaces: bool) -> Scenario {
    let mut scenario = if replaces { Scenario::replace() } else { Scenario::append() };
    // A second delivery meets a service that is still at work on the first.
    scenario.sandbox.import_duration = Duration::from_secs(30);
    scenario.sandbox.commit_duration = Duration::from_secs(10);
    if before == Before::OldMarker {
        // The rows of two runs are in the table in the end.
        scenario.mode = yotpo_td::identity::Mode::Replace;
        scenario.old_rows = 7;
    }
    scenario
}

impl Before {
    async fn happen(self, world: &World) {
        match self {
            Self::Nothing => {}
            Self::Interrupted | Self::Abandoned => {
                world.interrupted_run(2).await;
                let state = world.saved().unwrap();
                let client = Arc::clone(&world.services(&world.settings()).treasure_data);
                let database = world.database().parse().unwrap();
                let table = state.temporary_table.unwrap_or(state.target.table).parse().unwrap();
                let session = Session::new(client, state.session.parse().unwrap(), database, table);
                let Stage::Open(open) = session.attach().await.unwrap() else {
                    panic!("the session is open")
                };
                open.upload(&PartName::at(77), "surplus".into()).await.unwrap();
            }
            Self::FailedLoad => {
                let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
                world.control().set_faults(FaultPlan { faults: vec![fault] });
                let failure = world.run().await.unwrap_err();
                assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            }
            Self::OldMarker => {
                world.run_with(&[("run-id", "earlier")]).await.unwrap();
                assert_eq!(world.leftovers().len(), 1);
                world.clock.advance(Duration::from_secs(8 * 24 * 3_600));
            }
        }
    }
}

/// Hits the n-th call of `operation` in the last run and compares the end with that of a run without fault.
fn survives(operation: Operation, ordinal: u64, before: Before, replaces: bool) {
    for kind in [FaultKind::ResetAfterAction, FaultKind::DuplicateDelivery] {
        on_virtual_time(async move || {
            let world = World::start(scenario(before, replaces)).await;
            before.happen(&world).await;
            let control = world.control();
            let (faults, jobs) = (control.applied_faults(), control.import_jobs());
            let nth = control.operation_requests(operation) + ordinal;
            control.set_faults(FaultPlan { faults: vec![Fault::on(operation, nth, kind.clone())] });
            let flags: &[(&str, &str)] = if before == Before::Abandoned { &[("fresh", "on")] } else { &[] };
            let report = world.run_with(flags).await.unwrap();
            assert_eq!(control.applied_faults(), faults + 1, "{kind:?} was not met");
            world.assert_complete();
            world.assert_clean();
            assert_eq!(control.import_jobs(), jobs + 1, "{kind:?}: exactly one load job");
            assert_eq!(report.error_records, 0);
            let time = report.ingestion_time;
            assert!((BEGINNING..BEGINNING + 9 * 24 * 3_600).contains(&time));
            let time = i64::try_from(time).unwrap();
            let table = control.verify_table(world.database(), TABLE, time..=time).unwrap();
            assert!(table.is_exact(), "{kind:?} {table:?}");
        });
    }
}

macro_rules! each_call_survives {
    ($($name:ident: $operation:ident $ordinal:literal, $before:ident, $replaces:literal;)+) => {
        $(
            #[test]
            fn $name() {
                survives(Operation::$operation, $ordinal, Before::$before, $replaces);
            }
        )+
    };
}

each_call_survives! {
    token_survives_a_lost_answer: AccessToken 1, Nothing, false;
    first_page_survives_a_lost_answer: Customers 1, Nothing, false;
    last_page_survives_a_lost_answer: Customers 10, Nothing, false;
    session_list_survives_a_lost_answer: ListSessions 1, Nothing, false;
    table_creation_survives_a_lost_answer: CreateTable 1, Nothing, false;
    temporary_table_creation_survives_a_lost_answer: CreateTable 2, Nothing, true;
    session_creation_survives_a_lost_answer: CreateSession 1, Nothing, false;
    first_upload_survives_a_lost_answer: UploadPart 1, Nothing, false;
    last_upload_survives_a_lost_answer: UploadPart 10, Nothing, false;
    part_list_survives_a_lost_answer: ListParts 1, Interrupted, false;
    part_deletion_survives_a_lost_answer: DeletePart 1, Interrupted, false;
    freeze_survives_a_lost_answer: FreezeSession 1, Nothing, false;
    perform_survives_a_lost_answer: PerformSession 1, Nothing, false;
    second_perform_survives_a_lost_answer: PerformSession 1, FailedLoad, false;
    job_status_survives_a_lost_answer: JobStatus 1, FailedLoad, false;
    show_while_loading_survives_a_lost_answer: ShowSession 1, Nothing, false;
    show_while_committing_survives_a_lost_answer: ShowSession 20, Nothing, false;
    show_on_entry_survives_a_lost_answer: ShowSession 1, Interrupted, true;
    schema_survives_a_lost_answer: AppendSchema 1, Nothing, false;
    commit_survives_a_lost_answer: CommitSession 1, Nothing, false;
    commit_into_the_temporary_table_survives_a_lost_answer: CommitSession 1, Nothing, true;
    table_list_survives_a_lost_answer: ListTables 1, Nothing, true;
    rename_survives_a_lost_answer: RenameTable 1, Nothing, true;
    session_deletion_survives_a_lost_answer: DeleteSession 1, Nothing, false;
    abandoned_session_deletion_survives_a_lost_answer: DeleteSession 1, Abandoned, true;
    table_deletion_survives_a_lost_answer: DeleteTable 1, Abandoned, true;
    marker_look_survives_a_lost_answer: ShowJob 1, OldMarker, true;
    marker_deletion_survives_a_lost_answer: DeleteSession 1, OldMarker, true;
}

#[test]
fn a_perform_whose_answer_is_lost_behind_a_quick_load_starts_no_second_job() {
    for kind in [FaultKind::ResetAfterAction, FaultKind::EmptyOk, FaultKind::TruncatedBody] {
        on_virtual_time(async move || {
            // The session is ready by the time of the next look, and a second perform would be taken.
            let fault = Fault::on(Operation::PerformSession, 1, kind.clone());
            let world = World::start(Scenario::append().faults(vec![fault])).await;
            world.run().await.unwrap();
            assert_eq!(world.control().import_jobs(), 1, "{kind:?}");
            assert_eq!(world.control().operation_requests(Operation::PerformSession), 1, "{kind:?}");
            world.assert_complete();
            world.assert_clean();
        });
    }
}

/// A call that may act twice, refused before the service acted: it is not taken for done.
fn is_made_again(operation: Operation, before: Before, kind: FaultKind) {
    on_virtual_time(async move || {
        let world = World::start(scenario(before, false)).await;
        before.happen(&world).await;
        let control = world.control();
        let jobs = control.import_jobs();
        let nth = control.operation_requests(operation) + 1;
        control.set_faults(FaultPlan { faults: vec![Fault::on(operation, nth, kind.clone())] });
        let result = world.run().await;
        assert!(result.is_ok(), "{kind:?} {result:?}");
        world.assert_complete();
        world.assert_clean();
        assert_eq!(control.import_jobs(), jobs + 1, "{kind:?}");
    });
}

fn refusals() -> [FaultKind; 5] {
    [
        FaultKind::ResetBeforeAction,
        FaultKind::Hang,
        FaultKind::HtmlOk,
        FaultKind::Status(503, None),
        FaultKind::Status(429, Some(RetryDelay::RetryAfterSeconds(2))),
    ]
}

#[test]
fn a_perform_that_was_not_taken_is_made_again() {
    for kind in refusals() {
        is_made_again(Operation::PerformSession, Before::Nothing, kind);
    }
}

#[test]
fn a_perform_after_a_failed_load_is_not_mistaken_for_the_failed_one() {
    for kind in refusals() {
        is_made_again(Operation::PerformSession, Before::FailedLoad, kind);
    }
}

#[test]
fn a_commit_that_was_not_taken_is_made_again() {
    for kind in refusals() {
        is_made_again(Operation::CommitSession, Before::Nothing, kind);
    }
}

#[test]
fn a_rename_whose_answers_are_always_lost_is_seen_in_the_list_of_tables_in_the_end() {
    on_virtual_time(async || {
        let world = World::start(scenario(Before::Nothing, true)).await;
        let rename = FaultTarget::EveryOf(Operation::RenameTable);
        let service = yotpo_td::sandbox::Service::TreasureData;
        let fault = Fault { service, target: rename, kind: FaultKind::ResetAfterAction };
        world.control().set_faults(FaultPlan { faults: vec![fault] });
        let failure = world.run().await.unwrap_err();
        // It cannot know, and says so.
        assert!(matches!(failure.recovery, RecoveryState::MaybeCommitted { .. }), "{failure:?}");
        world.assert_complete();
        world.control().set_faults(FaultPlan::none());
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}
