//! Abandoned runs: a ballot makes sure that no attempt can load them any more, unless it is too late.

use std::sync::Arc;
use std::time::Duration;

use yotpo_td::checkpoint::{RunPhase, RunState, StateStore};
use yotpo_td::config::Settings;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::{Mode, RunSession};
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{self, AbandonSettings, LoadSettings, Outcome, RunError};
use yotpo_td::sandbox::{Control, Operation};
use yotpo_td::shutdown::StopRequests;

use crate::in_process::harness::{Scenario, TABLE, Verdict, World};
use crate::in_process::run_id::{ID, decided, killed_at};
use crate::in_process::watchdog::on_virtual_time;

const ID_AND_FRESH: &[(&str, &str)] = &[ID[0], ("fresh", "on")];
const HOUR: u64 = 3_600;

fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

fn half_uploaded(state: &RunState) -> bool {
    state.phase == RunPhase::Uploading && (3..10).contains(&state.parts)
}

fn ballots(world: &World) -> Vec<u8> {
    let parsed =
        world.control().sessions().into_iter().filter_map(|session| RunSession::parse(&session.name));
    parsed
        .filter_map(|session| match session {
            RunSession::Ballot(ballot) => Some(ballot.generation),
            _ => None,
        })
        .collect()
}

fn own_sessions(world: &World) -> usize {
    let parsed =
        world.control().sessions().into_iter().filter_map(|session| RunSession::parse(&session.name));
    parsed.filter(|session| matches!(session, RunSession::Own(_))).count()
}

/// `runs abandon` for the saved run, or for one of which only the id is known.
async fn abandon_run(world: &World, run_id: &str) -> Result<bool, RunError> {
    Box::pin(abandon_as(world, &world.settings(), run_id)).await
}

async fn abandon_as(world: &World, settings: &Settings, run_id: &str) -> Result<bool, RunError> {
    let services = world.services(settings);
    let settings = &settings.load;
    let store = Arc::new(StateStore::open(&settings.resume.state_directory, &settings.target).unwrap());
    let now = world.clock.unix_time().as_secs();
    let unknown = || {
        let id = run_id.parse().unwrap();
        RunState::new(id, true, settings.target.clone(), world.scenario.mode, 100, now)
    };
    let state = store.run().unwrap().unwrap_or_else(unknown);
    let account = AbandonSettings {
        state_directory: settings.resume.state_directory.clone(),
        polling: settings.polling,
        run_lifetime: settings.run_lifetime,
        without_table_ids: false,
    };
    let given = state.keeps_marker.then(|| state.run_id.clone());
    let to_abandon = LoadSettings::to_abandon(settings.target.clone(), world.scenario.mode, given, account);
    let (_sender, stop) = StopRequests::channel();
    Box::pin(run::abandon_run(&services, &to_abandon, &store, state, &stop)).await
}

#[test]
fn a_run_that_is_not_resumed_is_abandoned_by_its_ballot_and_removed() {
    let other_mode = |mode| if mode == Mode::Append { "replace" } else { "append" };
    for scenario in both_modes() {
        for (what, flags, hours) in [
            ("fresh", vec![("fresh", "on")], 0),
            ("older", vec![], 7),
            ("page size", vec![("page-size", "50")], 0),
            ("mode", vec![("mode", other_mode(scenario.mode))], 0),
            ("resume-within", vec![("resume-within", "1h")], 2),
            ("run lifetime", vec![("resume-within", "30d")], 5 * 24 + 1),
            ("past everything", vec![], 30 * 24),
        ] {
            let scenario = Scenario { old_rows: 0, ..scenario.clone() };
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                world.interrupted_run(2).await;
                let old = world.own_session();
                let mut was_decided = false;
                world.clock.advance(Duration::from_secs(hours * HOUR));
                let settings = world.settings_with(&flags);
                let watch = |control: &Control| {
                    was_decided |= control.sessions().iter().any(|session| {
                        session.parts.iter().any(|part| part.starts_with("abandon_"))
                            || session.table.ends_with("_abandon")
                    });
                    Verdict::Continue
                };
                let report = world.watched_run(&settings, watch).await.unwrap().unwrap();
                assert!(!report.resumed, "{what}");
                assert_eq!(report.progress.customers_before, 0, "{what}");
                assert_ne!(report.session.map(String::from), Some(old), "{what}");
                // Too old to be proposed by any attempt, so there is nothing to decide. Later its sessions are gone,
                // which show its age.
                assert_eq!(was_decided, what != "run lifetime", "{what}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_decided_set_is_committed_for_another_fifth_of_the_lifetime() {
    for scenario in both_modes() {
        for (hours, is_committed) in [(6 * 24 - 1, true), (6 * 24 + 1, false)] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = killed_at(scenario, decided).await;
                world.clock.advance(Duration::from_secs(hours * HOUR));
                let result = world.run_with(ID).await;
                if is_committed {
                    assert!(result.unwrap().resumed);
                    world.assert_complete();
                } else {
                    let error = result.unwrap_err().error;
                    assert!(matches!(error, RunError::Ended { ending: Ending::RunTooOld, .. }), "{error:?}");
                    world.assert_untouched();
                }
            });
        }
    }
}

