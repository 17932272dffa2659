//! The parts in the session of an interrupted run decide whether it is resumed: unless they are exactly those that are
//! known to be stored, a new set is started and the old one removed.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yotpo_td::checkpoint::{RunPhase, RunState};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::{PartName, SessionName};
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{RecoveryState, RunError, RunReport};
use yotpo_td::sandbox::{Control, Fault, FaultKind, FaultPlan, FaultTarget, KilledJob, Operation, Service};
use yotpo_td::treasure_data::{Change, TreasureDataClient};

use crate::in_process::harness::{Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;

fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

/// The session of the saved run's set, accessible to everyone with the key.
struct Session {
    name: SessionName,
    client: std::sync::Arc<TreasureDataClient>,
}

impl Session {
    fn of_saved_run(world: &World) -> Self {
        let client = world.services(&world.settings()).treasure_data;
        Self { name: world.own_session().parse().unwrap(), client }
    }

    async fn parts(&self) -> Vec<String> {
        self.client.parts(&self.name).await.unwrap().unwrap()
    }

    async fn upload(&self, part: &str) {
        let part: PartName = part.parse().unwrap();
        assert!(self.client.upload_part(&self.name, &part, "not ours".into()).await.unwrap());
    }

    async fn delete(&self, part: &str) {
        self.client.delete_part(&self.name, &part.parse().unwrap()).await.unwrap();
    }

    async fn freeze(&self) {
        assert_eq!(self.client.freeze(&mut self.client.series(), &self.name).await.unwrap(), Change::Done);
    }

    async fn perform(&self) {
        let (change, _) = self.client.perform(&mut self.client.series(), &self.name).await.unwrap();
        assert_eq!(change, Change::Done);
    }

    async fn commit(&self) {
        assert_eq!(self.client.commit(&mut self.client.series(), &self.name).await.unwrap(), Change::Done);
    }

    async fn job(&self) -> String {
        self.client.session(&self.name).await.unwrap().unwrap().job_id.unwrap()
    }
}

/// The next run loads everything again, and nothing of the old set is left.
async fn starts_over(world: &World, context: &str) -> RunReport {
    let old = world.saved().unwrap().set.unwrap().nonce;
    let report = world.run().await.unwrap();
    assert!(!report.resumed, "{context}");
    assert_eq!(report.progress.customers_before, 0, "{context}");
    assert!(!report.session.as_ref().unwrap().as_str().contains(&old.to_string()), "{context}");
    assert_eq!(report.rows, Some(100), "{context}");
    world.assert_complete();
    world.assert_clean();
    report
}

#[test]
fn surplus_parts_are_deleted() {
    for (what, part) in
        [("of another life", "part_00000050_0123456789abcdef"), ("foreign", "left_by_somebody")]
    {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                world.interrupted_run(2).await;
                Session::of_saved_run(&world).upload(part).await;
                let report = world.run().await.unwrap();
                assert!(report.resumed, "{what}");
                assert_eq!(world.control().operation_requests(Operation::DeletePart), 1, "{what}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn too_many_surplus_parts_are_not_deleted_one_by_one() {
    for (parts, is_resumed) in [(100, true), (101, false)] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            world.interrupted_run(2).await;
            let session = Session::of_saved_run(&world);
            for part in 0..parts {
                session.upload(&format!("left_by_somebody_{part}")).await;
            }
            assert_eq!(world.run().await.unwrap().resumed, is_resumed, "{parts}");
            let deletions = world.control().operation_requests(Operation::DeletePart);
            assert_eq!(deletions, if is_resumed { parts } else { 0 });
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn an_open_session_that_others_changed_is_not_resumed() {
    for change in
        ["deleted", "frozen", "a part missing", "all parts missing", "a part twice", "a part exchanged"]
    {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                world.interrupted_run(2).await;
                let session = Session::of_saved_run(&world);
                let parts = session.parts().await;
                match change {
                    "deleted" => assert!(world.control().remove_session(session.name.as_str())),
                    "frozen" => session.freeze().await,
                    "a part missing" => session.delete(&parts[0]).await,
                    "all parts missing" => {
                        for part in &parts {
                            session.delete(part).await;
                        }
                    }
                    "a part twice" => session.upload("part_00000000_0123456789abcdef").await,
                    _ => {
                        session.delete(&parts[0]).await;
                        session.upload("part_00000000_0123456789abcdef").await;
                    }
                }
                starts_over(&world, change).await;
            });
        }
    }
}

#[test]
fn a_complete_session_that_others_changed_is_not_loaded() {
    let complete = |state: &RunState| state.phase == RunPhase::Loading;
    for change in ["deleted", "the last part missing", "a part missing", "the last part exchanged"] {
        for scenario in both_modes() {
            on_virtual_time(async move || {
                let world = World::killed_when(&scenario, &[], complete).await;
                let session = Session::of_saved_run(&world);
                let parts = session.parts().await;
                let last = parts.iter().find(|part| part.contains("_last_")).unwrap();
                match change {
                    "deleted" => assert!(world.control().remove_session(session.name.as_str())),
                    "the last part missing" => session.delete(last).await,
                    "a part missing" => session.delete(&parts[3]).await,
                    _ => {
                        session.delete(last).await;
                        session.upload(&last.replace("_last_10_100_0_", "_last_10_99_1_")).await;
                    }
                }
                starts_over(&world, change).await;
                assert_eq!(world.control().import_jobs(), 1, "{change}");
            });
        }
    }
}

#[test]
fn a_part_that_arrives_late_in_a_frozen_set_keeps_it_from_being_loaded() {
    for scenario in both_modes() {
        on_virtual_time(async move || {
            // The first upload of the third part is delivered again while the frozen session is read.
            let complete = |state: &RunState| state.phase == RunPhase::Loading;
            let world = World::killed_when(&scenario, &[], complete).await;
            let session = Session::of_saved_run(&world);
            session.upload("part_00000010_0123456789abcdef").await;
            session.freeze().await;
            starts_over(&world, "frozen with a surplus part").await;
        });
    }
}

#[test]
fn a_failed_load_is_tried_once_per_process() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let fail = |nth| Fault::on(Operation::PerformSession, nth, FaultKind::FailImport);
            world.control().set_faults(FaultPlan { faults: vec![fail(1), fail(2)] });
            for jobs in [1, 2] {
                let failure = world.run().await.unwrap_err();
                assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
                assert!(
                    matches!(failure.error, RunError::Ended { ending: Ending::LoadFailed, .. }),
                    "{failure:?}"
                );
                assert!(
                    matches!(failure.recovery, RecoveryState::Resumable { parts: 10, .. }),
                    "{failure:?}"
                );
                assert_eq!(world.control().import_jobs(), jobs);
                world.assert_untouched();
            }
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            assert_eq!(world.control().import_jobs(), 3);
            assert_eq!(world.fetched_twice(), [0; 0]);
            world.assert_complete();
            world.assert_clean();
        });
    }
}

