//! Runs with an id: started again, here or on a machine without their state, they load nothing twice.

use std::num::NonZeroU64;
use std::time::Duration;

use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::{Mode, RunSession};
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{Outcome, RecoveryState, RunError, RunReport};
use yotpo_td::sandbox::{Control, Fault, FaultKind, FaultPlan, Glitch, GlitchKind, Operation};

use yotpo_td::treasure_data::Change;

use crate::in_process::harness::{Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;
use crate::program::binary::Surroundings;

pub(crate) const ID: &[(&str, &str)] = &[("run-id", "4f1c-uuid")];
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(crate) fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

pub(crate) fn half_uploaded(state: &RunState) -> bool {
    state.phase == RunPhase::Uploading && (3..10).contains(&state.parts)
}

/// The ballot and the winner of each run, and nothing else.
#[track_caller]
pub(crate) fn assert_markers(world: &World, runs: usize) {
    let sessions = world.control().sessions();
    let parsed: Vec<_> =
        sessions.iter().map(|session| (RunSession::parse(&session.name).unwrap(), session.status)).collect();
    let ballots = parsed.iter().filter(|(session, _)| matches!(session, RunSession::Ballot(_))).count();
    let winners = parsed
        .iter()
        .filter(|(session, status)| matches!(session, RunSession::Own(_)) && *status == "committed");
    assert_eq!((ballots, winners.count(), parsed.len()), (runs, runs, 2 * runs), "{parsed:?}");
    let tables: Vec<_> = world.control().tables().into_iter().map(|(_, table)| table).collect();
    assert_eq!(tables, [TABLE]);
}

/// Checks what is reported about rows that an earlier process loaded.
#[track_caller]
fn assert_reported(report: &RunReport, first: &RunReport) {
    assert_eq!(report.rows, Some(100));
    assert_eq!(report.ingestion_time, first.ingestion_time);
    assert_eq!(report.session, first.session);
    assert_eq!(report.job_id, first.job_id);
    assert!(report.job_id.is_some() && report.ingestion_time.is_some());
}

/// A world whose first run was killed as soon as `when` held.
pub(super) async fn killed_at(scenario: Scenario, when: impl Fn(&Control) -> bool) -> World {
    let world = World::start(scenario).await;
    let watch = |control: &Control| if when(control) { Verdict::Kill } else { Verdict::Continue };
    let result = world.watched_run(&world.settings_with(ID), watch).await;
    assert!(result.is_none(), "it was not killed: {result:?}");
    world
}

#[test]
fn a_loaded_run_is_reported_as_before_and_loads_nothing() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let first = world.run_with(ID).await.unwrap();
            assert_eq!((first.outcome, first.joined), (Outcome::Committed, false));
            assert_markers(&world, 1);
            for lost in [false, true, false] {
                if lost {
                    world.lose_state();
                }
                world.clock.advance(DAY);
                let report = world.run_with(ID).await.unwrap();
                assert_eq!(report.outcome, Outcome::AlreadyCommitted, "{report:?}");
                assert!(!report.resumed);
                assert_reported(&report, &first);
                assert_eq!(report.yotpo.requests, 0);
                world.assert_complete();
                assert_markers(&world, 1);
            }
            assert_eq!(world.control().import_jobs(), 1);
            assert_eq!(world.control().operation_requests(Operation::Customers), 10);
        });
    }
}

#[test]
fn a_repeated_run_id_warns_that_nothing_was_loaded() {
    for mode in ["append", "replace"] {
        let surroundings = Surroundings::with_customers(20);
        let arguments = ["--run-id", "nightly", "--mode", mode];
        let first = surroundings.run(&arguments);
        first.assert_code(0);
        assert!(!first.stderr.contains("loaded before"), "{}", first.stderr);
        for lost in [false, true] {
            if lost {
                std::fs::remove_file(surroundings.state_file()).unwrap();
            }
            let again = surroundings.run(&arguments);
            again.assert_code(0);
            let warning = again.stderr.lines().find(|line| line.contains("this run id was loaded before"));
            let warning = warning.unwrap_or_else(|| panic!("{}", again.stderr));
            assert!(warning.contains("WARN") && warning.contains("nightly"), "{warning}");
            assert!(again.stdout.contains("already has the 20 rows"), "{}", again.stdout);
        }
        assert_eq!(surroundings.rows(), 20, "{mode}");
    }
}

