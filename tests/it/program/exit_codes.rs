//! Every exit code through the real program, with its closing words: what happened, why, what to do, what was saved, and
//! the exact command that resumes the run. More of 2 is in `settings`, 130 and 143 are in `signals`.

use std::fs;

use serde_json::{Value, json};
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::sandbox::{
    CursorMemory, FaultKind, FiltersWithCursor, KeyKind, Operation, SandboxSettings, YotpoBehaviour,
};

use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, program, wait_until};
use crate::program::closing_words::{assert_no_command, assert_words, next_command, transcript};
use crate::program::dead_address::DeadAddress;

/// A panic after the third save, with one worker so that this is the save of the second part.
const PANIC: [(&str, &str); 2] =
    [("YOTPO_TD_FAILPOINT", "after save:3:panic"), ("YOTPO_TD_UPLOAD_WORKERS", "1")];

pub(crate) fn run_with(surroundings: &Surroundings, variables: &[(&str, &str)]) -> Finished {
    let mut command = surroundings.sync(&[]);
    command.envs(variables.iter().copied());
    Running::start(command).finish()
}

/// Runs the command in the last line.
#[track_caller]
pub(crate) fn run_named_command(surroundings: &Surroundings, end: &Finished) -> Finished {
    surroundings.type_in(&next_command(end), &[]).finish()
}

#[test]
fn code_0_everything_is_loaded_and_committed() {
    let surroundings = Surroundings::with_customers(60);
    let end = surroundings.run(&[]);
    end.assert_code(0);
    surroundings.assert_exact_and_clean();
    assert_words!("code_0_loaded", &end.stdout);
}

#[test]
fn code_0_no_customers_and_nothing_is_created() {
    let surroundings = Surroundings::with_customers(0);
    let end = surroundings.run(&[]);
    end.assert_code(0);
    assert_eq!(surroundings.control().tables(), []);
    assert_words!("code_0_nothing_to_load", &end.stdout);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn code_1_a_panic_reports_what_was_saved_and_the_run_can_be_resumed() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &PANIC);
    end.assert_code(1);
    assert_words!("code_1_panic", transcript(&end));
    run_named_command(&surroundings, &end).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn code_2_a_run_id_has_one_mode() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    let end = surroundings.run(&["--run-id", "nightly", "--mode", "replace"]);
    end.assert_code(2);
    assert_no_command(&end);
    assert_words!("code_2_other_mode", transcript(&end));
    surroundings.assert_exact();
}

#[test]
fn code_3_yotpo_refuses_the_secret() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &[("YOTPO_CLIENT_SECRET", "another-secret")]);
    end.assert_code(3);
    assert_words!("code_3_secret", transcript(&end));
}

#[test]
fn code_3_yotpo_does_not_know_the_store() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &[("YOTPO_STORE_ID", "another-store")]);
    end.assert_code(3);
    assert_words!("code_3_store", transcript(&end));
}

#[test]
fn code_3_treasure_data_refuses_the_key() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &[("TD_API_KEY", "1/0000000000000000000000000000000000000000")]);
    end.assert_code(3);
    assert_words!("code_3_key", transcript(&end));
}

#[test]
fn code_4_yotpo_is_unreachable() {
    let surroundings = Surroundings::with_customers(60);
    let dead = DeadAddress::new();
    let end = run_with(&surroundings, &[("YOTPO_TD_YOTPO_ENDPOINT", &dead.url)]);
    end.assert_code(4);
    assert_words!("code_4_not_there", transcript(&end));
}

#[test]
fn code_4_yotpo_fails_halfway_and_the_named_command_resumes() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let end = surroundings.run(&["--upload-workers", "1", "--batch-size", "5"]);
    end.assert_code(4);
    assert_words!("code_4_halfway", transcript(&end));
    let fetched = surroundings.control().page_fetches();
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 5, "what was fetched is stored");
    surroundings.end_faults();
    run_named_command(&surroundings, &end).assert_code(0);
    surroundings.assert_exact_and_clean();
    for (page, before) in fetched {
        assert_eq!(surroundings.control().page_fetches()[&page], before, "page {page} was fetched again");
    }
}

#[test]
fn code_5_treasure_data_is_unreachable() {
    let surroundings = Surroundings::with_customers(60);
    let dead = DeadAddress::new();
    let end = run_with(&surroundings, &[("TD_API_SERVER", &dead.url)]);
    end.assert_code(5);
    assert_words!("code_5_not_there", transcript(&end));
}

#[test]
fn code_2_there_is_no_such_database() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &[("TD_DATABASE", "another")]);
    end.assert_code(2);
    assert_words!("code_2_database", transcript(&end));
}

