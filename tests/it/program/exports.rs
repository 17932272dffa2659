//! `sync --to DIR` and `load DIR`: an export is complete or refused, and loaded once, whatever happens in between.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::sandbox::{FaultKind, Glitch, GlitchKind, Operation, SandboxSettings, Service, YotpoBehaviour};

use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, program, wait_until};
use crate::program::closing_words::{
    CORRECT_AND_RESUME, RESUME, assert_words, next_command, next_command_to, transcript,
};

pub(crate) const CUSTOMERS: u64 = 60;

/// Where a test exports to.
pub(crate) fn export_directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.directory().join("export")
}

pub(crate) fn export_command(surroundings: &Surroundings, arguments: &[&str]) -> Command {
    let directory = export_directory(surroundings);
    surroundings.sync(&[&["--to", directory.to_str().unwrap()], arguments].concat())
}

pub(crate) fn export(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    Running::start(export_command(surroundings, arguments)).finish()
}

pub(crate) fn load_command(surroundings: &Surroundings, arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("load").arg(export_directory(surroundings)).args(arguments);
    let environment = surroundings.environment();
    command.envs(environment.iter().filter(|(name, _)| **name != "YOTPO_CLIENT_SECRET"));
    command
}

pub(crate) fn load(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    Running::start(load_command(surroundings, arguments)).finish()
}

pub(crate) fn manifest(surroundings: &Surroundings) -> Value {
    let text = fs::read_to_string(export_directory(surroundings).join("manifest.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["manifest"].take()
}

/// The parts of the export, in their order.
pub(crate) fn parts(surroundings: &Surroundings) -> Vec<PathBuf> {
    let files = fs::read_dir(export_directory(surroundings)).unwrap();
    let mut parts: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    parts.retain(|path| path.to_str().unwrap().ends_with(".msgpack.gz"));
    parts.sort();
    parts
}

fn json_responses(surroundings: &Surroundings, table: &str) -> Vec<(i64, String)> {
    let rows = surroundings.control().rows(DATABASE, table).unwrap();
    rows.map(|row| row.unwrap()).map(|row| (row.time, row.json_response.unwrap())).collect()
}

pub(crate) fn requests(surroundings: &Surroundings, service: Service) -> u64 {
    surroundings.control().requests(service)
}

#[test]
fn an_export_and_its_load_give_the_rows_of_a_sync() {
    for mode in ["append", "replace"] {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        surroundings.run(&["--table", "direct"]).assert_code(0);
        let requests_before = requests(&surroundings, Service::TreasureData);
        export(&surroundings, &[]).assert_code(0);
        assert_eq!(
            requests(&surroundings, Service::TreasureData),
            requests_before,
            "an export needs no account"
        );
        let pages = surroundings.control().operation_requests(Operation::Customers);
        let loaded = load(&surroundings, &["--mode", mode, "--summary", "json"]);
        loaded.assert_code(0);
        assert_eq!(surroundings.control().operation_requests(Operation::Customers), pages);
        let (direct, exported) =
            (json_responses(&surroundings, "direct"), json_responses(&surroundings, TABLE));
        let text = |rows: &[(i64, String)]| rows.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        assert_eq!(text(&exported), text(&direct));
        let manifest = manifest(&surroundings);
        assert!(exported.iter().all(|(time, _)| manifest["time"] == *time), "{manifest}");
        let summary: Value = serde_json::from_str(&loaded.stdout).unwrap();
        assert_eq!(summary["ingestion_time"], manifest["time"]);
        assert_eq!((&summary["rows"], &summary["customers"]), (&CUSTOMERS.into(), &CUSTOMERS.into()));
        let with_loyalty_data = exported.iter().filter(|(_, text)| !text.contains("\"yotpo_loyalty\":null"));
        let with_loyalty_data =
            with_loyalty_data.filter(|(_, text)| text.contains("\"yotpo_loyalty\":")).count();
        assert_eq!(summary["customers_with_loyalty_data"], with_loyalty_data);
        assert_eq!((&summary["pages"], &summary["ended_by"]), (&12.into(), &"last_page".into()));
        crate::program::summary::assert_valid(&summary);
        let run_id = summary["run_id"].as_str().unwrap();
        let sha256 = summary["export_sha256"].as_str().unwrap();
        assert_eq!(run_id, format!("export-{}", &sha256[..32]));
        surroundings.assert_exact();
    }
}

#[test]
fn an_export_is_private_whatever_was_there_before() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(0);
    assert!(end.stderr.contains("permissions were too open"), "{}", end.stderr);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2 + parts(&surroundings).len(), "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn a_complete_export_is_not_fetched_again_unless_it_is_asked_for() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let first = manifest(&surroundings);
    let before = requests(&surroundings, Service::Yotpo);
    let again = export(&surroundings, &["--summary", "json"]);
    again.assert_code(0);
    assert_eq!(requests(&surroundings, Service::Yotpo), before);
    let summary: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&summary["outcome"], &summary["rows"]), (&"already_exported".into(), &CUSTOMERS.into()));
    assert!(again.stderr.contains("nothing was fetched now"), "{}", again.stderr);
    assert_eq!(manifest(&surroundings), first);
    surroundings.control().set_customers(35);
    export(&surroundings, &["--fresh"]).assert_code(0);
    assert_eq!(manifest(&surroundings)["rows"], 35);
    assert_eq!(parts(&surroundings).len(), manifest(&surroundings)["parts"].as_array().unwrap().len());
    load(&surroundings, &[]).assert_code(0);
    assert_eq!(surroundings.rows(), 35);
}

