//! Stop signals in every phase of a run: it ends in time with the signal's exit code and a true checkpoint, and the same
//! command completes the load.

use std::time::Duration;

use rustix::process::Signal;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{FaultKind, Operation, SandboxSettings};

use crate::program::binary::{Finished, Running, Surroundings, wait_until};
use crate::program::closing_words::{assert_no_command, assert_words, next_command, transcript};

/// "About 10 seconds": 8 for requests in flight, 3 for cleaning up, plus the delays of a loaded machine.
const LONGEST_STOP: Duration = Duration::from_secs(14);
/// Shorter than the grace period for work in flight.
const IMMEDIATELY: Duration = Duration::from_secs(5);
const FOR_EVER: Duration = Duration::from_secs(3_600);

impl Running {
    /// Sends `signal`, as the second one, until the program has ended: right after the first one it is taken for its echo.
    pub(crate) fn finish_by(mut self, signal: Signal) -> Finished {
        wait_until("the second signal counts", || {
            self.signal(signal);
            self.has_ended()
        });
        self.finish()
    }
}

/// Sends a signal and waits for the end.
#[track_caller]
fn stop(running: Running, signal: Signal, within: Duration) -> Finished {
    let clock = Clock::machine();
    running.signal(signal);
    let end = running.finish();
    assert!(clock.now() < within, "took {:?} to stop, stderr:\n{}", clock.now(), end.stderr);
    end
}

/// The same command completes the load, and fetches no page again that is in the checkpoint.
#[track_caller]
fn resumes_exactly(surroundings: &Surroundings, arguments: &[&str]) {
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
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    end.assert_code(143);
    assert_eq!(surroundings.rows(), 0);
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 7);
    assert_words!("sigterm_while_fetching", transcript(&end));
    assert_eq!(next_command(&end), "yotpo-td sync");
    resumes_exactly(&surroundings, &[]);
}

#[test]
fn sigint_before_anything_is_stored_leaves_nothing() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::AccessToken, 1, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::INT, IMMEDIATELY);
    end.assert_code(130);
    assert_eq!(
        (surroundings.control().sessions(), surroundings.control().tables()),
        (Vec::new(), Vec::new())
    );
    assert_words!("sigint_before_anything", transcript(&end));
    resumes_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn an_upload_in_flight_is_finished_and_saved() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 6, FaultKind::SlowBody(Duration::from_millis(300)));
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    // The last part may be the slow one: then everything is stored, and the stop follows immediately.
    end.assert_code(143);
    let saved = surroundings.saved_run().unwrap();
    assert_eq!((saved.parts, saved.rows), (6, 60));
    resumes_exactly(&surroundings, &[]);
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
    assert_words!("sigterm_while_an_upload_hangs", transcript(&end));
    resumes_exactly(&surroundings, &["--upload-workers", "1"]);
}

#[test]
fn a_session_that_cannot_be_opened_does_not_keep_a_stopping_run() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::CreateSession, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert_words!("sigterm_while_a_session_is_opened", transcript(&end));
    resumes_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn sigint_while_the_guard_reads_the_table_stops_immediately() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::ListTables, 2, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::INT, IMMEDIATELY);
    end.assert_code(130);
    resumes_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn sigterm_while_performing_keeps_the_loaded_parts() {
    let surroundings = Surroundings::with_customers(60);
    // The read after the perform; ballot, open, frozen and proven were read before.
    surroundings.fault_on(Operation::ShowSession, 5, FaultKind::Hang);
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    end.assert_code(143);
    assert_words!("sigterm_while_performing", transcript(&end));
    resumes_exactly(&surroundings, &[]);
    assert_eq!(surroundings.control().operation_requests(Operation::PerformSession), 1);
}

