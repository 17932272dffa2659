//! Resuming an interrupted run: which states are used, and that nothing stored is fetched twice.

use std::time::Duration;

use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::{Outcome, RecoveryState};
use yotpo_td::sandbox::{Control, Fault, FaultKind, FaultPlan, FaultTarget, Operation, Service};

use crate::in_process::harness::{BEGINNING, Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;

const HOUR: Duration = Duration::from_secs(3_600);

fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

/// A world whose first run was killed as soon as `when` held.
async fn killed_at(scenario: Scenario, when: impl Fn(&Control) -> bool) -> World {
    let world = World::start(scenario).await;
    let watch = |control: &Control| if when(control) { Verdict::Kill } else { Verdict::Continue };
    let result = world.watched_run(&world.settings(), watch).await;
    assert!(result.is_none(), "it was not killed: {result:?}");
    world
}

/// The next run uses everything that the killed one stored, and loads the exact rows.
async fn resumes_without_fetching(world: &World, context: &str) {
    let report = world.run().await.unwrap();
    assert!(report.resumed, "{context}");
    assert_eq!(
        (report.outcome, report.rows, report.joined),
        (Outcome::Committed, Some(100), false),
        "{context}"
    );
    // All customers are reported, none of them as fetched by this process.
    let progress = report.progress;
    assert_eq!((progress.customers, progress.customers_before), (100, 100), "{context}");
    assert_eq!((progress.pages, progress.parts), (10, 10), "{context}");
    world.assert_complete();
    world.assert_clean();
    assert_eq!(world.fetched_twice(), [0; 0], "{context}");
    assert_eq!(world.control().import_jobs(), 1, "{context}");
    // The set's session and the ballot.
    assert_eq!(world.control().operation_requests(Operation::CreateSession), 2, "{context}");
}

#[test]
fn a_stored_page_is_never_fetched_twice() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let failure = world.interrupted_run(2).await;
            assert_eq!(failure.error.diagnosis().status.code(), 130);
            let stored = world.saved().unwrap();
            let session = world.own_session();
            let pages = stored.position.page();
            assert!(pages >= 1);
            let resumable = RecoveryState::Resumable {
                session: session.parse().unwrap(),
                rows: pages * 10,
                parts: pages,
            };
            assert_eq!(failure.recovery, resumable);
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            assert_eq!(report.session.map(String::from), Some(session));
            world.assert_complete();
            world.assert_clean();
            let twice = world.fetched_twice();
            assert!(twice.iter().all(|first| *first >= pages * 10), "{pages} pages stored, twice: {twice:?}");
        });
    }
}

#[test]
fn a_run_killed_after_its_last_part_fetches_at_most_the_last_page_again() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let last_part = |control: &Control| {
                control
                    .sessions()
                    .iter()
                    .any(|session| session.parts.iter().any(|part| part.contains("_last_")))
            };
            let world = killed_at(scenario, last_part).await;
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            world.assert_complete();
            world.assert_clean();
            let twice = world.fetched_twice();
            assert!(twice.is_empty() || twice == [90], "{twice:?}");
        });
    }
}

#[test]
fn a_run_killed_in_any_phase_is_resumed() {
    for scenario in both_modes() {
        for phase in [RunPhase::Loading, RunPhase::Proposed, RunPhase::Finished] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, &[], |state| state.phase == phase).await;
                resumes_without_fetching(&world, &format!("{phase:?} {:?}", scenario.mode)).await;
            });
        }
    }
}

#[test]
fn a_run_killed_in_any_state_of_its_session_is_resumed() {
    for mut scenario in both_modes() {
        scenario.sandbox.import_duration = Duration::from_secs(60);
        scenario.sandbox.commit_duration = Duration::from_secs(30);
        for status in ["frozen", "performing", "ready", "committing", "committed"] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let mode = scenario.mode;
                let reached = |control: &Control| {
                    let sessions = control.sessions();
                    let own = sessions
                        .iter()
                        .find(|session| session.parts.len() > 1 || session.valid_records.is_some());
                    own.is_some_and(|own| own.status == status || (status == "frozen" && own.upload_frozen))
                };
                let world = killed_at(scenario, reached).await;
                resumes_without_fetching(&world, &format!("{status} {mode:?}")).await;
            });
        }
    }
}

#[test]
fn a_run_killed_while_it_cleans_up_loads_nothing_again() {
    for scenario in both_modes() {
        for left in [2, 1, 0] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let watch = |control: &Control| {
                    let is_finished = world.saved().is_some_and(|state| state.phase == RunPhase::Finished);
                    if is_finished && control.sessions().len() == left {
                        Verdict::Kill
                    } else {
                        Verdict::Continue
                    }
                };
                let killed = world.watched_run(&world.settings(), watch).await.is_none();
                assert!(killed, "{left} sessions left");
                resumes_without_fetching(&world, &format!("{left} sessions left")).await;
            });
        }
    }
}

