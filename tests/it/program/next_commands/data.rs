//! Exit codes 7 to 9: what a person must check or decide.

use rustix::process::Signal;
use yotpo_td::identity::Mode;
use yotpo_td::sandbox::{
    CursorMemory, FaultKind, FiltersWithCursor, Operation, SandboxSettings, YotpoBehaviour,
};

use super::{between, counted, follow_to_the_end, glitch, own_session};
use crate::in_process::error_records::{GOOD, gzip, one_bad};
use crate::in_process::legacy_state;
use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, wait_until};
use crate::program::closing_words::{
    CORRECT_AND_RESUME, CORRECT_AND_RETRY, RETRY, assert_no_command, next_command_to,
};

#[test]
fn code_7_a_customer_that_was_corrected_is_loaded_with_the_others() {
    let yotpo = glitch(6, 1);
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() });
    let end = surroundings.run(&["--batch-size", "5"]);
    end.assert_code(7);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RESUME);
}

/// A guard refused 60 customers instead of 200 rows, with five parts stored.
fn shrunk() -> (Surroundings, Finished) {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    let rows: Vec<_> =
        (0..200).map(|row| serde_json::json!({"time": 1, "json_response": row.to_string()})).collect();
    surroundings.control().insert_rows(DATABASE, TABLE, &rows).unwrap();
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(7);
    // The same command would refuse the same rows again.
    assert_no_command(&end);
    surroundings.run(&["--mode", "replace"]).assert_code(7);
    (surroundings, end)
}

#[test]
fn code_7_a_guard_names_the_flags_for_a_correct_and_for_a_corrected_store() {
    let (surroundings, end) = shrunk();
    assert!(end.closing().contains("when it is right, add a smaller --min-rows-ratio"), "{}", end.closing());
    let right = surroundings.run(&["--mode", "replace", "--min-rows-ratio", "0.3"]);
    right.assert_code(0);
    assert!(right.stdout.contains("(resumed)"), "{}", right.stdout);
    surroundings.assert_exact_and_clean();

    let (surroundings, end) = shrunk();
    assert!(end.closing().contains("was not and is corrected, add --fresh"), "{}", end.closing());
    surroundings.control().set_customers(180);
    surroundings.run(&["--mode", "replace", "--fresh"]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn code_7_an_empty_store_that_was_corrected_is_loaded() {
    let surroundings = Surroundings::with_customers(0);
    surroundings.control().create_table(DATABASE, TABLE);
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(7);
    surroundings.control().set_customers(60);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
}

#[test]
fn code_7_loyalty_data_is_checked_again_from_the_first_page() {
    let yotpo = YotpoBehaviour {
        cursor_memory: CursorMemory::Nothing,
        filters_with_cursor: FiltersWithCursor::BadRequest,
        ..YotpoBehaviour::default()
    };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() });
    let end = surroundings.run(&["--page-size", "20"]);
    end.assert_code(7);
    let first_page = surroundings.control().page_fetches()[&0];
    let again = surroundings.type_in(&next_command_to(CORRECT_AND_RETRY, &end), &[]).finish();
    // Nothing was corrected.
    again.assert_code(7);
    assert!(surroundings.control().page_fetches()[&0] > first_page, "it starts over");
    assert!(again.closing().contains("use --loyalty-check off to resume"), "{}", again.closing());
    let resumed = surroundings.run(&["--page-size", "20", "--loyalty-check", "off"]);
    resumed.assert_code(0);
    assert!(resumed.stdout.contains("(resumed)"), "{}", resumed.stdout);
}

/// An interrupted run in whose session the first part is replaced with `content`.
fn with_a_spoiled_part(content: &[u8]) -> (Surroundings, Finished) {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    let session = own_session(&surroundings);
    let sessions = surroundings.control().sessions();
    let part = &sessions.iter().find(|summary| summary.name == session).unwrap().parts[0];
    surroundings.call_treasure_data("PUT", &format!("/v3/bulk_import/upload_part/{session}/{part}"), content);
    let end = surroundings.run(&[]);
    end.assert_code(7);
    (surroundings, end)
}

#[test]
fn code_7_error_records_are_left_out_by_the_flag_that_the_hint_names() {
    let (surroundings, end) = with_a_spoiled_part(&one_bad());
    assert_no_command(&end);
    assert!(end.closing().contains("add --max-error-records to leave them out"), "{}", end.closing());
    let allowed = surroundings.run(&["--max-error-records", "1"]);
    allowed.assert_code(0);
    assert!(allowed.stdout.contains("(resumed)"), "{}", allowed.stdout);
    assert_eq!(surroundings.rows(), 59);
}