#[test]
fn a_set_that_is_complete_is_abandoned_when_the_run_is_too_old() {
    for scenario in both_modes() {
        for phase in [RunPhase::Loading, RunPhase::Proposed] {
            let scenario = scenario.clone();
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, &[], |state| state.phase == phase).await;
                let old = world.own_session();
                world.clock.advance(Duration::from_secs(6 * 24 * HOUR + 1));
                let report = world.run().await.unwrap();
                assert!(!report.resumed, "{phase:?}");
                assert_ne!(report.session.map(String::from), Some(old), "{phase:?}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_decided_run_is_completed_before_another_begins() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let committing = |control: &Control| control.operation_requests(Operation::CommitSession) > 0;
            let world = World::start(scenario.clone()).await;
            let watch =
                |control: &Control| if committing(control) { Verdict::Kill } else { Verdict::Continue };
            assert!(world.watched_run(&world.settings(), watch).await.is_none());
            let old = world.own_session();
            let report = world.run_with(&[("fresh", "on")]).await.unwrap();
            assert!(!report.resumed);
            assert_ne!(report.session.map(String::from), Some(old));
            assert_eq!(world.control().operation_requests(Operation::CommitSession), 2);
            // Both runs are in the table of `append`; the second replaced the first in `replace`.
            let copies = if scenario.mode == Mode::Append { 2 } else { 1 };
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(100 * copies));
            assert_eq!(world.verification().missing, 0);
            world.assert_clean();
        });
    }
}

#[test]
fn an_interrupted_run_with_another_id_is_abandoned_and_stays_abandoned() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let world = World::killed_when(&scenario, ID, half_uploaded).await;
            let old = world.own_session();
            let report = world.run_with(&[("run-id", "another")]).await.unwrap();
            assert!(!report.resumed);
            assert_ne!(report.session.clone().map(String::from).as_ref(), Some(&old));
            world.assert_complete();
            // The ballot of either run, and the winner of the second.
            assert_eq!(ballots(&world), [0, 0]);
            assert_eq!(own_sessions(&world), 1, "{:?}", world.leftovers());
            // Starting the first run again loads it in its next generation.
            world.clock.advance(Duration::from_secs(1));
            let again = world.run_with(ID).await.unwrap();
            assert_eq!(again.outcome, Outcome::Committed);
            assert_eq!(ballots(&world), [0, 0, 1]);
        });
    }
}

#[test]
fn fresh_with_a_run_id_abandons_the_unfinished_attempt_and_loads_in_the_next_generation() {
    for state_lost in [false, true] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, ID, half_uploaded).await;
                let old = world.own_session();
                if state_lost {
                    world.lose_state();
                }
                let report = world.run_with(ID_AND_FRESH).await.unwrap();
                assert_eq!(
                    (report.outcome, report.joined, report.resumed),
                    (Outcome::Committed, false, false)
                );
                assert_ne!(report.session.clone().map(String::from).as_ref(), Some(&old));
                assert_eq!(ballots(&world), [0, 1]);
                world.assert_complete();
                // From now on it is loaded.
                let again = world.run_with(ID).await.unwrap();
                assert_eq!(again.outcome, Outcome::AlreadyCommitted);
                assert_eq!(again.session, report.session);
                world.assert_complete();
            });
        }
    }
}

#[test]
fn fresh_with_a_loaded_run_id_is_an_error_that_loads_nothing() {
    for state_lost in [false, true] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                world.run_with(ID).await.unwrap();
                if state_lost {
                    world.lose_state();
                }
                let left = world.control().sessions();
                let failure = world.run_with(ID_AND_FRESH).await.unwrap_err();
                assert!(matches!(failure.error, RunError::AlreadyLoaded { .. }), "{failure:?}");
                assert_eq!(failure.error.diagnosis().status, ExitStatus::Usage);
                assert!(failure.error.diagnosis().hint.unwrap().contains("new --run-id"));
                assert_eq!(world.control().sessions(), left);
                assert_eq!(world.control().import_jobs(), 1);
                world.assert_complete();
            });
        }
    }
}

#[test]
fn fresh_with_a_loaded_run_id_is_an_error_whatever_another_run_left() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let world = World::start(scenario).await;
            world.run_with(ID).await.unwrap();
            world.interrupted_run(3).await;
            let failure = world.run_with(ID_AND_FRESH).await.unwrap_err();
            assert!(matches!(failure.error, RunError::AlreadyLoaded { .. }), "{failure:?}");
            world.assert_complete();
        });
    }
}

