//! A state file of an earlier release: before its commit the run is removed and started over, from the commit on it is
//! only read.

use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::{Mode, SessionName, Target};
use yotpo_td::run::{Outcome, RecoveryState, RunError};
use yotpo_td::sandbox::Operation;
use yotpo_td::treasure_data::TreasureDataClient;

use crate::in_process::harness::{Scenario, TABLE, World};
use crate::in_process::watchdog::on_virtual_time;

const VERSION_1: &str = include_str!("../../fixtures/state/version-1.state");
pub(crate) const VERSION_2: &str = include_str!("../../fixtures/state/version-2.state");
pub(crate) const SESSION: &str = "yotpo_td_00000000_20261123T040000Z-9f1c02ab";
const TEMPORARY_TABLE: &str = "yotpo_td_tmp_00000000_20261123t040000z_9f1c02ab_12345678";
/// What the earlier release had loaded, as rows and as the `time` of all of them.
const ROWS: u64 = 1_000;
const TIME: u64 = 1_795_406_400;

/// A part with one row that belongs to no customer.
fn part() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    rmp::encode::write_map_len(&mut encoder, 2).unwrap();
    rmp::encode::write_str(&mut encoder, "time").unwrap();
    rmp::encode::write_uint(&mut encoder, TIME).unwrap();
    rmp::encode::write_str(&mut encoder, "json_response").unwrap();
    rmp::encode::write_str(&mut encoder, "of an earlier release").unwrap();
    encoder.finish().unwrap()
}

/// The fixture of an earlier release's state file, for this target.
pub(crate) fn state_of(target: &Target, mode: Mode, file: &str, phase: &str) -> String {
    let (header, body) = file.trim_end().split_once('\n').unwrap();
    let version = header.split(' ').nth(2).unwrap();
    let mut state: Value = serde_json::from_str(body).unwrap();
    let run = if version == "1" { &mut state } else { &mut state["run"] };
    run["target"] = serde_json::to_value(target).unwrap();
    run["mode"] = json!(mode);
    run["phase"] = json!(phase);
    run["loaded_rows"] = json!(ROWS);
    run["temporary_table"] = if mode == Mode::Append { Value::Null } else { json!(TEMPORARY_TABLE) };
    let content = format!("{version}\n{state}\n");
    let checksum = crc32fast::hash(format!("yotpo-td state {content}").as_bytes());
    format!("yotpo-td state {version} {checksum:08x}\n{state}\n")
}

/// What an earlier release left in a state directory and in Treasure Data.
struct Left {
    world: World,
    client: Arc<TreasureDataClient>,
}

impl Left {
    /// The fixture of that release's state file, for this world's target.
    async fn new(scenario: Scenario, file: &str, phase: &str) -> Self {
        let world = World::start(scenario).await;
        let sealed = state_of(&world.settings().load.target, world.scenario.mode, file, phase);
        std::fs::write(world.store().path(), sealed).unwrap();
        let client = world.services(&world.settings()).treasure_data;
        let left = Self { world, client };
        left.open_session().await;
        left
    }

    fn session() -> SessionName {
        SESSION.parse().unwrap()
    }

    async fn open_session(&self) {
        let is_append = self.world.scenario.mode == Mode::Append;
        let table = if is_append { TABLE } else { TEMPORARY_TABLE };
        let database = self.world.database();
        self.world.control().create_table(database, table);
        let (database, table) = (database.parse().unwrap(), table.parse().unwrap());
        let mut series = self.client.series();
        self.client.create_session(&mut series, &Self::session(), &database, &table).await.unwrap();
    }

    /// Commits the session, with a row that is in no store.
    async fn commit(&self) {
        let session = Self::session();
        let name = "part_00000000".parse().unwrap();
        assert!(self.client.upload_part(&session, &name, part().into()).await.unwrap());
        self.client.freeze(&mut self.client.series(), &session).await.unwrap();
        self.client.perform(&mut self.client.series(), &session).await.unwrap();
        self.world.clock.advance(Duration::from_secs(3_600));
        self.client.commit(&mut self.client.series(), &session).await.unwrap();
        self.world.clock.advance(Duration::from_secs(3_600));
        let committed = self.world.control().sessions();
        assert_eq!(committed[0].status, "committed");
    }
}

fn both_modes() -> [Scenario; 2] {
    [Scenario::append(), Scenario::replace()]
}

#[test]
fn a_run_before_its_commit_is_removed_and_started_over() {
    for file in [VERSION_1, VERSION_2] {
        for phase in ["uploading", "frozen", "performing", "ready"] {
            for scenario in both_modes() {
                on_virtual_time(async move || {
                    let Left { world, .. } = Left::new(scenario, file, phase).await;
                    let report = world.run().await.unwrap();
                    assert_eq!((report.outcome, report.rows), (Outcome::Committed, Some(100)), "{phase}");
                    assert!(!report.resumed, "{phase}");
                    assert_ne!(report.run_id.to_string(), "20261123T040000Z-9f1c02ab", "{phase}");
                    world.assert_complete();
                    // Session and temporary table of the earlier release are gone.
                    world.assert_clean();
                    assert_eq!(world.store().legacy_run().unwrap(), None, "{phase}");
                });
            }
        }
    }
}

