//! What an attempt concludes about its set: a stale status starts no second load or commit, and a frozen session counts
//! only if it holds exactly the parts that were stored.

use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::identity::{OwnPart, PartsDigest};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation, RepeatedPerform};
use yotpo_td::treasure_data::Change;

use crate::in_process::harness::{Scenario, World};
use crate::in_process::watchdog::on_virtual_time;

/// A service whose status is stale, and that would start a second load job for a loaded session.
fn lagging(mut scenario: Scenario, stale_reads: u32) -> Scenario {
    scenario.sandbox.treasure_data.stale_show_calls = stale_reads;
    scenario.sandbox.treasure_data.repeated_perform = RepeatedPerform::Accepted;
    scenario
}

#[test]
fn a_stale_status_after_the_perform_starts_no_second_job() {
    for stale_reads in 1..=6 {
        for scenario in [Scenario::append(), Scenario::replace()] {
            on_virtual_time(async move || {
                let world = World::start(lagging(scenario, stale_reads)).await;
                world.run().await.unwrap();
                assert_eq!(world.control().operation_requests(Operation::PerformSession), 1, "{stale_reads}");
                assert_eq!(world.control().import_jobs(), 1, "{stale_reads}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_stale_failed_job_is_not_taken_for_a_second_failure() {
    for stale_reads in 1..=6 {
        for scenario in [Scenario::append(), Scenario::replace()] {
            on_virtual_time(async move || {
                let world = World::start(lagging(scenario, stale_reads)).await;
                let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
                world.control().set_faults(FaultPlan { faults: vec![fault] });
                world.run().await.unwrap_err();
                world.run().await.unwrap();
                assert_eq!(world.control().import_jobs(), 2, "{stale_reads}");
                assert_eq!(world.control().operation_requests(Operation::Customers), 10, "{stale_reads}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_stale_status_after_the_commit_requests_no_second_one() {
    // Two stale reads are waited for, the third causes the ballot to be read again. Then the commit is requested again,
    // which is refused.
    for (stale_reads, commits) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
        for scenario in [Scenario::append(), Scenario::replace()] {
            on_virtual_time(async move || {
                let world = World::start(lagging(scenario, stale_reads)).await;
                world.run().await.unwrap();
                assert_eq!(
                    world.control().operation_requests(Operation::CommitSession),
                    commits,
                    "{stale_reads}"
                );
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn missing_counters_are_polled_again() {
    for stale_reads in [1, 2, 5] {
        for mut scenario in [Scenario::append(), Scenario::replace()] {
            scenario.sandbox.treasure_data.show_calls_without_counters = stale_reads;
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let report = world.run().await.unwrap();
                assert_eq!((report.rows, report.error_records), (Some(100), 0), "{stale_reads}");
                assert_eq!(world.control().import_jobs(), 1, "{stale_reads}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn counters_that_never_appear_end_the_run_before_its_ballot() {
    let mut scenario = Scenario::append();
    scenario.sandbox.treasure_data.show_calls_without_counters = 50;
    on_virtual_time(async move || {
        let world = World::start(scenario).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status.code(), 5, "{failure:?}");
        assert_eq!(world.control().operation_requests(Operation::CreateSession), 1, "there is no ballot");
        world.assert_untouched();
    });
}

/// Recreates the session with as many other parts and rows, whose names form a complete set.
async fn exchange_the_parts(world: &World) {
    let client = world.services(&world.settings()).treasure_data;
    let state = world.saved().unwrap();
    let totals = state.set.unwrap().totals.unwrap();
    let own = world.own_session();
    let session = own.parse().unwrap();
    client.delete_session(&session).await.unwrap();
    let mut series = client.series();
    let created =
        client.create_session(&mut series, &session, &state.target.database, &state.target.table).await;
    assert_eq!(created.unwrap(), Change::Done);
    let mut digest = PartsDigest::default();
    for position in 0..totals.parts {
        let rows: Vec<_> =
            (0..totals.valid / totals.parts).map(|_| crate::in_process::error_records::GOOD).collect();
        let body = crate::in_process::error_records::gzip(&rows.concat());
        let part = OwnPart::new(position, &body);
        let is_last = position + 1 == totals.parts;
        let name = if is_last { part.last(digest, totals.valid, totals.rejected) } else { part };
        let name = name.render();
        digest = digest.with(name.as_str());
        assert!(client.upload_part(&session, &name, body.into()).await.unwrap());
    }
    assert_eq!(client.freeze(&mut series, &session).await.unwrap(), Change::Done);
}

#[test]
fn a_frozen_session_with_other_parts_than_were_stored_is_not_loaded() {
    on_virtual_time(async || {
        let is_complete = |state: &RunState| state.phase == RunPhase::Loading;
        let world = World::killed_when(&Scenario::append(), &[], is_complete).await;
        exchange_the_parts(&world).await;
        let jobs = world.control().import_jobs();
        world.run().await.unwrap();
        assert_eq!(world.control().import_jobs(), jobs + 1, "only the customers of the store are loaded");
        assert_eq!(world.control().operation_requests(Operation::Customers), 20, "they are fetched again");
        world.assert_complete();
        world.assert_clean();
    });
}
