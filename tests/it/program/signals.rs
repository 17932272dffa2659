//! Being asked to stop, at every phase of a run: it ends in time with the signal's code and a true checkpoint, and the
//! same command completes the table.

use std::time::Duration;

use rustix::process::Signal;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{FaultKind, Operation, SandboxSettings};

use crate::program::binary::{Finished, Running, Surroundings, wait_until};
use crate::program::closing_words::{assert_no_command, assert_words, next_command, told};

/// "Within 10 seconds or so": 8 for what is under way, 3 for cleaning up, and a loaded machine.
const LONGEST_STOP: Duration = Duration::from_secs(14);
/// Shorter than the time that work under way is given.
const AT_ONCE: Duration = Duration::from_secs(5);
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Sends a signal and waits for the end.
#[track_caller]
fn stop(running: Running, signal: Signal, within: Duration) -> Finished {
    let clock = Clock::machine();
    running.signal(signal);
    let end = running.finish();
    assert!(clock.now() < within, "took {:?} to stop, stderr:\n{}", clock.now(), end.stderr);
    end
}

/// The same command again completes the table, and no page that the checkpoint has is fetched again.
#[track_caller]
fn goes_on_exactly(surroundings: &Surroundings, arguments: &[&str]) {
    surroundings.end_faults();
    let saved = surroundings.saved_run().map_or(0, |run| run.position.page());
    let before = surroundings.control().page_fetches();
    surroundings.run(arguments).assert_code(0);
    surroundings.assert_exact_and_clean();
    let after = surroundings.control().page_fetches();
    for (page, count) in before.iter().filter(|(page, _)| **page < saved * 5) {
        assert_eq!(after[page], *count, "page {page} was fetched again");
    }
}

#[track_caller]
fn started(surroundings: &Surroundings, arguments: &[&str]) -> Running {
    Running::start(surroundings.sync(arguments))
}

#[test]
fn sigterm_while_fetching_saves_what_was_fetched() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, AT_ONCE);
    end.assert_code(143);
    assert_eq!(surroundings.rows(), 0);
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 7);
    assert_words!("sigterm_while_fetching", told(&end));
    assert_eq!(next_command(&end), "yotpo-td sync");
    goes_on_exactly(&surroundings, &[]);
}

#[test]
fn sigint_before_anything_is_stored_leaves_nothing() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::AccessToken, 1, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::INT, AT_ONCE);
    end.assert_code(130);
    assert_eq!(
        (surroundings.control().sessions(), surroundings.control().tables()),
        (Vec::new(), Vec::new())
    );
    assert_words!("sigint_before_anything", told(&end));
    goes_on_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn an_upload_under_way_is_finished_and_saved() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 6, FaultKind::SlowBody(Duration::from_millis(300)));
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, AT_ONCE);
    // The last part may be the one that was slow: then all is stored, and the stop comes right behind it.
    end.assert_code(143);
    let saved = surroundings.saved_run().unwrap();
    assert_eq!((saved.parts, saved.rows), (6, 60));
    goes_on_exactly(&surroundings, &[]);
}

#[test]
fn an_upload_that_never_ends_does_not_keep_a_stopping_run() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Hang);
    let running = started(&surroundings, &["--upload-workers", "1"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert_eq!(surroundings.saved_run().unwrap().parts, 3);
    assert_words!("sigterm_while_an_upload_hangs", told(&end));
    goes_on_exactly(&surroundings, &["--upload-workers", "1"]);
}

#[test]
fn a_session_that_cannot_be_opened_does_not_keep_a_stopping_run() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::CreateSession, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert_words!("sigterm_while_a_session_is_opened", told(&end));
    goes_on_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn sigint_while_the_guard_looks_at_the_table_stops_at_once() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::ListTables, 2, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::INT, AT_ONCE);
    end.assert_code(130);
    goes_on_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn sigterm_while_performing_keeps_the_loaded_parts() {
    let surroundings = Surroundings::with_customers(60);
    // The look behind the perform: ballot, open, frozen and proven were looked at before.
    surroundings.fault_on(Operation::ShowSession, 5, FaultKind::Hang);
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, AT_ONCE);
    end.assert_code(143);
    assert_words!("sigterm_while_performing", told(&end));
    goes_on_exactly(&surroundings, &[]);
    assert_eq!(surroundings.control().operation_requests(Operation::PerformSession), 1);
}

#[test]
fn sigterm_while_committing_says_that_the_rows_may_be_there() {
    let settings = SandboxSettings {
        customers: 60,
        commit_duration: Duration::from_secs(2),
        ..SandboxSettings::default()
    };
    let surroundings = Surroundings::new(settings);
    let running = started(&surroundings, &[]);
    let is_committing =
        || surroundings.control().sessions().iter().any(|session| session.status == "committing");
    wait_until("the commit is under way", is_committing);
    let end = stop(running, Signal::TERM, AT_ONCE);
    end.assert_code(143);
    assert_words!("sigterm_while_committing", told(&end));
    goes_on_exactly(&surroundings, &[]);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 1);
}

#[test]
fn sigint_while_the_answer_to_the_commit_is_lost_commits_once() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::CommitSession, 1, FaultKind::SlowBody(FOR_EVER));
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    stop(running, Signal::INT, AT_ONCE).assert_code(130);
    assert_eq!(surroundings.rows(), 0, "nothing is renamed yet");
    goes_on_exactly(&surroundings, &["--mode", "replace"]);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 1);
}

