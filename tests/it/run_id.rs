//! Runs with an id: started again in a fresh container, they load nothing twice.

use std::time::Duration;

use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::pipeline::{Outcome, RecoveryState};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation};

use crate::harness::{Scenario, World};
use crate::watchdog::on_virtual_time;

const ID: &[(&str, &str)] = &[("run-id", "4f1c-uuid")];

/// The container goes away with its state folder.
fn fresh_container(world: &World) {
    std::fs::remove_file(world.store().path()).unwrap();
}

fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

#[test]
fn a_committed_run_is_done_without_loading_anything() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.run_with(ID).await.unwrap();
            for fresh in [false, true] {
                if fresh {
                    fresh_container(&world);
                }
                let report = world.run_with(ID).await.unwrap();
                assert!(matches!(report.outcome, Outcome::Committed { .. }), "{report:?}");
                world.assert_complete();
                assert_eq!(world.control().import_jobs(), 1);
                assert_eq!(world.control().operation_requests(Operation::Customers), 10);
            }
        });
    }
}

#[test]
fn another_id_is_another_run() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.run_with(ID).await.unwrap();
        world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
        assert_eq!(world.control().import_jobs(), 2);
        world.assert_complete();
    });
}

#[test]
fn an_unfinished_run_of_another_id_is_removed() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let half = |state: &RunState| state.phase == RunPhase::Uploading && state.parts > 3;
            let world = World::killed_when(&scenario, ID, half).await;
            let dead = world.saved().unwrap();
            let report = world.run_with(&[("run-id", "another")]).await.unwrap();
            assert_ne!(report.session, dead.session);
            assert_eq!(world.leftovers(), [report.session]);
            world.assert_complete();
        });
    }
}

#[test]
fn a_session_of_the_same_name_for_another_table_is_not_touched() {
    on_virtual_time(async || {
        let ready = |state: &RunState| state.phase == RunPhase::Ready;
        let world = World::killed_when(&Scenario::append(), ID, ready).await;
        let sessions = world.control().sessions();
        fresh_container(&world);
        let failure = world.run_with(&[("run-id", "4f1c-uuid"), ("mode", "replace")]).await.unwrap_err();
        assert_eq!(failure.recovery, RecoveryState::NothingCreated, "{failure:?}");
        assert_eq!(failure.error.exit_status().code(), 5);
        assert_eq!(world.control().sessions(), sessions);
        world.assert_untouched();
    });
}

#[test]
fn a_loaded_run_is_gone_on_with_in_a_fresh_container() {
    for phase in [RunPhase::Ready, RunPhase::Committing, RunPhase::Committed] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, ID, |state| state.phase == phase).await;
                fresh_container(&world);
                let report = world.run_with(ID).await.unwrap();
                assert!(report.resumed, "{phase:?}");
                world.assert_complete();
                assert_eq!(world.control().import_jobs(), 1, "{phase:?}");
                assert_eq!(world.control().operation_requests(Operation::Customers), 10, "{phase:?}");
            });
        }
    }
}

#[test]
fn a_half_uploaded_run_starts_over_in_a_fresh_container() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let half = |state: &RunState| state.phase == RunPhase::Uploading && state.parts > 3;
            let world = World::killed_when(&scenario, ID, half).await;
            fresh_container(&world);
            let report = world.run_with(ID).await.unwrap();
            assert!(!report.resumed);
            world.assert_complete();
            assert_eq!(world.leftovers().len(), 1, "the marker: {:?}", world.leftovers());
        });
    }
}

#[test]
fn a_run_whose_load_failed_is_gone_on_with_in_a_fresh_container() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
        world.control().set_faults(FaultPlan { faults: vec![fault] });
        world.run_with(ID).await.unwrap_err();
        fresh_container(&world);
        let report = world.run_with(ID).await.unwrap();
        assert!(report.resumed);
        world.assert_complete();
        assert_eq!(world.control().operation_requests(Operation::Customers), 10);
    });
}

#[test]
fn the_marker_stays_for_a_week() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.run_with(ID).await.unwrap();
        let [marker] = &world.leftovers()[..] else { panic!("{:?}", world.leftovers()) };
        world.clock.advance(Duration::from_secs(6 * 24 * 3_600));
        world.run_with(&[("run-id", "second")]).await.unwrap();
        assert!(world.leftovers().contains(marker));
        world.clock.advance(Duration::from_secs(2 * 24 * 3_600));
        world.run().await.unwrap();
        assert_eq!(world.leftovers().len(), 1, "{:?}", world.leftovers());
        assert!(!world.leftovers().contains(marker));
    });
}

#[test]
fn a_live_session_of_another_machine_is_only_warned_of() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        // Another machine, in the middle of its run: its state is elsewhere.
        world.interrupted_run(3).await;
        let sessions = world.control().sessions();
        fresh_container(&world);
        world.run().await.unwrap();
        world.assert_complete();
        assert_eq!(world.control().sessions(), sessions, "it is not ours to touch");
    });
}

#[test]
fn a_temporary_table_of_a_dead_run_is_removed() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.interrupted_run(3).await;
        let state = world.saved().unwrap();
        let session = state.session.parse().unwrap();
        world.services(&world.settings()).treasure_data.remove_session(&session).await.unwrap();
        fresh_container(&world);
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_table_that_only_looks_like_ours_is_left_alone() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.control().create_table(world.database(), "yotpo_td_tmp_somebody");
        world.run().await.unwrap();
        assert_eq!(world.leftovers(), ["yotpo_td_tmp_somebody"]);
    });
}
