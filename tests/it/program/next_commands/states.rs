//! The closing words about what is left behind, for every recovery state: they are true, and the command that they name
//! does what they say.

use rustix::process::Signal;
use serde_json::{Value, json};
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, FaultTarget, Operation, SandboxSettings, Service};

use super::follow_to_the_end;
use crate::program::binary::{Running, Surroundings, wait_until};
use crate::program::closing_words::{CORRECT_AND_RESUME, CORRECT_AND_RETRY, RESUME, RETRY, next_command_to};

fn every(operations: &[(Operation, u16)]) -> FaultPlan {
    let fault = |(operation, status): &(Operation, u16)| Fault {
        service: Service::TreasureData,
        target: FaultTarget::EveryOf(*operation),
        kind: FaultKind::Status(*status, None),
    };
    FaultPlan { faults: operations.iter().map(fault).collect() }
}

#[test]
fn nothing_created() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::AccessToken, 1, FaultKind::Hang);
    let running = Running::start(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    running.signal(Signal::HUP);
    let end = running.finish();
    end.assert_code(129);
    assert_eq!(surroundings.control().sessions(), []);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RETRY);
}

#[test]
fn deleted() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().set_faults(every(&[(Operation::UploadPart, 500)]));
    let end = surroundings.run(&[]);
    end.assert_code(5);
    assert!(end.last_line().contains("is unchanged and its session was deleted; "), "{}", end.last_line());
    assert_eq!(surroundings.control().sessions(), []);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RETRY);
}

#[test]
fn cleanup_failed_is_cleaned_up_by_the_next_run() {
    let surroundings = Surroundings::with_customers(60);
    let faults = every(&[(Operation::UploadPart, 500), (Operation::DeleteSession, 500)]);
    surroundings.control().set_faults(faults);
    let end = surroundings.run(&[]);
    end.assert_code(5);
    assert!(end.last_line().contains("was not deleted, the next run deletes it; "), "{}", end.last_line());
    assert_eq!(surroundings.control().sessions().len(), 1);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RETRY);
}

#[test]
fn resumable_with_everything_that_was_reported_as_saved() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on(Operation::Customers, 6, FaultKind::Hang);
        let running = Running::start(surroundings.sync(&["--fresh", "--batch-size", "5"]));
        surroundings.wait_for_fault();
        running.signal(signal);
        let end = running.finish();
        end.assert_code(code);
        let saved = surroundings.saved_run().unwrap();
        let words = format!("saved: {} rows in {} parts of session ", saved.rows, saved.parts);
        assert!(end.last_line().starts_with(&words), "{}", end.last_line());
        surroundings.end_faults();
        assert_eq!(next_command_to(RESUME, &end), "yotpo-td sync --batch-size 5");
        follow_to_the_end(&surroundings, &end, RESUME);
    }
}

#[test]
fn a_program_that_is_not_on_path_is_named_as_it_was_started() {
    let surroundings = Surroundings::with_customers(60);
    let link = surroundings.directory().join("y");
    std::os::unix::fs::symlink(crate::program::binary::PROGRAM, &link).unwrap();
    let directory = surroundings.directory().display().to_string();
    let type_in_directory =
        |command: &str| surroundings.type_in(&format!("cd {directory} && {command}"), &[]).finish();
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    for (started, named) in [("./y", "./y".to_owned()), (link.to_str().unwrap(), link.display().to_string())]
    {
        let end = type_in_directory(&format!("{started} sync"));
        end.assert_code(4);
        assert_eq!(next_command_to(RESUME, &end), format!("{named} sync"));
    }
    let end = type_in_directory("./y sync");
    surroundings.end_faults();
    type_in_directory(&next_command_to(RESUME, &end)).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn the_second_signal_names_what_the_checkpoint_has_and_nothing_else() {
    for (operation, nth, words) in [(Operation::UploadPart, 4, RESUME), (Operation::UploadPart, 1, RETRY)] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on(operation, nth, FaultKind::Hang);
        let running = Running::start(surroundings.sync(&["--upload-workers", "1"]));
        surroundings.wait_for_fault();
        running.signal(Signal::TERM);
        running.wait_for_stderr("stopping after the requests in flight");
        let end = running.finish_by(Signal::INT);
        end.assert_code(143);
        surroundings.end_faults();
        follow_to_the_end(&surroundings, &end, words);
    }
}

