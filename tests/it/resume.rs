//! Going on with an interrupted run: what is followed, what is not, and that nothing durable is fetched twice.

use std::sync::Arc;

use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::pipeline::RecoveryState;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, Service};
use yotpo_td::treasure_data::{OpenSession, PartName, Session, Stage};

use crate::harness::{Scenario, Verdict, World};
use crate::watchdog::on_virtual_time;

/// The session of the saved run, as somebody else would open it.
async fn open_session(world: &World) -> OpenSession {
    let state = world.saved().unwrap();
    let services = world.services(&world.settings());
    let database = world.database().parse().unwrap();
    let table = state.temporary_table.unwrap_or(state.target.table).parse().unwrap();
    let session =
        Session::new(Arc::clone(&services.treasure_data), state.session.parse().unwrap(), database, table);
    match session.attach().await.unwrap() {
        Stage::Open(open) => open,
        stage => panic!("{stage:?}"),
    }
}

/// Pages that were fetched more than once.
fn fetched_twice(world: &World) -> Vec<u64> {
    world.control().page_fetches().into_iter().filter(|(_, times)| *times > 1).map(|(page, _)| page).collect()
}

#[test]
fn a_durable_page_is_never_fetched_twice() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let failure = world.interrupted_run(2).await;
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            assert_eq!(failure.error.exit_status().code(), 130);
            let durable = world.saved().unwrap().pages;
            assert!(durable >= 1);
            let session = world.control().sessions()[0].name.clone();
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            assert_eq!(report.session, session);
            world.assert_complete();
            world.assert_clean();
            let twice = fetched_twice(&world);
            assert!(
                twice.iter().all(|first| *first >= durable * 10),
                "{durable} pages durable, twice: {twice:?}"
            );
        });
    }
}

#[test]
fn a_run_killed_behind_its_last_part_fetches_nothing_again() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async move || {
            let behind_last = |state: &RunState| state.phase == RunPhase::Uploading && state.pages == 10;
            let world = World::killed_when(&scenario, &[], behind_last).await;
            world.run().await.unwrap();
            world.assert_complete();
            world.assert_clean();
            assert_eq!(fetched_twice(&world), [0; 0]);
        });
    }
}

#[test]
fn a_run_killed_in_any_phase_is_gone_on_with() {
    use RunPhase::{Committed, Committing, Frozen, Performing, Ready, Renamed};
    for scenario in [Scenario::append(), Scenario::replace()] {
        for phase in [Frozen, Performing, Ready, Committing, Committed, Renamed] {
            let scenario = scenario.clone();
            if phase == Renamed && scenario.mode == yotpo_td::identity::Mode::Append {
                continue;
            }
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, &[], |state| state.phase == phase).await;
                let report = world.run().await.unwrap();
                assert!(report.resumed, "{phase:?}");
                // All of them are told, none of them as fetched by this piece.
                let (told, customers) = (report.progress, world.control().customers());
                assert_eq!((told.customers, told.customers_before), (customers, customers), "{phase:?}");
                assert_eq!(told.pages, 10, "{phase:?}");
                world.assert_complete();
                world.assert_clean();
                assert_eq!(fetched_twice(&world), [0; 0], "{phase:?}");
                assert_eq!(world.control().operation_requests(Operation::CreateSession), 1);
            });
        }
    }
}

#[test]
fn the_ingestion_time_of_the_first_attempt_is_kept() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        world.clock.advance(std::time::Duration::from_secs(3_600));
        let before = world.saved().unwrap().customers;
        let report = world.run().await.unwrap();
        // What is told of a run that was gone on with: all of it, and what of it is not this piece's doing.
        let told = report.progress;
        assert!(before > 0);
        assert_eq!((told.customers, told.customers_before), (world.control().customers(), before));
        let time = i64::try_from(report.ingestion_time).unwrap();
        assert!(report.ingestion_time < crate::harness::BEGINNING + 3_600);
        let table =
            world.control().verify_table(world.database(), crate::harness::TABLE, time..=time).unwrap();
        assert!(table.is_exact(), "{table:?}");
    });
}

#[test]
fn a_run_that_is_not_followed_is_cleaned_up_and_started_over() {
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3_600);
    for (what, flags, wait) in [
        ("fresh", vec![("fresh", "on")], hours(0)),
        ("older", vec![], hours(7)),
        ("page size", vec![("page-size", "50")], hours(0)),
        ("mode", vec![("mode", "replace")], hours(0)),
        ("resume-within", vec![("resume-within", "1h")], hours(2)),
    ] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            world.interrupted_run(2).await;
            let old = world.control().sessions()[0].name.clone();
            world.clock.advance(wait);
            let report = world.run_with(&flags).await.unwrap();
            assert!(!report.resumed, "{what}");
            assert_ne!(report.session, old, "{what}");
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn a_young_enough_run_is_gone_on_with_whatever_the_part_settings_are() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        world.clock.advance(std::time::Duration::from_secs(5 * 3_600));
        let mut settings = world.settings();
        settings.load.parts.closing_size = 1 << 20;
        settings.load.parts.most_rows = 7.try_into().unwrap();
        let report = world.run_as(&settings).await.unwrap();
        assert!(report.resumed);
        world.assert_complete();
    });
}

