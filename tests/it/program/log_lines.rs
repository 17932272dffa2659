//! Each line of a run has what the table of lines in docs/logs.md says, and a short run logs few lines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation};

use super::binary::{Finished, Surroundings};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/logs.md"));
const RUN_FIELDS: [&str; 6] = ["run_id", "store_id", "database", "table", "mode", "elapsed_seconds"];
/// At info, for a short run.
const MAX_LINES: usize = 20;

/// What the document says about a line.
struct Documented {
    levels: String,
    span: String,
    fields: Vec<String>,
}

fn words_in_code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of a table below a heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split_once(&format!("## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn documented() -> BTreeMap<String, Documented> {
    let of_row = |cells: Vec<&str>| {
        let [message, levels, span, fields] = cells[..] else { panic!("{cells:?}") };
        let span = words_in_code(span).first().cloned().unwrap_or_default();
        let required = fields.split(';').next().unwrap();
        let documented = Documented { levels: levels.to_owned(), span, fields: words_in_code(required) };
        (words_in_code(message)[0].clone(), documented)
    };
    rows("Lines of a run").into_iter().map(of_row).collect()
}

/// The fields of a span and those around it, except the run's.
fn fields_of(span: &str) -> &'static [&'static str] {
    match span {
        "run" => &[],
        // As the request, which is in a phase.
        "phase" | "" => &["phase"],
        "page" => &["page", "phase"],
        "perform" | "commit" => &["session", "phase"],
        "publish" => &["temporary_table", "phase"],
        "attempt" => &["attempt"],
        other => panic!("{other}"),
    }
}

fn json_lines(end: &Finished) -> Vec<Value> {
    let lines =
        end.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    // The last line of a failed run is not about something in it.
    lines.filter(|line: &Value| line["message"] != "run failed").collect()
}

#[test]
fn every_line_has_the_fields_that_are_documented() {
    let surroundings = Surroundings::with_customers(600);
    let fault = |operation, nth, status| Fault::on(operation, nth, FaultKind::Status(status, None));
    let faults = vec![
        fault(Operation::AccessToken, 1, 503),
        fault(Operation::Customers, 3, 503),
        fault(Operation::Customers, 4, 503),
        fault(Operation::Customers, 7, 422),
        Fault::on(Operation::Customers, 9, FaultKind::ExpireToken),
        fault(Operation::UploadPart, 2, 500),
        fault(Operation::PerformSession, 1, 500),
    ];
    let arguments =
        ["--log-format", "json", "--log-level", "debug", "--mode", "replace", "--run-id", "nightly"];
    let mut lines = Vec::new();
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let failed = surroundings.run(&[&arguments[..], &["--batch-size", "5"]].concat());
    failed.assert_code(4);
    lines.extend(json_lines(&failed));
    surroundings.control().set_faults(FaultPlan { faults });
    let end = surroundings.run(&arguments);
    end.assert_code(0);
    lines.extend(json_lines(&end));
    surroundings.assert_exact();

    let documented = documented();
    let mut seen = BTreeSet::new();
    for line in &lines {
        let message = line["message"].as_str().unwrap();
        let Some(Documented { levels, span, fields }) = documented.get(message) else {
            panic!("not in docs/logs.md: {line}")
        };
        seen.insert(message.to_owned());
        let level = line["level"].as_str().unwrap().to_lowercase();
        assert!(levels.contains(&level), "{line}");
        let required =
            fields.iter().map(String::as_str).chain(RUN_FIELDS).chain(fields_of(span).iter().copied());
        for field in required {
            // Of the requests before the first phase.
            let is_early = field == "phase" && line["phase"].is_null() && span == "attempt";
            assert!(is_early || !line[field].is_null(), "{field} is missing in {line}");
        }
        assert!(line["elapsed_seconds"].is_f64(), "{line}");
        if message == "request sent" {
            assert!(line["status"].is_u64() != line["cause"].is_string(), "{line}");
            let path = line["path"].as_str().unwrap();
            assert!(path.starts_with('/') && !path.contains('?'), "{line}");
            let is_page = line["operation"] == "fetch a page of customers";
            assert_eq!(
                is_page,
                line["page"].is_u64() && line["operation"] != "get an access token",
                "{line}"
            );
            let is_upload = line["operation"] == "upload a part";
            assert_eq!(is_upload, line["part"].is_u64(), "{line}");
            assert!(!is_upload || line["session"].is_string(), "{line}");
        }
    }
    let unseen: Vec<_> = documented.keys().filter(|message| !seen.contains(*message)).collect();
    assert_eq!(unseen, [""; 0], "documented, but not logged");
}

#[test]
fn a_short_run_logs_few_lines() {
    for mode in ["append", "replace"] {
        let surroundings = Surroundings::with_customers(600);
        let end = surroundings.run(&["--mode", mode]);
        end.assert_code(0);
        let lines = end.stderr.lines().count();
        assert!((3..=MAX_LINES).contains(&lines), "{lines}:\n{}", end.stderr);
        assert!(end.stderr.lines().all(|line| line.contains(" INFO ")), "{}", end.stderr);
    }
}

#[test]
fn the_log_at_debug_has_a_line_for_each_request_and_no_library() {
    let surroundings = Surroundings::with_customers(60);
    let end = surroundings.run(&["--log-format", "json", "--log-level", "trace"]);
    end.assert_code(0);
    let lines = json_lines(&end);
    let requests = lines.iter().filter(|line| line["message"] == "request sent").count() as u64;
    let services = [yotpo_td::sandbox::Service::Yotpo, yotpo_td::sandbox::Service::TreasureData];
    let received: u64 = services.map(|service| surroundings.control().requests(service)).iter().sum();
    assert_eq!(requests, received);
    for line in &lines {
        assert!(line["target"].as_str().unwrap().starts_with("yotpo_td"), "{line}");
    }
    let end = surroundings.run(&["--log-format", "json", "--log-level", "debug,hyper_util=trace"]);
    assert!(end.stderr.contains("\"target\":\"hyper_util"), "{}", end.stderr);
}
