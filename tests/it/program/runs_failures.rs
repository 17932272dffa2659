//! `yotpo-td runs` when it cannot do what it is asked for, and its question on a terminal.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use nix::pty::openpty;
use yotpo_td::sandbox::{FaultKind, Operation, Service};

use crate::program::binary::{Finished, Running, Surroundings, files_below, program};
use crate::program::closing_words::assert_no_command;

/// `yotpo-td runs` with these arguments.
fn command(surroundings: &Surroundings, arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("runs").args(arguments).envs(surroundings.environment());
    command
}

fn runs(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    Running::start(command(surroundings, arguments)).finish()
}

/// Surroundings with a run that failed after page 7 because of Yotpo, and its id.
fn interrupted() -> (Surroundings, String) {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(8, &FaultKind::Status(500, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    let id = surroundings.saved_run().unwrap().run_id.to_string();
    (surroundings, id)
}

/// `yotpo-td runs` on a terminal on which a person has entered this line.
fn answered(surroundings: &Surroundings, arguments: &[&str], line: &str) -> Finished {
    let terminal = openpty(None, None).unwrap();
    let mut person = File::from(terminal.master);
    person.write_all(line.as_bytes()).unwrap();
    let mut command = command(surroundings, arguments);
    command.stdin(Stdio::from(terminal.slave));
    Running::start(command).finish()
}

#[test]
fn a_person_on_a_terminal_is_asked_before_a_run_is_abandoned() {
    let (surroundings, id) = interrupted();
    let parts = surroundings.saved_run().unwrap().parts;
    let question = format!(
        "abandon run {id} of yotpo.yotpo_customers with 35 rows in {parts} stored parts on this machine? [y/N] "
    );
    for no in ["n\n", "\n", "nay\n"] {
        let end = answered(&surroundings, &["abandon", &id], no);
        end.assert_code(2);
        assert!(end.stderr.contains(&question), "{}", end.stderr);
        assert!(end.stderr.contains(&format!("abandoning run {id} needs confirmation")), "{}", end.stderr);
        assert_eq!(surroundings.saved_run().unwrap().run_id.as_str(), id, "{no:?}");
    }
    let end = answered(&surroundings, &["abandon", &id], "y\n");
    end.assert_code(0);
    assert!(end.stderr.contains(&question), "{}", end.stderr);
    assert!(end.stdout.starts_with(&format!("abandoned run {id} of ")), "{}", end.stdout);
    assert!(surroundings.saved_run().is_none());
    assert_eq!(surroundings.rows(), 0);
}

#[test]
fn an_id_that_no_unfinished_run_has_is_reported_and_nothing_is_sent() {
    let (surroundings, id) = interrupted();
    let before = surroundings.control().operations();
    let end = runs(&surroundings, &["abandon", "--yes", "nightly"]);
    end.assert_code(2);
    assert!(end.closing().starts_with("error: no unfinished run has the id nightly\n"), "{}", end.closing());
    assert_no_command(&end);
    assert_eq!(surroundings.control().operations(), before);
    assert_eq!(surroundings.saved_run().unwrap().run_id.as_str(), id);
}

#[test]
fn where_nothing_ran_the_hint_says_how_to_find_the_state() {
    let surroundings = Surroundings::with_customers(60);
    let end = runs(&surroundings, &["show"]);
    end.assert_code(2);
    let hint =
        "hint: yotpo-td runs list shows where runs are looked for, and --state-dir names another directory\n";
    assert!(end.closing().contains(hint), "{}", end.closing());
    let list = runs(&surroundings, &["list"]);
    assert!(list.stderr.contains(surroundings.state_directory().to_str().unwrap()), "{}", list.stderr);
}

#[test]
fn a_key_that_is_missing_is_a_wrong_setting() {
    let surroundings = Surroundings::with_customers(60);
    let mut command = command(&surroundings, &["clean"]);
    command.env_remove("TD_API_KEY");
    let end = Running::start(command).finish();
    end.assert_code(2);
    for text in
        ["TD_API_KEY", "code: settings_invalid (exit code 2)", "saved: everything; nothing was removed"]
    {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    assert_eq!(surroundings.control().requests(Service::TreasureData), 0);
}

#[test]
fn a_state_directory_that_others_can_write_to_is_not_used() {
    let (surroundings, id) = interrupted();
    let before = files_below(&surroundings.state_directory());
    fs::set_permissions(surroundings.state_directory(), fs::Permissions::from_mode(0o777)).unwrap();
    for arguments in [&["list"][..], &["clean", "--dry-run"], &["abandon", "--yes", &id]] {
        let end = runs(&surroundings, arguments);
        end.assert_code(6);
        for text in ["every user can write to ", "code: state_failed (exit code 6"] {
            assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
        }
        assert!(!end.closing().contains("the state of the run"), "it is about no run: {}", end.closing());
    }
    assert_eq!(files_below(&surroundings.state_directory()), before);
}

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let (surroundings, id) = interrupted();
    let lock = surroundings.state_file().with_extension("lock");
    let elsewhere = surroundings.directory().join("elsewhere");
    fs::rename(&lock, &elsewhere).unwrap();
    symlink(&elsewhere, &lock).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    let end = runs(&surroundings, &["abandon", "--yes", &id]);
    end.assert_code(6);
    for text in [
        "is a symbolic link, which is never followed",
        "hint: check the state directory: --state-dir (YOTPO_TD_STATE_DIR), its disk and permissions\n",
        "code: state_failed (exit code 6",
    ] {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert_eq!(surroundings.saved_run().unwrap().run_id.as_str(), id);
}

#[test]
fn an_account_that_does_not_answer_is_reported_and_nothing_is_removed() {
    let (surroundings, _) = interrupted();
    let sessions = surroundings.control().sessions();
    surroundings.fault_on_every(Operation::ListSessions, FaultKind::Status(503, None));
    let end = runs(&surroundings, &["clean", "--older-than", "0s", "--yes"]);
    end.assert_code(5);
    for text in ["could not list the bulk import sessions at ", "503 Service Unavailable", "(exit code 5"] {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    assert!(!end.closing().contains("could not load"), "it loads nothing: {}", end.closing());
    assert_eq!(surroundings.control().sessions(), sessions);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_panic_of_a_command_that_loads_nothing_is_a_bug_with_closing_words() {
    let (surroundings, id) = interrupted();
    let mut command = command(&surroundings, &["abandon", "--yes", &id]);
    command.env("YOTPO_TD_FAILPOINT", "before save:1:panic");
    let end = Running::start(command).finish();
    end.assert_code(1);
    for text in ["error: a bug in yotpo-td ended it\n", "code: bug (exit code 1)"] {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    let saved =
        "saved: nothing that this command knows of; after correcting this, retry with: yotpo-td runs abandon";
    assert!(end.last_line().starts_with(saved), "{}", end.last_line());
    runs(&surroundings, &["abandon", "--yes", &id]).assert_code(0);
    assert!(surroundings.saved_run().is_none());
    assert_eq!(surroundings.rows(), 0);
}
