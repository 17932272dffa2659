//! `yotpo-td check`, through the real program: what is reported of an account whose calls fail or whose responses lack
//! something.

use serde_json::{Value, json};
use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{DATABASE, Surroundings, TABLE};
use crate::program::checked::{Checked, check};
use crate::program::in_front::check_with_responses;

/// Runs the check with this response to all requests whose line contains `part`.
fn check_with_response(
    surroundings: &Surroundings,
    arguments: &[&str],
    part: &'static str,
    (status, body): (u16, Value),
) -> Checked {
    check_with_responses(surroundings, arguments, part, move |_, _, _| (status, body.to_string()))
}

#[test]
fn a_list_of_sessions_that_fails_makes_the_key_unusable() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ListSessions, FaultKind::Status(503, None));
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["treasure_data_key"]);
    let seen = checked.seen("treasure_data_key", "failed");
    assert!(seen.contains("503 Service Unavailable"), "{seen}");
    for id in ["database", "table", "columns", "leftovers"] {
        assert_eq!(checked.seen(id, "skipped"), "the API key cannot be used");
    }
    assert_eq!(surroundings.control().operation_requests(Operation::ShowDatabase), 0);
}

#[test]
fn a_service_without_the_call_that_shows_a_database_leaves_the_table_to_be_checked() {
    let surroundings = Surroundings::with_customers(60);
    let unknown = (404, json!({"error": "path and method do not match any API endpoint"}));
    let checked = check_with_response(&surroundings, &[], "/v3/database/show/", unknown);
    checked.assert_code(0);
    let seen = checked.seen("database", "skipped");
    assert_eq!(seen, "Treasure Data does not have the call that shows a database");
    checked.seen("table", "passed");
    assert!(checked.seen("leftovers", "passed").contains("; the tables could not be listed; "));
    assert_eq!(surroundings.control().operation_requests(Operation::ListTables), 0);
}

#[test]
fn a_missing_table_is_created_with_another_key_if_this_one_may_only_import() {
    let surroundings = Surroundings::with_customers(60);
    let import_only = (200, json!({"key_type": "write_only", "administrator": false}));
    let checked = check_with_response(&surroundings, &[], "/v3/user/apikey/validate", import_only);
    checked.assert_code(0);
    assert_eq!(checked.seen("table", "warning"), format!("{DATABASE}.{TABLE} does not exist"));
    let hint = format!("create it with a key that may: td table:create {DATABASE} {TABLE}");
    assert_eq!(checked.find("table")["hint"], hint);
    assert_eq!(checked.seen("columns", "skipped"), "there is no table");
}

#[test]
fn a_table_that_cannot_be_read_fails_and_its_columns_are_skipped() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ShowTable, FaultKind::Status(503, None));
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["table"]);
    assert_eq!(checked.seen("columns", "skipped"), "the table could not be read");
}

#[test]
fn a_table_without_an_id_is_enough_unless_a_replace_needs_it() {
    let surroundings = Surroundings::with_customers(60);
    for (arguments, verdict, code) in [
        (&["--mode", "append"][..], "warning", 0),
        (&["--mode", "replace", "--without-table-ids"], "warning", 0),
        (&["--mode", "replace"], "failed", 3),
    ] {
        let without_id = (200, json!({"name": TABLE, "count": 3, "schema": "[]"}));
        let checked = check_with_response(&surroundings, arguments, "/v3/table/show/", without_id);
        checked.assert_code(code);
        let seen = checked.seen("table", verdict);
        assert!(seen.starts_with("the response for the table has no id"), "{arguments:?}: {seen}");
        assert_eq!(checked.answer("report the id of a table?"), "no", "{arguments:?}");
        assert_eq!(checked.find("table")["facts"]["rows"], 3, "{arguments:?}");
    }
}

#[test]
fn a_replace_that_lacks_the_id_of_its_table_names_the_flag_that_accepts_that() {
    let surroundings = Surroundings::with_customers(60);
    let without_id = (200, json!({"name": TABLE}));
    let checked = check_with_response(&surroundings, &["--mode", "replace"], "/v3/table/show/", without_id);
    let expected =
        format!("the response for the table has no id, and replace needs the id of {DATABASE}.{TABLE}");
    assert_eq!(checked.seen("table", "failed"), expected);
    let hint = checked.find("table")["hint"].as_str().unwrap();
    assert!(hint.ends_with("--without-table-ids accepts that a recreated table is not noticed"), "{hint}");
}

#[test]
fn an_account_with_many_sessions_is_a_warning() {
    let surroundings = Surroundings::with_customers(60);
    for (number, shown, verdict) in [(1_499, "1,499", "passed"), (1_500, "1,500", "warning")] {
        let session = |index| {
            let name = format!("somebody_elses_{index}");
            json!({"name": name, "database": DATABASE, "table": TABLE, "status": "committed"})
        };
        let list = json!({"bulk_imports": (0..number).map(session).collect::<Vec<_>>()});
        let checked = check_with_response(&surroundings, &[], "/v3/bulk_import/list ", (200, list));
        checked.assert_code(0);
        let seen = checked.seen("leftovers", verdict);
        assert!(
            seen.starts_with(&format!("{shown} sessions in the account, 0 of them of yotpo-td;")),
            "{seen}"
        );
        let hint = format!(
            "an account may hold about 2,448 sessions; remove what no run needs: yotpo-td runs clean \
             --database {DATABASE}; see --run-lifetime"
        );
        let expected = if verdict == "warning" { Value::from(hint) } else { Value::Null };
        assert_eq!(checked.find("leftovers")["hint"], expected);
    }
}