#[test]
fn a_saved_cursor_that_is_refused_starts_over_once() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let old = world.control().sessions()[0].name.clone();
        world.control().invalidate_cursors();
        let report = world.run().await.unwrap();
        assert!(!report.resumed);
        assert_ne!(report.session, old);
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
            Verdict::GoOn
        });
        let failure = result.await.unwrap().unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::YotpoFailed);
        world.assert_untouched();
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn parts_beyond_the_checkpoint_are_deleted() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let open = open_session(&world).await;
        open.upload(&PartName::at(50), "left by a dead run".into()).await.unwrap();
        let report = world.run().await.unwrap();
        assert!(report.resumed);
        assert!(world.control().operation_requests(Operation::DeletePart) >= 1);
        world.assert_complete();
    });
}

#[test]
fn a_session_that_somebody_else_changed_is_not_followed() {
    for change in ["delete", "freeze", "lose a part"] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            world.interrupted_run(2).await;
            let open = open_session(&world).await;
            match change {
                "delete" => {
                    let services = world.services(&world.settings());
                    let name = world.saved().unwrap().session.parse().unwrap();
                    services.treasure_data.remove_session(&name).await.unwrap();
                }
                "freeze" => drop(open.freeze().await.unwrap()),
                _ => drop(open.keep_first_parts(0).await.unwrap()),
            }
            let report = world.run().await.unwrap();
            assert!(!report.resumed, "{change}");
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn rows_that_somebody_else_committed_are_not_taken_for_a_complete_load() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let polling = world.settings().load.polling;
        let loaded = open_session(&world).await.freeze().await.unwrap().perform().await.unwrap();
        let verified = loaded.wait(polling).await.unwrap().verify(None, 0).unwrap();
        verified.commit().await.unwrap().wait(polling).await.unwrap().expect("it is committed");
        let rows = world.control().row_count(world.database(), crate::harness::TABLE);
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::TreasureDataFailed);
        assert!(matches!(failure.recovery, RecoveryState::Unknown), "{failure:?}");
        assert_eq!(world.control().row_count(world.database(), crate::harness::TABLE), rows);
        // The user decides.
        world.run_with(&[("fresh", "on")]).await.unwrap();
        assert_eq!(world.verification().missing, 0);
    });
}

#[test]
fn a_damaged_state_is_set_aside_and_never_followed() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let old = world.control().sessions()[0].name.clone();
        let store = world.store();
        let mut bytes = std::fs::read(store.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(store.path(), &bytes).unwrap();
        let report = world.run().await.unwrap();
        assert!(!report.resumed);
        world.assert_complete();
        assert_eq!(std::fs::read(store.path().with_extension("damaged")).unwrap(), bytes);
        // Nobody knows any more that the old session is ours: it is left alone, for `runs clean`.
        assert_eq!(world.leftovers(), [old]);
    });
}

#[test]
fn a_committing_session_that_is_gone_is_told_and_nothing_is_loaded() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let target = FaultTarget::EveryOf(Operation::CommitSession);
        let down = Fault { service: Service::TreasureData, target, kind: FaultKind::Status(503, None) };
        world.control().set_faults(FaultPlan { faults: vec![down] });
        let failure = world.run().await.unwrap_err();
        assert!(matches!(failure.recovery, RecoveryState::MaybeCommitted { .. }), "{failure:?}");
        world.control().set_faults(FaultPlan::none());
        let name = world.saved().unwrap().session.parse().unwrap();
        world.services(&world.settings()).treasure_data.remove_session(&name).await.unwrap();
        for _ in 0..2 {
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.exit_status(), ExitStatus::TreasureDataFailed);
            assert!(matches!(failure.recovery, RecoveryState::Unknown), "{failure:?}");
            world.assert_untouched();
        }
        world.run_with(&[("fresh", "on")]).await.unwrap();
        world.assert_complete();
    });
}

#[test]
fn going_on_while_treasure_data_is_down_keeps_what_is_saved() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let before = world.saved();
        let kind = FaultKind::Status(503, None);
        let down = Fault { service: Service::TreasureData, target: FaultTarget::Every, kind };
        world.control().set_faults(FaultPlan { faults: vec![down] });
        let failure = world.run().await.unwrap_err();
        assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
        assert_eq!(world.saved(), before);
        world.control().set_faults(FaultPlan::none());
        assert!(world.run().await.unwrap().resumed);
        world.assert_complete();
        world.assert_clean();
    });
}
