//! What `replace` refuses to publish: the table and the stored parts are kept, and a flag resumes from there.

use yotpo_td::checkpoint::{FinishedAs, FinishedRun};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{GuardError, Outcome, RecoveryState, RunError};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, Service};

use crate::in_process::harness::{BEGINNING, Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;

fn empty_store(mut scenario: Scenario) -> Scenario {
    scenario.sandbox.customers = 0;
    scenario
}

/// A world with so many rows in the table and a hundred customers.
fn table_of(rows: u64) -> Scenario {
    Scenario { old_rows: rows, ..Scenario::replace() }
}

#[test]
fn append_of_an_empty_store_creates_nothing() {
    on_virtual_time(async || {
        let world = World::start(empty_store(Scenario::append())).await;
        let report = world.run().await.unwrap();
        assert_eq!(report.outcome, Outcome::NothingToLoad);
        assert_eq!(world.control().tables(), []);
        let asked: Vec<_> =
            world.control().operations().into_keys().map(|(_, operation)| operation).collect();
        let reads = [Operation::ShowTable, Operation::ShowSession, Operation::ListSessions];
        assert_eq!(
            asked,
            [&[Operation::AccessToken, Operation::Customers][..], &reads].concat(),
            "it only reads"
        );
        world.assert_clean();
    });
}

#[test]
fn replacing_with_an_empty_store_is_refused_unless_allowed() {
    on_virtual_time(async || {
        let world = World::start(empty_store(Scenario::replace())).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused);
        assert!(matches!(failure.error, RunError::Guard(GuardError::Empty)), "{failure:?}");
        assert_eq!(failure.recovery, RecoveryState::NothingCreated);
        world.assert_untouched();
        world.assert_clean();
        let report = world.run_with(&[("allow-empty", "on")]).await.unwrap();
        assert_eq!(report.outcome, Outcome::Emptied);
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
        world.assert_clean();
    });
}

#[test]
fn emptying_a_table_with_lost_responses_is_detected_by_the_id_of_the_target() {
    on_virtual_time(async || {
        let world = World::start(empty_store(Scenario::replace())).await;
        let target = FaultTarget::EveryOf(Operation::RenameTable);
        let fault = Fault { service: Service::TreasureData, target, kind: FaultKind::ResetAfterAction };
        world.control().set_faults(FaultPlan { faults: vec![fault] });
        let report = world.run_with(&[("allow-empty", "on")]).await.unwrap();
        assert_eq!((report.outcome, report.rows), (Outcome::Emptied, Some(0)));
        assert_eq!(world.control().operation_requests(Operation::RenameTable), 2, "each was made once");
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
        world.assert_clean();
    });
}

#[test]
fn emptying_a_table_before_an_outage_does_not_claim_that_it_is_untouched() {
    on_virtual_time(async || {
        let world = World::start(empty_store(Scenario::replace())).await;
        let settings = world.settings_with(&[("allow-empty", "on")]);
        let result = world.watched_run(&settings, |control| {
            // The rename is in flight: from now on there are no responses.
            if control.operation_requests(Operation::RenameTable) == 2 {
                let (service, target) = (Service::TreasureData, FaultTarget::Every);
                let fault = Fault { service, target, kind: FaultKind::ResetBeforeAction };
                control.set_faults(FaultPlan { faults: vec![fault] });
            }
            Verdict::Continue
        });
        let failure = result.await.unwrap().unwrap_err();
        let recovery = RecoveryState::MaybeCommitted { ingestion_time: BEGINNING };
        assert_eq!(failure.recovery, recovery, "{failure:?}");
        world.control().set_faults(FaultPlan::none());
        world.run_with(&[("allow-empty", "on")]).await.unwrap();
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
        world.assert_clean();
    });
}