#[test]
fn a_rename_that_never_ends_does_not_keep_a_stopping_run() {
    let surroundings = Surroundings::with_customers(60);
    // The first gives the temporary table its name.
    surroundings.fault_on(Operation::RenameTable, 2, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert_words!("sigterm_while_renaming", told(&end));
    goes_on_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn the_second_signal_leaves_at_once_with_a_true_checkpoint() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Hang);
    let mut running = started(&surroundings, &["--upload-workers", "1"]);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the requests in flight");
    let clock = Clock::machine();
    // One that comes right behind the first is taken for its echo.
    wait_until("the second signal counts", || {
        running.signal(Signal::INT);
        running.has_ended()
    });
    let end = running.finish();
    assert!(clock.now() < AT_ONCE, "took {:?}", clock.now());
    end.assert_code(143);
    assert_words!("second_signal", told(&end));
    assert_eq!(surroundings.saved_run().unwrap().parts, 3);
    goes_on_exactly(&surroundings, &["--upload-workers", "1"]);
}

#[test]
fn a_signal_and_its_echo_are_one_request() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::SlowBody(Duration::from_millis(500)));
    let running = started(&surroundings, &["--upload-workers", "1"]);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the requests in flight");
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    assert!(!end.stderr.contains("second signal"), "{}", end.stderr);
    assert!(surroundings.saved_run().unwrap().parts > 3);
    goes_on_exactly(&surroundings, &["--upload-workers", "1"]);
}

#[test]
fn a_run_with_an_id_that_was_stopped_goes_on_elsewhere() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::ShowSession, 2, FaultKind::Hang);
    let arguments = ["--run-id", "session-uuid"];
    let running = started(&surroundings, &arguments);
    surroundings.wait_for_fault();
    stop(running, Signal::TERM, AT_ONCE).assert_code(143);
    surroundings.end_faults();
    std::fs::remove_dir_all(surroundings.state_folder()).unwrap();
    surroundings.run(&arguments).assert_code(0);
    surroundings.run(&arguments).assert_code(0);
    surroundings.assert_exact();
    assert_eq!(surroundings.control().operation_requests(Operation::PerformSession), 1);
}

#[test]
fn the_sandbox_serves_until_it_is_stopped_and_then_succeeds() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = crate::program::binary::program();
        command.args(["sandbox", "--customers", "10"]);
        let running = Running::start(command);
        running.wait_for_stderr("serving until stopped");
        let end = stop(running, signal, AT_ONCE);
        end.assert_code(0);
        assert_words!("sandbox_exports", &end.stdout);
    }
}

#[test]
fn the_sandbox_prints_what_to_export_for_every_store() {
    let mut command = crate::program::binary::program();
    command.args(["sandbox", "--customers", "10", "--stores", "3"]);
    let running = Running::start(command);
    running.wait_for_stderr("serving until stopped");
    let end = stop(running, Signal::TERM, AT_ONCE);
    end.assert_code(0);
    assert_words!("sandbox_exports_of_three_stores", &end.stdout);
}

#[test]
fn a_hang_up_stops_as_sigterm_does() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::HUP, AT_ONCE);
    end.assert_code(129);
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 7);
    goes_on_exactly(&surroundings, &[]);
}

#[test]
fn the_command_after_fresh_in_the_environment_keeps_what_is_saved() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
    let mut command = surroundings.sync(&[]);
    command.env("YOTPO_TD_FRESH", "on");
    let running = Running::start(command);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, AT_ONCE);
    assert_eq!(next_command(&end), "yotpo-td sync '--fresh=off'");
    goes_on_exactly(&surroundings, &["--fresh=off"]);
}

#[test]
fn an_interrupted_sandbox_promises_no_resume() {
    let mut command = crate::program::binary::program();
    command.args(["sync", "--sandbox", "--requests-per-second", "1", "--log-level", "debug"]);
    command.env("TD_DATABASE", "prod");
    let running = Running::start(command);
    running.wait_for_stderr("sandbox_td_prod");
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert!(end.last_line().starts_with("saved: nothing: a sandbox run keeps nothing"), "{}", end.stderr);
    assert_no_command(&end);
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_file_descriptors_is_no_bug() {
    let surroundings = Surroundings::with_customers(60);
    let limited = |limit: u32, arguments: &[&str]| {
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(crate::program::binary::PROGRAM).args(arguments);
        command.envs(surroundings.environment());
        Running::start(command).finish()
    };
    for arguments in [&["sync"][..], &["sync", "--sandbox"], &["runs", "clean", "--dry-run"]] {
        for limit in [6, 8, 12, 31] {
            let end = limited(limit, arguments);
            end.assert_code(6);
            let words = end.closing();
            assert!(
                words.contains(&format!("allows yotpo-td {limit} open files, and it needs 32")),
                "{words}"
            );
            assert!(words.contains("hint: raise the limit on threads and open files"), "{words}");
            assert!(words.contains("code: machine_denied (exit code 6)"), "{words}");
        }
    }
    limited(32, &["sync"]).assert_code(0);
    surroundings.assert_exact();
}
