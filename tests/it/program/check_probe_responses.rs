//! `yotpo-td check --probe-bulk-import` against responses that are rare or that break a promise: each is a contradiction, a
//! failure or nothing at all, and nothing stays.

use serde_json::{Value, json};
use yotpo_td::sandbox::{
    BrokenPromise, FaultKind, Operation, RenamedTable, SandboxSettings, TreasureDataBehaviour,
};

use crate::in_process::scripted_server::{Asked, ScriptedResponse};
use crate::program::check_probes::{SESSIONS, TABLES, assert_nothing_is_left, breaking, surroundings_with};
use crate::program::checked::{Checked, check};
use crate::program::in_front::{Behind, check_behind, check_with_responses};

/// How a check of a probe ends: its id, its verdict and what was seen.
type End<'a> = (&'a str, &'a str, &'a str);

const TWICE: &str = "not contradicted in 2 tries";
const THREE_TIMES: &str = "not contradicted in 3 tries";
const NOT_ALLOWED: &str = "the API key may not do this in Treasure Data";
const PART_REFUSED: &str = "unclear: an open session refused a part";

/// Of the checks, only this one may fail, and what was created is deleted.
#[track_caller]
fn assert_end(checked: &Checked, (id, verdict, seen): End<'_>) {
    let found = checked.seen(id, verdict);
    assert!(found.starts_with(seen), "{id}: {found}");
    let failed = if verdict == "failed" { vec![id] } else { Vec::new() };
    assert_eq!(checked.with_verdict("failed"), failed);
    checked.seen("probe_cleanup", "passed");
}

/// The n-th request of an operation has an error response.
fn with_status(arguments: &[&str], operation: Operation, nth: u64, status: u16) -> Checked {
    with_fault(arguments, operation, nth, FaultKind::Status(status, None))
}

fn with_fault(arguments: &[&str], operation: Operation, nth: u64, kind: FaultKind) -> Checked {
    let surroundings = surroundings_with(SandboxSettings::default());
    surroundings.fault_on(operation, nth, kind);
    let checked = check(&surroundings, arguments, &[]);
    assert_nothing_is_left(&surroundings);
    checked
}

/// The requests whose line contains `part` have the responses of `script`, which gets their number.
fn with_responses(
    arguments: &[&str],
    part: &'static str,
    script: impl Fn(u64, &Asked, &Behind) -> ScriptedResponse + Send + Sync + 'static,
) -> Checked {
    let surroundings = surroundings_with(SandboxSettings::default());
    let checked = check_with_responses(&surroundings, arguments, part, script);
    assert_nothing_is_left(&surroundings);
    checked
}

/// The n-th of the requests whose line contains `part` has this response, and has no effect.
fn with_response(arguments: &[&str], part: &'static str, nth: u64, status: u16, body: &Value) -> Checked {
    let body = body.to_string();
    with_responses(arguments, part, move |number, asked, behind| {
        if number == nth { (status, body.clone()) } else { behind.respond(asked) }
    })
}

#[test]
fn a_rejected_or_denied_call_of_a_session_ends_its_probe_and_contradicts_nothing() {
    use Operation::{CreateSession, FreezeSession, PerformSession, UploadPart};
    for (operation, nth, status, code, end) in [
        // The first session is that of somebody else.
        (CreateSession, 2, 403, 3, ("probe_create", "failed", NOT_ALLOWED)),
        (UploadPart, 1, 400, 0, ("probe_overwrite", "warning", PART_REFUSED)),
        (UploadPart, 1, 401, 3, ("probe_overwrite", "failed", "Treasure Data denied the API key")),
        (UploadPart, 3, 400, 0, ("probe_frozen", "warning", PART_REFUSED)),
        (FreezeSession, 1, 403, 3, ("probe_frozen", "failed", NOT_ALLOWED)),
        (FreezeSession, 1, 409, 0, ("probe_frozen", "passed", TWICE)),
        // Seven uploads for each of three frozen sessions come before it.
        (UploadPart, 22, 400, 0, ("probe_perform", "warning", PART_REFUSED)),
        (PerformSession, 1, 400, 0, ("probe_perform", "passed", THREE_TIMES)),
        (PerformSession, 1, 401, 3, ("probe_perform", "failed", "Treasure Data denied the API key")),
        (PerformSession, 1, 403, 3, ("probe_perform", "failed", NOT_ALLOWED)),
    ] {
        println!("{operation:?} {nth} {status}");
        let checked = with_status(SESSIONS, operation, nth, status);
        checked.assert_code(code);
        assert_end(&checked, end);
    }
}

