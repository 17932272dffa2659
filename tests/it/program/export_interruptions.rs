//! What ends `sync --to` and `load` early, or changes the directory meanwhile: the exit code and the last words are true.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{DateHeader, FaultKind, Operation, SandboxSettings, Service};

use crate::program::binary::{Finished, Running, Surroundings, wait_until};
use crate::program::closing_words::{
    CORRECT_AND_RETRY, RESUME, RETRY, assert_words, next_command_to, transcript,
};
use crate::program::exports::{
    CUSTOMERS, export, export_command, export_directory, load, load_command, manifest, parts, requests,
};

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_signal_while_an_export_is_verified_ends_the_load() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut command = load_command(&surroundings, &[]);
        command.env("YOTPO_TD_FAILPOINT", "verify part:3:hang");
        let running = Running::start(command);
        running.wait_for_stderr("verifying the export");
        running.signal(signal);
        let end = running.finish();
        end.assert_code(code);
        if signal == Signal::TERM {
            assert_words!("load_stopped_while_verifying", transcript(&end));
        }
        next_command_to(RETRY, &end);
    }
    assert_eq!(requests(&surroundings, Service::TreasureData), 0);
    assert!(!surroundings.state_directory().exists(), "nothing was started");
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_signal_while_a_complete_export_is_verified_ends_the_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    export(&surroundings, &[]).assert_code(0);
    let mut command = export_command(&surroundings, &[]);
    command.env("YOTPO_TD_FAILPOINT", "verify part:3:hang");
    let running = Running::start(command);
    running.wait_for_stderr("verifying the export");
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    assert!(end.last_line().starts_with("saved: this command exported nothing; "), "{}", end.last_line());
    load(&surroundings, &[]).assert_code(0);
}

