use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::http::{OperationUse, StatusClass};
use crate::retry::{ClientUse, RequestCounts};
use crate::telemetry::phase::{LoadJob, Phase};
use crate::telemetry::usage::ServiceUse;

fn labels() -> MetricLabels {
    MetricLabels {
        store_id: Some("42".to_owned()),
        database: Some("shop".to_owned()),
        table: Some("customers".to_owned()),
    }
}

/// A run of which everything is known.
fn run() -> (RunMetrics, Arc<Progress>, Clock) {
    let clock = Clock::virtual_at(Duration::from_secs(1_795_000_000));
    let progress = Arc::new(Progress::default());
    progress.read_usage_from(|| {
        let mut usage = ServiceUse { has_token: true, ..ServiceUse::default() };
        usage.rate.configured_per_second = 5.0;
        usage.rate.requests_per_second = 4.5;
        usage.rate.reported = Some(crate::rate_limit::Allowance { remaining: 3, limit: Some(5) });
        usage
    });
    progress.read_clients_from(|| {
        let mut page = OperationUse { sent_bytes: 34, received_bytes: 1_000, ..OperationUse::default() };
        page.by_status[StatusClass::Success as usize] = 2;
        page.by_status[StatusClass::NoResponse as usize] = 1;
        page.latencies.counts[3] = 3;
        page.latencies.sum = Duration::from_millis(120);
        let requests = RequestCounts { throttled: 1, ..RequestCounts::default() };
        let operations = vec![("fetch a page of customers", page)];
        vec![ClientUse { service: "Yotpo", requests, retry_budget: 0.99, operations }]
    });
    progress.expect(1_000);
    progress.enter(Phase::Fetching, clock.now());
    clock.advance(Duration::from_secs(7));
    progress.page_fetched(100, 60);
    progress.parts_queued(2);
    progress.batches_queued(3);
    progress.part_stored(2_000, 10_000);
    progress.load_job(LoadJob::Running);
    (RunMetrics::new(Arc::clone(&progress), clock.clone(), labels()), progress, clock)
}

