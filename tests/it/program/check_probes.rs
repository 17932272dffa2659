//! `yotpo-td check --probe-bulk-import`, through the real program: what runs rely on is tested, a broken promise is found, and
//! nothing stays, whatever ends it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::sandbox::{
    BrokenPromise, FaultKind, KeyKind, Operation, SandboxSettings, TreasureDataBehaviour,
};

use crate::program::binary::{DATABASE, Running, Surroundings, TABLE, program};
use crate::program::checked::{Checked, check};

const SESSIONS: &[&str] = &["--probe-bulk-import"];
const TABLES: &[&str] = &["--probe-bulk-import", "--probe-tables"];
const OF_SESSIONS: [&str; 5] =
    ["probe_create", "probe_overwrite", "probe_frozen", "probe_list", "probe_perform"];
const OF_TABLES: [&str; 2] = ["probe_table_id", "probe_lost_table"];

/// An account with the target table and a session of somebody else.
fn surroundings_with(settings: SandboxSettings) -> Surroundings {
    let surroundings = Surroundings::new(SandboxSettings { customers: 9, ..settings });
    surroundings.control().create_table(DATABASE, TABLE);
    let path = format!("/v3/bulk_import/create/somebody_elses/{DATABASE}/{TABLE}");
    surroundings.call_treasure_data("POST", &path, b"");
    surroundings
}

fn breaking(broken_promise: BrokenPromise) -> Surroundings {
    let treasure_data = TreasureDataBehaviour { broken_promise, ..TreasureDataBehaviour::default() };
    let import_duration = Duration::from_secs(3_600);
    surroundings_with(SandboxSettings { treasure_data, import_duration, ..SandboxSettings::default() })
}

#[track_caller]
fn assert_nothing_is_left(surroundings: &Surroundings) {
    let names: Vec<_> = surroundings.control().sessions().into_iter().map(|session| session.name).collect();
    assert_eq!(names, ["somebody_elses"]);
    assert_eq!(surroundings.control().tables(), [(DATABASE.to_owned(), TABLE.to_owned())]);
    assert_eq!(surroundings.rows(), 0);
}

#[test]
fn sessions_are_probed_and_deleted() {
    let surroundings = surroundings_with(SandboxSettings::default());
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(0);
    for id in OF_SESSIONS {
        assert_eq!(checked.seen(id, "passed"), "not contradicted in 3 tries");
    }
    assert_eq!(checked.answer("exactly one of several callers?"), "not contradicted in 3 tries");
    assert_eq!(checked.seen("probe_cleanup", "passed"), "6 throw-away objects deleted, nothing is left");
    assert_nothing_is_left(&surroundings);
    assert_eq!(surroundings.control().import_jobs(), 0, "nothing was performed");
    assert_eq!(surroundings.control().operation_requests(Operation::CreateTable), 0);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 0);
}

#[test]
fn tables_are_probed_and_deleted_and_the_target_is_not_used() {
    let surroundings = surroundings_with(SandboxSettings::default());
    let id = surroundings.control().table_id(DATABASE, TABLE);
    let checked = check(&surroundings, TABLES, &[]);
    checked.assert_code(0);
    for id in OF_SESSIONS.iter().chain(&OF_TABLES) {
        assert_eq!(checked.seen(id, "passed"), "not contradicted in 3 tries");
    }
    assert_eq!(checked.answer("report after a rename?"), "the old name");
    assert_eq!(checked.answer("session whose table is deleted?"), "uploading");
    assert_nothing_is_left(&surroundings);
    assert_eq!(surroundings.control().table_id(DATABASE, TABLE), id, "the target was recreated");
    assert!(surroundings.control().sessions().iter().all(|session| session.is_valid));
}

#[test]
fn without_a_table_only_a_probe_of_its_own_table_is_possible() {
    let surroundings = Surroundings::with_customers(9);
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(0);
    assert!(checked.seen("probe_create", "skipped").ends_with("--probe-tables creates one"));
    assert_eq!(surroundings.control().tables(), []);
    let checked = check(&surroundings, TABLES, &[]);
    checked.assert_code(0);
    checked.seen("probe_create", "passed");
    assert_eq!((surroundings.control().tables(), surroundings.control().sessions()), (vec![], vec![]));
}

