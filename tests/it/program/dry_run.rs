//! `sync --dry-run`: says what a run would do, and changes nothing anywhere.

use serde_json::Value;
use yotpo_td::sandbox::{FaultKind, Operation, Service};

use crate::program::binary::{Finished, Running, Surroundings, files_below, program, wait_until};
use crate::program::closing_words::{assert_words, transcript};
use crate::program::preview::store_of;

const CUSTOMERS: u64 = 60;

fn dry_run(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    let mut command = surroundings.sync(&[&["--dry-run"], arguments].concat());
    command.env_remove("TD_API_KEY");
    Running::start(command).finish()
}

fn summary(surroundings: &Surroundings, arguments: &[&str]) -> Value {
    let end = dry_run(surroundings, &[&["--summary", "json"], arguments].concat());
    end.assert_code(0);
    let summary: Value = serde_json::from_str(&end.stdout).unwrap();
    super::summary::assert_valid(&summary);
    summary
}

#[test]
fn everything_is_fetched_and_counted_and_nothing_is_sent_or_saved() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let seen = summary(&surroundings, &["--mode", "replace"]);
    assert_eq!((&seen["outcome"], &seen["state"]), (&"dry_run".into(), &"nothing_created".into()));
    assert_eq!((&seen["rows"], &seen["pages"], &seen["parts"]), (&60.into(), &12.into(), &6.into()));
    assert_eq!((&seen["mode"], &seen["table"]), (&"replace".into(), &"yotpo_customers".into()));
    assert_eq!(seen["dry_run"]["resumption"], "nothing_saved");
    assert_eq!(seen["dry_run"]["is_partial"], false);
    assert!(seen["dry_run"]["expected_fetching_seconds"].is_number(), "{seen}");
    assert!(
        seen["uploaded_bytes"].as_u64().unwrap() > 0 && seen["row_bytes"].as_u64().unwrap() > 0,
        "{seen}"
    );
    assert_eq!(seen["run_id"], Value::Null);
    assert_eq!(summary(&surroundings, &["--run-id", "sunday"])["run_id"], "sunday");
    // What this took, and what it may take in memory.
    assert!(
        seen["duration_seconds"].as_f64().unwrap() >= seen["phase_seconds"]["fetching"].as_f64().unwrap()
            && seen["duration_seconds"].as_f64().unwrap() > 0.0
            && seen["memory_bound_bytes"].as_u64().unwrap() > 1_000_000,
        "{seen}"
    );
    assert!(seen["yotpo"]["response_bytes"].as_u64().unwrap() > 0, "{seen}");
    assert_eq!(surroundings.control().requests(Service::TreasureData), 0);
    assert!(!surroundings.state_directory().exists());
}

#[test]
fn it_says_what_a_run_would_resume_or_lose() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    let before = files_below(&surroundings.state_directory());
    let (sessions, requests) =
        (surroundings.control().sessions(), surroundings.control().requests(Service::TreasureData));
    let resumes = &summary(&surroundings, &[])["dry_run"];
    assert_eq!(resumes["resumption"], "resume");
    assert_eq!((&resumes["saved_pages"], &resumes["saved_rows"]), (&6.into(), &30.into()));
    let abandons = &summary(&surroundings, &["--fresh"])["dry_run"];
    assert_eq!((&abandons["resumption"], &abandons["reason"]), (&"abandon".into(), &"--fresh is set".into()));
    let text = dry_run(&surroundings, &[]);
    text.assert_code(0);
    assert!(
        text.stdout.contains("a run resumes after 30 rows of 6 pages in 3 parts, saved ")
            && text.stdout.contains(", unless it was abandoned elsewhere; ")
            && text.stdout.contains(" compressed, "),
        "{}",
        text.stdout
    );
    assert_eq!(files_below(&surroundings.state_directory()), before);
    assert_eq!(surroundings.control().sessions(), sessions);
    assert_eq!(surroundings.control().requests(Service::TreasureData), requests);
    let run = surroundings.run(&[]);
    run.assert_code(0);
    assert!(run.stdout.contains("(resumed)"), "{}", run.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_limit_ends_it_after_so_many_pages_and_the_last_run_gives_the_estimate() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let partial = summary(&surroundings, &["--limit", "3"]);
    assert_eq!((&partial["rows"], &partial["pages"]), (&15.into(), &3.into()));
    assert_eq!(partial["dry_run"]["is_partial"], true);
    assert_eq!(partial["dry_run"]["expected_fetching_seconds"], Value::Null);
    surroundings.run(&[]).assert_code(0);
    let estimated = summary(&surroundings, &["--limit", "3"]);
    assert!(estimated["dry_run"]["expected_fetching_seconds"].is_number(), "{estimated}");
    let whole = summary(&surroundings, &["--limit", "1000"]);
    assert_eq!((&whole["rows"], &whole["dry_run"]["is_partial"]), (&60.into(), &false.into()));
}

