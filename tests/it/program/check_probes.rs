//! `yotpo-td check --probe-bulk-import`, through the real program: what runs rely on is tested, a broken promise is found, and
//! nothing stays, whatever ends it.

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::sandbox::{
    BrokenPromise, Fault, FaultKind, FaultPlan, FaultTarget, KeyKind, Operation, SandboxSettings, Service,
    TreasureDataBehaviour,
};

use crate::program::binary::{DATABASE, Running, Surroundings, TABLE, program, wait_until};
use crate::program::checked::{Checked, check};
use crate::program::in_front::check_behind;

pub(crate) const SESSIONS: &[&str] = &["--probe-bulk-import"];
pub(crate) const TABLES: &[&str] = &["--probe-bulk-import", "--probe-tables"];
const OF_SESSIONS: [&str; 5] =
    ["probe_create", "probe_overwrite", "probe_frozen", "probe_list", "probe_perform"];
const OF_TABLES: [&str; 2] = ["probe_table_id", "probe_lost_table"];

/// An account with the target table and a session of somebody else.
pub(crate) fn surroundings_with(settings: SandboxSettings) -> Surroundings {
    let surroundings = Surroundings::new(SandboxSettings { customers: 9, ..settings });
    surroundings.control().create_table(DATABASE, TABLE);
    let path = format!("/v3/bulk_import/create/somebody_elses/{DATABASE}/{TABLE}");
    surroundings.call_treasure_data("POST", &path, b"");
    surroundings
}

pub(crate) fn breaking(broken_promise: BrokenPromise) -> Surroundings {
    let treasure_data = TreasureDataBehaviour { broken_promise, ..TreasureDataBehaviour::default() };
    let import_duration = Duration::from_secs(3_600);
    surroundings_with(SandboxSettings { treasure_data, import_duration, ..SandboxSettings::default() })
}

#[track_caller]
pub(crate) fn assert_nothing_is_left(surroundings: &Surroundings) {
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

#[test]
fn each_try_deletes_what_it_created_before_the_next_one_begins() {
    let surroundings = surroundings_with(SandboxSettings::default());
    // The last of three tries of uploads, and of three tries with a table that is deleted.
    surroundings.fault_on(Operation::FreezeSession, 6, FaultKind::Hang);
    let mut command = program();
    command.args(["check", "--output", "json"]).args(TABLES).envs(surroundings.environment());
    let running = Running::start(command);
    surroundings.wait_for_fault();
    let (sessions, tables) = (surroundings.control().sessions(), surroundings.control().tables());
    assert_eq!(sessions.len(), 2, "somebody else's, and that of the last try: {sessions:?}");
    assert_eq!(tables.len(), 2, "the target, and that of all sessions but the last: {tables:?}");
    running.signal(Signal::TERM);
    Checked::of(running.finish()).assert_code(143);
    assert_nothing_is_left(&surroundings);
}

/// The load job that the probe of `perform` reports.
fn reported_job<'a>(seen: &'a str, end: &str) -> &'a str {
    seen.split_once("(load job ").unwrap().1.split_once(end).unwrap().0
}

#[test]
fn a_load_job_that_could_not_be_killed_is_killed_in_the_end_or_named() {
    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    let failing = |nth| Fault::on(Operation::KillJob, nth, FaultKind::Status(500, None));
    // A request and its two retries.
    surroundings.control().set_faults(FaultPlan { faults: (1..=3).map(failing).collect() });
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(9);
    assert_eq!(checked.with_verdict("failed"), ["probe_perform"]);
    let seen = checked.seen("probe_perform", "failed");
    let job = reported_job(&seen, ", which could not be killed yet)");
    let status = surroundings.call_treasure_data("GET", &format!("/v3/job/status/{job}"), b"");
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["status"], "killed");
    assert_eq!(surroundings.control().operation_requests(Operation::KillJob), 4);
    assert_nothing_is_left(&surroundings);

    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    surroundings.fault_on_every(Operation::KillJob, FaultKind::Status(500, None));
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(9);
    assert_eq!(checked.with_verdict("failed"), ["probe_perform", "probe_cleanup"]);
    let seen = checked.seen("probe_perform", "failed");
    let job = reported_job(&seen, ", which could not be killed yet)");
    let left = checked.seen("probe_cleanup", "failed");
    assert!(left.ends_with(&format!("; may be left: load job {job}")), "{left}");
    let hint = format!("remove it with: td job:kill {job}; yotpo-td runs clean --database {DATABASE}");
    assert_eq!(checked.find("probe_cleanup")["hint"], hint);
    assert_nothing_is_left(&surroundings);
}

