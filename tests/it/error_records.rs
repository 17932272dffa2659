//! Records that Treasure Data cannot read: told, put aside where a folder is named, and nothing is committed unless
//! so many are allowed.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::pipeline::{RecoveryState, RunError};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation};
use yotpo_td::treasure_data::{PartName, Session, Stage, TreasureDataError};

use crate::harness::{Scenario, TABLE, World};
use crate::watchdog::on_virtual_time;

/// `{"time": 7, "json_response": "x"}`
const GOOD: &[u8] = b"\x82\xa4time\x07\xadjson_response\xa1x";
/// `{"canary": "x"}`: no time.
const BAD: &[u8] = b"\x81\xa6canary\xa1x";

fn gzip(records: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(records).unwrap();
    encoder.finish().unwrap()
}

/// A world whose interrupted run has `content` instead of its first part, which had ten rows.
async fn spoilt(content: Vec<u8>) -> World {
    let world = World::start(Scenario::append()).await;
    world.interrupted_run(2).await;
    let state = world.saved().unwrap();
    let client = Arc::clone(&world.services(&world.settings()).treasure_data);
    let (database, table) = (world.database().parse().unwrap(), TABLE.parse().unwrap());
    let session = Session::new(client, state.session.parse().unwrap(), database, table);
    let Stage::Open(open) = session.attach().await.unwrap() else { panic!("the session is open") };
    open.upload(&PartName::at(0), content.into()).await.unwrap();
    world
}

/// Nine good records and a bad one.
fn one_bad() -> Vec<u8> {
    gzip(&[GOOD.repeat(9), BAD.to_vec()].concat())
}

#[test]
fn error_records_are_counted_and_nothing_is_committed() {
    on_virtual_time(async || {
        let world = spoilt(one_bad()).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::DataRefused);
        let RunError::TreasureData(TreasureDataError::CountsDiffer { expected, counts, .. }) = &failure.error
        else {
            panic!("{failure:?}")
        };
        assert_eq!((*expected, counts.valid_records, counts.error_records), (Some(100), 99, 1));
        assert_eq!(failure.recovery, RecoveryState::Deleted);
        assert_eq!(world.control().operation_requests(Operation::CommitSession), 0);
        world.assert_untouched();
        world.assert_clean();
        world.run().await.unwrap();
        world.assert_complete();
    });
}

#[test]
fn allowed_error_records_are_left_out() {
    on_virtual_time(async || {
        let world = spoilt(one_bad()).await;
        let report = world.run_with(&[("max-error-records", "1")]).await.unwrap();
        assert_eq!(report.error_records, 1);
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(99));
        world.assert_clean();
    });
}

#[test]
fn error_records_are_put_aside_where_only_the_user_can_read_them() {
    on_virtual_time(async || {
        let world = spoilt(one_bad()).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        world.run_with(&[("quarantine-dir", &path)]).await.unwrap_err();
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        assert!(file.file_name().to_string_lossy().ends_with(".error-records.msgpack.gz"), "{file:?}");
        let mut content = Vec::new();
        let bytes = std::fs::read(file.path()).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut content).unwrap();
        assert!(content.windows(6).any(|window| window == b"canary"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        world.assert_untouched();
    });
}

#[test]
fn a_part_that_cannot_be_read_is_never_committed() {
    on_virtual_time(async || {
        let world = spoilt(b"no gzip".to_vec()).await;
        let failure = world.run_with(&[("max-error-records", "1000")]).await.unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::DataRefused);
        let RunError::TreasureData(TreasureDataError::CountsDiffer { counts, .. }) = &failure.error else {
            panic!("{failure:?}")
        };
        assert_eq!((counts.error_parts, counts.valid_records), (1, 90));
        world.assert_untouched();
        world.assert_clean();
    });
}

#[test]
fn more_rows_than_were_sent_are_never_committed() {
    on_virtual_time(async || {
        let world = spoilt(gzip(&GOOD.repeat(11))).await;
        let failure = world.run_with(&[("max-error-records", "1000")]).await.unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::DataRefused, "{failure:?}");
        world.assert_untouched();
        world.assert_clean();
    });
}

#[test]
fn a_load_job_that_fails_is_performed_again_by_the_next_run() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let fault = Fault::on(Operation::PerformSession, 1, FaultKind::FailImport);
            world.control().set_faults(FaultPlan { faults: vec![fault] });
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.exit_status(), ExitStatus::TreasureDataFailed);
            assert!(failure.error.hint().unwrap().contains("td job:show"), "{failure:?}");
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            world.assert_untouched();
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            world.assert_complete();
            world.assert_clean();
            assert_eq!(world.control().operation_requests(Operation::Customers), 10);
        });
    }
}

#[test]
fn a_commit_that_falls_back_is_asked_for_again() {
    on_virtual_time(async || {
        let fault = Fault::on(Operation::CommitSession, 1, FaultKind::FailCommit);
        let world = World::start(Scenario::append().faults(vec![fault])).await;
        world.run().await.unwrap();
        assert_eq!(world.control().operation_requests(Operation::CommitSession), 2);
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_commit_that_always_falls_back_ends_the_run_and_the_next_goes_on() {
    on_virtual_time(async || {
        let fail = |nth| Fault::on(Operation::CommitSession, nth, FaultKind::FailCommit);
        let world = World::start(Scenario::append().faults((1..=3).map(fail).collect())).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.exit_status(), ExitStatus::TreasureDataFailed);
        assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
        world.assert_untouched();
        assert!(world.run().await.unwrap().resumed);
        world.assert_complete();
        world.assert_clean();
    });
}
