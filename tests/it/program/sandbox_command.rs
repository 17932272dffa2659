//! `yotpo-td sandbox`: what is wrong with its flags or addresses, and what it logs.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::binary::{Finished, Running, program};

fn sandbox(arguments: &[&str]) -> Finished {
    let mut command = program();
    command.arg("sandbox").args(arguments);
    Running::start(command).finish()
}

/// It starts nothing, and says why in these closing words.
#[track_caller]
fn assert_refused(arguments: &[&str], code: i32, words: &str) {
    let end = sandbox(arguments);
    end.assert_code(code);
    assert_eq!(end.stdout, "", "{arguments:?}");
    assert!(end.closing().starts_with(&format!("error: {words}")), "{arguments:?}: {}", end.closing());
    assert!(end.last_line().starts_with("saved: nothing was started"), "{}", end.last_line());
}

#[test]
fn flags_that_are_wrong_are_named_with_what_is_expected() {
    for (flag, value, expected) in [
        ("--requests-per-second", "0", "a whole number above 0, or off"),
        ("--requests-per-second", "many", "a whole number above 0, or off"),
        ("--import-time", "soon", "a time such as 10s"),
        ("--yotpo-listen", "localhost:8080", "a loopback address such as 127.0.0.1:8080"),
        ("--td-listen", "127.0.0.1", "a loopback address such as 127.0.0.1:8080"),
    ] {
        let words = format!("{flag}: {value:?} is not {expected}\ncode: settings_invalid (exit code 2)\n");
        assert_refused(&[flag, value], 2, &words);
    }
}

#[test]
fn an_address_of_another_machine_is_a_wrong_setting() {
    for flag in ["--yotpo-listen", "--td-listen"] {
        let words = "192.0.2.1:0 is not a loopback address; the sandbox listens only on loopback addresses\n\
                     code: settings_invalid (exit code 2)\n";
        assert_refused(&[flag, "192.0.2.1:0"], 2, words);
    }
}

#[test]
fn an_address_that_is_in_use_is_denied_by_the_machine() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--yotpo-listen", "--td-listen"] {
        assert_refused(&[flag, &address], 6, &format!("could not listen on {address}\n  because: "));
        let closing = sandbox(&[flag, &address]).closing();
        assert!(
            closing.contains("\nhint: name another port with --yotpo-listen or --td-listen"),
            "{closing}"
        );
    }
}

#[test]
fn a_temporary_directory_that_is_missing_is_named_in_the_hint() {
    for arguments in [
        &["sandbox", "--yotpo-listen", "127.0.0.1:0", "--td-listen", "127.0.0.1:0"][..],
        &["sync", "--sandbox"],
    ] {
        let mut command = program();
        command.args(arguments).env("TMPDIR", "/nonexistent");
        let end = Running::start(command).finish();
        end.assert_code(6);
        let hint =
            end.closing().lines().find(|line| line.starts_with("hint: ")).unwrap_or_default().to_owned();
        assert!(hint.contains("TMPDIR"), "{}", end.closing());
    }
}

#[test]
fn logs_as_json_have_no_line_for_people() {
    let mut command = program();
    command.args(["sandbox", "--customers", "10"]).env("YOTPO_TD_LOG_FORMAT", "json");
    let running = Running::start(command);
    running.wait_for_stdout("export TD_DATABASE=yotpo\n");
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(0);
    assert_eq!(end.stdout.lines().count(), 6, "{}", end.stdout);
    let messages = end.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let messages: Vec<_> = messages.map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["stopping after the requests in flight (press Ctrl-C again to exit now)"]);
}

#[test]
fn a_run_in_a_sandbox_that_did_not_start_keeps_its_advice() {
    let mut command = program();
    command.args(["sync", "--sandbox", "--requests-per-second", "0"]);
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert!(end.closing().contains("saved: nothing was started"), "{}", end.closing());
}
