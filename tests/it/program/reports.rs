//! The report of a run: after every kind of end, from the run itself and from its recording. Pages are parsed as browsers do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use yotpo_td::sandbox::{FaultKind, Operation};

use super::binary::{Finished, Running, Surroundings, files_below, program, wait_until};
use super::html_page::assert_sound;

fn report_of(surroundings: &Surroundings) -> PathBuf {
    surroundings.directory().join("report.html")
}

/// Runs `sync` with a report, and returns the text of the page.
#[track_caller]
fn reported(surroundings: &Surroundings, arguments: &[&str], code: i32) -> (Finished, String) {
    let file = report_of(surroundings);
    let mut command = surroundings.sync(arguments);
    command.arg("--report").arg(&file);
    let end = Running::start(command).finish();
    end.assert_code(code);
    let text = assert_sound(&fs::read_to_string(&file).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    (end, text)
}

fn runs_report(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    let mut command = program();
    command.args(["runs", "report"]).args(arguments).envs(surroundings.environment());
    Running::start(command).finish()
}

fn recordings(surroundings: &Surroundings) -> Vec<PathBuf> {
    let files = files_below(&surroundings.state_directory()).into_iter().map(|(path, _)| path);
    files.filter(|path| path.to_string_lossy().contains(".recording")).collect()
}

#[track_caller]
fn assert_shows(text: &str, shown: &[&str]) {
    for shown in shown {
        assert!(text.contains(shown), "{shown:?} is not in:\n{text}");
    }
}

#[test]
fn a_success_is_shown_by_the_run_and_later_from_its_recording() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 3, FaultKind::Status(503, None));
    let (end, text) = reported(&surroundings, &["--run-id", "nightly"], 0);
    assert_shows(
        &text,
        &["Run nightly into yotpo.yotpo_customers", "Committed 60 rows", "1 of ", "server error (5xx)"],
    );
    assert!(!text.contains("Last words"), "{text}");
    // Every line of the summary is in the page.
    for line in end.stdout.lines().filter(|line| !line.starts_with("peak memory")) {
        let (name, value) = line.split_at_checked(15).unwrap();
        assert_shows(&text, &[name.trim(), value.trim()]);
    }
    let page = fs::read_to_string(report_of(&surroundings)).unwrap();
    for arguments in [&[][..], &["nightly"], &["latest", "--attempt", "1"]] {
        let later = runs_report(&surroundings, arguments);
        later.assert_code(0);
        assert_eq!(later.stdout, page, "{arguments:?}");
    }
    let file = surroundings.directory().join("later.html");
    runs_report(&surroundings, &["--output", file.to_str().unwrap()]).assert_code(0);
    assert_eq!(fs::read_to_string(file).unwrap(), page);
    assert_eq!(recordings(&surroundings).len(), 1);
}

#[test]
fn every_failure_has_a_report_with_its_last_words() {
    let dead = "http://127.0.0.1:1";
    let cases = [
        ("yotpo_credentials_refused", 3, &[][..], &[("YOTPO_CLIENT_SECRET", "wrong")][..]),
        ("yotpo_", 4, &["--yotpo-endpoint", dead][..], &[][..]),
        ("treasure_data_", 5, &["--td-endpoint", dead][..], &[][..]),
        ("settings_invalid", 2, &["--page-size", "0"][..], &[][..]),
    ];
    for (code_name, code, arguments, variables) in cases {
        let surroundings = Surroundings::with_customers(60);
        let file = report_of(&surroundings);
        let mut command = surroundings.sync(arguments);
        command.envs(variables.iter().copied()).arg("--report").arg(&file);
        let end = Running::start(command).finish();
        end.assert_code(code);
        let page = fs::read_to_string(&file).unwrap();
        let text = assert_sound(&page);
        assert_shows(&text, &["Failed while", &end.closing(), code_name, &format!("{code} (")]);
        let later = runs_report(&surroundings, &[]);
        if code == 2 {
            // No target, no state directory.
            later.assert_code(2);
            assert_shows(&later.stderr, &["no run is recorded"]);
        } else {
            later.assert_code(0);
            assert_eq!(later.stdout, page, "{code_name}");
        }
    }
}

