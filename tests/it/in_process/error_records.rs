//! Records that Treasure Data cannot read, customers that cannot become rows, and rows that a guard refuses: they are
//! counted, quarantined if a directory is set, and nothing is committed unless a flag allows it. Stored parts are kept,
//! so that the same command with that flag fetches nothing again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::decide::Ending;
use yotpo_td::run::{GuardError, RecoveryState, RunError, RunFailure};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Glitch, GlitchKind, Operation};

use crate::in_process::harness::{Scenario, TABLE, World};
use crate::in_process::watchdog::on_virtual_time;

/// `{"time": 7, "json_response": "x"}`
pub(crate) const GOOD: &[u8] = b"\x82\xa4time\x07\xadjson_response\xa1x";
/// `{"canary": "x"}`: no time.
const BAD: &[u8] = b"\x81\xa6canary\xa1x";

pub(crate) fn gzip(records: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(records).unwrap();
    encoder.finish().unwrap()
}

/// Nine good records and a bad one.
pub(crate) fn one_bad() -> Vec<u8> {
    gzip(&[GOOD.repeat(9), BAD.to_vec()].concat())
}

/// A world whose interrupted run has `content` in place of its first part, which had ten rows.
async fn spoiled(scenario: Scenario, content: Vec<u8>) -> World {
    let world = World::start(scenario).await;
    world.interrupted_run(2).await;
    let own = world.own_session();
    let session = world.control().sessions().into_iter().find(|session| session.name == own).unwrap();
    world.upload_to_own_session(&session.parts[0], content).await;
    world
}

/// A store with something on this page, in addition to its customers, that cannot become a row.
fn with_a_number_on_page(page: u64) -> Scenario {
    let mut scenario = Scenario::append();
    let kind = GlitchKind::NumberAmongCustomers;
    scenario.sandbox.yotpo.glitch =
        Some(Glitch { page: NonZeroU64::new(page).unwrap(), times: u32::MAX, kind });
    scenario
}

/// The data was refused, and the stored parts and the state are kept.
#[track_caller]
fn assert_kept(world: &World, failure: &RunFailure) {
    assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused, "{failure:?}");
    let RecoveryState::Resumable { session, parts, .. } = &failure.recovery else { panic!("{failure:?}") };
    let left = world.control().sessions();
    let kept = left.iter().find(|left| left.name == session.as_str()).expect("the session is there");
    assert_eq!(kept.parts.len() as u64, *parts);
    assert_eq!(world.saved().unwrap().parts, *parts);
    assert_eq!(world.control().operation_requests(Operation::CommitSession), 0);
    world.assert_untouched();
}

/// Runs again with `flags`: it resumes and commits so many rows, and of the pages in `fetched` none is fetched again.
async fn assert_resumes(
    world: &World,
    flags: &[(&'static str, &str)],
    rows: u64,
    fetched: &BTreeMap<u64, u32>,
) {
    let report = world.run_with(flags).await.unwrap();
    assert!(report.resumed);
    assert_eq!(report.rows, Some(rows));
    assert_eq!(world.control().row_count(world.database(), TABLE), Some(rows));
    let again: Vec<_> =
        world.control().page_fetches().into_iter().filter(|(page, _)| fetched.contains_key(page)).collect();
    assert_eq!(again, fetched.clone().into_iter().collect::<Vec<_>>(), "fetched again");
    world.assert_clean();
}

fn counts(failure: &RunFailure) -> (Option<u64>, u64, u64, u64, u64) {
    let RunError::CountsDiffer {
        expected, valid_records, error_records, error_parts, max_error_records, ..
    } = &failure.error
    else {
        panic!("{failure:?}")
    };
    (*expected, *valid_records, *error_records, *error_parts, *max_error_records)
}

#[test]
fn error_records_keep_the_session_and_a_flag_commits_the_rest() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async || {
            let world = spoiled(scenario, one_bad()).await;
            let failure = world.run().await.unwrap_err();
            assert_eq!(counts(&failure), (Some(100), 99, 1, 0, 0));
            assert_kept(&world, &failure);
            // Without the flag nothing changes.
            let again = world.run().await.unwrap_err();
            assert_eq!(counts(&again), (Some(100), 99, 1, 0, 0));
            assert_kept(&world, &again);
            let fetched = world.control().page_fetches();
            assert_resumes(&world, &[("max-error-records", "1")], 99, &fetched).await;
            assert_eq!(world.control().import_jobs(), 1);
        });
    }
}

