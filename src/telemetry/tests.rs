use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::Empty;
use tracing::subscriber::NoSubscriber;
use tracing::{Span, debug, error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;

use super::logs::{LogFormat, LogSettings};
use super::progress::Progress;
use super::subscriber::log_layer;
use super::traces::TraceVariables;
use crate::identity::{Mode, Target};
use crate::spans::{self, AttemptEnd};

/// Runs an ignored test, with its path from the crate on, in another process: subscribers of other tests would change what it sees.
#[track_caller]
pub(super) fn assert_passes_alone(name: &str) {
    let name = name.split_once("::").unwrap().1;
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let end = alone.args(["--exact", name, "--ignored"]).output().unwrap();
    let output = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success() && output.contains("1 passed"), "{output}");
}

/// The lines that `work` logs, without their times.
fn lines(format: LogFormat, filter: &str, work: impl FnOnce()) -> Vec<String> {
    let settings = LogSettings { format, filter: filter.to_owned(), colour: false };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let layer = log_layer(&settings, move |line| written.lock().unwrap().push(line.to_owned()));
    // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
    let _second = tracing::Dispatch::new(NoSubscriber::new());
    tracing::subscriber::with_default(registry().with(layer), work);
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    lines.iter().map(|line| without_elapsed(&without_time(line))).collect()
}

/// Removes the time since the start of the run, which each line of a run has.
fn without_elapsed(line: &str) -> String {
    for prefix in [",\"elapsed_seconds\":", " elapsed_seconds="] {
        if let Some((before, rest)) = line.split_once(prefix) {
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            let seconds: f64 = rest[..end].parse().unwrap();
            assert!((0.0..60.0).contains(&seconds), "{line}");
            return format!("{before}{}", &rest[end..]);
        }
    }
    assert!(!line.contains("store_id"), "{line}");
    line.to_owned()
}

/// Removes the time and the line feed, which every line has.
fn without_time(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    let prefix = if line.starts_with('{') { "{\"timestamp\":\"" } else { "" };
    let (time, rest) = line.strip_prefix(prefix).unwrap().split_at("2026-01-01T00:00:00.000000Z".len());
    assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
    rest.trim_start_matches([' ', '"', ',']).to_owned()
}

fn text(work: impl FnOnce()) -> Vec<String> {
    lines(LogFormat::Text, "debug", work)
}

fn run() -> Span {
    let target = Target {
        store: "a-store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
        database: "a_database".parse().unwrap(),
        table: "a_table".parse().unwrap(),
    };
    spans::run(&target, Mode::Replace)
}

const CONTEXT: &str = "store_id=a-store database=a_database table=a_table mode=replace run_id=20260101";

/// Logs one line in a page of a run.
fn log_in_a_page() {
    let run = run();
    let _run = run.enter();
    spans::record_run_id(&"20260101".parse().unwrap());
    let _page = spans::page(&Span::current(), 7).entered();
    warn!(attempt = 2, class = "transient", wait = "1m 30s", "request failed");
}

#[test]
fn a_text_line_has_the_fields_of_the_spans_around_it() {
    let expected = format!("WARN request failed attempt=2 class=transient wait=\"1m 30s\" page=7 {CONTEXT}");
    assert_eq!(text(log_in_a_page), [expected]);
}

#[test]
fn a_json_line_has_them_after_its_own_fields() {
    let [line] = &lines(LogFormat::Json, "info", log_in_a_page)[..] else { panic!() };
    let expected = concat!(
        r#"level":"WARN","message":"request failed","attempt":2,"class":"transient","wait":"1m 30s","page":7,"#,
        r#""store_id":"a-store","database":"a_database","table":"a_table","mode":"replace","run_id":"20260101","#,
        r#""target":"yotpo_td::telemetry::tests"}"#
    );
    assert_eq!(line, expected);
}

#[test]
fn spans_are_recorded_with_any_filter() {
    for filter in ["warn", "error,yotpo_td::telemetry=warn", "off,yotpo_td::telemetry::tests=warn"] {
        let lines = lines(LogFormat::Text, filter, || {
            log_in_a_page();
            info!("not wanted");
        });
        assert_eq!(lines.len(), 1, "{filter}: {lines:?}");
        assert!(lines[0].ends_with(&format!("page=7 {CONTEXT}")), "{filter}: {lines:?}");
    }
}

