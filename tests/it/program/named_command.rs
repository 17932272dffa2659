//! The command that the closing words name after an interruption: its arguments, and what it resumes.

use yotpo_td::sandbox::{FaultKind, Operation};

use crate::program::binary::{Running, Surroundings, wait_until};
use crate::program::closing_words::next_command;
use crate::program::exit_codes::run_named_command;

/// The number of customers that a summary's rate implies.
fn customers_by_rate(summary: &str) -> f64 {
    let line = summary.lines().find_map(|line| line.strip_prefix("duration")).expect("a duration");
    let (duration, rate) = line.trim().split_once(" (").expect("a rate");
    let rate: f64 = rate.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    rate * humantime::parse_duration(duration).unwrap().as_secs_f64()
}

/// Interrupts a run with these arguments, resumes it with the command that it names, and returns that command.
fn interrupted_and_resumed(surroundings: &Surroundings, arguments: &[&str]) -> String {
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let end = surroundings.run(&[arguments, &["--batch-size", "5"]].concat());
    end.assert_code(4);
    surroundings.end_faults();
    let second = run_named_command(surroundings, &end);
    second.assert_code(0);
    assert!(second.stdout.contains("(resumed)"), "{}", second.stdout);
    // This process did not fetch what the first had stored: about 35 of the 60.
    assert!((20.0..45.0).contains(&customers_by_rate(&second.stdout)), "{}", second.stdout);
    surroundings.assert_exact_and_clean();
    next_command(&end)
}

#[test]
fn the_named_command_is_quoted_for_a_shell() {
    let surroundings = Surroundings::with_customers(60);
    let directory = surroundings.directory().join("it's a $directory; `with` \"quotes\"");
    interrupted_and_resumed(&surroundings, &["--state-dir", directory.to_str().unwrap()]);
}

#[test]
fn the_named_command_does_not_abandon_the_run_that_it_resumes() {
    let command = interrupted_and_resumed(&Surroundings::with_customers(60), &["--fresh"]);
    assert!(!command.contains("--fresh"), "{command}");
}

#[test]
fn a_run_that_was_killed_before_anything_was_stored_starts_over_and_reports_it() {
    let surroundings = Surroundings::with_customers(60);
    // One page does not fill a part.
    surroundings.fault_on(Operation::Customers, 2, FaultKind::Hang);
    let first = Running::start(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    // The state is saved before the session is created.
    wait_until("the session is made", || !surroundings.control().sessions().is_empty());
    first.kill();
    surroundings.end_faults();
    let end = surroundings.run(&[]);
    end.assert_code(0);
    assert!(end.stderr.contains("had stored nothing, starting over"), "{}", end.stderr);
    surroundings.assert_exact_and_clean();
}

#[test]
fn the_named_command_keeps_fresh_if_nothing_was_saved() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(1, &FaultKind::Status(503, None));
    let end = surroundings.run(&["--fresh"]);
    end.assert_code(4);
    assert!(next_command(&end).contains("--fresh"), "{}", end.stderr);
}