#[test]
fn another_id_is_another_run() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let first = world.run_with(ID).await.unwrap();
            world.clock.advance(DAY);
            let second = world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
            assert_eq!(second.outcome, Outcome::Committed);
            assert_ne!(second.session, first.session);
            assert_eq!(world.control().import_jobs(), 2);
            let copies = if world.scenario.mode == Mode::Append { 2 } else { 1 };
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(100 * copies));
            assert_markers(&world, 2);
        });
    }
}

pub(super) fn decided(control: &Control) -> bool {
    control.sessions().iter().any(|session| {
        session.name.contains("_r00_") || (session.name.contains("_a00_") && session.upload_frozen)
    })
}

fn committing(control: &Control) -> bool {
    control.sessions().iter().any(|session| session.status == "committing")
}

#[test]
fn an_attempt_without_state_joins_the_winner_and_loads_nothing_twice() {
    for mut scenario in both_modes() {
        scenario.sandbox.commit_duration = Duration::from_secs(30);
        for (what, reached) in [("decided", decided as fn(&Control) -> bool), ("committing", committing)] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = killed_at(scenario, reached).await;
                let theirs = world.saved().unwrap().set.unwrap();
                world.lose_state();
                world.clock.advance(DAY);
                let report = world.run_with(ID).await.unwrap();
                assert!(report.joined && !report.resumed, "{what}: {report:?}");
                assert_eq!(report.rows, Some(100), "{what}");
                assert_eq!(report.ingestion_time, Some(theirs.nonce.time()), "{what}");
                assert_eq!(report.yotpo.requests, 0, "{what}");
                assert_eq!(world.control().import_jobs(), 1, "{what}");
                assert_eq!(world.control().operation_requests(Operation::Customers), 10, "{what}");
                world.assert_complete();
                assert_markers(&world, 1);
            });
        }
    }
}

#[test]
fn an_undecided_attempt_of_a_lost_machine_is_left_alone_and_a_new_one_loads() {
    let ready = |state: &RunState| state.phase == RunPhase::Loading;
    for scenario in both_modes() {
        for wanted in [half_uploaded as fn(&RunState) -> bool, ready] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, ID, wanted).await;
                let theirs = world.own_session();
                world.lose_state();
                world.clock.advance(DAY);
                let report = world.run_with(ID).await.unwrap();
                assert_eq!(
                    (report.outcome, report.joined, report.resumed),
                    (Outcome::Committed, false, false)
                );
                assert_ne!(report.session.clone().map(String::from).as_ref(), Some(&theirs));
                world.assert_complete();
                // It may be alive, so its session is kept. Its temporary table is older than the published one, and must
                // never be renamed over it.
                let left = world.control().sessions();
                let older = left.iter().find(|session| session.name == theirs).unwrap();
                assert_eq!((older.status, older.is_valid), ("uploading", scenario.mode == Mode::Append));
                assert_eq!(left.len(), 3);
            });
        }
    }
}

#[test]
fn a_run_whose_load_failed_is_loaded_by_a_machine_without_its_state() {
    for scenario in both_modes() {
        for lost in [false, true] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
                world.control().set_faults(FaultPlan { faults: vec![fault] });
                let failure = world.run_with(ID).await.unwrap_err();
                assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
                assert!(failure.is_shared);
                if lost {
                    world.lose_state();
                }
                let report = world.run_with(ID).await.unwrap();
                assert_eq!(report.resumed, !lost);
                let pages = if lost { 20 } else { 10 };
                assert_eq!(world.control().operation_requests(Operation::Customers), pages);
                world.assert_complete();
            });
        }
    }
}

#[test]
fn a_run_id_that_is_too_old_is_refused_with_and_without_state() {
    for scenario in both_modes() {
        for (lost, flags, wait) in [
            (false, vec![], 5 * DAY),
            (true, vec![], 5 * DAY),
            (false, vec![("run-lifetime", "1h")], Duration::from_secs(3_600)),
            (true, vec![("run-lifetime", "1h")], Duration::from_secs(3_600)),
        ] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let complete = |state: &RunState| state.phase == RunPhase::Loading;
                let flags = [ID, &flags].concat();
                let world = World::killed_when(&scenario, &flags, complete).await;
                if lost {
                    world.lose_state();
                }
                world.clock.advance(wait + Duration::from_secs(1));
                let failure = world.run_with(&flags).await.unwrap_err();
                assert!(
                    matches!(failure.error, RunError::Ended { ending: Ending::RunTooOld, .. }),
                    "{failure:?}"
                );
                assert_eq!(failure.error.diagnosis().status, ExitStatus::NeedsAttention);
                assert!(failure.error.diagnosis().hint.unwrap().contains("new --run-id"));
                world.assert_untouched();
                let left = world.control().sessions();
                assert_eq!(left.len(), 1, "nothing was begun: {left:?}");
                let other = [("run-id", "another")];
                world.run_with(&other).await.unwrap();
                world.assert_complete();
            });
        }
    }
}

