//! Streams that are not read or never end: a scheduler may end before the run that it started.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{Running, Surroundings, program, wait_until};

/// Starts a program whose stdout and stderr are closed by the reader.
fn start_unread(mut command: Command) -> Running {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    Running::of_child(child)
}

#[test]
fn closed_streams_neither_kill_nor_fail_a_run() {
    for arguments in [
        &["--log-level", "trace"][..],
        &["--log-level", "trace", "--log-format", "json", "--mode", "replace", "--summary", "json"],
    ] {
        let surroundings = Surroundings::with_customers(60);
        start_unread(surroundings.sync(arguments)).finish().assert_code(0);
        surroundings.assert_exact_and_clean();
    }
}

#[test]
fn streams_that_close_halfway_do_not_end_a_run() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_millis(200)));
    let mut command = surroundings.sync(&["--log-level", "trace"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, mut stderr) = (child.stdout.take(), child.stderr.take().unwrap());
    let running = Running::of_child(child);
    let mut first = [0; 64];
    stderr.read_exact(&mut first).unwrap();
    surroundings.wait_for_fault();
    drop((stdout, stderr));
    running.finish().assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn closed_streams_do_not_change_how_a_run_fails() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(500, None));
    start_unread(surroundings.sync(&[])).finish().assert_code(4);
    surroundings.end_faults();
    start_unread(surroundings.sync(&["--page-size", "0"])).finish().assert_code(2);
    if cfg!(debug_assertions) {
        let mut command = surroundings.sync(&[]);
        command.env("YOTPO_TD_FAILPOINT", "after save:1:panic");
        start_unread(command).finish().assert_code(1);
    }
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_retry_that_starts_while_the_orphan_runs_finds_the_lock() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_secs(2)));
    let orphan = start_unread(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    wait_until("the orphan saved something", || surroundings.saved_run().is_some());
    let retry = surroundings.run(&[]);
    retry.assert_code(8);
    assert!(retry.stderr.contains(&format!("process {}", orphan.pid())), "{}", retry.stderr);
    orphan.finish().assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn stdin_that_never_ends_is_never_read() {
    let surroundings = Surroundings::with_customers(60);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"unread").unwrap();
    let mut unread = theirs.try_clone().unwrap();
    let mut command = surroundings.sync(&[]);
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    Running::start(command).finish().assert_code(0);
    surroundings.assert_exact_and_clean();
    drop(ours);
    let mut left = String::new();
    unread.read_to_string(&mut left).unwrap();
    assert_eq!(left, "unread");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_a_warning() {
    let surroundings = Surroundings::with_customers(10);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = surroundings.sync(&["--summary", "json"]);
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    Running::of_child(child).finish().assert_code(0);
    assert!(text.contains("WARN") && text.contains("could not write to stdout"), "{text}");
    surroundings.assert_exact_and_clean();
}

/// A half-written settings file or list would be used.
#[cfg(target_os = "linux")]
#[test]
fn a_command_that_only_prints_fails_if_stdout_is_full() {
    let surroundings = Surroundings::with_customers(10);
    surroundings.run(&[]).assert_code(0);
    for arguments in [
        &["config", "template"][..],
        &["config", "schema"],
        &["config", "show"],
        &["config", "validate"],
        &["explain"],
        &["completions", "bash"],
        &["man"],
        &["runs", "list"],
        &["runs", "show"],
        &["check"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = program();
        command.args(arguments).envs(surroundings.environment()).stdout(full).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        Running::of_child(child).finish().assert_code(6);
        assert!(text.contains("error: could not write to stdout\n"), "{arguments:?}: {text}");
        assert!(text.contains("code: disk_full (exit code 6)\n"), "{arguments:?}: {text}");
        assert!(text.contains("saved: nothing: the command only prints"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_sandbox_run_is_marked_wherever_it_names_a_table() {
    for (format, summary) in [("text", "text"), ("json", "json")] {
        let mut command = program();
        command.args(["sync", "--sandbox", "--sandbox-customers", "10", "--mode", "replace"]);
        command.args(["--log-format", format, "--summary", summary]);
        command.env("TD_DATABASE", "prod").env("TD_TABLE", "golden");
        let end = Running::start(command).finish();
        end.assert_code(0);
        assert!(end.stdout.contains("sandbox_td_golden"), "{}", end.stdout);
        let lines = end.stdout.lines().chain(end.stderr.lines());
        for line in lines.filter(|line| line.contains("golden") || line.contains("prod")) {
            assert!(line.contains("SANDBOX") && !line.contains(" prod."), "{line}");
        }
    }
}

#[test]
fn a_failed_sandbox_run_is_marked_wherever_it_names_a_table() {
    let run = |format| {
        let mut command = program();
        command.args(["sync", "--sandbox", "--log-format", format]);
        command.env("TD_DATABASE", "prod").env("TD_TABLE", "golden!");
        let end = Running::start(command).finish();
        end.assert_code(2);
        end
    };
    let text = run("text");
    let named: Vec<_> = text.stderr.lines().filter(|line| line.contains("sandbox_td_golden!")).collect();
    assert!(!named.is_empty() && named.iter().all(|line| line.starts_with("SANDBOX ")), "{}", text.stderr);
    assert!(text.last_line().starts_with("saved: "), "{}", text.stderr);
    let json = run("json");
    let last: serde_json::Value = serde_json::from_str(json.last_line()).unwrap();
    assert!(last["error"].as_str().is_some_and(|error| error.contains("sandbox_td_golden!")), "{last}");
    assert_eq!(last["sandbox"], "SANDBOX");
}

#[cfg(target_os = "linux")]
#[test]
fn metrics_that_cannot_be_written_are_a_warning_at_the_first_and_at_the_last_write() {
    let surroundings = Surroundings::with_customers(10);
    // Nobody can create a file there, not even root.
    let end = surroundings.run(&["--metrics-file", "/proc/yotpo.prom"]);
    end.assert_code(0);
    let is_warning = |line: &&str| line.contains(" WARN ") && line.contains("--metrics-file");
    assert_eq!(end.stderr.lines().filter(is_warning).count(), 2, "{}", end.stderr);
    surroundings.assert_exact_and_clean();
}