#[test]
fn an_interrupted_run_and_its_next_attempt_are_both_kept() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Hang);
    let file = report_of(&surroundings);
    let mut command = surroundings.sync(&["--upload-workers", "1"]);
    command.arg("--report").arg(&file);
    let running = Running::start(command);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the");
    let end = running.finish_by(Signal::TERM);
    end.assert_code(143);
    let first = fs::read_to_string(&file).unwrap();
    assert_shows(&assert_sound(&first), &["143 (interrupted)", "Failed while fetching", &end.closing()]);
    surroundings.end_faults();
    surroundings.run(&[]).assert_code(0);
    let run_id = surroundings.saved_run().map_or_else(String::new, |run| run.run_id.to_string());
    assert_eq!(run_id, "", "the run has ended");
    let latest = runs_report(&surroundings, &[]);
    latest.assert_code(0);
    assert_shows(&assert_sound(&latest.stdout), &["2 of 2 recorded", "Committed 60 rows", "(resumed)"]);
    let earlier = runs_report(&surroundings, &["--attempt", "1"]);
    assert_shows(&assert_sound(&earlier.stdout), &["1 of 2 recorded", "Failed while fetching"]);
    let absent = runs_report(&surroundings, &["--attempt", "3"]);
    absent.assert_code(2);
    assert_shows(
        &absent.stderr,
        &["there is no attempt 3: 2 attempts of the run are recorded", "hint: --attempt counts"],
    );
}

#[test]
fn a_run_without_a_recording_says_why_and_what_there_is() {
    let surroundings = Surroundings::with_customers(10);
    let none = runs_report(&surroundings, &["latest"]);
    none.assert_code(2);
    assert_shows(
        &none.stderr,
        &["error: no run is recorded in the state directory", "killed", "yotpo-td runs list"],
    );
    surroundings.run(&["--run-id", "monday"]).assert_code(0);
    fs::remove_file(recordings(&surroundings).remove(0)).unwrap();
    surroundings.run(&["--run-id", "tuesday"]).assert_code(0);
    let known = runs_report(&surroundings, &["monday"]);
    known.assert_code(2);
    assert_shows(&known.stderr, &["run monday was not recorded", "runs show", "recorded are: tuesday"]);
    for unknown in ["sunday", "not/a/run id"] {
        let end = runs_report(&surroundings, &[unknown]);
        end.assert_code(2);
        assert_shows(&end.stderr, &[&format!("no run has the id {unknown}"), "recorded are: tuesday"]);
    }
}

#[test]
fn a_damaged_recording_is_named_and_no_run_is_affected() {
    let surroundings = Surroundings::with_customers(10);
    surroundings.run(&["--run-id", "monday"]).assert_code(0);
    let file = recordings(&surroundings).remove(0);
    let whole = fs::read(&file).unwrap();
    let larger = [&whole[..], &vec![b' '; 300_000]].concat();
    let (half, text) = (&whole[..whole.len() / 2], b"not a recording".as_slice());
    for damaged in [half, text, b"", larger.as_slice()] {
        fs::write(&file, damaged).unwrap();
        for arguments in [&[][..], &["monday"]] {
            let end = runs_report(&surroundings, arguments);
            end.assert_code(6);
            assert_shows(&end.stderr, &["cannot be used", file.to_str().unwrap(), "code: state_failed"]);
            let advice =
                format!("hint: delete {}: it is only needed for the report of its run", file.display());
            assert!(end.stderr.contains(&advice), "{}", end.stderr);
        }
        runs(&surroundings, "list").assert_code(0);
    }
    // Of another run, it is a warning.
    surroundings.run(&["--run-id", "tuesday"]).assert_code(0);
    let end = runs_report(&surroundings, &["tuesday"]);
    end.assert_code(0);
    assert_shows(&end.stderr, &["warning: the recording", "cannot be used"]);
    assert_sound(&end.stdout);
}

fn runs(surroundings: &Surroundings, name: &str) -> Finished {
    let mut command = program();
    command.args(["runs", name]).envs(surroundings.environment());
    Running::start(command).finish()
}

