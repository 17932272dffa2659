//! The JSON summary of every kind of end, on stdout and in a file: both follow docs/summary.schema.json.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas};
use rustix::process::Signal;
use serde_json::{Value, json};
use yotpo_td::sandbox::{FaultKind, Operation};

use super::binary::{Finished, Running, Surroundings, program};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.schema.json");

/// Fails where a summary does not follow the schema.
#[track_caller]
pub(super) fn assert_valid(summary: &Value) {
    let mut schemas = Schemas::new();
    let schema = Compiler::new().compile(SCHEMA, &mut schemas).unwrap();
    if let Err(error) = schemas.validate(summary, schema) {
        panic!("{error}\n{summary:#}");
    }
}

/// Runs `sync` with both summaries and checks that they are the same, and valid.
struct Summarized {
    surroundings: Surroundings,
    file: PathBuf,
}

impl Summarized {
    fn with_customers(customers: u64) -> Self {
        let surroundings = Surroundings::with_customers(customers);
        let file = surroundings.directory().join("summary.json");
        Self { surroundings, file }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.surroundings.sync(arguments);
        command.args(["--summary", "json", "--summary-file"]).arg(&self.file);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Value {
        self.checked(&Running::start(self.command(arguments)).finish(), code)
    }

    #[track_caller]
    fn checked(&self, end: &Finished, code: i32) -> Value {
        end.assert_code(code);
        let summary = read(&self.file);
        let printed: Value = serde_json::from_str(&end.stdout).unwrap();
        let without_changes = |mut summary: Value| {
            let fields = summary.as_object_mut().unwrap();
            fields.remove("finished_at").unwrap();
            fields.remove("peak_resident_bytes").unwrap();
            summary
        };
        assert_valid(&summary);
        assert_valid(&printed);
        assert_eq!(summary["exit_code"], code, "{summary:#}");
        assert_eq!(without_changes(printed), without_changes(summary.clone()));
        assert_eq!(fs::metadata(&self.file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&self.file).unwrap();
        summary
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[track_caller]
fn assert_fields(summary: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        assert_eq!(&summary[name], value, "{name} in {summary:#}");
    }
}

#[test]
fn a_success_and_what_it_took() {
    let summarized = Summarized::with_customers(60);
    summarized.surroundings.fault_on(Operation::Customers, 3, FaultKind::Status(503, None));
    let summary = summarized.run(&["--run-id", "nightly"], 0);
    assert_fields(
        &summary,
        &[
            ("schema_version", json!(1)),
            ("outcome", json!("committed")),
            ("state", json!("loaded")),
            ("rows", json!(60)),
            ("pages", json!(12)),
            ("run_id", json!("nightly")),
            ("ended_by", json!("last_page")),
        ],
    );
    assert_eq!((&summary["yotpo"]["retries"], &summary["yotpo"]["requests"]), (&json!(1), &json!(14)));
    assert_eq!(summary["yotpo"]["retries_by_cause"]["server_error"], 1);
    assert_eq!(summary["rate_limit"]["others_used_limit"], false);
    for bytes in [&summary["yotpo"]["response_bytes"], &summary["uploaded_bytes"]] {
        assert!(bytes.as_u64().is_some_and(|bytes| bytes > 1_000), "{summary:#}");
    }
    assert!(summary["session"].is_string() && summary["job_id"].is_string(), "{summary:#}");
    let phases: f64 = summary["phase_seconds"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    let duration = summary["duration_seconds"].as_f64().unwrap();
    assert!((phases - duration).abs() < 0.1, "{summary:#}");

    let again = summarized.run(&["--run-id", "nightly"], 0);
    assert_fields(
        &again,
        &[
            ("outcome", json!("already_committed")),
            ("joined", json!(true)),
            ("rows", json!(60)),
            ("session", summary["session"].clone()),
        ],
    );
}

#[test]
fn a_store_without_customers() {
    let summary = Summarized::with_customers(0).run(&[], 0);
    assert_fields(
        &summary,
        &[("outcome", json!("nothing_to_load")), ("state", json!("nothing_created")), ("rows", json!(0))],
    );
}

#[test]
fn a_failure_while_fetching_keeps_what_is_stored() {
    let summarized = Summarized::with_customers(60);
    summarized.surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let summary = summarized.run(&["--batch-size", "5", "--upload-workers", "1"], 4);
    assert_fields(
        &summary,
        &[
            ("outcome", json!("failed")),
            ("state", json!("resumable")),
            ("code", json!("yotpo_page_failed")),
            ("phase", json!("fetching")),
            ("retryable", json!(true)),
            ("next_step", json!("resume")),
            ("pages", json!(5)),
            ("parts", json!(5)),
            ("rows", Value::Null),
        ],
    );
    assert_eq!(summary["yotpo"]["retries_by_cause"]["server_error"], 2);
    assert!(summary["session"].is_string(), "{summary:#}");
    summarized.surroundings.end_faults();
    let resumed = summarized.run(&["--batch-size", "5"], 0);
    assert_fields(&resumed, &[("resumed", json!(true)), ("run_id", summary["run_id"].clone())]);
}

#[test]
fn an_export_that_failed_has_its_directory_and_no_table() {
    let summarized = Summarized::with_customers(60);
    let directory = summarized.surroundings.directory().join("export");
    let export = ["--to", directory.to_str().unwrap(), "--batch-size", "5", "--upload-workers", "1"];
    summarized.surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let summary = summarized.run(&export, 4);
    assert_fields(
        &summary,
        &[
            ("outcome", json!("failed")),
            ("state", json!("resumable")),
            ("code", json!("yotpo_page_failed")),
            ("phase", json!("fetching")),
            ("next_step", json!("resume")),
            ("directory", json!(directory)),
            ("database", Value::Null),
            ("table", Value::Null),
            ("mode", Value::Null),
        ],
    );
    summarized.surroundings.end_faults();
    let resumed = summarized.run(&export, 0);
    assert_fields(&resumed, &[("resumed", json!(true)), ("run_id", summary["run_id"].clone())]);
}

#[test]
fn a_failure_while_committing_and_the_attempt_that_joins_it() {
    let summarized = Summarized::with_customers(60);
    summarized.surroundings.fault_on_every(Operation::CommitSession, FaultKind::Status(503, None));
    let summary = summarized.run(&["--run-id", "nightly"], 5);
    assert_fields(
        &summary,
        &[
            ("state", json!("maybe_committed")),
            ("phase", json!("committing")),
            ("run_id", json!("nightly")),
            ("customers", json!(60)),
        ],
    );
    assert!(summary["counting_query"].is_string() && summary["job_id"].is_string(), "{summary:#}");
    summarized.surroundings.end_faults();
    let elsewhere = summarized.surroundings.directory().join("elsewhere");
    let joined = summarized.run(&["--run-id", "nightly", "--state-dir", elsewhere.to_str().unwrap()], 0);
    assert_fields(
        &joined,
        &[
            ("outcome", json!("committed")),
            ("joined", json!(true)),
            ("rows", json!(60)),
            ("customers", json!(0)),
            ("session", summary["session"].clone()),
        ],
    );
    summarized.surroundings.assert_exact();
}

#[test]
fn a_failure_before_the_start_has_what_is_known() {
    let summarized = Summarized::with_customers(60);
    let summary = summarized.run(&["--page-size", "0", "--table", "UPPER", "--run-id", "nightly"], 2);
    assert_fields(
        &summary,
        &[
            ("state", json!("not_started")),
            ("code", json!("settings_invalid")),
            ("retryable", json!(false)),
            ("run_id", json!("nightly")),
            ("database", json!("yotpo")),
            ("table", Value::Null),
            ("phase", Value::Null),
            ("memory_bound_bytes", Value::Null),
        ],
    );
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_panic_has_what_was_counted_before() {
    let summarized = Summarized::with_customers(60);
    let mut command = summarized.command(&["--upload-workers", "1"]);
    command.env("YOTPO_TD_FAILPOINT", "after save:3:panic");
    let summary = summarized.checked(&Running::start(command).finish(), 1);
    assert_fields(
        &summary,
        &[("code", json!("bug")), ("state", json!("resumable")), ("phase", json!("fetching"))],
    );
    assert!(summary["pages"].as_u64().is_some_and(|pages| pages > 0), "{summary:#}");
}

#[test]
fn a_second_signal_has_what_was_counted_before() {
    let summarized = Summarized::with_customers(60);
    summarized.surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Hang);
    let running = Running::start(summarized.command(&["--upload-workers", "1"]));
    summarized.surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.wait_for_stderr("stopping after the requests in flight");
    let summary = summarized.checked(&running.finish_by(Signal::INT), 143);
    assert_fields(
        &summary,
        &[("code", json!("interrupted")), ("state", json!("resumable")), ("parts", json!(3))],
    );
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning() {
    let surroundings = Surroundings::with_customers(10);
    let (target, link) = (surroundings.directory().join("target"), surroundings.directory().join("link"));
    fs::write(&target, "kept").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let end = surroundings.run(&["--summary-file", link.to_str().unwrap()]);
    end.assert_code(0);
    let warning = end.stderr.lines().find(|line| line.contains("the summary could not be written")).unwrap();
    assert!(warning.contains("WARN") && warning.contains(link.to_str().unwrap()), "{warning}");
    assert!(warning.contains("something else than a regular file"), "{warning}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    surroundings.assert_exact_and_clean();
}

#[test]
fn a_sandbox_run_writes_no_file_that_the_environment_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("summary.json");
    let run = |by_flag: bool| {
        let mut command = program();
        command.args(["sync", "--sandbox", "--sandbox-customers", "10"]);
        command.env("YOTPO_TD_SUMMARY_FILE", &file);
        if by_flag {
            command.arg("--summary-file").arg(&file);
        }
        Running::start(command).finish().assert_code(0);
    };
    run(false);
    assert!(!file.exists());
    run(true);
    let summary = read(&file);
    assert_valid(&summary);
    assert_eq!(summary["sandbox"], "SANDBOX");
}

#[test]
fn the_schema_refuses_what_is_not_documented() {
    let summarized = Summarized::with_customers(0);
    let summary = summarized.run(&[], 0);
    let changes: [fn(&mut Value); 5] = [
        |summary| summary["unknown"] = json!(1),
        |summary| summary["rows"] = json!("0"),
        |summary| summary["exit_code"] = json!(4),
        |summary| summary["yotpo"]["retries_by_cause"]["sunspots"] = json!(1),
        |summary| drop(summary.as_object_mut().unwrap().remove("phase_seconds")),
    ];
    for change in changes {
        let mut changed = summary.clone();
        change(&mut changed);
        let mut schemas = Schemas::new();
        let schema = Compiler::new().compile(SCHEMA, &mut schemas).unwrap();
        assert!(schemas.validate(&changed, schema).is_err(), "{changed:#}");
    }
}

/// The names of the lines of a text summary, without those that any run may have.
fn lines_about_customers(end: &Finished) -> Vec<&str> {
    let about = ["customers", "pages", "ended by", "parts", "received", "rate limit"];
    about.into_iter().filter(|name| end.stdout.lines().any(|line| line.starts_with(name))).collect()
}

#[test]
fn a_repetition_is_not_described_by_zeros() {
    let surroundings = Surroundings::with_customers(60);
    let first = surroundings.run(&["--run-id", "nightly"]);
    first.assert_code(0);
    assert_eq!(
        lines_about_customers(&first),
        ["customers", "pages", "ended by", "parts", "received", "rate limit"]
    );
    let repeated = surroundings.run(&["--run-id", "nightly"]);
    repeated.assert_code(0);
    assert!(repeated.stdout.contains(" already has the 60 rows of this run\n"), "{}", repeated.stdout);
    assert_eq!(lines_about_customers(&repeated), [""; 0], "{}", repeated.stdout);
    let duration = repeated.stdout.lines().find(|line| line.starts_with("duration")).unwrap();
    assert!(!duration.contains("per second"), "{duration}");
    let warning = repeated.stderr.lines().find(|line| line.contains(" WARN ")).unwrap();
    let words = "this run id was loaded before, so nothing was loaded now; another load needs another run id";
    assert!(warning.contains(words), "{warning}");
}