/// The value of a series, by the beginning of its line without the labels of the target.
fn value(text: &str, series: &str) -> Option<f64> {
    let text = text.replace(r#"{store_id="42",database="shop",table="customers"}"#, "");
    let text = text.replace(r#"store_id="42",database="shop",table="customers","#, "");
    let line = text.lines().find_map(|line| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned()));
    line.map(|value| value.parse().unwrap())
}

fn ended(exit_code: u8, rows: Option<u64>) -> RunEnd {
    let failure = (exit_code != 0).then_some("yotpo_unavailable");
    RunEnd { exit_code, failure, rows, resumable_until: failure.map(|_| 1_795_020_000) }
}

#[test]
fn a_working_run_shows_what_it_has_done_so_far() {
    let (metrics, ..) = run();
    let text = metrics.render();
    for (series, expected) in [
        ("yotpo_td_running", Some(1.0)),
        ("yotpo_td_run_start_timestamp_seconds", Some(1_795_000_007.0)),
        ("yotpo_td_run_duration_seconds", Some(7.0)),
        ("yotpo_td_phase{phase=\"fetching\"}", Some(1.0)),
        ("yotpo_td_phase{phase=\"loading\"}", Some(0.0)),
        ("yotpo_td_phase_duration_seconds{phase=\"fetching\"}", Some(7.0)),
        ("yotpo_td_pages_total", Some(1.0)),
        ("yotpo_td_customers_total", Some(100.0)),
        ("yotpo_td_customers_with_loyalty_data_total", Some(60.0)),
        ("yotpo_td_expected_customers", Some(1_000.0)),
        ("yotpo_td_parts{state=\"queued\"}", Some(2.0)),
        ("yotpo_td_parts{state=\"stored\"}", Some(1.0)),
        ("yotpo_td_queued_batches", Some(3.0)),
        ("yotpo_td_part_bytes_total", Some(2_000.0)),
        ("yotpo_td_row_bytes_total", Some(10_000.0)),
        ("yotpo_td_load_job{state=\"running\"}", Some(1.0)),
        ("yotpo_td_load_job{state=\"failed\"}", Some(0.0)),
        (
            r#"yotpo_td_requests_total{service="Yotpo",operation="fetch a page of customers",status="2xx"}"#,
            Some(2.0),
        ),
        (
            r#"yotpo_td_requests_total{service="Yotpo",operation="fetch a page of customers",status="none"}"#,
            Some(1.0),
        ),
        // There is no series of what has never happened.
        (
            r#"yotpo_td_requests_total{service="Yotpo",operation="fetch a page of customers",status="5xx"}"#,
            None,
        ),
        (
            r#"yotpo_td_request_duration_seconds_bucket{service="Yotpo",operation="fetch a page of customers",le="0.025"}"#,
            Some(0.0),
        ),
        (
            r#"yotpo_td_request_duration_seconds_bucket{service="Yotpo",operation="fetch a page of customers",le="0.05"}"#,
            Some(3.0),
        ),
        (
            r#"yotpo_td_request_duration_seconds_sum{service="Yotpo",operation="fetch a page of customers"}"#,
            Some(0.12),
        ),
        (r#"yotpo_td_sent_bytes_total{service="Yotpo"}"#, Some(34.0)),
        (r#"yotpo_td_received_bytes_total{service="Yotpo"}"#, Some(1_000.0)),
        (r#"yotpo_td_throttled_total{service="Yotpo"}"#, Some(1.0)),
        (r#"yotpo_td_retries_total{service="Yotpo",cause="timeout"}"#, Some(0.0)),
        (r#"yotpo_td_retry_budget_ratio{service="Yotpo"}"#, Some(0.99)),
        ("yotpo_td_rate_limit_configured_requests_per_second", Some(5.0)),
        ("yotpo_td_rate_limit_requests_per_second", Some(4.5)),
        ("yotpo_td_rate_limit_header_limit", Some(5.0)),
        ("yotpo_td_rate_limit_header_remaining", Some(3.0)),
        // Nothing is claimed of an end that has not come, or of a success that nobody knows.
        ("yotpo_td_exit_code", None),
        ("yotpo_td_run_end_timestamp_seconds", None),
        ("yotpo_td_failure{code=\"none\"}", None),
        ("yotpo_td_interrupted_run_expiry_timestamp_seconds", None),
        ("yotpo_td_last_success_timestamp_seconds", None),
        ("yotpo_td_last_success_rows", None),
    ] {
        assert_eq!(value(&text, series), expected, "{series}\n{text}");
    }
}

#[test]
fn every_metric_is_in_the_table_and_every_line_of_the_table_can_be_seen() {
    let (metrics, ..) = run();
    metrics.ended(ended(0, Some(100)));
    let text = metrics.render();
    let seen: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let table: Vec<(&str, &str)> = FAMILIES.iter().map(|family| (family.name, family.kind.name())).collect();
    assert_eq!(seen, table);
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for Family { name, kind, help, .. } in FAMILIES {
        assert!(name.starts_with("yotpo_td_") && !help.ends_with('.'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == FamilyKind::Counter, "{name}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let own: Vec<&str> = series
            .split_once('{')
            .map(|(_, labels)| {
                labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)).collect()
            })
            .unwrap_or_default();
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|base| names.contains(base))
            .unwrap_or(name);
        let family = FAMILIES.iter().find(|family| family.name == base).unwrap();
        let own: Vec<&str> = own.into_iter().filter(|label| *label != "le").collect();
        assert_eq!(own, [&MetricLabels::NAMES[..], family.labels].concat(), "{line}");
    }
}

#[test]
fn a_success_becomes_the_last_one_and_a_failure_does_not() {
    let (metrics, progress, clock) = run();
    progress.note_last_success(LastSuccess { finished_at: 1_794_900_000, rows: Some(90) });
    clock.advance(Duration::from_secs(3));
    progress.finish(clock.now());
    metrics.ended(ended(4, None));
    let text = metrics.render();
    for (series, expected) in [
        ("yotpo_td_running", 0.0),
        ("yotpo_td_exit_code", 4.0),
        ("yotpo_td_run_end_timestamp_seconds", 1_795_000_010.0),
        ("yotpo_td_run_duration_seconds", 10.0),
        ("yotpo_td_failure{code=\"yotpo_unavailable\"}", 1.0),
        ("yotpo_td_interrupted_run_expiry_timestamp_seconds", 1_795_020_000.0),
        ("yotpo_td_last_success_timestamp_seconds", 1_794_900_000.0),
        ("yotpo_td_last_success_rows", 90.0),
        ("yotpo_td_phase{phase=\"fetching\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}");
    }
    let (metrics, progress, _) = run();
    progress.note_last_success(LastSuccess { finished_at: 1_794_900_000, rows: Some(90) });
    metrics.ended(ended(0, None));
    let text = metrics.render();
    for (series, expected) in [
        ("yotpo_td_exit_code", Some(0.0)),
        ("yotpo_td_failure{code=\"none\"}", Some(0.0)),
        ("yotpo_td_interrupted_run_expiry_timestamp_seconds", Some(0.0)),
        ("yotpo_td_last_success_timestamp_seconds", Some(1_795_000_007.0)),
        // Those of an earlier success would be wrong.
        ("yotpo_td_last_success_rows", None),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn the_last_success_is_carried_over_from_the_file_or_the_state_whichever_is_newer() {
    for (in_state, expected) in [(None, 200), (Some(100), 200), (Some(300), 300)] {
        let (metrics, progress, _) = run();
        if let Some(finished_at) = in_state {
            progress.note_last_success(LastSuccess { finished_at, rows: None });
        }
        let last_success = Some(LastSuccess { finished_at: 200, rows: Some(1) });
        metrics.continue_from(&PreviousMetrics { labels: labels(), last_success });
        let seen = value(&metrics.render(), "yotpo_td_last_success_timestamp_seconds");
        assert_eq!(seen, Some(f64::from(expected)), "{in_state:?}");
    }
}

#[test]
fn the_file_is_read_back_by_the_next_run_of_the_target() {
    let directory = tempfile::tempdir().unwrap();
    let file = MetricsFile::new(directory.path().join("yotpo.prom"));
    assert_eq!(file.previous(&labels()).unwrap(), None);
    let (metrics, ..) = run();
    metrics.ended(ended(0, Some(123)));
    file.write(&metrics.render()).unwrap();
    // The collector of node_exporter is another user.
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    let last_success = Some(LastSuccess { finished_at: 1_795_000_007, rows: Some(123) });
    let expected = PreviousMetrics { labels: labels(), last_success };
    assert_eq!(file.previous(&labels()).unwrap(), Some(expected.clone()));
    // A run that fails on its settings may not know its target.
    assert_eq!(file.previous(&MetricLabels::default()).unwrap(), Some(expected.clone()));
    let unknown = RunMetrics::new(Arc::default(), Clock::machine(), MetricLabels::default());
    unknown.continue_from(&expected);
    assert_eq!(unknown.labels(), labels());
    let other = MetricLabels { table: Some("other".to_owned()), ..labels() };
    let error = file.previous(&other).unwrap_err().to_string();
    assert!(error.contains("store_id 42, database shop, table customers"), "{error}");
}

#[test]
fn what_is_not_ours_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("yotpo.prom");
    let file = MetricsFile::new(path.clone());
    for foreign in [
        "node_load1 0.5\n",
        "# HELP yotpo_td_running\n",
        "\u{1}\u{2}",
        "yotpo_td_run_start_timestamp_seconds x\n",
    ] {
        fs::write(&path, foreign).unwrap();
        assert!(matches!(file.previous(&labels()), Err(MetricsFileError::OtherContent)), "{foreign:?}");
    }
    fs::write(&path, "\n").unwrap();
    assert_eq!(file.previous(&labels()).unwrap(), None);
    let link = directory.path().join("link.prom");
    symlink(&path, &link).unwrap();
    assert!(matches!(MetricsFile::new(link).previous(&labels()), Err(MetricsFileError::OtherContent)));
    let large = fs::File::create(&path).unwrap();
    large.set_len(2 * 1024 * 1024).unwrap();
    assert!(matches!(file.previous(&labels()), Err(MetricsFileError::OtherContent)));
}

#[test]
fn a_file_is_read_up_to_the_maximum_size() {
    let directory = tempfile::tempdir().unwrap();
    let file = MetricsFile::new(directory.path().join("yotpo.prom"));
    let (metrics, ..) = run();
    let text = metrics.render();
    let padded = |size: usize| format!("{text}{}", "\n".repeat(size - text.len()));
    fs::write(file.path(), padded(1024 * 1024)).unwrap();
    assert_eq!(file.previous(&labels()).unwrap().unwrap().labels, labels());
    fs::write(file.path(), padded(1024 * 1024 + 1)).unwrap();
    assert!(matches!(file.previous(&labels()), Err(MetricsFileError::OtherContent)));
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_a_missing_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    let below = MetricsFile::new(path.join("yotpo.prom"));
    let error = below.previous(&labels()).unwrap_err();
    assert!(
        matches!(&error, MetricsFileError::Io(error) if error.kind() == std::io::ErrorKind::NotADirectory),
        "{error:?}"
    );
}

#[test]
fn numbers_of_a_damaged_file_are_not_carried_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = MetricsFile::new(directory.path().join("yotpo.prom"));
    for number in ["NaN", "-1", "+Inf", "1e300", "x"] {
        let text = format!(
            "yotpo_td_run_start_timestamp_seconds{{store_id=\"42\"}} 1\nyotpo_td_last_success_timestamp_seconds{{store_id=\"42\"}} {number}\n"
        );
        fs::write(file.path(), text).unwrap();
        let previous = file.previous(&labels()).unwrap().unwrap();
        assert_eq!(previous.last_success, None, "{number}");
    }
}

#[test]
fn a_renamed_metric_is_there_under_both_names() {
    use crate::renamed::{NameKind, Renamed};
    const FORMER: &[Renamed] = &[
        Renamed {
            kind: NameKind::Metric,
            old: "yotpo_td_fetched_pages_total",
            new: "yotpo_td_pages_total",
            removed_in: "0.3.0",
        },
        Renamed { kind: NameKind::Metric, old: "yotpo_td_why", new: "yotpo_td_failure", removed_in: "0.3.0" },
    ];
    let (metrics, progress, clock) = run();
    let state = metrics.state().clone();
    let samples = samples::collect(&progress, &clock, metrics.started, &state);
    let text = exposition::render_with_former_names(&labels(), &samples, FORMER);
    assert_eq!(value(&text, "yotpo_td_fetched_pages_total"), Some(1.0));
    assert_eq!(value(&text, "yotpo_td_pages_total"), Some(1.0));
    assert!(text.contains("# TYPE yotpo_td_fetched_pages_total counter"), "{text}");
    let help = text.lines().find(|line| line.starts_with("# HELP yotpo_td_fetched_pages")).unwrap();
    assert!(help.contains(" Former name of a metric, see docs/upgrading.md"), "{help}");
    assert!(!exposition::render(&labels(), &samples).contains("fetched_pages"));
}