#[test]
fn far_fewer_rows_than_the_table_holds_are_refused() {
    on_virtual_time(async || {
        let world = World::start(table_of(201)).await;
        let failure = world.run().await.unwrap_err();
        let RunError::Guard(error) = &failure.error else { panic!("{failure:?}") };
        assert_eq!(error.to_string(), "100 rows is 49.75 % of the 201 that the table holds (minimum 50 %)");
        assert!(failure.error.diagnosis().hint.unwrap().contains("--min-rows-ratio"), "{failure:?}");
        assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused);
        let RecoveryState::Resumable { parts, rows, .. } = failure.recovery else { panic!("{failure:?}") };
        assert_eq!((parts, rows), (9, 90), "all but the part that would carry the totals");
        world.assert_untouched();
        assert_eq!(world.control().import_jobs(), 0, "it is known before the load");
        let mut fetched = world.control().page_fetches();
        fetched.retain(|customer, _| *customer < rows);
        let report = world.run_with(&[("min-rows-ratio", "0.4")]).await.unwrap();
        assert!(report.resumed);
        let again = world.control().page_fetches();
        assert!(fetched.iter().all(|(customer, fetches)| again[customer] == *fetches), "{again:?}");
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn half_of_the_rows_is_enough() {
    on_virtual_time(async || {
        let world = World::start(table_of(200)).await;
        world.run().await.unwrap();
        world.assert_complete();
    });
}

/// A run that succeeded the day before.
fn yesterday(rows: u64) -> FinishedRun {
    FinishedRun {
        run_id: "yesterday".parse().unwrap(),
        store_id: None,
        mode: Some(Mode::Replace),
        outcome: FinishedAs::Committed,
        joined: false,
        ingestion_time: Some(BEGINNING - 86_400),
        rows: Some(rows),
        customers: rows,
        customers_with_loyalty_data: 0,
        pages: 10,
        error_records: 0,
        ended_by: None,
        job_id: None,
        started_at: BEGINNING - 86_400,
        finished_at: BEGINNING - 86_400,
    }
}

#[test]
fn far_fewer_rows_than_the_last_success_loaded_are_refused() {
    on_virtual_time(async || {
        // The table holds fewer rows than the last run loaded, because some were deleted. The loaded number counts.
        let world = World::start(table_of(7)).await;
        let store = world.store();
        let success = yesterday(1_000);
        store.save_finished(success.clone()).unwrap();
        let failure = world.run().await.unwrap_err();
        assert!(failure.error.to_string().contains("not loaded into the table"), "{failure:?}");
        let RunError::Guard(error) = &failure.error else { panic!("{failure:?}") };
        assert!(error.to_string().contains("last successful run"), "{error}");
        world.assert_untouched();
        assert_eq!(store.history().unwrap(), [success]);
        world.run_with(&[("min-rows-ratio", "0.1")]).await.unwrap();
        world.assert_complete();
        assert_eq!(store.history().unwrap()[0].rows, Some(100));
    });
}

#[test]
fn a_key_that_may_not_read_tables_replaces_one_if_the_user_accepts_it() {
    on_virtual_time(async || {
        // A write-only key may not rename either; this one may do everything except read.
        let denied = |operation| Fault {
            service: Service::TreasureData,
            target: FaultTarget::EveryOf(operation),
            kind: FaultKind::Status(403, None),
        };
        let scenario = table_of(201).faults([Operation::ListTables, Operation::ShowTable].map(denied).into());
        let world = World::start(scenario).await;
        let failure = world.run().await.unwrap_err();
        let RunError::Ended { ending, .. } = &failure.error else { panic!("{failure:?}") };
        assert_eq!(*ending, Ending::NoTableIds);
        assert_eq!(failure.error.diagnosis().status, ExitStatus::Denied);
        assert_eq!(world.control().requests(Service::Yotpo), 0, "it is known before the first page");
        world.assert_untouched();
        world.run_with(&[("without-table-ids", "on")]).await.unwrap();
        world.assert_complete();
        assert_eq!(world.leftovers(), [""; 0]);
    });
}

#[test]
fn append_is_not_guarded() {
    on_virtual_time(async || {
        let world = World::start(Scenario { old_rows: 5_000, ..Scenario::append() }).await;
        world.run().await.unwrap();
        world.assert_complete();
    });
}