#[test]
fn sigterm_while_committing_reports_that_the_rows_may_be_there() {
    let settings = SandboxSettings {
        customers: 60,
        commit_duration: Duration::from_secs(2),
        ..SandboxSettings::default()
    };
    let surroundings = Surroundings::new(settings);
    let running = started(&surroundings, &[]);
    let is_committing =
        || surroundings.control().sessions().iter().any(|session| session.status == "committing");
    wait_until("the commit is in progress", is_committing);
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    end.assert_code(143);
    assert_words!("sigterm_while_committing", transcript(&end));
    resumes_exactly(&surroundings, &[]);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 1);
}

#[test]
fn sigint_while_the_commit_response_is_lost_commits_once() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::CommitSession, 1, FaultKind::SlowBody(FOR_EVER));
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    stop(running, Signal::INT, IMMEDIATELY).assert_code(130);
    assert_eq!(surroundings.rows(), 0, "nothing is renamed yet");
    resumes_exactly(&surroundings, &["--mode", "replace"]);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 1);
}

#[test]
fn a_rename_that_never_ends_does_not_keep_a_stopping_run() {
    let surroundings = Surroundings::with_customers(60);
    // The first rename gives the temporary table its name.
    surroundings.fault_on(Operation::RenameTable, 2, FaultKind::Hang);
    let running = started(&surroundings, &["--mode", "replace"]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, LONGEST_STOP);
    end.assert_code(143);
    assert_words!("sigterm_while_renaming", transcript(&end));
    resumes_exactly(&surroundings, &["--mode", "replace"]);
}

#[test]
fn the_second_signal_exits_immediately_with_a_true_checkpoint() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Hang);
    let running = started(&surroundings, &["--upload-workers", "1"]);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the requests in flight");
    let clock = Clock::machine();
    let end = running.finish_by(Signal::INT);
    assert!(clock.now() < IMMEDIATELY, "took {:?}", clock.now());
    end.assert_code(143);
    assert_words!("second_signal", transcript(&end));
    assert_eq!(surroundings.saved_run().unwrap().parts, 3);
    resumes_exactly(&surroundings, &["--upload-workers", "1"]);
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
    resumes_exactly(&surroundings, &["--upload-workers", "1"]);
}

#[test]
fn a_stopped_run_with_an_id_is_resumed_on_another_machine() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::ShowSession, 2, FaultKind::Hang);
    let arguments = ["--run-id", "session-uuid"];
    let running = started(&surroundings, &arguments);
    surroundings.wait_for_fault();
    stop(running, Signal::TERM, IMMEDIATELY).assert_code(143);
    surroundings.end_faults();
    std::fs::remove_dir_all(surroundings.state_directory()).unwrap();
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
        let end = stop(running, signal, IMMEDIATELY);
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
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    end.assert_code(0);
    assert_words!("sandbox_exports_of_three_stores", &end.stdout);
}

#[test]
fn a_hang_up_stops_like_sigterm() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
    let running = started(&surroundings, &[]);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::HUP, IMMEDIATELY);
    end.assert_code(129);
    assert_eq!(surroundings.saved_run().unwrap().position.page(), 7);
    resumes_exactly(&surroundings, &[]);
}

#[test]
fn the_command_after_fresh_in_the_environment_keeps_what_is_saved() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
    let mut command = surroundings.sync(&[]);
    command.env("YOTPO_TD_FRESH", "on");
    let running = Running::start(command);
    surroundings.wait_for_fault();
    let end = stop(running, Signal::TERM, IMMEDIATELY);
    assert_eq!(next_command(&end), "yotpo-td sync '--fresh=off'");
    resumes_exactly(&surroundings, &["--fresh=off"]);
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
fn a_lack_of_file_descriptors_is_not_a_bug() {
    let surroundings = Surroundings::with_customers(60);
    let limited = |limit: u32, arguments: &[&str]| {
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(crate::program::binary::PROGRAM).args(arguments);
        command.envs(surroundings.environment());
        Running::start(command).finish()
    };
    for arguments in [
        &["sync"][..],
        &["sync", "--sandbox"],
        &["runs", "clean", "--dry-run"],
        &["compare", "old.jsonl", "new.jsonl"],
    ] {
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