#[test]
fn maybe_committed_is_completed_and_loaded_once() {
    for mode in ["append", "replace"] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on_every(Operation::CommitSession, FaultKind::FailCommit);
        let end = surroundings.run(&["--mode", mode, "--fresh"]);
        end.assert_code(5);
        assert!(
            end.last_line().contains(" now or soon, and are never loaded twice; "),
            "{}",
            end.last_line()
        );
        surroundings.end_faults();
        follow_to_the_end(&surroundings, &end, RESUME);
    }
}

#[test]
fn maybe_committed_although_the_commit_was_refused_is_loaded_once_by_the_same_command() {
    for status in [400, 404] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on_every(Operation::CommitSession, FaultKind::Status(status, None));
        let end = surroundings.run(&["--fresh"]);
        end.assert_code(5);
        let closing = end.closing();
        assert!(closing.contains("hint: run the same command, with the same endpoints"), "{closing}");
        assert!(closing.contains("code: treasure_data_request_refused (exit code 5)"), "{closing}");
        surroundings.end_faults();
        follow_to_the_end(&surroundings, &end, RESUME);
    }
}

#[test]
fn maybe_committed_although_the_response_was_lost_is_loaded_once() {
    let settings = SandboxSettings {
        customers: 60,
        commit_duration: std::time::Duration::from_secs(1),
        ..SandboxSettings::default()
    };
    let surroundings = Surroundings::new(settings);
    let running = Running::start(surroundings.sync(&[]));
    wait_until("the commit is in progress", || {
        surroundings.control().sessions().iter().any(|session| session.status == "committing")
    });
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    follow_to_the_end(&surroundings, &end, RESUME);
    assert_eq!(surroundings.control().operation_requests(Operation::CommitSession), 1);
}

#[test]
fn maybe_committed_and_refused_is_completed_after_the_correction() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().set_faults(every(&[(Operation::CommitSession, 402)]));
    let end = surroundings.run(&[]);
    end.assert_code(5);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RESUME);
}

#[test]
fn state_that_can_be_read_again_is_used() {
    use std::os::unix::fs::PermissionsExt as _;

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5"]).assert_code(4);
    surroundings.end_faults();
    let set_mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(surroundings.state_file(), mode).unwrap();
    };
    set_mode(0o666);
    let end = surroundings.run(&["--batch-size", "5"]);
    end.assert_code(6);
    let words = "could not read what an earlier one saved or loaded; ";
    assert!(end.last_line().contains(words), "{}", end.last_line());
    let path = surroundings.state_file();
    let repair = format!("run `chmod 600 {}`", path.display());
    assert!(end.closing().contains(&repair), "{}", end.closing());
    set_mode(0o600);
    let next = surroundings.type_in(&next_command_to(CORRECT_AND_RETRY, &end), &[]).finish();
    next.assert_code(0);
    assert!(next.stdout.contains("(resumed)"), "{}", next.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
fn json_reports_the_same_for_programs() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let end = surroundings.run(&["--batch-size", "5", "--log-format", "json", "--summary", "json"]);
    end.assert_code(4);
    surroundings.end_faults();
    let command = "yotpo-td sync --batch-size 5 --log-format json --summary json";
    for text in [end.last_line(), &end.stdout] {
        let object: Value = serde_json::from_str(text).unwrap();
        assert_eq!(object["next_command"], command, "{object}");
        assert_eq!((&object["next_step"], &object["after_correction"]), (&json!("resume"), &json!(false)));
    }
    let next = surroundings.type_in(command, &[]).finish();
    next.assert_code(0);
    let summary: Value = serde_json::from_str(&next.stdout).unwrap();
    assert_eq!(summary["resumed"], true);
    surroundings.assert_exact_and_clean();
}

#[test]
fn old_progress_is_not_abandoned_by_a_command_that_was_fresh() {
    for (arguments, variable) in [(&[][..], "on"), (&["--fresh=true"], "off"), (&["--fresh=false"], "1")] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on(Operation::Customers, 8, FaultKind::Hang);
        let mut command = surroundings.sync(arguments);
        command.env("YOTPO_TD_FRESH", variable);
        let running = Running::start(command);
        surroundings.wait_for_fault();
        running.signal(Signal::TERM);
        let end = running.finish();
        surroundings.end_faults();
        let variables = [("YOTPO_TD_FRESH", variable)];
        let next = surroundings.type_in(&next_command_to(RESUME, &end), &variables).finish();
        next.assert_code(0);
        assert!(next.stdout.contains("(resumed)"), "{arguments:?}: {}", next.stdout);
        surroundings.assert_exact_and_clean();
    }
}
