//! `--wait-for-active`: a run waits for another one of its target on this machine, within its limit, until a signal.

use std::time::Duration;

use rustix::process::Signal;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{Running, Surroundings};
use crate::program::closing_words::{assert_words, transcript};

const WAITING: &str = "waiting for another run of this target to end";
/// A wait that is longer than any test.
const LONG: [&str; 2] = ["--wait-for-active", "1h"];
/// Much longer than the poll interval of the lock, and much shorter than the limit.
const PROMPT: Duration = Duration::from_secs(15);

/// A run that has stored five pages and hangs at the seventh: the sixth waits for the rows of the next part.
fn hanging(surroundings: &Surroundings) -> Running {
    surroundings.fault_on(Operation::Customers, 7, FaultKind::Hang);
    let first = Running::start(surroundings.sync(&["--batch-size", "5"]));
    surroundings.wait_for_fault();
    crate::program::binary::wait_until("five parts are stored", || {
        surroundings.saved_run().is_some_and(|run| run.parts == 5)
    });
    first
}

#[test]
fn the_end_of_the_limit_is_exit_code_8() {
    let surroundings = Surroundings::with_customers(60);
    let first = hanging(&surroundings);
    let clock = Clock::machine();
    let end = surroundings.run(&["--wait-for-active", "250ms"]);
    assert!(clock.now() >= Duration::from_millis(250), "{:?}", clock.now());
    end.assert_code(8);
    assert_words!("code_8_after_the_wait", transcript(&end));
    let lines: Vec<_> = end.stderr.lines().filter(|line| line.contains(WAITING)).collect();
    let [line] = lines[..] else { panic!("{}", end.stderr) };
    for part in ["INFO", &format!("pid={}", first.pid()), "run_id=", "limit=250ms"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    first.kill();
}

#[test]
fn a_run_that_was_killed_is_resumed_by_the_one_that_waits() {
    let surroundings = Surroundings::with_customers(60);
    let first = hanging(&surroundings);
    let second = Running::start(surroundings.sync(&LONG));
    second.wait_for_stderr(WAITING);
    surroundings.end_faults();
    first.kill();
    let end = second.finish();
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
fn runs_of_one_id_that_wait_for_each_other_load_once() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_millis(500)));
    let arguments = ["--run-id", "20261123", LONG[0], LONG[1]];
    let first = Running::start(surroundings.sync(&arguments));
    surroundings.wait_for_fault();
    let second = Running::start(surroundings.sync(&arguments));
    second.wait_for_stderr(WAITING);
    first.finish().assert_code(0);
    second.finish().assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn a_signal_ends_the_wait_immediately() {
    let surroundings = Surroundings::with_customers(60);
    let first = hanging(&surroundings);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let second = Running::start(surroundings.sync(&LONG));
        second.wait_for_stderr(WAITING);
        let clock = Clock::machine();
        second.signal(signal);
        let end = second.finish();
        assert!(clock.now() < PROMPT, "took {:?}", clock.now());
        end.assert_code(code);
        assert_words!(format!("code_{code}_while_waiting"), transcript(&end));
    }
    surroundings.end_faults();
    first.kill();
    surroundings.run(&["--batch-size", "5"]).assert_code(0);
    surroundings.assert_exact_and_clean();
}