#[test]
fn spans_are_disabled_if_nothing_is_logged() {
    assert_passes_alone(concat!(module_path!(), "::disabled_spans_in_a_process_of_their_own"));
}

#[test]
#[ignore = "run by spans_are_disabled_if_nothing_is_logged: subscribers of other tests enable spans"]
fn disabled_spans_in_a_process_of_their_own() {
    let lines = lines(LogFormat::Text, "off", || {
        assert!(run().is_disabled());
        error!("not wanted");
    });
    assert_eq!(lines, [""; 0]);
}

#[test]
fn lines_can_be_selected_by_their_span() {
    let lines = lines(LogFormat::Text, "warn,[page{page=2}]=debug", || {
        for number in 1..=3 {
            let _page = spans::page(&Span::none(), number).entered();
            debug!("detail");
        }
    });
    assert_eq!(lines, ["DEBUG detail page=2"]);
}

#[test]
fn each_name_occurs_once_with_the_closest_value() {
    let lines = text(|| {
        let _outer = info_span!("outer", page = 1, part = 1).entered();
        let inner = info_span!("inner", page = 2).entered();
        inner.record("page", 3);
        info!(part = 4, "line");
    });
    assert_eq!(lines, ["INFO line part=4 page=3"]);
}

#[test]
fn a_prefetched_page_is_not_inside_the_page_before_it() {
    let lines = text(|| {
        let around = info_span!("around", part = 1);
        let first = spans::page(&around, 1).entered();
        let second = spans::page(&around, 2);
        drop(first);
        second.in_scope(|| info!("line"));
    });
    assert_eq!(lines, ["INFO line page=2 part=1"]);
}