#[test]
fn the_time_of_the_first_process_is_kept() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        world.clock.advance(HOUR);
        let before = world.saved().unwrap().rows;
        let report = world.run().await.unwrap();
        assert!(before > 0);
        let progress = report.progress;
        assert_eq!((progress.customers, progress.customers_before), (world.control().customers(), before));
        let time = report.ingestion_time.unwrap();
        assert!((BEGINNING..BEGINNING + 3_600).contains(&time), "{time}");
        let time = i64::try_from(time).unwrap();
        let table = world.control().verify_table(world.database(), TABLE, time..=time).unwrap();
        assert!(table.is_exact(), "{table:?}");
    });
}

#[test]
fn a_young_enough_run_is_resumed_with_any_part_settings() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.interrupted_run(2).await;
            world.clock.advance(5 * HOUR);
            let mut settings = world.settings();
            settings.load.transfer.parts.closing_size = 1 << 20;
            settings.load.transfer.parts.max_rows = 7.try_into().unwrap();
            let report = world.run_as(&settings).await.unwrap();
            assert!(report.resumed);
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn a_complete_set_is_resumed_at_any_age_and_page_size() {
    let complete = |state: &RunState| state.phase == RunPhase::Loading;
    for scenario in both_modes() {
        for flags in [vec![("page-size", "50")], vec![("resume-within", "1h")], vec![("page-size", "7")]] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, &[], complete).await;
                let session = world.own_session();
                world.clock.advance(4 * 24 * HOUR);
                let report = world.run_with(&flags).await.unwrap();
                assert!(report.resumed, "{flags:?}");
                assert_eq!(report.session.map(String::from), Some(session), "{flags:?}");
                assert_eq!(world.control().operation_requests(Operation::Customers), 10, "{flags:?}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_saved_cursor_that_is_refused_starts_over_once() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.interrupted_run(2).await;
            let old = world.own_session();
            world.control().invalidate_cursors();
            let report = world.run().await.unwrap();
            assert!(!report.resumed);
            assert_eq!(report.progress.customers_before, 0);
            assert_ne!(report.session.map(String::from), Some(old));
            world.assert_complete();
            world.assert_clean();
        });
    }
}

/// Runs while every cursor becomes invalid as soon as the page that contains it was sent.
async fn run_with_short_lived_cursors(world: &World) -> yotpo_td::run::RunFailure {
    let mut fetched = world.control().operation_requests(Operation::Customers);
    let watch = |control: &Control| {
        let now = control.operation_requests(Operation::Customers);
        if now > fetched + 2 {
            fetched = now;
            control.invalidate_cursors();
        }
        Verdict::Continue
    };
    world.watched_run(&world.settings(), watch).await.unwrap().unwrap_err()
}

#[test]
fn cursors_that_are_refused_repeatedly_are_an_error() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        world.control().invalidate_cursors();
        let failure = run_with_short_lived_cursors(&world).await;
        assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed, "{failure:?}");
        world.assert_untouched();
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_cursor_that_is_refused_in_the_middle_of_a_new_run_is_an_error() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let settings = world.settings();
        let mut done = false;
        let result = world.watched_run(&settings, |control| {
            if !done && control.operation_requests(Operation::UploadPart) > 0 {
                done = true;
                control.invalidate_cursors();
            }
            Verdict::Continue
        });
        let failure = result.await.unwrap().unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed);
        world.assert_untouched();
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_damaged_state_is_set_aside_and_never_used() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.interrupted_run(2).await;
        let old = world.own_session();
        let store = world.store();
        let mut bytes = std::fs::read(store.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(store.path(), &bytes).unwrap();
        // The new run is later, so it removes the table of the old one before it replaces the target.
        world.clock.advance(Duration::from_secs(60));
        let report = world.run().await.unwrap();
        assert!(!report.resumed);
        world.assert_complete();
        assert_eq!(std::fs::read(store.path().with_extension("damaged")).unwrap(), bytes);
        // The old session is no longer known to this machine, so it is left for `runs clean`.
        assert_eq!(world.leftovers(), [old]);
    });
}

#[test]
fn resuming_while_treasure_data_is_down_keeps_what_is_saved() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.interrupted_run(2).await;
            let before = world.saved();
            let kind = FaultKind::Status(503, None);
            let down = Fault { service: Service::TreasureData, target: FaultTarget::Every, kind };
            world.control().set_faults(FaultPlan { faults: vec![down] });
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            assert_eq!(world.saved(), before);
            world.control().set_faults(FaultPlan::none());
            assert!(world.run().await.unwrap().resumed);
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn the_next_run_removes_what_a_run_without_stored_parts_left() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let begun = |state: &RunState| state.set.is_some() && state.parts == 0;
            let world = World::killed_when(&scenario, &[], begun).await;
            let report = world.run().await.unwrap();
            assert!(!report.resumed);
            world.assert_complete();
            world.assert_clean();
        });
        // As soon as its session is there.
        let scenario = Scenario { closing_size: 1 << 20, ..Scenario::new(yotpo_td::identity::Mode::Replace) };
        on_virtual_time(async move || {
            let world = killed_at(scenario, |control| !control.sessions().is_empty()).await;
            assert!(!world.saved().unwrap().has_stored_parts());
            let old = world.own_session();
            let report = world.run().await.unwrap();
            assert!(!report.resumed);
            assert_ne!(report.session.map(String::from), Some(old));
            world.assert_complete();
            world.assert_clean();
        });
    }
}