#[test]
fn tables_that_cannot_be_deleted_are_named_and_runs_clean_removes_them_at_once() {
    let surroundings = surroundings_with(SandboxSettings::default());
    surroundings.fault_on_every(Operation::DeleteTable, FaultKind::Status(500, None));
    let checked = check(&surroundings, TABLES, &[]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["probe_lost_table", "probe_cleanup"]);
    let seen = checked.seen("probe_cleanup", "failed");
    let tables = surroundings.control().tables().into_iter().map(|(_, table)| table);
    let ours: Vec<_> = tables.filter(|table| table != TABLE).collect();
    // That of the sessions, the two that were renamed and created again, and the one that was to be lost.
    assert_eq!(ours.len(), 4, "{ours:?}");
    assert!(ours.iter().all(|table| seen.contains(&format!("table {table}"))), "{ours:?} in {seen}");
    surroundings.end_faults();
    let command = format!("yotpo-td runs clean --database {DATABASE} --yes");
    surroundings.type_in(&command, &[]).finish().assert_code(0);
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_cleanup_that_cannot_look_for_late_requests_fails() {
    let surroundings = surroundings_with(SandboxSettings::default());
    // The first list is that of the account.
    let failing = |nth| Fault::on(Operation::ListSessions, nth, FaultKind::Status(500, None));
    surroundings.control().set_faults(FaultPlan { faults: (2..=4).map(failing).collect() });
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["probe_cleanup"]);
    let seen = checked.seen("probe_cleanup", "failed");
    assert!(seen.ends_with("; may be left: what a cancelled request made later"), "{seen}");
    assert_eq!(surroundings.control().operation_requests(Operation::ListSessions), 4);
    assert_nothing_is_left(&surroundings);
}

#[test]
fn what_a_late_request_created_again_is_deleted_as_well() {
    let surroundings = surroundings_with(SandboxSettings::default());
    // The first request that creates a table, and the first one that creates a session.
    let first = Mutex::new([None, None]);
    let lists = Mutex::new(0);
    let checked = check_behind(&surroundings, TABLES, move |asked, behind| {
        let mut first = first.lock().unwrap();
        for (kept, part) in first.iter_mut().zip(["/table/create/", "/bulk_import/create/"]) {
            if asked.line.contains(part) {
                kept.get_or_insert_with(|| asked.clone());
            }
        }
        if asked.line.contains("/bulk_import/list ") {
            let mut lists = lists.lock().unwrap();
            *lists += 1;
            // The second list is that of the cleanup, after everything was deleted.
            if *lists == 2 {
                for late in first.iter().flatten() {
                    assert_eq!(behind.respond(late).0, 200, "{}", late.line);
                }
            }
        }
        behind.respond(asked)
    });
    checked.assert_code(0);
    assert_eq!(surroundings.control().operation_requests(Operation::ListTables), 2);
    checked.seen("probe_cleanup", "passed");
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_second_signal_ends_the_cleanup_and_names_what_may_be_left() {
    let surroundings = surroundings_with(SandboxSettings::default());
    let hanging_deletion = Fault {
        service: Service::TreasureData,
        target: FaultTarget::EveryOf(Operation::DeleteSession),
        kind: FaultKind::Hang,
    };
    let faults = vec![Fault::on(Operation::FreezeSession, 1, FaultKind::Hang), hanging_deletion];
    surroundings.control().set_faults(FaultPlan { faults });
    let mut command = program();
    command.args(["check", "--output", "json"]).args(SESSIONS).envs(surroundings.environment());
    let running = Running::start(command);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    wait_until("a deletion hangs", || surroundings.control().applied_faults() > 1);
    let checked = Checked::of(running.finish_by(Signal::INT));
    checked.assert_code(143);
    let seen = checked.seen("probe_cleanup", "warning");
    let sessions = surroundings.control().sessions().into_iter().map(|session| session.name);
    let ours: Vec<_> = sessions.filter(|name| name != "somebody_elses").collect();
    let [session] = ours.as_slice() else { panic!("{ours:?}") };
    assert_eq!(seen, format!("stopped by a second signal; may be left: session {session}"));
    let hint = format!("remove it with: yotpo-td runs clean --database {DATABASE}");
    assert_eq!(checked.find("probe_cleanup")["hint"], hint);
}
