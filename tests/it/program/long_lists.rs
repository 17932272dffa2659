//! Lists of Treasure Data and pages of Yotpo that are too long to be read: what the program reports, and what helps.

use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{Finished, Surroundings};
use crate::program::closing_words::{assert_no_command, assert_words, transcript};

/// Maximum size of a JSON response in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

/// Checks everything about a list that is too long, which was requested once since `before`.
#[track_caller]
fn assert_too_long(surroundings: &Surroundings, end: &Finished, list: Operation, before: u64) {
    end.assert_code(5);
    assert_eq!(surroundings.control().operation_requests(list), before + 1, "repeating it cannot help");
    assert_eq!(surroundings.rows(), 0);
    assert_no_command(end);
}

#[test]
fn a_list_of_parts_that_is_too_long_needs_fewer_parts_in_another_session() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ListParts, FaultKind::Padded(LIMIT));
    let end = surroundings.run(&[]);
    assert_too_long(&surroundings, &end, Operation::ListParts, 0);
    assert_words!("list_of_parts", transcript(&end));
    // The session is frozen: the same command finds the same list.
    assert_too_long(&surroundings, &surroundings.run(&[]), Operation::ListParts, 1);
    surroundings.end_faults();
    surroundings.run(&["--fresh", "--batch-size", "60"]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_list_of_parts_that_is_just_short_enough_is_read() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ListParts, FaultKind::Padded(LIMIT - 100_000));
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn an_interrupted_session_whose_list_of_parts_is_too_long_is_not_resumed() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5"]).assert_code(4);
    surroundings.fault_on(Operation::ListParts, 1, FaultKind::Padded(LIMIT));
    let end = surroundings.run(&["--batch-size", "5"]);
    end.assert_code(0);
    assert!(
        end.stderr.contains("the session holds more parts than can be listed, starting over"),
        "{}",
        end.stderr
    );
    assert!(!end.stdout.contains("(resumed)"), "{}", end.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_list_of_sessions_that_is_too_long_needs_fewer_sessions() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ListSessions, FaultKind::Padded(LIMIT));
    let end = surroundings.run(&[]);
    assert_too_long(&surroundings, &end, Operation::ListSessions, 0);
    assert_words!("list_of_sessions", transcript(&end));
}

#[test]
fn a_page_that_is_too_large_needs_a_smaller_page_size() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::Customers, FaultKind::Padded(LIMIT));
    let end = surroundings.run(&[]);
    end.assert_code(4);
    assert_eq!(
        surroundings.control().operation_requests(Operation::Customers),
        1,
        "repeating it cannot help"
    );
    assert_words!("page", transcript(&end));
}
