//! One run id with both modes: whatever the other attempt has done, at most one of them loads.

use yotpo_td::identity::Mode;
use yotpo_td::run::{Outcome, RecoveryState, RunError, RunFailure};
use yotpo_td::sandbox::Control;

use crate::in_process::harness::{Scenario, TABLE, Verdict, World};
use crate::in_process::run_id::{ID, assert_markers, killed_at};
use crate::in_process::watchdog::on_virtual_time;

#[test]
fn the_same_id_in_the_other_mode_loads_nothing_and_touches_nothing_of_the_first() {
    on_virtual_time(async || {
        let world = killed_at(Scenario::append(), |control| {
            control.sessions().iter().any(|session| session.status == "ready")
        })
        .await;
        let before = world.control().sessions();
        world.lose_state();
        assert_other_mode(&world.run_with(REPLACE).await.unwrap_err(), Mode::Append);
        assert_eq!(world.control().sessions(), before);
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(0));
        let report = world.run_with(ID).await.unwrap();
        assert_eq!((report.outcome, report.rows), (Outcome::Committed, Some(100)));
        assert_eq!(world.verification().missing, 0);
    });
}

const APPEND: &[(&str, &str)] = &[("run-id", "4f1c-uuid"), ("mode", "append")];
const REPLACE: &[(&str, &str)] = &[("run-id", "4f1c-uuid"), ("mode", "replace")];

/// The attempt did not load because of an attempt in this mode.
#[track_caller]
fn assert_other_mode(failure: &RunFailure, other: Mode) {
    assert!(
        matches!(&failure.error, RunError::OtherMode { run_id, mode } if run_id.as_str() == "4f1c-uuid" && *mode == other),
        "{failure:?}"
    );
    assert_eq!(failure.recovery, RecoveryState::NothingCreated);
}

#[test]
fn a_run_that_is_loaded_in_one_mode_is_not_loaded_in_the_other() {
    for (first, second, mode) in [(APPEND, REPLACE, Mode::Append), (REPLACE, APPEND, Mode::Replace)] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            world.run_with(first).await.unwrap();
            for lost in [false, true] {
                if lost {
                    world.lose_state();
                }
                assert_other_mode(&world.run_with(second).await.unwrap_err(), mode);
                assert_eq!(world.control().row_count(world.database(), TABLE), Some(100));
                assert_markers(&world, 1);
            }
            let report = world.run_with(first).await.unwrap();
            assert_eq!(report.outcome, Outcome::AlreadyCommitted);
        });
    }
}

#[test]
fn an_interrupted_run_of_this_machine_is_abandoned_when_it_is_started_in_the_other_mode() {
    for (first, second) in [(APPEND, REPLACE), (REPLACE, APPEND)] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            let watch = |control: &Control| {
                let is_ready = control.sessions().iter().any(|session| session.status == "ready");
                if is_ready { Verdict::Kill } else { Verdict::Continue }
            };
            assert!(world.watched_run(&world.settings_with(first), watch).await.is_none());
            let report = world.run_with(second).await.unwrap();
            assert_eq!((report.outcome, report.joined), (Outcome::Committed, false));
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(100));
            assert_eq!(world.verification().missing, 0);
            // Also without the state, which knew that the first attempt was abandoned.
            world.lose_state();
            let report = world.run_with(second).await.unwrap();
            assert_eq!((report.outcome, report.rows), (Outcome::AlreadyCommitted, Some(100)));
        });
    }
}