#[test]
fn two_runs_at_once_are_both_recorded() {
    let surroundings = Surroundings::with_customers(60);
    let start = |table: &str| Running::start(surroundings.sync(&["--table", table, "--run-id", table]));
    let running = ["customers_a", "customers_b"].map(start);
    for run in running {
        run.finish().assert_code(0);
    }
    for table in ["customers_a", "customers_b"] {
        let end = runs_report(&surroundings, &[table]);
        assert_shows(&assert_sound(&end.stdout), &[&format!("Run {table} into yotpo.{table}")]);
    }
    // A second process of a target that is refused at once is not recorded: it would displace those that did something.
    surroundings.fault_on_every(Operation::UploadPart, FaultKind::Hang);
    let mut active = Running::start(surroundings.sync(&["--table", "customers_a", "--run-id", "again"]));
    surroundings.wait_for_fault();
    let (refused, text) = reported(&surroundings, &["--table", "customers_a", "--run-id", "other"], 8);
    assert_shows(&text, &["Failed while", &refused.closing()]);
    runs_report(&surroundings, &["other"]).assert_code(2);
    active.signal(Signal::TERM);
    wait_until("the run ends", || {
        active.signal(Signal::TERM);
        active.has_ended()
    });
    drop(active);
    assert_eq!(recordings(&surroundings).len(), 3);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_full_disk_is_a_warning() {
    let surroundings = Surroundings::with_customers(10);
    let mut command = surroundings.sync(&[]);
    command.env("YOTPO_TD_FAILPOINT", "write recording:1:full");
    let end = Running::start(command).finish();
    end.assert_code(0);
    assert_shows(&end.stderr, &["WARN", "the run is not recorded for its report; the run is not affected"]);
    assert_eq!(recordings(&surroundings), [""; 0].map(PathBuf::from));
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning() {
    let surroundings = Surroundings::with_customers(10);
    let (target, link) = (surroundings.directory().join("target"), surroundings.directory().join("link"));
    fs::write(&target, "kept").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let end = surroundings.run(&["--report", link.to_str().unwrap()]);
    end.assert_code(0);
    assert_shows(
        &end.stderr,
        &["WARN", "the report could not be written (--report); the run is not affected"],
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    surroundings.assert_exact_and_clean();
    let end = runs_report(&surroundings, &["--output", link.to_str().unwrap()]);
    end.assert_code(6);
    assert_shows(&end.stderr, &["could not write the report to", "something else than a regular file"]);
    let end = runs_report(&surroundings, &["--output", "/dev/full"]);
    assert_shows(&end.stderr, &["could not write the report to"]);
}

#[test]
fn a_sandbox_run_writes_a_report_only_for_the_flag() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let run = |by_flag: bool| {
        let mut command = program();
        command.args(["sync", "--sandbox", "--sandbox-customers", "10"]).env("YOTPO_TD_REPORT", &file);
        if by_flag {
            command.arg("--report").arg(&file);
        }
        let end = Running::start(command).finish();
        end.assert_code(0);
        assert!(!end.stderr.contains("WARN"), "{}", end.stderr);
    };
    run(false);
    assert!(!file.exists());
    run(true);
    assert_shows(&assert_sound(&fs::read_to_string(&file).unwrap()), &["Sandbox: generated customers"]);
}

#[test]
fn exports_loads_and_dry_runs_have_reports() {
    let surroundings = Surroundings::with_customers(60);
    let export = surroundings.directory().join("export");
    let export = export.to_str().unwrap();
    let (_, text) = reported(&surroundings, &["--to", export], 0);
    assert_shows(&text, &[&format!("into {export}"), "exported 60 rows", "written"]);
    let (_, text) = reported(&surroundings, &["--dry-run"], 0);
    assert_shows(&text, &["Dry run: a run would append to yotpo.yotpo_customers"]);
    assert_eq!(recordings(&surroundings), [""; 0].map(PathBuf::from), "neither has a state");
    let mut command = program();
    let file = report_of(&surroundings);
    command.args(["load", export, "--report"]).arg(&file).envs(surroundings.environment());
    Running::start(command).finish().assert_code(0);
    let text = assert_sound(&fs::read_to_string(&file).unwrap());
    assert_shows(&text, &["committed 60 rows", "Requests to Treasure Data"]);
    assert_eq!(recordings(&surroundings).len(), 1);
}

#[test]
fn recordings_of_released_versions_are_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recording");
    let mut read = 0;
    for entry in fs::read_dir(fixtures).unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("yotpo.yotpo_customers.d77d8540.1795406400-1.recording");
        fs::copy(entry.unwrap().path(), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = program();
        command.args(["runs", "report", "--state-dir"]).arg(directory.path());
        let end = Running::start(command).finish();
        end.assert_code(0);
        assert_shows(&assert_sound(&end.stdout), &["Phases", "Customers per second", "Response times"]);
        read += 1;
    }
    assert!(read > 0);
}