#[test]
fn a_limit_before_the_first_row_says_what_is_known() {
    let empty = Surroundings::with_customers(0);
    let seen = summary(&empty, &["--limit", "3"]);
    assert_eq!((&seen["rows"], &seen["parts"], &seen["pages"]), (&0.into(), &0.into(), &1.into()));
    assert_eq!(seen["dry_run"]["is_partial"], false);
    dry_run(&empty, &["--limit", "3", "--mode", "replace"]).assert_code(7);
    // The only customer of the first page cannot become a row; those of later pages may.
    let server = store_of(vec!["7".to_owned(), "8".to_owned()]);
    for (arguments, code) in [(&["--limit", "1"][..], 0), (&[], 7)] {
        let arguments = [&["--dry-run", "--max-error-records", "2", "--summary", "json"], arguments].concat();
        let mut command = empty.sync(&arguments);
        command.env("YOTPO_TD_YOTPO_ENDPOINT", server.endpoint());
        let end = Running::start(command).finish();
        end.assert_code(code);
        let seen: Value = serde_json::from_str(&end.stdout).unwrap();
        if code == 0 {
            assert_eq!((&seen["rows"], &seen["parts"]), (&0.into(), &0.into()));
            assert_eq!(seen["dry_run"]["is_partial"], true);
        } else {
            assert_eq!(seen["code"], "guard_tripped", "{seen}");
        }
    }
}

#[test]
fn a_limit_after_an_empty_page_does_not_mean_that_the_store_is_empty() {
    let surroundings = Surroundings::with_customers(0);
    let server = store_of(vec![String::new(), "{}".to_owned()]);
    let mut command =
        surroundings.sync(&["--dry-run", "--limit", "1", "--mode", "replace", "--summary", "json"]);
    command.env("YOTPO_TD_YOTPO_ENDPOINT", server.endpoint());
    let end = Running::start(command).finish();
    end.assert_code(0);
    let seen: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!((&seen["rows"], &seen["pages"]), (&0.into(), &1.into()));
    assert_eq!(seen["dry_run"]["is_partial"], true);
}

#[test]
fn permissions_that_a_run_would_restrict_stay_as_they_are() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    surroundings.run(&[]).assert_code(4);
    surroundings.end_faults();
    let state = surroundings.state_file();
    let open =
        [(surroundings.state_directory(), 0o775), (state.with_extension("lock"), 0o664), (state, 0o644)];
    for (path, mode) in &open {
        fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
    }
    let seen = summary(&surroundings, &[]);
    assert_eq!(seen["dry_run"]["resumption"], "resume");
    let found = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (path, mode) in &open {
        assert_eq!(found(path), *mode, "{}", path.display());
    }
    surroundings.run(&[]).assert_code(0);
    let restricted = open.each_ref().map(|(path, _)| found(path));
    assert_eq!(restricted, [0o755, 0o600, 0o600]);
}

#[test]
fn what_a_run_would_refuse_fails_with_its_exit_code() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.run(&["--mode", "replace"]).assert_code(0);
    surroundings.control().set_customers(20);
    let refused = dry_run(&surroundings, &["--mode", "replace"]);
    refused.assert_code(7);
    assert_words!("dry_run_refused", transcript(&refused));
    surroundings.control().set_customers(0);
    dry_run(&surroundings, &["--mode", "replace"]).assert_code(7);
    surroundings.control().set_customers(CUSTOMERS);
    surroundings.fault_on_every(Operation::Customers, FaultKind::Status(503, None));
    let failed = dry_run(&surroundings, &[]);
    failed.assert_code(4);
    assert!(
        failed.last_line().starts_with("saved: nothing: a dry run loads and saves nothing"),
        "{}",
        failed.stderr
    );
}

#[test]
fn an_active_run_is_reported() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_on(Operation::Customers, 6, FaultKind::Hang);
    let run = Running::start(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    surroundings.end_faults();
    assert_eq!(summary(&surroundings, &[])["dry_run"]["another_run_is_active"], true);
    run.kill();
    assert_eq!(summary(&surroundings, &[])["dry_run"]["another_run_is_active"], false);
}

#[test]
fn a_run_that_had_stored_nothing_would_start_over() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    // One page does not fill a part.
    surroundings.fault_on(Operation::Customers, 2, FaultKind::Hang);
    let run = Running::start(surroundings.sync(&[]));
    surroundings.wait_for_fault();
    // The state is saved before the session is created.
    wait_until("the session is made", || !surroundings.control().sessions().is_empty());
    run.kill();
    surroundings.end_faults();
    let seen = &summary(&surroundings, &[])["dry_run"];
    assert_eq!((&seen["resumption"], &seen["saved_rows"]), (&"start_over".into(), &0.into()));
    let text = dry_run(&surroundings, &[]);
    text.assert_code(0);
    let words = "a run is saved, and starts over: nothing stored can be used";
    assert!(text.stdout.contains(words), "{}", text.stdout);
}

#[test]
fn a_sandbox_needs_no_settings_for_a_dry_run() {
    let mut command = program();
    command.args(["sync", "--sandbox", "--sandbox-customers", "250", "--dry-run", "--summary", "json"]);
    let end = Running::start(command).finish();
    end.assert_code(0);
    let seen: Value = serde_json::from_str(&end.stdout).unwrap();
    super::summary::assert_valid(&seen);
    assert_eq!((&seen["outcome"], &seen["rows"]), (&"dry_run".into(), &250.into()));
    assert_eq!(seen["database"], "sandbox_td_yotpo");
    assert_eq!(seen["dry_run"]["resumption"], "nothing_saved");
}

#[test]
fn a_setting_that_is_wrong_ends_it_before_anything_is_requested() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let end = dry_run(&surroundings, &["--page-size", "many"]);
    end.assert_code(2);
    assert!(end.closing().contains("code: settings_invalid (exit code 2)"), "{}", end.closing());
    assert!(end.closing().contains("hint: yotpo-td sync --help explains each setting"), "{}", end.closing());
    assert_eq!(end.last_line(), "saved: nothing: a dry run loads and saves nothing");
    assert_eq!(surroundings.control().requests(Service::Yotpo), 0);
}
