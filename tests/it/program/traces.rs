//! The trace of a run: what a collector receives (docs/traces.md).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, Operation};

use super::binary::{Finished, Running, Surroundings};
use super::collector::{Attributes, Behaviour, Collector, Received, ReceivedSpan};

const HEADER: &str = "canary-header-value";
const PARENT_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_SPAN: &str = "00f067aa0ba902b7";

/// `yotpo-td sync` with a collector that accepts everything.
fn traced(surroundings: &Surroundings, arguments: &[&str]) -> (Command, Collector) {
    let collector = Collector::start(Behaviour::Accept);
    let mut command = surroundings.sync(arguments);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    (command, collector)
}

fn finish(command: Command, code: i32) -> Finished {
    let end = Running::start(command).finish();
    end.assert_code(code);
    end
}

fn json_lines(end: &Finished) -> Vec<Value> {
    end.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn entries(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Every span is in the one trace of the run.
#[track_caller]
fn assert_is_one_trace(received: &Received) {
    let traces: BTreeSet<_> = received.spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 1, "{:#?}", received.tree());
    for span in &received.spans {
        let is_root = span.name == "run";
        assert!(is_root || received.path(span).starts_with("run > "), "{}", received.path(span));
        assert!(span.start <= span.end, "{span:?}");
        let ids = [span.trace_id.len(), span.span_id.len()];
        assert_eq!(ids, [32, 16], "{span:?}");
    }
    received.only("run");
}

/// The attempts on a span: number, operation, `error.type`, class.
fn attempts(span: &ReceivedSpan) -> Vec<[String; 4]> {
    let attempts = span.events.iter().filter(|(name, _)| name == "attempt");
    let field = |fields: &Attributes, name: &str| fields.get(name).cloned().unwrap_or_default();
    attempts
        .map(|(_, fields)| ["attempt", "operation", "error.type", "class"].map(|name| field(fields, name)))
        .collect()
}

#[test]
fn a_run_is_one_trace_whose_spans_nest_as_documented() {
    let surroundings = Surroundings::with_customers(60);
    let (mut command, collector) = traced(&surroundings, &["--run-id", "nightly", "--mode", "replace"]);
    command
        .env("OTEL_SERVICE_NAME", "customers")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=data")
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Basic%20{HEADER}"))
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let end = finish(command, 0);
    surroundings.assert_exact();
    let received = collector.received();
    assert_is_one_trace(&received);
    let tree = received.tree();
    let expected = [
        ("run", 1),
        ("run > phase starting", 1),
        ("run > phase fetching", 1),
        ("run > phase fetching > page", 12),
        ("run > phase fetching > page > token", 1),
        ("run > phase fetching > part", 5),
        ("run > phase fetching > part > upload", 5),
        ("run > phase uploading", 1),
        ("run > phase uploading > part", 1),
        ("run > phase uploading > part > upload", 1),
        ("run > phase loading", 1),
        ("run > phase loading > perform", 1),
        ("run > phase committing", 1),
        ("run > phase committing > commit", 1),
        ("run > phase publishing", 1),
        ("run > phase publishing > publish", 1),
        ("run > phase cleaning_up", 1),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(path, count)| (path.to_owned(), count)).into();
    assert_eq!(tree, expected);

    let run = received.only("run");
    let environment = surroundings.environment();
    assert_eq!(
        run.attributes,
        entries(&[
            ("run_id", "nightly"),
            ("store_id", &environment["YOTPO_STORE_ID"]),
            ("database", "yotpo"),
            ("table", "yotpo_customers"),
            ("mode", "replace"),
        ])
    );
    assert_eq!((run.parent_id.as_str(), &run.error), ("", &None));
    let pages: BTreeSet<u32> =
        received.named("page").iter().map(|page| page.attributes["page"].parse().unwrap()).collect();
    assert_eq!(pages, (1..=12).collect());
    for page in received.named("page") {
        let [attempt] = &attempts(page)[..] else { panic!("{page:?}") };
        assert_eq!(attempt, &["1", "fetch a page of customers", "", ""]);
    }
    assert_eq!(attempts(received.only("token")), [["1", "get an access token", "", ""]]);
    let session = &received.only("perform").attributes["session"];
    assert!(received.named("upload").iter().all(|upload| &upload.attributes["session"] == session));
    assert_eq!(&received.only("commit").attributes["session"], session);
    assert!(received.spans.iter().all(|span| span.error.is_none()));

    let resource = &received.resources[0];
    for (name, value) in [
        ("service.name", "customers"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
        ("team", "data"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{resource:?}");
    }
    for request in &received.requests {
        assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
        assert!(request.to_lowercase().contains(&format!("authorization: basic {HEADER}")), "{request}");
        assert!(request.to_lowercase().contains("content-type: application/x-protobuf"), "{request}");
    }
    assert!(!end.stderr.contains(HEADER) && !end.stderr.contains("trace_id"), "{}", end.stderr);
}

#[test]
fn attempts_are_events_of_the_span_that_they_belong_to() {
    let surroundings = Surroundings::with_customers(60);
    let faults = [(Operation::Customers, 7), (Operation::Customers, 8), (Operation::UploadPart, 3)];
    let mut faults: Vec<_> =
        faults.map(|(operation, nth)| Fault::on(operation, nth, FaultKind::Status(503, None))).to_vec();
    faults.push(Fault::on(Operation::PerformSession, 1, FaultKind::Status(500, None)));
    surroundings.control().set_faults(FaultPlan { faults });
    let (command, collector) = traced(&surroundings, &["--upload-workers", "1"]);
    finish(command, 0);
    let received = collector.received();
    assert_is_one_trace(&received);
    let failed: Vec<_> = received
        .spans
        .iter()
        .flat_map(|span| span.events.iter().map(move |event| (span, event)))
        // A session that does not exist yet is a failure (404), too, and is not retried.
        .filter(|(_, (name, fields))| name == "attempt" && fields.contains_key("delay_ms"))
        .collect();
    let mut found: Vec<_> = failed
        .iter()
        .map(|(span, (_, fields))| {
            let number = |name: &str| fields[name].parse::<u64>().unwrap();
            assert_eq!(fields["http.response.status_code"], fields["error.type"], "{fields:?}");
            assert!(number("delay_ms") < 60_000 && number("duration_ms") < 60_000, "{fields:?}");
            (
                span.name.as_str(),
                fields["attempt"].as_str(),
                fields["error.type"].as_str(),
                fields["class"].as_str(),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("page", "1", "503", "transient"),
            ("page", "2", "503", "transient"),
            ("perform", "1", "500", "ambiguous"),
            ("upload", "1", "503", "transient"),
        ]
    );
    let (page, _) = failed.iter().find(|(span, _)| span.name == "page").unwrap();
    assert_eq!(page.attributes["page"], "7");
    assert_eq!(attempts(page).last().unwrap(), &["3", "fetch a page of customers", "", ""]);
    let (_, succeeded) = page.events.iter().rfind(|(name, _)| name == "attempt").unwrap();
    assert_eq!(succeeded.keys().collect::<Vec<_>>(), ["attempt", "duration_ms", "operation"]);
    let (upload, _) = failed.iter().find(|(span, _)| span.name == "upload").unwrap();
    assert!(received.path(upload).ends_with("part > upload"));
    // The warning about a retry says nothing that the attempt does not say.
    let is_retry = |(name, _): &(String, Attributes)| name.contains("retrying");
    assert!(!received.spans.iter().any(|span| span.events.iter().any(is_retry)));
}

#[test]
fn the_spans_of_a_failed_run_say_why_it_failed() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    let (command, collector) = traced(&surroundings, &["--log-format", "json"]);
    let end = finish(command, 4);
    let received = collector.received();
    assert_is_one_trace(&received);
    let run = received.only("run");
    assert_eq!(run.error.as_deref(), Some("yotpo_page_failed"), "{run:?}");
    assert_eq!(run.attributes["error.type"], "yotpo_page_failed");
    let (_, exception) = run.events.iter().find(|(name, _)| name == "exception").unwrap();
    assert_eq!(exception["exception.type"], "yotpo_page_failed");
    let last: Value = serde_json::from_str(end.last_line()).unwrap();
    assert_eq!(exception["exception.message"], last["error"].as_str().unwrap());
    assert_eq!(
        (&last["code"], &last["trace_id"]),
        (&"yotpo_page_failed".into(), &run.trace_id.as_str().into())
    );
    let failed: BTreeSet<_> = received
        .spans
        .iter()
        .filter(|span| span.error.is_some())
        .map(|span| (span.name.as_str(), span.error.as_deref().unwrap()))
        .collect();
    assert_eq!(failed, [("page", "503"), ("phase fetching", "503"), ("run", "yotpo_page_failed")].into());
}

#[test]
fn a_run_continues_the_trace_of_its_parent() {
    for (traceparent, has_parent, is_sampled) in [
        (format!("00-{PARENT_TRACE}-{PARENT_SPAN}-01"), true, true),
        (format!("00-{PARENT_TRACE}-{PARENT_SPAN}-00"), true, false),
        (format!("00-{PARENT_TRACE}-0000000000000000-01"), false, true),
        ("nonsense".to_owned(), false, true),
        (String::new(), false, true),
    ] {
        let surroundings = Surroundings::with_customers(10);
        let arguments = ["--log-format", "json", "--log-level", "debug"];
        let (mut command, collector) = traced(&surroundings, &arguments);
        command.env("TRACEPARENT", &traceparent).env("TRACESTATE", "vendor=value");
        let end = finish(command, 0);
        let received = collector.received();
        let lines = json_lines(&end);
        let ids: BTreeSet<_> = lines.iter().filter_map(|line| line["trace_id"].as_str()).collect();
        if !is_sampled {
            assert!(received.spans.is_empty() && ids.is_empty(), "{traceparent}: {ids:?}");
            continue;
        }
        let is_ignored = lines.iter().any(|line| line["variable"] == "TRACEPARENT");
        assert_eq!(is_ignored, !has_parent && !traceparent.is_empty(), "{traceparent}");
        let run = received.only("run");
        if has_parent {
            assert_eq!((run.trace_id.as_str(), run.parent_id.as_str()), (PARENT_TRACE, PARENT_SPAN));
        } else {
            assert!(run.trace_id != PARENT_TRACE && run.parent_id.is_empty(), "{traceparent}: {run:?}");
        }
        assert_eq!(ids, [run.trace_id.as_str()].into(), "{traceparent}");
    }
}

#[test]
fn json_lines_have_the_ids_of_their_span() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::Status(503, None));
    let (command, collector) = traced(&surroundings, &["--log-format", "json", "--log-level", "debug"]);
    let end = finish(command, 0);
    let received = collector.received();
    let spans: BTreeMap<_, _> = received.spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let (mut of_pages, mut of_run) = (0, 0);
    for line in json_lines(&end).iter().filter(|line| line["run_id"].is_string()) {
        let span = spans[line["span_id"].as_str().unwrap_or_else(|| panic!("{line}"))];
        assert_eq!(line["trace_id"], span.trace_id.as_str(), "{line}");
        match span.name.as_str() {
            "page" => {
                of_pages += 1;
                assert_eq!(line["page"].to_string(), span.attributes["page"], "{line}");
            }
            _ => of_run += 1,
        }
    }
    assert!(of_pages > 12 && of_run > 10, "{of_pages} {of_run}");
}

#[test]
fn nothing_is_exported_without_an_endpoint_or_when_it_is_turned_off() {
    for variables in [
        &[][..],
        &[("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_TRACES_EXPORTER", "none")],
        &[("OTEL_TRACES_SAMPLER", "always_off")],
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    ] {
        let surroundings = Surroundings::with_customers(10);
        let (mut command, collector) = traced(&surroundings, &["--log-format", "json"]);
        command.envs(variables.iter().copied());
        if variables.is_empty() {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "").env("OTEL_SERVICE_NAME", "customers");
        }
        let end = finish(command, 0);
        assert_eq!(collector.received().requests.len(), 0, "{variables:?}");
        assert!(!end.stderr.contains("trace_id"), "{variables:?}: {}", end.stderr);
        let warned: Vec<_> = json_lines(&end)
            .iter()
            .filter(|line| line["level"] == "WARN")
            .map(|line| line["variable"].as_str().unwrap_or_default().to_owned())
            .collect();
        let expected: &[&str] = if variables == [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
            &["OTEL_EXPORTER_OTLP_PROTOCOL"]
        } else {
            &[]
        };
        assert_eq!(warned, expected, "{variables:?}: {}", end.stderr);
    }
}

#[test]
fn commands_without_a_run_have_no_trace() {
    for command in ["check", "preview"] {
        let surroundings = Surroundings::with_customers(10);
        let collector = Collector::start(Behaviour::Accept);
        let mut program = super::binary::program();
        program.arg(command).envs(surroundings.environment());
        program.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
        finish(program, 0);
        assert_eq!(collector.received().requests.len(), 0, "{command}");
    }
}

#[test]
fn an_export_is_neither_logged_nor_traced() {
    let surroundings = Surroundings::with_customers(60);
    let (mut command, collector) =
        traced(&surroundings, &["--log-format", "json", "--log-level", "trace,hyper_util=trace"]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    let end = finish(command, 0);
    let received = collector.received();
    assert_is_one_trace(&received);
    let address = collector.endpoint();
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    assert!(
        end.stderr.contains("\"target\":\"hyper_util"),
        "the library's requests to the services are logged"
    );
    assert!(!end.stderr.contains(address), "{}", end.stderr);
}