#[test]
fn code_3_the_table_is_missing_and_the_key_may_not_create_it() {
    let settings =
        SandboxSettings { customers: 60, key_kind: KeyKind::WriteOnly, ..SandboxSettings::default() };
    let surroundings = Surroundings::new(settings);
    let end = surroundings.run(&[]);
    end.assert_code(3);
    assert_words!("code_3_table", transcript(&end));
    assert_eq!(surroundings.control().sessions(), []);
    surroundings.control().create_table(DATABASE, TABLE);
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn code_5_a_permanent_refusal_names_no_command() {
    for (status, hint) in [
        (413, "use a smaller --part-size"),
        (402, "the account's plan does not allow this request"),
        (400, "running it again will not help"),
    ] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on_every(Operation::UploadPart, FaultKind::Status(status, None));
        let end = surroundings.run(&[]);
        end.assert_code(5);
        assert!(end.closing().contains(hint), "{}", end.closing());
        let words = end.closing().to_lowercase();
        assert!(!words.contains("; run it again"), "{words}");
        assert_no_command(&end);
        assert!(words.contains("code: treasure_data_request_refused (exit code 5)\n"), "{words}");
        surroundings.end_faults();
        surroundings.run(&[]).assert_code(0);
        surroundings.assert_exact_and_clean();
    }
}

#[test]
fn code_5_parts_are_not_accepted() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::UploadPart, FaultKind::Status(500, None));
    let end = surroundings.run(&[]);
    end.assert_code(5);
    assert_eq!(surroundings.control().sessions(), [], "nothing was worth keeping");
    assert_words!("code_5_upload", transcript(&end));
}

#[test]
fn code_5_the_load_job_fails_and_the_named_command_resumes() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::PerformSession, FaultKind::FailImport);
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(5);
    assert_words!("code_5_load_job", transcript(&end));
    surroundings.end_faults();
    run_named_command(&surroundings, &end).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn code_2_a_quarantine_that_is_not_a_directory_is_a_settings_error() {
    let surroundings = Surroundings::with_customers(60);
    let file = surroundings.directory().join("file");
    fs::write(&file, "").unwrap();
    surroundings.run(&["--quarantine-dir", file.to_str().unwrap()]).assert_code(2);
}

#[test]
fn code_7_loyalty_data_is_lost_after_the_cursor() {
    let yotpo = YotpoBehaviour {
        cursor_memory: CursorMemory::Nothing,
        filters_with_cursor: FiltersWithCursor::BadRequest,
        ..YotpoBehaviour::default()
    };
    let settings = SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() };
    let surroundings = Surroundings::new(settings);
    let end = surroundings.run(&["--page-size", "20"]);
    end.assert_code(7);
    assert_eq!(surroundings.rows(), 0);
    assert_eq!(surroundings.control().sessions().len(), 1, "it can be resumed");
    assert_words!("code_7_loyalty", transcript(&end));
    surroundings.run(&["--page-size", "20", "--loyalty-check", "off"]).assert_code(0);
    assert_eq!(surroundings.rows(), 60);
}

#[test]
fn code_7_replace_refuses_a_result_that_shrank() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    let rows: Vec<_> = (0..200).map(|row| json!({"time": 1, "json_response": row.to_string()})).collect();
    surroundings.control().insert_rows(DATABASE, TABLE, &rows).unwrap();
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(7);
    assert_eq!(surroundings.rows(), 200);
    assert_eq!(surroundings.control().tables().len(), 2, "what is stored stays, with the temporary table");
    assert_words!("code_7_shrunk", transcript(&end));
    let resumed = surroundings.run(&["--mode", "replace", "--min-rows-ratio", "0.3"]);
    resumed.assert_code(0);
    assert!(resumed.stdout.contains("(resumed)"), "{}", resumed.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
fn code_7_replace_refuses_an_empty_store_unless_allowed() {
    let surroundings = Surroundings::with_customers(0);
    surroundings.control().create_table(DATABASE, TABLE);
    surroundings.control().insert_rows(DATABASE, TABLE, &[json!({"time": 1})]).unwrap();
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(7);
    assert_eq!(surroundings.rows(), 1);
    assert_words!("code_7_empty", transcript(&end));
    let allowed = surroundings.run(&["--mode", "replace", "--allow-empty"]);
    allowed.assert_code(0);
    surroundings.assert_exact_and_clean();
    assert_words!("code_0_emptied", &allowed.stdout);
}

#[test]
fn code_8_names_the_run_that_is_active() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::Hang);
    let first = Running::start(surroundings.sync(&["--batch-size", "5"]));
    surroundings.wait_for_fault();
    wait_until("five parts are stored", || surroundings.saved_run().is_some_and(|run| run.parts == 5));
    let end = surroundings.run(&["--batch-size", "5"]);
    end.assert_code(8);
    assert!(end.stderr.contains(&format!("process {}", first.pid())), "{}", end.stderr);
    assert_words!("code_8_active", transcript(&end));
    first.kill();
    surroundings.end_faults();
    run_named_command(&surroundings, &end).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn the_last_line_of_a_json_log_is_one_object_for_every_failure() {
    let surroundings = Surroundings::with_customers(60);
    let dead = DeadAddress::new();
    let cases: [(i32, &[(&str, &str)]); 6] = [
        (2, &[("YOTPO_TD_PAGE_SIZE", "0"), ("TD_DATABASE", "")]),
        (3, &[("YOTPO_CLIENT_SECRET", "another-secret")]),
        (4, &[("YOTPO_TD_YOTPO_ENDPOINT", &dead.url)]),
        (5, &[("TD_API_SERVER", &dead.url)]),
        (6, &[("YOTPO_TD_STATE_DIR", "/dev/null/state")]),
        (1, &PANIC),
    ];
    for (code, variables) in cases {
        if code == 1 && !cfg!(debug_assertions) {
            continue;
        }
        let mut command = surroundings.sync(&["--log-format", "json"]);
        command.envs(variables.iter().copied());
        let end = Running::start(command).finish();
        end.assert_code(code);
        for line in end.stderr.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{code}: {line}");
        }
        let last: Value = serde_json::from_str(end.last_line()).unwrap();
        assert_eq!(last["exit_code"], code, "{last}");
        assert_eq!(last["level"], "ERROR", "{last}");
        // A wrong setting is not run again.
        let next_command = if code == 2 { Value::Null } else { json!("yotpo-td sync --log-format json") };
        assert_eq!(last["next_command"], next_command, "{last}");
        assert!(last["error"].as_str().is_some_and(|error| !error.is_empty()), "{last}");
        assert!(last["saved"].as_str().is_some_and(|saved| !saved.is_empty()), "{last}");
        let object: Vec<_> =
            last.as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}")).collect();
        assert_words!(format!("json_code_{code}"), object.join("\n"));
    }
}