#[test]
fn the_time_of_an_export_is_that_of_yotpos_clock() {
    for (date_header, offset) in [(DateHeader::Skewed(-86_400), -86_400), (DateHeader::Absent, 0)] {
        let surroundings = Surroundings::new(SandboxSettings {
            customers: CUSTOMERS,
            date_header,
            ..SandboxSettings::default()
        });
        let before = Clock::machine().unix_time().as_secs();
        let end = export(&surroundings, &[]);
        end.assert_code(0);
        let after = Clock::machine().unix_time().as_secs();
        let time = manifest(&surroundings)["time"].as_u64().unwrap();
        let expected = before.checked_add_signed(offset).unwrap()..=after.checked_add_signed(offset).unwrap();
        assert!(expected.contains(&time), "{time} is not in {expected:?}");
        let warns = end.stderr.contains("Yotpo's responses have no Date header");
        assert_eq!(warns, date_header == DateHeader::Absent, "{}", end.stderr);
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_panic_while_a_part_is_written_is_a_bug() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let mut command = export_command(&surroundings, &["--upload-workers", "1"]);
    command.env("YOTPO_TD_FAILPOINT", "before rename:5:panic");
    let end = Running::start(command).finish();
    end.assert_code(1);
    assert!(end.closing().contains("code: bug (exit code 1)"), "{}", end.closing());
    assert!(end.last_line().contains(" rows in "), "{}", end.last_line());
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn parts_that_no_manifest_lists_are_removed_with_a_warning() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(9, &FaultKind::Status(503, None));
    export(&surroundings, &[]).assert_code(4);
    surroundings.end_faults();
    let lost = parts(&surroundings).len();
    assert!(lost > 1, "{lost}");
    fs::remove_file(export_directory(&surroundings).join("manifest.json")).unwrap();
    let end = export(&surroundings, &[]);
    end.assert_code(0);
    let warning =
        end.stderr.lines().find(|line| line.contains("removed parts that no readable manifest lists"));
    let warning = warning.unwrap_or_else(|| panic!("no warning in {}", end.stderr));
    assert!(warning.contains("WARN") && warning.contains(&format!(" parts={lost}")), "{warning}");
    // An export that is replaced loses nothing.
    let fresh = export(&surroundings, &["--fresh"]);
    fresh.assert_code(0);
    assert!(!fresh.stderr.contains("removed parts"), "{}", fresh.stderr);
}

/// Parts that the manifest lists.
fn saved_parts(surroundings: &Surroundings) -> u64 {
    u64::try_from(manifest(surroundings)["parts"].as_array().unwrap().len()).unwrap()
}

/// Exports, and removes the directory while a page is on its way.
fn removed_meanwhile(page: u64, stop: bool) -> (Surroundings, Finished) {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let slow = if stop { FaultKind::Hang } else { FaultKind::SlowBody(Duration::from_secs(2)) };
    surroundings.fault_on(Operation::Customers, page, slow);
    let running = Running::start(export_command(&surroundings, &[]));
    surroundings.wait_for_fault();
    let directory = export_directory(&surroundings);
    wait_until("what was fetched is saved", || {
        page == 1 || directory.join("manifest.json").exists() && saved_parts(&surroundings) >= (page - 2) / 2
    });
    // More than once if a part is written meanwhile.
    wait_until("it is gone", || fs::remove_dir_all(&directory).is_ok() || !directory.exists());
    if stop {
        running.signal(Signal::TERM);
    }
    let end = running.finish();
    surroundings.end_faults();
    (surroundings, end)
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_not_called_an_export() {
    for page in [1, 7, 12] {
        let (surroundings, end) = removed_meanwhile(page, false);
        end.assert_code(6);
        assert!(end.closing().contains("code: export_unusable (exit code 6"), "{}", end.closing());
        assert!(end.last_line().starts_with("saved: this command exported nothing; "), "{}", end.last_line());
        surroundings.type_in(&next_command_to(CORRECT_AND_RETRY, &end), &[]).finish().assert_code(0);
        load(&surroundings, &[]).assert_code(0);
        surroundings.assert_exact();
    }
    let (surroundings, end) = removed_meanwhile(7, true);
    end.assert_code(143);
    assert!(end.last_line().starts_with("saved: this command exported nothing; "), "{}", end.last_line());
    assert!(!export_directory(&surroundings).exists());
}

#[test]
fn parts_that_are_removed_meanwhile_are_not_called_saved() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_on(Operation::Customers, 9, FaultKind::Hang);
    let running = Running::start(export_command(&surroundings, &[]));
    surroundings.wait_for_fault();
    wait_until("what was fetched is saved", || saved_parts(&surroundings) >= 3);
    fs::remove_file(&parts(&surroundings)[0]).unwrap();
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    assert!(end.last_line().starts_with("saved: this command exported nothing; "), "{}", end.last_line());
    surroundings.end_faults();
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

/// An export that Yotpo ended after six pages, and what it saved.
fn interrupted() -> (Surroundings, Value) {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    export(&surroundings, &[]).assert_code(4);
    let saved = manifest(&surroundings);
    assert_eq!((&saved["rows"], saved_parts(&surroundings)), (&30.into(), 3));
    (surroundings, saved)
}

#[test]
fn an_export_that_fails_again_keeps_what_was_saved() {
    let (surroundings, saved) = interrupted();
    let again = export(&surroundings, &[]);
    again.assert_code(4);
    assert!(again.last_line().starts_with("saved: 30 rows in 3 parts in "), "{}", again.last_line());
    assert_eq!(manifest(&surroundings)["parts"], saved["parts"]);
    assert!(!again.stderr.contains("starting over"), "{}", again.stderr);
    surroundings.end_faults();
    let end = export(&surroundings, &[]);
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

/// Of the store, between two attempts.
type Change = fn(&Surroundings);

#[test]
fn an_export_starts_over_if_yotpo_cannot_continue_it() {
    let changes: [(&str, Change); 2] = [
        ("Yotpo no longer accepts the saved cursor, starting over", |surroundings| {
            surroundings.control().invalidate_cursors();
        }),
        (
            "no customer follows the exported ones, and the last part is missing: starting over",
            |surroundings| surroundings.control().set_customers(30),
        ),
    ];
    for (words, change) in changes {
        let (surroundings, _) = interrupted();
        surroundings.end_faults();
        change(&surroundings);
        let end = export(&surroundings, &[]);
        end.assert_code(0);
        assert!(end.stderr.contains(words), "{}", end.stderr);
        assert!(!end.stdout.contains("(resumed)"), "{}", end.stdout);
        assert_eq!(surroundings.control().page_fetches()[&0], 2, "{words}");
        load(&surroundings, &[]).assert_code(0);
        surroundings.assert_exact();
    }
}

#[test]
fn a_signal_ends_the_wait_for_another_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_on(Operation::Customers, 6, FaultKind::Hang);
    let first = Running::start(export_command(&surroundings, &[]));
    surroundings.wait_for_fault();
    let second = Running::start(export_command(&surroundings, &["--wait-for-active", "1h"]));
    second.wait_for_stderr("waiting for another run");
    second.signal(Signal::TERM);
    let end = second.finish();
    end.assert_code(143);
    let words = "error: stopped by SIGTERM while waiting for another run to end\n";
    assert!(end.closing().starts_with(words), "{}", end.closing());
    assert!(end.last_line().starts_with("saved: nothing was started"), "{}", end.last_line());
    surroundings.end_faults();
    first.kill();
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn the_second_signal_ends_an_export_whose_disk_hangs() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let mut command = export_command(&surroundings, &["--upload-workers", "1"]);
    // The manifest with the second part.
    command.env("YOTPO_TD_FAILPOINT", "before rename:5:hang");
    let running = Running::start(command);
    let has_manifest = || export_directory(&surroundings).join("manifest.json").exists();
    wait_until("two parts are stored", || has_manifest() && parts(&surroundings).len() == 2);
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the requests in flight");
    let end = running.finish_by(Signal::INT);
    end.assert_code(143);
    let words = "error: stopped by a second signal, without waiting\n";
    assert!(end.closing().starts_with(words), "{}", end.closing());
    assert!(end.last_line().starts_with("saved: 10 rows in 1 part in "), "{}", end.last_line());
    surroundings.type_in(&next_command_to(RESUME, &end), &[]).finish().assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_panic_before_the_first_manifest_is_saved_leaves_no_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let mut command = export_command(&surroundings, &[]);
    command.env("YOTPO_TD_FAILPOINT", "before rename:1:panic");
    let end = Running::start(command).finish();
    end.assert_code(1);
    assert!(end.closing().contains("error: a bug in yotpo-td ended it\n"), "{}", end.closing());
    assert!(end.last_line().starts_with("saved: this command exported nothing"), "{}", end.last_line());
    assert!(!export_directory(&surroundings).join("manifest.json").exists());
    export(&surroundings, &[]).assert_code(0);
    load(&surroundings, &[]).assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn a_load_whose_session_takes_no_more_parts_uploads_every_part_to_another_one() {
    // The third part, and the last one, which follows all others.
    for nth in [3, 6] {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        export(&surroundings, &[]).assert_code(0);
        assert_eq!(saved_parts(&surroundings), 6);
        surroundings.fault_on(Operation::UploadPart, nth, FaultKind::Status(409, None));
        let end = load(&surroundings, &["--upload-workers", "1"]);
        end.assert_code(0);
        surroundings.assert_exact();
        let uploads = surroundings.control().operation_requests(Operation::UploadPart);
        assert!(uploads >= nth + 6, "{uploads} uploads");
    }
}