#[test]
fn code_7_rows_that_changed_in_transit_are_sent_again() {
    let (surroundings, end) = with_a_spoiled_part(&gzip(&GOOD.repeat(9)));
    assert!(!end.closing().contains("--max-error-records to"), "no flag helps: {}", end.closing());
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
}

#[test]
fn code_8_the_command_does_not_wait_and_loads_when_the_other_run_ended() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::AccessToken, 1, FaultKind::Hang);
    let first = Running::start(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    let end = surroundings.run(&[]);
    end.assert_code(8);
    first.kill();
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RETRY);
}

#[test]
fn code_8_an_abandoned_run_is_only_loaded_by_decision() {
    let surroundings = Surroundings::with_customers(60);
    let arguments = ["--run-id", "nightly", "--request-timeout", "1s"];
    surroundings.fault_from_page(6, &FaultKind::Hang);
    let running = Running::start(surroundings.sync(&arguments));
    surroundings.wait_for_fault();
    running.signal(Signal::STOP);
    surroundings.end_faults();
    // On another machine.
    let elsewhere = surroundings.directory().join("elsewhere");
    let abandoned = surroundings
        .type_in(
            "yotpo-td runs abandon --yes --run-id nightly --mode append",
            &[("YOTPO_TD_STATE_DIR", elsewhere.to_str().unwrap())],
        )
        .finish();
    abandoned.assert_code(0);
    running.signal(Signal::CONT);
    let end = running.finish();
    end.assert_code(8);
    assert_no_command(&end);
    assert!(end.closing().contains("after all, run the same command again\n"), "{}", end.closing());
    assert_eq!(surroundings.rows(), 0);
    surroundings.run(&arguments).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn code_9_the_query_shows_whether_the_command_for_missing_rows_is_needed() {
    for is_loaded in [false, true] {
        let surroundings = Surroundings::with_customers(60);
        // A further id of this length would be too long.
        let id = if is_loaded { "n".repeat(64) } else { "nightly".to_owned() };
        let arguments = ["--run-id", &*id, "--mode", "append"];
        if is_loaded {
            surroundings.run(&arguments).assert_code(0);
        } else {
            surroundings.fault_on(Operation::CommitSession, 1, FaultKind::Hang);
            let first = Running::start(surroundings.sync(&arguments));
            wait_until("the commit was requested", || {
                surroundings.control().operation_requests(Operation::CommitSession) > 0
            });
            first.kill();
            surroundings.end_faults();
        }
        for session in surroundings.control().sessions() {
            // The winner's session; the ballot stays.
            if session.name.contains("_s_") {
                assert!(surroundings.control().remove_session(&session.name));
            }
        }
        let end = surroundings.run(&arguments);
        end.assert_code(9);
        assert_no_command(&end);
        let words = format!("{}\n", end.closing());
        let (found, expected) = counted(&surroundings, &words, "");
        assert_eq!((found, expected), (if is_loaded { 60 } else { 0 }, 60), "{words}");
        let command = between(&words, "load them as another run: ", "\n");
        let other = if is_loaded { format!("{}-2", "n".repeat(62)) } else { "nightly-2".to_owned() };
        assert_eq!(command, format!("yotpo-td sync --mode append --run-id {other}"));
        if !is_loaded {
            surroundings.type_in(command, &[]).finish().assert_code(0);
        }
        surroundings.assert_exact();
    }
}

#[test]
fn code_9_a_run_of_an_earlier_release_is_abandoned_as_the_hint_says() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    surroundings.control().remove_session(&own_session(&surroundings));
    let target = surroundings.saved_run().unwrap().target;
    let state = legacy_state::state_of(&target, Mode::Append, legacy_state::VERSION_2, "committing");
    std::fs::write(surroundings.state_file(), state).unwrap();
    let session = legacy_state::SESSION;
    surroundings.call_treasure_data(
        "POST",
        &format!("/v3/bulk_import/create/{session}/{DATABASE}/{TABLE}"),
        b"",
    );
    let end = surroundings.run(&[]);
    end.assert_code(9);
    assert_no_command(&end);
    let words = end.closing();
    let command = between(&words, "give the run up with: ", ", with the same settings");
    surroundings.type_in(&format!("{command} --yes --mode append"), &[]).finish().assert_code(0);
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact();
}