#[test]
fn an_append_that_was_committed_is_reported_and_loads_nothing() {
    for file in [VERSION_1, VERSION_2] {
        for phase in ["committing", "committed"] {
            on_virtual_time(async move || {
                let left = Left::new(Scenario::append(), file, phase).await;
                left.commit().await;
                let world = &left.world;
                let report = world.run().await.unwrap();
                assert_eq!(report.outcome, Outcome::AlreadyCommitted, "{phase}");
                assert_eq!((report.rows, report.ingestion_time), (Some(ROWS), Some(TIME)), "{phase}");
                assert_eq!(report.session.map(String::from).as_deref(), Some(SESSION), "{phase}");
                assert_eq!(world.control().row_count(world.database(), TABLE), Some(1), "{phase}");
                assert_eq!(world.control().operation_requests(Operation::Customers), 0, "{phase}");
                // The next run is another one.
                assert_eq!(world.store().legacy_run().unwrap(), None, "{phase}");
                world.run().await.unwrap();
                assert_eq!(world.control().row_count(world.database(), TABLE), Some(101), "{phase}");
            });
        }
    }
}

#[test]
fn a_run_other_than_the_requested_one_is_finished_and_a_new_one_loads() {
    for flags in [[("run-id", "another")], [("fresh", "on")], [("mode", "replace")]] {
        on_virtual_time(async move || {
            let left = Left::new(Scenario::append(), VERSION_2, "committed").await;
            left.commit().await;
            let world = &left.world;
            let report = world.run_with(&flags).await.unwrap();
            assert_eq!((report.outcome, report.rows), (Outcome::Committed, Some(100)), "{flags:?}");
            let kept = u64::from(flags != [("mode", "replace")]);
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(100 + kept), "{flags:?}");
            assert_eq!(world.verification().missing, 0, "{flags:?}");
        });
    }
}

#[test]
fn a_replace_that_was_renamed_is_reported_and_loads_nothing() {
    for phase in ["renamed", "cleaned"] {
        on_virtual_time(async move || {
            let Left { world, .. } = Left::new(Scenario::replace(), VERSION_2, phase).await;
            let report = world.run().await.unwrap();
            assert_eq!(report.outcome, Outcome::AlreadyCommitted, "{phase}");
            assert_eq!(world.control().operation_requests(Operation::Customers), 0, "{phase}");
            world.assert_untouched();
        });
    }
}

#[test]
fn a_commit_whose_end_is_unknown_needs_a_person() {
    for (scenario, phase, is_committed) in [
        (Scenario::replace(), "committing", false),
        (Scenario::replace(), "committing", true),
        (Scenario::replace(), "committed", true),
        // Its session is still open, which contradicts the file.
        (Scenario::append(), "committing", false),
        // It was committed by others.
        (Scenario::append(), "ready", true),
        (Scenario::replace(), "uploading", true),
    ] {
        on_virtual_time(async move || {
            let context = format!("{:?} {phase} {is_committed}", scenario.mode);
            let left = Left::new(scenario, VERSION_2, phase).await;
            if is_committed {
                left.commit().await;
            }
            let world = &left.world;
            let rows = world.control().row_count(world.database(), TABLE);
            let (sessions, tables) = (world.control().sessions(), world.control().tables());
            for _ in 0..2 {
                let failure = world.run().await.unwrap_err();
                assert!(matches!(failure.error, RunError::LegacyCommit { .. }), "{context}: {failure:?}");
                assert_eq!(failure.error.diagnosis().status, ExitStatus::NeedsAttention, "{context}");
                assert_eq!(failure.recovery, RecoveryState::Unknown, "{context}");
                assert!(failure.error.diagnosis().hint.unwrap().contains(SESSION), "{context}");
            }
            assert_eq!(world.control().row_count(world.database(), TABLE), rows, "{context}");
            assert_eq!(
                (world.control().sessions(), world.control().tables()),
                (sessions, tables),
                "{context}"
            );
        });
    }
}

#[test]
fn the_last_success_of_an_earlier_release_is_remembered() {
    on_virtual_time(async || {
        let Left { world, .. } = Left::new(Scenario::append(), VERSION_2, "uploading").await;
        world.run().await.unwrap();
        let history = world.store().history().unwrap();
        let ids: Vec<_> = history.iter().map(|run| run.run_id.as_str()).collect();
        assert_eq!((ids.len(), ids[1]), (2, "earlier"));
    });
}