#[test]
fn a_rejected_or_denied_call_of_a_table_ends_its_probe() {
    use Operation::{CreateTable, FreezeSession, RenameTable};
    let unnamed = "contradicted: the refusal to freeze a session whose table is deleted does not name the \
                   table";
    let conflict = "unclear: a rename with overwrite=true was a conflict";
    for (operation, nth, status, code, end) in [
        (RenameTable, 1, 403, 3, ("probe_table_id", "failed", NOT_ALLOWED)),
        (RenameTable, 1, 409, 0, ("probe_table_id", "warning", conflict)),
        // The fourth table is the renamed one, created again; the fourth freeze is that of a lost table.
        (CreateTable, 4, 403, 3, ("probe_table_id", "failed", NOT_ALLOWED)),
        (FreezeSession, 4, 403, 3, ("probe_lost_table", "failed", NOT_ALLOWED)),
        (FreezeSession, 4, 409, 9, ("probe_lost_table", "failed", unnamed)),
    ] {
        println!("{operation:?} {nth} {status}");
        let checked = with_status(TABLES, operation, nth, status);
        checked.assert_code(code);
        assert_end(&checked, end);
    }
}

#[test]
fn lost_responses_for_tables_are_no_contradiction() {
    for (operation, nth, id, seen) in [
        (Operation::RenameTable, 1, "probe_table_id", TWICE),
        // That it exists afterwards shows what became of the request.
        (Operation::CreateTable, 4, "probe_table_id", THREE_TIMES),
        (Operation::FreezeSession, 4, "probe_lost_table", TWICE),
    ] {
        println!("{operation:?}");
        let checked = with_fault(TABLES, operation, nth, FaultKind::ResetAfterAction);
        checked.assert_code(0);
        assert_end(&checked, (id, "passed", seen));
    }
}