#[test]
fn help_names_every_exit_code() {
    let end = Running::start({
        let mut command = program();
        command.arg("--help");
        command
    })
    .finish();
    for status in ExitStatus::ALL {
        let line = format!("{:>3}  {}", status.code(), status.meaning());
        assert!(end.stdout.contains(&line), "{line}");
    }
}

/// The winner of a ballot is deleted by others before it is committed.
#[test]
fn code_9_the_chosen_set_was_deleted_and_the_query_counts_what_may_be_there() {
    let surroundings = Surroundings::with_customers(60);
    let arguments = ["--run-id", "nightly"];
    surroundings.fault_on(Operation::CommitSession, 1, FaultKind::Hang);
    let first = Running::start(surroundings.sync(&arguments));
    wait_until("the commit was requested", || {
        surroundings.control().operation_requests(Operation::CommitSession) > 0
    });
    first.kill();
    surroundings.end_faults();
    let nonce = surroundings.saved_run().unwrap().set.unwrap().nonce;
    let sessions = surroundings.control().sessions();
    let chosen = sessions.iter().find(|session| session.name.contains(&nonce.to_string())).unwrap();
    assert!(surroundings.control().remove_session(&chosen.name));
    let end = surroundings.run(&arguments);
    end.assert_code(9);
    let words = end.closing();
    let query = format!(
        "SELECT COUNT(1) FROM {DATABASE}.{TABLE} WHERE time = {} -- 60 when they are there",
        nonce.time()
    );
    assert!(words.contains(&query), "{words}");
    assert!(words.contains("load them as another run: yotpo-td sync --run-id nightly-2\n"), "{words}");
    assert!(words.contains("code: commit_unknown (exit code 9)\n"), "{words}");
    assert_eq!(surroundings.rows(), 0);
    // They are missing: the command for that case loads them.
    surroundings.run(&["--run-id", "nightly-2"]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn code_9_the_marker_of_a_loaded_run_was_deleted_and_its_rows_can_be_counted() {
    let surroundings = Surroundings::with_customers(1_000);
    let arguments = ["--run-id", "nightly"];
    surroundings.run(&arguments).assert_code(0);
    let sessions = surroundings.control().sessions();
    let marker = sessions.iter().find(|session| session.status == "committed").unwrap();
    assert!(surroundings.control().remove_session(&marker.name));
    let end = surroundings.run(&arguments);
    end.assert_code(9);
    let words = end.closing();
    assert!(words.contains(&format!("SELECT COUNT(1) FROM {DATABASE}.{TABLE} WHERE time = ")), "{words}");
    assert!(words.contains(" -- 1,000 when they are there: then nothing is to be done"), "{words}");
    // They are there.
    surroundings.assert_exact();
}

#[test]
fn a_failure_has_a_summary_for_programs_too() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::Customers, FaultKind::Status(503, None));
    let end = surroundings.run(&["--summary", "json", "--run-id", "nightly"]);
    end.assert_code(4);
    let summary: Value = serde_json::from_str(&end.stdout).unwrap();
    for (key, value) in [
        ("outcome", json!("failed")),
        ("code", json!("yotpo_page_failed")),
        ("exit_code", json!(4)),
        ("retryable", json!(true)),
        ("run_id", json!("nightly")),
        ("store_id", json!("sandbox-store")),
        ("database", json!(DATABASE)),
        ("table", json!(TABLE)),
        ("phase", json!("fetching")),
        ("customers", json!(0)),
    ] {
        assert_eq!(summary[key], value, "{key} in {summary}");
    }
    let end = surroundings.run(&["--summary", "none"]);
    end.assert_code(4);
    assert_eq!(end.stdout, "");
    let end = surroundings.run(&["--summary", "text"]);
    end.assert_code(4);
    assert_words!("summary_of_a_failure", &end.stdout);
}