#[test]
fn allowed_error_records_are_left_out() {
    on_virtual_time(async || {
        let world = spoiled(Scenario::append(), one_bad()).await;
        let report = world.run_with(&[("max-error-records", "1")]).await.unwrap();
        assert_eq!((report.rows, report.error_records), (Some(99), 1));
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(99));
        world.assert_clean();
    });
}

#[test]
fn rejected_customers_keep_the_session_and_a_flag_leaves_them_out() {
    on_virtual_time(async || {
        let world = World::start(with_a_number_on_page(5)).await;
        let failure = world.run().await.unwrap_err();
        let RunError::Customer { page, position, allowed, .. } = failure.error else { panic!("{failure:?}") };
        assert_eq!((page, position, allowed), (5, 1, 0));
        assert_kept(&world, &failure);
        let stored = world.saved().unwrap().rows;
        assert_eq!(stored, 40, "the pages before");
        let mut fetched = world.control().page_fetches();
        fetched.retain(|customer, _| *customer < stored);
        assert_resumes(&world, &[("max-error-records", "1")], 100, &fetched).await;
        world.assert_complete();
        assert_eq!(world.store().history().unwrap()[0].error_records, 1);
    });
}

#[test]
fn rejected_customers_and_error_records_share_one_allowance() {
    on_virtual_time(async || {
        let world = spoiled(with_a_number_on_page(1).flag("max-error-records", "1"), one_bad()).await;
        assert_eq!(world.saved().unwrap().rejected_customers, 1);
        let failure = world.run().await.unwrap_err();
        assert_eq!(counts(&failure), (Some(100), 99, 1, 0, 0), "the rejected customer used it up");
        assert_kept(&world, &failure);
        let fetched = world.control().page_fetches();
        assert_resumes(&world, &[("max-error-records", "2")], 99, &fetched).await;
        assert_eq!(world.store().history().unwrap()[0].error_records, 2);
    });
}

#[test]
fn the_guard_also_checks_the_loaded_rows() {
    on_virtual_time(async || {
        // What was sent is half of what the table holds, which passes; what was loaded is less.
        let scenario = Scenario { old_rows: 200, ..Scenario::replace() }.flag("max-error-records", "1");
        let world = spoiled(scenario, one_bad()).await;
        let failure = world.run().await.unwrap_err();
        let RunError::Guard(GuardError::Shrunk { found, before, .. }) = failure.error else {
            panic!("{failure:?}")
        };
        assert_eq!((found, before), (99, 200));
        assert_kept(&world, &failure);
        assert_eq!(world.control().operation_requests(Operation::CreateSession), 1, "there is no ballot");
        let fetched = world.control().page_fetches();
        assert_resumes(&world, &[("min-rows-ratio", "0.4")], 99, &fetched).await;
        assert_eq!(world.control().import_jobs(), 1);
    });
}

#[test]
fn quarantined_error_records_are_readable_only_by_the_user() {
    on_virtual_time(async || {
        let world = spoiled(Scenario::append(), one_bad()).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let failure = world.run_with(&[("quarantine-dir", &path)]).await.unwrap_err();
        assert_kept(&world, &failure);
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        assert!(file.file_name().to_string_lossy().ends_with(".error-records.msgpack.gz"), "{file:?}");
        let mut content = Vec::new();
        let bytes = std::fs::read(file.path()).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut content).unwrap();
        assert!(content.windows(6).any(|window| window == b"canary"));
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    });
}

