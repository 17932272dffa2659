//! A collector that is down, slow or hostile neither delays nor changes a run, and no way to end loses the trace.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{FaultKind, Operation, SandboxSettings, Service};

use super::binary::{Finished, Running, Surroundings, wait_until};
use super::collector::{Behaviour, Collector};
use crate::tls_relay::Authority;

/// How long a run waits for its trace at its end, at most (docs/traces.md).
const PROMISED: Duration = Duration::from_secs(1);
/// For a loaded machine. Without a bound the exporter would wait for ten seconds.
const SLACK: Duration = Duration::from_secs(3);
const INCOMPLETE: &str = "the trace is incomplete; the run is not affected";

const HOSTILE: [Behaviour; 9] = [
    Behaviour::Silent,
    Behaviour::Slow,
    Behaviour::Status(500),
    Behaviour::Status(503),
    Behaviour::Status(401),
    Behaviour::Endless,
    Behaviour::Redirect,
    Behaviour::Garbage,
    Behaviour::Hangup,
];

fn json_lines(end: &Finished) -> Vec<Value> {
    end.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// What is said about the trace.
fn warnings(end: &Finished) -> Vec<Value> {
    json_lines(end).into_iter().filter(|line| line["message"] == INCOMPLETE).collect()
}

/// Runs to the end. Fails if it takes longer to end than it may, from the moment at which its result is known.
fn run_with(
    surroundings: &Surroundings,
    endpoint: &str,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Finished {
    let mut command = surroundings.sync(&["--log-format", "json", "--summary", "json"]);
    command.args(arguments).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).envs(variables.iter().copied());
    let running = Running::start(command);
    running.wait_for_stdout("\"outcome\"");
    let clock = Clock::machine();
    let end = running.finish();
    let took = clock.now();
    assert!(took < PROMISED + SLACK, "{endpoint}: {took:?} after the summary");
    end
}

#[test]
fn a_hostile_collector_neither_delays_nor_changes_a_run() {
    for behaviour in HOSTILE {
        let collector = Collector::start(behaviour);
        let surroundings = Surroundings::with_customers(60);
        // Exports also while the run lasts.
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "100"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
        let end = run_with(&surroundings, &collector.endpoint(), &variables, &["--run-id", "nightly"]);
        assert_eq!(end.code(), 0, "{behaviour:?}: {}", end.stderr);
        surroundings.assert_exact();
        let summary: Value = serde_json::from_str(&end.stdout).unwrap();
        assert_eq!(
            (&summary["outcome"], &summary["rows"]),
            (&"committed".into(), &60.into()),
            "{behaviour:?}"
        );
        let [warning] = &warnings(&end)[..] else { panic!("{behaviour:?}: {}", end.stderr) };
        assert_eq!((&warning["level"], &warning["run_id"]), (&"WARN".into(), &"nightly".into()), "{warning}");
        assert!(
            warning["lost"].as_u64().unwrap() > 10 && warning["exported"] == 0,
            "{behaviour:?}: {warning}"
        );
        let warned: Vec<_> = json_lines(&end).into_iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(warned.len(), 1, "{behaviour:?}: {warned:#?}");
        assert!(!end.stderr.contains("canary") && !end.stderr.contains("127.0.0.1"), "{}", end.stderr);
    }
}

#[test]
fn a_collector_that_is_down_does_not_change_how_a_run_fails() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    for endpoint in ["http://127.0.0.1:1", "http://yotpo-td.invalid:4318", "https://127.0.0.1:1"] {
        let variables = [("SSL_CERT_FILE", "/nonexistent")];
        let end = run_with(&surroundings, endpoint, &variables, &[]);
        end.assert_code(4);
        let last: Value = serde_json::from_str(end.last_line()).unwrap();
        assert_eq!((&last["message"], &last["code"]), (&"run failed".into(), &"yotpo_page_failed".into()));
        assert_eq!(warnings(&end).len(), 1, "{}", end.stderr);
    }
}

#[test]
fn a_response_that_cannot_be_decoded_loses_nothing() {
    let collector = Collector::start(Behaviour::NotProtobuf);
    let surroundings = Surroundings::with_customers(10);
    let end = run_with(&surroundings, &collector.endpoint(), &[], &[]);
    end.assert_code(0);
    assert_eq!(warnings(&end).len(), 0, "{}", end.stderr);
    collector.received().only("run");
}