#[test]
fn every_broken_promise_is_found_and_needs_attention() {
    for (promise, id, words) in [
        (BrokenPromise::CreatesTwice, "probe_create", "5 of 5 callers created the same session"),
        (BrokenPromise::RefusesSameName, "probe_overwrite", "a second upload of the same name was refused"),
        (BrokenPromise::AcceptsWhenFrozen, "probe_frozen", "a frozen session accepted a part"),
        (
            BrokenPromise::ListsLate,
            "probe_list",
            "1 of 4 uploaded parts are not in the list after the freeze",
        ),
        (BrokenPromise::RenameChangesId, "probe_table_id", "a renamed table has another id"),
        (BrokenPromise::ForgetsSessions, "probe_lost_table", "the session is gone together with its table"),
    ] {
        let surroundings = breaking(promise);
        let checked = check(&surroundings, TABLES, &[]);
        checked.assert_code(9);
        assert_eq!(checked.seen(id, "failed"), format!("contradicted: {words}"), "{promise:?}");
        // A list that lacks a part of a frozen session contradicts both.
        let also = if promise == BrokenPromise::ListsLate { 2 } else { 1 };
        assert_eq!(checked.result["failed"], also, "{promise:?}: {:?}", checked.with_verdict("failed"));
        checked.seen("probe_cleanup", "passed");
        assert_nothing_is_left(&surroundings);
    }
}

#[test]
fn the_job_of_an_open_session_that_was_performed_is_killed_and_nothing_is_committed() {
    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(9);
    let seen = checked.seen("probe_perform", "failed");
    let job = seen.split_once("load job ").unwrap().1.split_once(", which was killed").unwrap().0;
    assert_eq!(surroundings.control().import_jobs(), 1, "it is not tried again");
    let status = surroundings.call_treasure_data("GET", &format!("/v3/job/status/{job}"), b"");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["status"], "killed");
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_key_that_may_not_create_tables_fails_the_first_probe_only() {
    let surroundings =
        surroundings_with(SandboxSettings { key_kind: KeyKind::WriteOnly, ..SandboxSettings::default() });
    let checked = check(&surroundings, TABLES, &[]);
    checked.assert_code(3);
    assert_eq!(checked.with_verdict("failed"), ["probe_create"]);
    assert_eq!(checked.seen("probe_list", "skipped"), "a probe before it failed");
    assert_nothing_is_left(&surroundings);
}

#[test]
fn what_cannot_be_deleted_is_named_and_runs_clean_removes_it_at_once() {
    let surroundings = surroundings_with(SandboxSettings::default());
    surroundings.fault_on_every(Operation::DeleteSession, FaultKind::Status(500, None));
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["probe_cleanup"]);
    let seen = checked.seen("probe_cleanup", "failed");
    let left: Vec<_> = surroundings.control().sessions().into_iter().map(|session| session.name).collect();
    let ours: Vec<_> = left.iter().filter(|name| *name != "somebody_elses").collect();
    assert_eq!(ours.len(), 6);
    assert!(ours.iter().all(|name| seen.contains(*name)), "{ours:?} in {seen}");
    surroundings.end_faults();
    let hint = checked.find("probe_cleanup")["hint"].as_str().unwrap();
    let command = hint.strip_prefix("remove it with: ").unwrap();
    // It asks on a terminal; here there is none.
    surroundings.type_in(&format!("{command} --yes"), &[]).finish().assert_code(0);
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_service_that_fails_during_the_probe_leaves_nothing_behind() {
    for operation in
        [Operation::CreateSession, Operation::UploadPart, Operation::FreezeSession, Operation::ListParts]
    {
        let surroundings = surroundings_with(SandboxSettings::default());
        surroundings.fault_on_every(operation, FaultKind::Status(500, None));
        let checked = check(&surroundings, SESSIONS, &[]);
        assert_ne!(checked.end.code(), 9, "{operation:?}: a failure is no contradiction");
        checked.seen("probe_cleanup", "passed");
        assert_nothing_is_left(&surroundings);
    }
}

#[test]
fn lost_responses_are_no_contradiction() {
    for operation in [Operation::CreateSession, Operation::FreezeSession, Operation::PerformSession] {
        let surroundings = surroundings_with(SandboxSettings::default());
        // Not the first request: that one is the session of somebody else.
        surroundings.fault_on(operation, 2, FaultKind::ResetAfterAction);
        let checked = check(&surroundings, SESSIONS, &[]);
        checked.assert_code(0);
        assert_eq!(checked.with_verdict("failed"), [""; 0], "{operation:?}");
        assert_nothing_is_left(&surroundings);
    }
}

#[test]
fn a_signal_ends_the_probe_and_nothing_is_left() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let surroundings = surroundings_with(SandboxSettings::default());
        surroundings.fault_on(Operation::FreezeSession, 1, FaultKind::Hang);
        let mut command = program();
        command.args(["check", "--output", "json"]).args(TABLES).envs(surroundings.environment());
        let running = Running::start(command);
        surroundings.wait_for_fault();
        running.signal(signal);
        let checked = Checked::of(running.finish());
        checked.assert_code(code);
        checked.seen("probe_create", "passed");
        assert_eq!(checked.seen("probe_perform", "skipped"), "stopped by a signal");
        checked.seen("probe_cleanup", "passed");
        assert_nothing_is_left(&surroundings);
    }
}