#[test]
fn abandoning_a_run_by_its_id_is_an_error_if_its_table_was_replaced_since() {
    on_virtual_time(async move || {
        let world = World::start(Scenario::replace()).await;
        world.run_with(ID).await.unwrap();
        world.clock.advance(Duration::from_secs(24 * HOUR));
        world.run_with(&[("run-id", "the-next-day")]).await.unwrap();
        let error = abandon_run(&world, ID[0].1).await.unwrap_err();
        assert!(matches!(error, RunError::Ended { ending: Ending::Superseded, .. }), "{error:?}");
    });
}

#[test]
fn abandoning_before_the_ballot_means_that_the_run_loads_nothing() {
    for flags in [&[][..], ID] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, flags, half_uploaded).await;
                assert!(!abandon_run(&world, ID[0].1).await.unwrap());
                world.assert_untouched();
                assert_eq!(world.saved(), None);
                assert_eq!(own_sessions(&world), 0, "{:?}", world.leftovers());
                if flags.is_empty() {
                    world.assert_clean();
                } else {
                    assert_eq!(ballots(&world), [0]);
                }
                // Starting it again loads it.
                let report = world.run_with(flags).await.unwrap();
                assert_eq!(report.outcome, Outcome::Committed);
                world.assert_complete();
            });
        }
    }
}

#[test]
fn a_run_of_another_machine_is_abandoned_by_its_id_alone() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let world = World::killed_when(&scenario, ID, half_uploaded).await;
            let theirs = world.saved().unwrap();
            let old = world.own_session();
            world.lose_state();
            world.clock.advance(Duration::from_secs(1));
            assert!(!abandon_run(&world, ID[0].1).await.unwrap());
            assert_eq!(ballots(&world), [0]);
            assert!(world.leftovers().contains(&old), "what another attempt made is not ours to touch");
            world.assert_untouched();
            // The other machine finds the abandonment in its first survey, and loads in the next generation.
            world.store().save_run(&theirs).unwrap();
            world.clock.advance(Duration::from_secs(1));
            let report = world.run_with(ID).await.unwrap();
            assert_eq!(report.outcome, Outcome::Committed);
            assert!(!report.resumed, "a set that is older than the abandonment must not be proposed");
            assert_eq!(ballots(&world), [0, 1]);
            world.assert_complete();
        });
    }
}

#[test]
fn a_running_attempt_ends_when_its_run_is_abandoned() {
    for mut scenario in both_modes() {
        scenario.sandbox.import_duration = Duration::from_secs(600);
        on_virtual_time(async move || {
            let world = World::start(scenario).await;
            let settings = world.settings_with(ID);
            let here = world.watched_run(&settings, |_| Verdict::Continue);
            let elsewhere = async {
                world.clock.sleep(Duration::from_secs(120)).await;
                let directory = tempfile::tempdir().unwrap();
                let settings = world.settings_with(&[("state-dir", directory.path().to_str().unwrap())]);
                abandon_as(&world, &settings, ID[0].1).await.unwrap()
            };
            let (here, too_late) = tokio::join!(here, elsewhere);
            assert!(!too_late);
            let failure = here.unwrap().unwrap_err();
            assert!(
                matches!(failure.error, RunError::Ended { ending: Ending::AbandonedByOthers, .. }),
                "{failure:?}"
            );
            assert_eq!(failure.error.diagnosis().status, ExitStatus::AlreadyRunning);
            world.assert_untouched();
        });
    }
}

#[test]
fn abandoning_after_the_commit_is_too_late() {
    for flags in [&[][..], ID] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let committing = |control: &Control| {
                    let is_asked = control.operation_requests(Operation::CommitSession) > 0;
                    if is_asked { Verdict::Kill } else { Verdict::Continue }
                };
                assert!(world.watched_run(&world.settings_with(flags), committing).await.is_none());
                assert!(abandon_run(&world, ID[0].1).await.unwrap());
                world.assert_complete();
                assert_eq!(world.saved(), None);
                if flags.is_empty() {
                    world.assert_clean();
                } else {
                    assert_eq!(world.run_with(ID).await.unwrap().outcome, Outcome::AlreadyCommitted);
                    world.assert_complete();
                }
            });
        }
    }
}

#[test]
fn abandoning_a_run_that_only_had_to_clean_up_is_too_late() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            let finished = |state: &RunState| state.phase == RunPhase::Finished;
            let world = World::killed_when(&scenario, &[], finished).await;
            for session in world.control().sessions() {
                assert!(world.control().remove_session(&session.name));
            }
            assert!(abandon_run(&world, ID[0].1).await.unwrap());
            world.assert_complete();
            world.assert_clean();
        });
    }
}