#[test]
fn a_session_that_nobody_could_create_contradicts_that_one_caller_does() {
    let surroundings = surroundings_with(SandboxSettings::default());
    surroundings.fault_on_every(Operation::CreateSession, FaultKind::Status(409, None));
    let checked = check(&surroundings, SESSIONS, &[]);
    checked.assert_code(9);
    let seen = "contradicted: each caller received the response that the session exists, and none created it";
    assert_end(&checked, ("probe_create", "failed", seen));
    checked.seen("probe_overwrite", "warning");
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_session_or_table_that_disappears_makes_a_probe_unclear() {
    let session = json!({"error": "Bulk import session does not exist"});
    let table = json!({"error": "Table does not exist"});
    for (arguments, part, nth, missing, id, gone) in [
        (SESSIONS, "/bulk_import/create/", 1, &table, "probe_create", "the table"),
        (SESSIONS, "/bulk_import/list_parts/", 1, &session, "probe_overwrite", "the session"),
        (SESSIONS, "/bulk_import/freeze/", 1, &session, "probe_frozen", "the session"),
        (SESSIONS, "/bulk_import/perform/", 1, &session, "probe_perform", "the session"),
        (TABLES, "/table/create/", 4, &table, "probe_table_id", "the database"),
        (TABLES, "/table/rename/", 1, &table, "probe_table_id", "the table"),
    ] {
        println!("{part}");
        let checked = with_response(arguments, part, nth, 404, missing);
        checked.assert_code(0);
        assert_end(&checked, (id, "warning", &format!("unclear: {gone} is gone")));
    }
}

#[test]
fn a_part_that_is_listed_twice_is_a_contradiction() {
    let twice = json!({"parts": ["probe_0", "probe_0"]});
    let checked = with_response(SESSIONS, "/bulk_import/list_parts/", 1, 200, &twice);
    checked.assert_code(9);
    let seen = "contradicted: after two uploads of one name, the list has it 2 times";
    assert_end(&checked, ("probe_overwrite", "failed", seen));
}

#[test]
fn a_frozen_session_that_acknowledges_a_part_without_keeping_it_is_a_contradiction() {
    // Five uploads come before the freeze.
    let checked = with_response(SESSIONS, "/bulk_import/upload_part/", 6, 200, &json!({}));
    checked.assert_code(9);
    assert_end(&checked, ("probe_frozen", "failed", "contradicted: a frozen session accepted a part"));
}

#[test]
fn an_open_session_that_was_performed_is_found_without_the_response_of_perform() {
    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    surroundings.fault_on(Operation::PerformSession, 1, FaultKind::ResetAfterAction);
    let lost = check(&surroundings, SESSIONS, &[]);
    assert_nothing_is_left(&surroundings);
    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    let unnamed =
        check_with_responses(&surroundings, SESSIONS, "/bulk_import/perform/", |_, asked, behind| {
            behind.respond(asked);
            (200, "{}".to_owned())
        });
    assert_nothing_is_left(&surroundings);
    for checked in [lost, unnamed] {
        checked.assert_code(9);
        let seen = "contradicted: a session that is not frozen was performed (load job ";
        assert_end(&checked, ("probe_perform", "failed", seen));
        assert!(checked.seen("probe_perform", "failed").ends_with(", which was killed)"));
    }
}

#[test]
fn an_open_session_that_was_performed_by_an_unknown_job_is_deleted() {
    let surroundings = breaking(BrokenPromise::PerformsOpenSessions);
    let checked = check_behind(&surroundings, SESSIONS, |asked, behind| {
        let response = behind.respond(asked);
        if asked.line.contains("/bulk_import/perform/") {
            return (503, String::new());
        }
        if asked.line.contains("/bulk_import/show/") {
            return (200, json!({"status": "performing"}).to_string());
        }
        response
    });
    checked.assert_code(9);
    let seen = "contradicted: a session that is not frozen was performed (its load job is unknown; the session \
                is deleted)";
    assert_end(&checked, ("probe_perform", "failed", seen));
    assert_eq!(surroundings.control().operation_requests(Operation::KillJob), 0);
    assert_nothing_is_left(&surroundings);
}

/// The last number in the name of a table that is asked for, as its id.
fn number_as_id(_: u64, asked: &Asked, _: &Behind) -> ScriptedResponse {
    let name = asked.line.split(' ').nth(1).unwrap();
    (200, json!({"id": name.rsplit('_').next().unwrap()}).to_string())
}

#[test]
fn ids_that_do_not_belong_to_one_table_object_are_contradictions() {
    let show = "/table/show/";
    let same = with_responses(TABLES, show, |_, _, _| (200, json!({"id": "7"}).to_string()));
    let of_names = with_responses(TABLES, show, number_as_id);
    let none = with_responses(TABLES, show, |_, _, _| (200, json!({"count": 0}).to_string()));
    for (checked, seen) in [
        (same, "contradicted: a table that was created again has the id of the former one"),
        (of_names, "contradicted: the id stayed with the name of the replaced table"),
        (none, "contradicted: the response for a table has no id"),
    ] {
        checked.assert_code(9);
        assert_end(&checked, ("probe_table_id", "failed", seen));
    }
}

#[test]
fn what_a_session_shows_of_its_renamed_or_deleted_table_is_reported() {
    let none = json!({"error": "Bulk import session does not exist"}).to_string();
    let elsewhere = json!({"table": "elsewhere", "status": "uploading"}).to_string();
    for (status, body, answer, seen) in [
        (404, none, "none: the session is gone", "contradicted: the session is gone together with its table"),
        (200, elsewhere, "another name", "contradicted: show no longer names the deleted table"),
    ] {
        let checked = with_responses(TABLES, "/bulk_import/show/", move |_, _, _| (status, body.clone()));
        checked.assert_code(9);
        assert_eq!(checked.answer("report after a rename?"), answer);
        assert_end(&checked, ("probe_lost_table", "failed", seen));
    }
    let renamed_table = RenamedTable::NewName;
    let treasure_data = TreasureDataBehaviour { renamed_table, ..TreasureDataBehaviour::default() };
    let surroundings = surroundings_with(SandboxSettings { treasure_data, ..SandboxSettings::default() });
    let checked = check(&surroundings, TABLES, &[]);
    checked.assert_code(0);
    assert_eq!(checked.answer("report after a rename?"), "the new name");
    assert_end(&checked, ("probe_lost_table", "passed", THREE_TIMES));
    assert_nothing_is_left(&surroundings);
}

#[test]
fn a_session_that_is_frozen_after_its_table_was_deleted_is_a_contradiction() {
    let checked = with_response(TABLES, "/bulk_import/freeze/", 4, 200, &json!({}));
    checked.assert_code(9);
    let seen = "contradicted: a session whose table is deleted was frozen";
    assert_end(&checked, ("probe_lost_table", "failed", seen));
}
