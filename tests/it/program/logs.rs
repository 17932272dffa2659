//! Log lines: which fields they have, in both formats (docs/logs.md).

use std::time::Duration;

use serde_json::Value;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation};

use super::binary::{Finished, Running, Surroundings};

/// The lines of a JSON log.
fn json_lines(end: &Finished) -> Vec<Value> {
    end.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The lines of a JSON log with this message.
fn with_message(lines: &[Value], message: &str) -> Vec<Value> {
    let found: Vec<_> = lines.iter().filter(|line| line["message"] == message).cloned().collect();
    assert!(!found.is_empty(), "{message}: {lines:#?}");
    found
}

const RUN_FIELDS: [&str; 5] = ["run_id", "store_id", "database", "table", "mode"];

#[test]
fn every_line_of_a_run_names_it() {
    let surroundings = Surroundings::with_customers(60);
    let end = surroundings.run(&["--log-format", "json", "--log-level", "debug", "--run-id", "nightly"]);
    end.assert_code(0);
    let lines = json_lines(&end);
    let start = lines.iter().position(|line| line["message"] == "started").unwrap();
    // The HTTP library logs from its own tasks.
    let is_ours =
        |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("yotpo_td"));
    let of_run: Vec<_> = lines[start..].iter().filter(is_ours).collect();
    assert!(of_run.len() > 20, "{lines:#?}");
    for line in of_run {
        let named: Vec<_> = RUN_FIELDS.iter().map(|name| line[name].as_str().unwrap_or_default()).collect();
        let store = surroundings.environment()["YOTPO_STORE_ID"].clone();
        let environment = surroundings.environment();
        assert_eq!(
            named,
            ["nightly", &store, &environment["TD_DATABASE"], "yotpo_customers", "append"],
            "{line}"
        );
    }
}

#[test]
fn text_lines_have_the_same_fields_once() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::Status(503, None));
    let level = "off,yotpo_td=debug";
    let end = surroundings.run(&["--log-level", level, "--run-id", "nightly", "--mode", "replace"]);
    end.assert_code(0);
    let of_run: Vec<_> = end.stderr.lines().skip_while(|line| !line.contains(" started ")).collect();
    assert!(of_run.len() > 20, "{}", end.stderr);
    for line in of_run {
        for field in RUN_FIELDS {
            assert_eq!(line.matches(&format!(" {field}=")).count(), 1, "{field} in {line}");
        }
        assert!(line.contains(" mode=replace") && line.contains(" run_id=nightly"), "{line}");
        assert!(!line.contains("Some(") && !line.contains(" { "), "Rust's Debug in {line}");
    }
    let retried = end.stderr.lines().find(|line| line.contains("request failed")).unwrap();
    assert!(retried.contains(" WARN ") && retried.contains(" class=transient "), "{retried}");
    assert!(retried.contains(" attempt=1 ") && retried.contains(" page=7 "), "{retried}");
}

#[test]
fn a_line_names_its_page_part_and_attempt() {
    let surroundings = Surroundings::with_customers(60);
    let faults = [(Operation::Customers, 7), (Operation::UploadPart, 3), (Operation::UploadPart, 4)];
    let faults = faults.map(|(operation, nth)| Fault::on(operation, nth, FaultKind::Status(500, None)));
    surroundings.control().set_faults(FaultPlan { faults: faults.to_vec() });
    // One at a time, so that it is known which part is hit.
    let end = surroundings.run(&["--log-format", "json", "--log-level", "debug", "--upload-workers", "1"]);
    end.assert_code(0);
    let lines = json_lines(&end);
    let retried = with_message(&lines, "request failed, retrying");
    let [page, first, second] = &retried[..] else { panic!("{retried:#?}") };
    assert_eq!((&page["page"], &page["attempt"], &page["phase"]), (&7.into(), &1.into(), &"fetching".into()));
    assert_eq!((&page["level"], &page["class"]), (&"WARN".into(), &"transient".into()));
    assert_eq!(page["part"], Value::Null, "{page}");
    for (line, attempt) in [(first, 1), (second, 2)] {
        assert_eq!((&line["part"], &line["attempt"]), (&2.into(), &attempt.into()), "{line}");
        assert_eq!(line["page"], Value::Null, "{line}");
        let sessions = with_message(&lines, "bulk import session opened");
        assert_eq!(line["session"], sessions[0]["session"], "{line}");
    }
    let decided = with_message(&lines, "decided");
    let steps: Vec<_> = decided.iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert!(steps.starts_with(&["survey"]) && steps.contains(&"upload"), "{steps:?}");
    assert_eq!(decided.last().unwrap()["next"], "end_loaded");
}

#[test]
fn a_filter_of_lines_removes_no_field() {
    for level in ["warn", "off,yotpo_td::retry=debug"] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on(Operation::Customers, 7, FaultKind::Status(503, None));
        let end = surroundings.run(&["--log-format", "json", "--log-level", level]);
        end.assert_code(0);
        let lines = json_lines(&end);
        assert!(lines.iter().all(|line| line["message"] == "request failed, retrying"), "{lines:#?}");
        let line = &with_message(&lines, "request failed, retrying")[0];
        assert!(line["run_id"].is_string() && line["page"] == 7, "{line}");
    }
}

#[test]
fn lines_about_an_abandoned_run_name_that_run() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5", "--run-id", "old"]).assert_code(4);
    surroundings.end_faults();
    let end = surroundings.run(&["--log-format", "json", "--run-id", "new", "--fresh"]);
    end.assert_code(0);
    let lines = json_lines(&end);
    for (message, run_id) in [
        ("an interrupted run is not resumed", "old"),
        ("the run was abandoned and will not load anything", "old"),
        ("started", "new"),
        ("all customers stored", "new"),
    ] {
        for line in with_message(&lines, message) {
            assert_eq!(line["run_id"], run_id, "{line}");
        }
    }
}

#[test]
fn a_signal_is_logged_with_the_run_it_stops() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_secs(60)));
    let running = Running::start(surroundings.sync(&["--log-format", "json", "--run-id", "nightly"]));
    surroundings.wait_for_fault();
    running.signal(rustix::process::Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    let stopping = "stopping after the requests in flight (press Ctrl-C again to exit now)";
    let line = &with_message(&json_lines(&end), stopping)[0];
    assert_eq!((&line["signal"], &line["run_id"]), (&"SIGTERM".into(), &"nightly".into()), "{line}");
}