#[test]
fn a_json_line_has_no_duplicate_names() {
    let work = || info!(target: "a::module", level = 1, timestamp = 2, rows = 3, "line");
    assert_eq!(
        lines(LogFormat::Json, "a::module=info", work),
        [r#"level":"INFO","message":"line","rows":3,"target":"a::module"}"#]
    );
}

#[test]
fn values_are_written_unambiguously() {
    let lines = text(|| {
        info!(empty = "", spaces = "a b", quotes = r#"a"b\"#, equals = "a=b", plain = "ä/b:c", "line");
        info!(number = 1.5, negative = -1, switch = true, absent = None::<u64>, "line");
    });
    assert_eq!(
        lines,
        [
            r#"INFO line empty="" spaces="a b" quotes="a\"b\\" equals="a=b" plain=ä/b:c"#,
            "INFO line number=1.5 negative=-1 switch=true",
        ]
    );
}

#[test]
fn the_words_of_a_message_are_no_fields() {
    let lines = text(|| info!(count = 1, "the server said \"a=b\" \u{fffd}"));
    assert_eq!(lines, ["INFO the server said 'a:b' ? count=1"]);
}

#[test]
fn what_is_for_traces_is_in_no_line() {
    let filter = "trace,yotpo_td=trace";
    let lines = lines(LogFormat::Text, filter, || {
        let span = spans::token();
        spans::record_failure(&span, "503");
        let _entered = span.entered();
        let attempt = AttemptEnd { operation: "try", attempt: 1, duration: Duration::ZERO, failure: None };
        spans::record_attempt(&attempt);
        info!("line");
    });
    assert_eq!(lines, ["INFO line"]);
}

#[test]
fn a_level_alone_is_for_the_lines_of_this_program() {
    let log = || {
        debug!(target: "hyper_util::client", "chatter");
        warn!(target: "hyper_util::client", "warning");
        debug!("detail");
    };
    assert_eq!(lines(LogFormat::Text, "debug", log), ["WARN warning", "DEBUG detail"]);
    assert_eq!(lines(LogFormat::Text, "error", log), [""; 0]);
    assert_eq!(lines(LogFormat::Text, "warn", log), ["WARN warning"]);
    assert_eq!(lines(LogFormat::Text, "debug,yotpo_td=info", log), ["DEBUG chatter", "WARN warning"]);
}

#[test]
fn text_from_a_server_starts_no_line_and_controls_no_terminal() {
    let sent = "a\n2026 ERROR forged\u{1b}[2J\r\u{9b}2J\t\u{7f}";
    let lines = text(|| info!(cause = %sent, "{sent}"));
    let shown = r"a\n2026 ERROR forged\u001b[2J\r\u009b2J\t\u007f";
    assert_eq!(lines, [format!("INFO {shown} cause=\"{shown}\"")]);
}

/// Lines whose values are hard to parse. `make interop` reads both files with other parsers.
fn log_awkward_lines() {
    let run = run();
    let _run = run.enter();
    spans::record_run_id(&"nightly".parse().unwrap());
    info!(empty = "", spaces = "a b", quotes = r#"a"b\"#, equals = "a=b", plain = "ä/b:c", "plain values");
    info!(
        text = "line\nfeed\ttab\u{1b}[2J\u{9b}\u{7f}\u{fffd}\u{2028}end",
        "the server said \"a=b\" \\ \u{fffd}\n\u{1b}[2J"
    );
    info!(float = 1.5, negative = -1, switch = true, large = u64::MAX, absent = None::<u64>, "numbers");
    let _page = spans::page(&Span::current(), 7).entered();
    warn!(
        attempt = 2,
        class = "transient",
        cause = "could not connect: \"x\" = {y}",
        "request failed, retrying"
    );
}

#[test]
fn the_fixtures_of_log_lines_are_what_is_logged() {
    for (format, name) in [(LogFormat::Text, "text.log"), (LogFormat::Json, "json.log")] {
        let logged = lines(format, "info", log_awkward_lines);
        let open = if format == LogFormat::Json { "{\"" } else { "" };
        let logged: String = logged.iter().flat_map(|line| [open, line, "\n"]).collect();
        let path = format!("{}/tests/fixtures/log_lines/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::vars().any(|(name, _)| name == "UPDATE_DOCUMENTS") {
            std::fs::write(&path, &logged).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            logged,
            "update with UPDATE_DOCUMENTS=1 cargo test --lib log_lines"
        );
    }
}

#[test]
fn an_error_is_logged_as_its_message() {
    let full = std::io::Error::other("the disk is full");
    let error: &(dyn std::error::Error + 'static) = &full;
    assert_eq!(text(|| warn!(error, "line")), [r#"WARN line error="the disk is full""#]);
}

#[test]
fn a_field_that_is_recorded_later_selects_lines_too() {
    let lines = lines(LogFormat::Text, "warn,[page{page=2}]=debug", || {
        for number in 1..=3 {
            let page = info_span!("page", page = Empty);
            page.record("page", number);
            page.in_scope(|| debug!("detail"));
        }
    });
    assert_eq!(lines, ["DEBUG detail page=2"]);
}

#[test]
fn milestones_of_fetching_become_less_frequent() {
    let progress = Progress::default();
    let lines = text(|| (0..1_000).for_each(|_| progress.page_fetched(10, 0)));
    let milestone = |pages| format!("INFO fetching pages={pages} customers={}", pages * 10);
    assert_eq!(lines, [100, 200, 400, 800].map(milestone));
}

#[test]
fn a_warning_says_that_customers_were_fetched_twice_if_there_were_any() {
    let progress = Progress::default();
    assert_eq!(text(|| progress.customers_fetched_twice(0, false)), [""; 0]);
    let [line] = &text(|| progress.customers_fetched_twice(3, true))[..] else { panic!() };
    assert!(line.starts_with("WARN ") && line.ends_with(" times=3 is_estimate=true"), "{line}");
}

#[test]
fn a_variable_that_is_not_used_is_named_without_its_value() {
    let report = |name, value: &str| {
        let variables = TraceVariables::read(|variable| match variable {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector:4318".to_owned()),
            variable => (variable == name).then(|| value.to_owned()),
        });
        text(|| variables.report())
    };
    assert_eq!(
        report("OTEL_BSP_MAX_QUEUE_SIZE", "hunter2"),
        ["WARN a variable of OpenTelemetry is not used: it is ignored \
          variable=OTEL_BSP_MAX_QUEUE_SIZE reason=\"not a number from 1\""]
    );
    assert_eq!(
        report("OTEL_EXPORTER_OTLP_PROTOCOL", "hunter2"),
        ["WARN a variable of OpenTelemetry is not used: there are no traces \
          variable=OTEL_EXPORTER_OTLP_PROTOCOL reason=\"only http/protobuf is supported\""]
    );
    assert_eq!(report("OTEL_SERVICE_NAME", "hunter2"), [""; 0]);
}