/// `td job:kill`.
async fn kill_job(world: &World, job: &str) {
    let endpoint = world.sandbox.treasure_data_endpoint();
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let key = &world.sandbox.credentials().api_key;
    let request = format!(
        "POST /v3/job/kill/{job} HTTP/1.1\r\nhost: {address}\r\nauthorization: TD1 {key}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn a_set_whose_load_job_was_killed_is_loaded_again_or_recreated() {
    for killed_job in [KilledJob::FallsBack, KilledJob::StaysPerforming] {
        for mut scenario in both_modes() {
            scenario.sandbox.import_duration = Duration::from_secs(60);
            scenario.sandbox.treasure_data.killed_job = killed_job;
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let performing = |control: &Control| {
                    let is_performing =
                        control.sessions().iter().any(|session| session.status == "performing");
                    if is_performing { Verdict::Kill } else { Verdict::Continue }
                };
                assert!(world.watched_run(&world.settings(), performing).await.is_none());
                kill_job(&world, &Session::of_saved_run(&world).job().await).await;
                if killed_job == KilledJob::StaysPerforming {
                    starts_over(&world, "performing for ever").await;
                } else {
                    let report = world.run().await.unwrap();
                    assert!(report.resumed);
                    assert_eq!(world.fetched_twice(), [0; 0]);
                }
                world.assert_complete();
                world.assert_clean();
                assert_eq!(world.control().import_jobs(), 2);
            });
        }
    }
}

#[test]
fn rows_that_others_committed_are_not_taken_for_a_complete_load() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        world.interrupted_run(2).await;
        let session = Session::of_saved_run(&world);
        session.freeze().await;
        session.perform().await;
        world.clock.advance(Duration::from_secs(60));
        session.commit().await;
        world.clock.advance(Duration::from_secs(60));
        let rows = world.control().row_count(world.database(), TABLE).unwrap();
        assert!((1..100).contains(&rows), "{rows}");
        for _ in 0..2 {
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.diagnosis().status, ExitStatus::NeedsAttention);
            assert_eq!(failure.recovery, RecoveryState::Unknown, "{failure:?}");
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(rows));
        }
        // The user decides.
        world.run_with(&[("fresh", "on")]).await.unwrap();
        assert_eq!(world.verification().missing, 0);
    });
}

#[test]
fn a_deleted_winner_is_reported_and_nothing_is_loaded() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let target = FaultTarget::EveryOf(Operation::CommitSession);
            let down = Fault { service: Service::TreasureData, target, kind: FaultKind::Status(503, None) };
            world.control().set_faults(FaultPlan { faults: vec![down] });
            let failure = world.run().await.unwrap_err();
            assert!(matches!(failure.recovery, RecoveryState::MaybeCommitted { .. }), "{failure:?}");
            world.control().set_faults(FaultPlan::none());
            assert!(world.control().remove_session(&world.own_session()));
            for _ in 0..2 {
                let failure = world.run().await.unwrap_err();
                assert_eq!(failure.error.diagnosis().status, ExitStatus::NeedsAttention);
                assert!(
                    matches!(failure.error, RunError::Ended { ending: Ending::WinnerGone, .. }),
                    "{failure:?}"
                );
                assert_eq!(failure.recovery, RecoveryState::Unknown, "{failure:?}");
                world.assert_untouched();
            }
            // The user decides.
            world.run_with(&[("fresh", "on")]).await.unwrap();
            world.assert_complete();
            assert_eq!(world.saved(), None);
        });
    }
}