/// Kills exports at this failpoint, from its first to its last time.
#[track_caller]
fn kill_export_at(failpoint: &str, least: u32) {
    for nth in 1.. {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        let mut command = export_command(&surroundings, &["--upload-workers", "1"]);
        command.env("YOTPO_TD_FAILPOINT", format!("{failpoint}:{nth}:kill"));
        let end = Running::start(command).finish();
        if end.status.code() == Some(0) {
            assert!(nth > least, "{failpoint} is reached {} times", nth - 1);
            break;
        }
        let refused = load(&surroundings, &[]);
        let code = refused.code();
        assert!(code == 6 || code == 2, "{failpoint} {nth}: {}", refused.stderr);
        assert_eq!(surroundings.rows(), 0, "{failpoint} {nth}");
        export(&surroundings, &[]).assert_code(0);
        assert_eq!(manifest(&surroundings)["is_complete"], true);
        load(&surroundings, &[]).assert_code(0);
        surroundings.assert_exact();
        let files = fs::read_dir(export_directory(&surroundings)).unwrap().count();
        assert_eq!(files, 2 + parts(&surroundings).len(), "{failpoint} {nth}: something else is left");
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn an_export_that_is_killed_at_any_save_is_completed_by_the_same_command() {
    kill_export_at("before rename", 10);
}

#[test]
fn an_export_that_is_killed_at_any_page_resumes_after_its_last_part() {
    for page in 1..=12_u64 {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        surroundings.fault_on(Operation::Customers, page, FaultKind::Hang);
        let running = Running::start(export_command(&surroundings, &[]));
        surroundings.wait_for_fault();
        // A part is closed as soon as there are rows for the next one.
        let parts = usize::try_from(page.saturating_sub(2) / 2).unwrap();
        // The manifest may be written after the page was requested.
        let manifest_exists = || export_directory(&surroundings).join("manifest.json").exists();
        let listed = || manifest(&surroundings)["parts"].as_array().unwrap().len();
        wait_until("the parts are in the manifest", || parts == 0 || manifest_exists() && listed() >= parts);
        running.kill();
        surroundings.end_faults();
        let requests = surroundings.control().operation_requests(Operation::Customers);
        let end = export(&surroundings, &[]);
        end.assert_code(0);
        assert_eq!(end.stdout.contains("(resumed)"), parts > 0, "page {page}: {}", end.stdout);
        let fetched = surroundings.control().operation_requests(Operation::Customers) - requests;
        assert_eq!(fetched, 12 - 2 * u64::try_from(parts).unwrap(), "page {page}");
        load(&surroundings, &[]).assert_code(0);
        surroundings.assert_exact();
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_load_that_is_killed_at_any_save_is_completed_by_the_same_command() {
    for mode in ["append", "replace"] {
        for nth in 1.. {
            let surroundings = Surroundings::with_customers(CUSTOMERS);
            export(&surroundings, &[]).assert_code(0);
            let mut command = load_command(&surroundings, &["--mode", mode, "--upload-workers", "1"]);
            command.env("YOTPO_TD_FAILPOINT", format!("after save:{nth}:kill"));
            let end = Running::start(command).finish();
            if end.status.code() == Some(0) {
                assert!(nth > 8, "there are only {} saves", nth - 1);
                break;
            }
            assert_eq!(end.status.code(), None, "{}", end.stderr);
            // Every second time on another machine, which has no state.
            let elsewhere = surroundings.directory().join("elsewhere");
            let elsewhere = ["--mode", mode, "--state-dir", elsewhere.to_str().unwrap()];
            load(&surroundings, if nth % 2 == 0 { &elsewhere } else { &elsewhere[..2] }).assert_code(0);
            surroundings.assert_exact();
        }
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn whichever_write_finds_the_disk_full_the_named_command_completes_the_export() {
    for place in ["write part", "write manifest"] {
        let mut words = BTreeSet::new();
        for nth in 1.. {
            let surroundings = Surroundings::with_customers(CUSTOMERS);
            let mut command = export_command(&surroundings, &["--upload-workers", "1"]);
            command.env("YOTPO_TD_FAILPOINT", format!("{place}:{nth}:full"));
            let end = Running::start(command).finish();
            if end.status.code() == Some(0) {
                assert!(nth > 5, "{place} is reached {} times", nth - 1);
                break;
            }
            end.assert_code(6);
            assert!(end.closing().contains("code: disk_full (exit code 6)"), "{}", end.closing());
            assert!(end.closing().contains("hint: free space on that disk"), "{}", end.closing());
            words.insert(end.last_line().contains(" rows in "));
            if place == "write part" && nth == 4 {
                assert_words!("export_disk_full", transcript(&end));
                next_command_to(CORRECT_AND_RESUME, &end);
            }
            surroundings.type_in(&next_command(&end), &[]).finish().assert_code(0);
            load(&surroundings, &[]).assert_code(0);
            surroundings.assert_exact();
        }
        assert_eq!(words, BTreeSet::from([false, true]), "{place}");
    }
}

#[test]
fn a_second_export_to_the_same_directory_is_refused_or_waits() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_on(Operation::Customers, 6, FaultKind::Hang);
    let first = Running::start(export_command(&surroundings, &[]));
    surroundings.wait_for_fault();
    let second = export(&surroundings, &[]);
    second.assert_code(8);
    assert_words!("export_active", transcript(&second));
    let refused = load(&surroundings, &[]);
    refused.assert_code(6);
    assert!(refused.closing().contains("is incomplete"), "{}", refused.closing());
    let waiting = Running::start(export_command(&surroundings, &["--wait-for-active", "1h"]));
    waiting.wait_for_stderr("waiting for another run");
    first.signal(Signal::TERM);
    first.finish().assert_code(143);
    surroundings.end_faults();
    let end = waiting.finish();
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn two_loads_of_an_export_at_once_load_it_once() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let elsewhere = surroundings.directory().join("elsewhere");
    let first = Running::start(load_command(&surroundings, &[]));
    let second = Running::start(load_command(&surroundings, &["--state-dir", elsewhere.to_str().unwrap()]));
    first.finish().assert_code(0);
    second.finish().assert_code(0);
    surroundings.assert_exact();
    let again = load(&surroundings, &["--summary", "json"]);
    again.assert_code(0);
    let summary: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(summary["outcome"], "already_committed");
    surroundings.assert_exact();
}

#[test]
fn a_failing_store_leaves_an_export_that_the_named_command_completes() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    let end = export(&surroundings, &[]);
    end.assert_code(4);
    assert_words!("export_interrupted", transcript(&end));
    let refused = load(&surroundings, &[]);
    refused.assert_code(6);
    assert_words!("load_incomplete", transcript(&refused));
    surroundings.end_faults();
    // The command in the hint of the refused load needs nothing but the settings of the export.
    surroundings.type_in(&next_command_to(RESUME, &end), &[]).finish().assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn an_interrupted_export_with_a_damaged_part_starts_over() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(9, &FaultKind::Status(503, None));
    export(&surroundings, &[]).assert_code(4);
    surroundings.end_faults();
    let part = &parts(&surroundings)[1];
    let body = fs::read(part).unwrap();
    fs::write(part, &body[1..]).unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(0);
    assert!(end.stderr.contains("cannot be resumed, starting over"), "{}", end.stderr);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn customers_that_cannot_become_rows_are_left_out_of_the_export_and_reported_by_its_load() {
    let glitch =
        Glitch { page: 6.try_into().unwrap(), times: u32::MAX, kind: GlitchKind::NumberAmongCustomers };
    let yotpo = YotpoBehaviour { glitch: Some(glitch), ..YotpoBehaviour::default() };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: CUSTOMERS, yotpo, ..SandboxSettings::default() });
    let refused = export(&surroundings, &[]);
    refused.assert_code(7);
    assert!(refused.closing().contains("customer_unreadable"), "{}", refused.closing());
    let quarantine = surroundings.directory().join("quarantine");
    fs::create_dir(&quarantine).unwrap();
    let allowed = ["--max-error-records", "1", "--quarantine-dir", quarantine.to_str().unwrap()];
    export(&surroundings, &allowed).assert_code(0);
    assert_eq!(manifest(&surroundings)["rejected_customers"], 1);
    assert_eq!(fs::read_dir(&quarantine).unwrap().count(), 1);
    let loaded = load(&surroundings, &["--summary", "json"]);
    loaded.assert_code(0);
    let summary: Value = serde_json::from_str(&loaded.stdout).unwrap();
    assert_eq!((&summary["error_records"], &summary["rows"]), (&1.into(), &manifest(&surroundings)["rows"]));
    surroundings.assert_exact();
}

#[test]
fn a_sandbox_needs_no_settings_for_an_export() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("export");
    let mut command = program();
    command.args(["sync", "--sandbox", "--sandbox-customers", "250", "--to"]).arg(&directory);
    let end = Running::start(command).finish();
    end.assert_code(0);
    assert!(end.stdout.contains("exported 250 rows"), "{}", end.stdout);
    let text = fs::read_to_string(directory.join("manifest.json")).unwrap();
    let manifest = &serde_json::from_str::<Value>(&text).unwrap()["manifest"];
    assert_eq!((&manifest["is_complete"], &manifest["rows"]), (&true.into(), &250.into()));
}