#[test]
fn the_download_of_error_records_is_repeated_until_it_is_complete() {
    on_virtual_time(async || {
        let world = spoiled(Scenario::append(), one_bad()).await;
        let fault = |nth, kind| Fault::on(Operation::ErrorRecords, nth, kind);
        let faults = vec![
            fault(1, FaultKind::TruncatedBody),
            fault(2, FaultKind::Hang),
            fault(3, FaultKind::ResetBeforeAction),
            // Longer than the request timeout, which applies to each piece.
            fault(4, FaultKind::SlowBody(Duration::from_secs(80))),
        ];
        world.control().set_faults(FaultPlan { faults });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_string_lossy().into_owned();
        let failure = world.run_with(&[("quarantine-dir", &path)]).await.unwrap_err();
        assert_kept(&world, &failure);
        assert_eq!(world.control().operation_requests(Operation::ErrorRecords), 4);
        let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut content = Vec::new();
        let bytes = std::fs::read(file).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut content).unwrap();
        assert!(content.ends_with(BAD), "{content:?}");
    });
}

/// Rows that differ from those that were sent are useless with any flags: the next run starts over.
async fn assert_condemned(content: Vec<u8>, expected: (Option<u64>, u64, u64, u64, u64)) {
    let world = spoiled(Scenario::append(), content).await;
    let failure = world.run_with(&[("max-error-records", "1000")]).await.unwrap_err();
    assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused);
    assert_eq!(counts(&failure), expected);
    assert_eq!(failure.recovery, RecoveryState::Deleted);
    assert_eq!(world.control().operation_requests(Operation::CommitSession), 0);
    world.assert_untouched();
    world.assert_clean();
    let report = world.run().await.unwrap();
    assert!(!report.resumed);
    world.assert_complete();
    world.assert_clean();
}

#[test]
fn a_part_that_cannot_be_read_is_never_committed() {
    on_virtual_time(async || {
        assert_condemned(b"no gzip".to_vec(), (Some(100), 90, 0, 1, 1_000)).await;
    });
}

#[test]
fn more_rows_than_were_sent_are_never_committed() {
    on_virtual_time(async || {
        assert_condemned(gzip(&GOOD.repeat(11)), (Some(100), 101, 0, 0, 1_000)).await;
    });
}

#[test]
fn fewer_rows_than_were_sent_are_never_committed() {
    on_virtual_time(async || {
        assert_condemned(gzip(&GOOD.repeat(9)), (Some(100), 99, 0, 0, 1_000)).await;
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
            assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
            assert!(failure.error.diagnosis().hint.unwrap().contains("td job:show"), "{failure:?}");
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            world.assert_untouched();
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            world.assert_complete();
            world.assert_clean();
            assert_eq!(world.control().operation_requests(Operation::Customers), 10);
            assert_eq!(world.control().import_jobs(), 2);
        });
    }
}

#[test]
fn a_commit_that_falls_back_is_requested_again() {
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
fn a_commit_that_always_falls_back_ends_the_run_and_the_next_resumes() {
    on_virtual_time(async || {
        let fail = |nth| Fault::on(Operation::CommitSession, nth, FaultKind::FailCommit);
        let world = World::start(Scenario::append().faults((1..=3).map(fail).collect())).await;
        let failure = world.run().await.unwrap_err();
        let RunError::Ended { ending, .. } = &failure.error else { panic!("{failure:?}") };
        assert_eq!(*ending, Ending::CommitFailed);
        assert_eq!(failure.error.diagnosis().status, ExitStatus::TreasureDataFailed);
        // The set won the ballot: any attempt of the run may commit it.
        let time = world.saved().unwrap().set.unwrap().nonce.time();
        assert_eq!(failure.recovery, RecoveryState::MaybeCommitted { ingestion_time: time });
        world.assert_untouched();
        assert!(world.run().await.unwrap().resumed);
        world.assert_complete();
        world.assert_clean();
        assert_eq!(world.control().operation_requests(Operation::Customers), 10);
    });
}
