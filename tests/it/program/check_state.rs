//! `yotpo-td check`, through the real program: what is reported of the state directory, which is never changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{Running, Surroundings, files_below};
use crate::program::checked::check;

/// Surroundings with an interrupted run that has stored six pages of five rows.
fn interrupted() -> Surroundings {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    surroundings
}

#[test]
fn an_interrupted_run_is_named_with_what_it_stored() {
    let surroundings = interrupted();
    let run_id = surroundings.saved_run().unwrap().run_id;
    let before = files_below(&surroundings.state_directory());
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    let seen = checked.seen("state_dir", "passed");
    let expected =
        format!(" has an interrupted run of this target ({run_id}, 30 rows stored); sync resumes it");
    assert!(seen.ends_with(&expected), "{seen}");
    assert_eq!(files_below(&surroundings.state_directory()), before);
}

#[test]
fn an_active_run_is_a_warning() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::Hang);
    let running = Running::start(surroundings.sync(&["--run-id", "nightly"]));
    surroundings.wait_for_fault();
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    let seen = checked.seen("state_dir", "warning");
    assert!(seen.starts_with(&format!("run nightly (process {}) is active", running.pid())), "{seen}");
    let hint = checked.find("state_dir")["hint"].to_string();
    assert!(hint.contains("would exit with 8 (run_active), unless --wait-for-active"), "{hint}");
    running.kill();
    surroundings.end_faults();
    let checked = check(&surroundings, &[], &[]);
    let seen = checked.seen("state_dir", "passed");
    assert!(seen.contains(" has an interrupted run of this target (nightly, "), "{seen}");
}

#[test]
fn a_damaged_state_is_a_warning_if_it_may_be_set_aside_and_stays_where_it_is() {
    let surroundings = interrupted();
    fs::write(surroundings.state_file(), "not a state\n").unwrap();
    let before = files_below(&surroundings.state_directory());
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(6);
    assert_eq!(checked.with_verdict("failed"), ["state_dir"]);
    let checked = check(&surroundings, &["--mode", "replace"], &[]);
    checked.assert_code(0);
    let seen = checked.seen("state_dir", "warning");
    assert!(seen.ends_with(" cannot be used: it is not a state file, or its beginning is damaged"), "{seen}");
    assert_eq!(checked.find("state_dir")["hint"], "a run sets the damaged file aside and starts over");
    assert_eq!(files_below(&surroundings.state_directory()), before);
}

#[test]
fn a_state_that_every_user_can_write_to_fails_and_the_services_are_checked_all_the_same() {
    let surroundings = interrupted();
    let state = surroundings.state_file();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o666)).unwrap();
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(6);
    assert_eq!(checked.with_verdict("failed"), ["state_dir"]);
    let seen = checked.seen("state_dir", "failed");
    assert!(seen.contains("every user can write to "), "{seen}");
    checked.seen("yotpo_page", "passed");
    checked.seen("database", "passed");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_file_in_place_of_the_state_directory_fails() {
    let surroundings = Surroundings::with_customers(60);
    fs::write(surroundings.state_directory(), "a file").unwrap();
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(6);
    assert_eq!(checked.with_verdict("failed"), ["state_dir"]);
    let seen = checked.seen("state_dir", "failed");
    assert!(seen.contains("could not read the state directory "), "{seen}");
}