#[test]
fn spans_for_which_there_is_no_room_are_counted() {
    let collector = Collector::start(Behaviour::Silent);
    let surroundings = Surroundings::with_customers(600);
    let variables = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let end = run_with(&surroundings, &collector.endpoint(), &variables, &[]);
    end.assert_code(0);
    let [warning] = &warnings(&end)[..] else { panic!("{}", end.stderr) };
    assert!(warning["lost"].as_u64().unwrap() > 120, "{warning}");
}

#[test]
fn a_trace_of_thousands_of_pages_is_exported_in_batches() {
    let collector = Collector::start(Behaviour::Accept);
    let surroundings = Surroundings::with_customers(4_000);
    // On a busy machine, the default queue may be too small for a run at this rate, and a second too short for what is in it.
    surroundings.fault_on_every(Operation::PerformSession, FaultKind::Status(503, None));
    let mut command =
        surroundings.sync(&["--log-format", "json", "--page-size", "1", "--batch-size", "1000"]);
    command.args(["--max-retries", "20", "--retry-base-delay", "100ms"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).env("OTEL_BSP_MAX_QUEUE_SIZE", "65536");
    let running = Running::start(command);
    wait_until("all pages are exported", || collector.received().named("page").len() == 4_000);
    surroundings.end_faults();
    let end = running.finish();
    end.assert_code(0);
    assert_eq!(warnings(&end).len(), 0, "{}", end.stderr);
    let received = collector.received();
    received.only("run");
    assert_eq!(received.named("page").len(), 4_000);
    assert!(received.requests.len() > 7, "{}", received.requests.len());
}

#[test]
fn stopped_and_panicked_runs_export_their_trace() {
    let collector = Collector::start(Behaviour::Accept);
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::Customers, 7, FaultKind::SlowBody(Duration::from_secs(60)));
    let mut command = surroundings.sync(&[]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    let running = Running::start(command);
    surroundings.wait_for_fault();
    running.signal(Signal::TERM);
    running.finish().assert_code(143);
    let run = collector.received().only("run").clone();
    assert_eq!(run.error.as_deref(), Some("interrupted"));

    if cfg!(debug_assertions) {
        let collector = Collector::start(Behaviour::Accept);
        let surroundings = Surroundings::with_customers(60);
        let mut command = surroundings.sync(&[]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
        command.env("YOTPO_TD_FAILPOINT", "after save:3:panic");
        Running::start(command).finish().assert_code(1);
        assert_eq!(collector.received().only("run").error.as_deref(), Some("bug"));
    }
}

#[test]
fn a_run_with_embedded_mock_servers_exports_its_trace() {
    let collector = Collector::start(Behaviour::Accept);
    let mut command = super::binary::program();
    command.args(["sync", "--sandbox", "--sandbox-customers", "1000"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    Running::start(command).finish().assert_code(0);
    let received = collector.received();
    received.only("run");
    assert!(received.named("page").len() >= 10, "{:#?}", received.tree());
}

#[test]
fn a_collector_is_reached_over_tls_with_the_roots_of_the_process() {
    let authority = Authority::named("a collector's authority");
    let surroundings = Surroundings::new(SandboxSettings { customers: 10, ..SandboxSettings::default() });
    // The relay leads to a mock server, which is no collector: what counts is that it is reached.
    let relay = surroundings.relay(Service::TreasureData, &authority);
    let trusted = surroundings.directory().join("authority.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let variables = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let end = run_with(&surroundings, &relay.endpoint(), &variables, &[]);
    end.assert_code(0);
    let [warning] = &warnings(&end)[..] else { panic!("{}", end.stderr) };
    assert!(warning["cause"].as_str().unwrap().starts_with("the collector returned 4"), "{warning}");
    let end = run_with(&surroundings, &relay.endpoint(), &[], &[]);
    end.assert_code(0);
    let [warning] = &warnings(&end)[..] else { panic!("{}", end.stderr) };
    let cause = warning["cause"].as_str().unwrap();
    assert!(cause.contains("certificate"), "{warning}");
}