#[test]
fn a_run_that_is_young_enough_is_still_resumed() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let complete = |state: &RunState| state.phase == RunPhase::Loading;
            let world = World::killed_when(&scenario, ID, complete).await;
            world.clock.advance(Duration::from_secs(5 * 86_400 - 1));
            assert!(world.run_with(ID).await.unwrap().resumed);
            world.assert_complete();
            assert_markers(&world, 1);
        });
    }
}

#[test]
fn a_superseded_run_reports_this_and_changes_nothing() {
    for lost in [false, true] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::replace()).await;
            world.run_with(ID).await.unwrap();
            world.clock.advance(DAY);
            let newer = world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
            if lost {
                world.lose_state();
            }
            let failure = world.run_with(ID).await.unwrap_err();
            assert!(
                matches!(failure.error, RunError::Ended { ending: Ending::Superseded, .. }),
                "{failure:?}"
            );
            assert_eq!(failure.error.diagnosis().status, ExitStatus::AlreadyRunning);
            assert_eq!(failure.recovery, RecoveryState::Unknown);
            let time = i64::try_from(newer.ingestion_time.unwrap()).unwrap();
            let table = world.control().verify_table(world.database(), TABLE, time..=time).unwrap();
            assert!(table.is_exact(), "{table:?}");
            assert_eq!(world.control().import_jobs(), 2);
        });
    }
}

#[test]
fn a_paused_run_does_not_replace_the_rows_of_a_newer_one() {
    on_virtual_time(async || {
        // Between its commit and its rename.
        let world = killed_at(Scenario::replace(), |control| {
            control.sessions().iter().any(|session| session.status == "committed")
        })
        .await;
        let paused = world.saved().unwrap();
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(7));
        world.lose_state();
        world.clock.advance(DAY);
        let newer = world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
        world.store().save_run(&paused).unwrap();
        let failure = world.run_with(ID).await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::AlreadyRunning, "{failure:?}");
        let time = i64::try_from(newer.ingestion_time.unwrap()).unwrap();
        let table = world.control().verify_table(world.database(), TABLE, time..=time).unwrap();
        assert!(table.is_exact(), "{table:?}");
    });
}

/// Runs `work` and returns its log at level WARN.
async fn logged(work: impl Future<Output = ()>) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::sync::Mutex::new(log.reopen().unwrap()))
        .finish();
    // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    work.await;
    std::fs::read_to_string(log.path()).unwrap()
}

#[test]
fn a_joining_attempt_warns_about_its_stricter_limits() {
    for (allowed, warns) in [("0", true), ("1", false)] {
        let mut scenario = Scenario::append().flag("max-error-records", "1");
        let kind = GlitchKind::NumberAmongCustomers;
        scenario.sandbox.yotpo.glitch = Some(Glitch { page: NonZeroU64::MIN, times: u32::MAX, kind });
        on_virtual_time(async move || {
            let world = killed_at(scenario, decided).await;
            world.lose_state();
            let log = logged(async {
                let report = world.run_with(&[ID[0], ("max-error-records", allowed)]).await.unwrap();
                assert!(report.joined && report.error_records == 1, "{report:?}");
            });
            let log = log.await;
            assert_eq!(log.contains("left out more records than this one allows"), warns, "{allowed}: {log}");
        });
    }
}

#[test]
fn an_account_with_many_sessions_is_warned_about_once() {
    for (sessions, times) in [(1_499, 0), (1_500, 1)] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            assert!(world.control().create_table(world.database(), TABLE));
            let client = world.services(&world.settings()).treasure_data;
            let (database, table) = (world.database().parse().unwrap(), TABLE.parse().unwrap());
            for number in 0..sessions {
                let name = format!("somebody_else_{number}").parse().unwrap();
                let mut series = client.series();
                let change = client.create_session(&mut series, &name, &database, &table).await.unwrap();
                assert_eq!(change, Change::Done, "{number}");
            }
            let log = logged(async {
                world.run().await.unwrap();
            });
            let log = log.await;
            assert_eq!(log.matches("many bulk import sessions").count(), times, "{sessions}: {log}");
        });
    }
}
