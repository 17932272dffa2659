//! The summary as people read it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::run::{RowSource, Stored};

/// The text without its last line, which says how much memory this process took.
fn text_of(facts: &Facts<'_>) -> String {
    let text = text::render(facts);
    let (text, memory) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(memory.starts_with("peak memory     ") && memory.ends_with("iB"), "{memory}");
    text.to_owned()
}

/// The line that begins with this name.
fn line_of(facts: &Facts<'_>, name: &str) -> Option<String> {
    text::lines(facts).into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[test]
fn the_text_of_a_run_has_every_fact() {
    let expected = "\
outcome         committed 1,249 rows to shop.customers
store           my_store
run             20261123T040000Z-9f1c02ab (resumed)
session         the_session
load job        77
ingestion time  1795406400
verify with     SELECT COUNT(1) FROM shop.customers WHERE time = 1795406400 -- expected: 1,249
left out        1 record that cannot be read
duplicates      about 1 customer equals an earlier one; the store may have changed while it was read
customers       1,250, 40 with loyalty data
pages           3
ended by        last_page
parts           2, 4.0 KiB uploaded, 10.0 KiB of rows
requests        12 to Yotpo (3 retries, 2 throttled), 1,005 to Treasure Data (1 retry, 0 throttled)
retried after   2 timeouts, 2 throttled requests
received        2.0 KiB from Yotpo
rate limit      4.5 requests/s at the end, 50 % of the fetching time spent waiting, 1 wait for others or the service (2s), other clients used it
phases          starting 120ms, fetching 1m 00s, uploading 1ms, loading 1s, waiting 8m 20s
duration        1m 2s (4 customers per second)";
    assert_eq!(text_of(&Facts::of_success(&settings(), &success())), expected);
}

#[test]
fn the_text_of_an_export_has_every_fact_but_those_of_tables() {
    let (parent, report) = export();
    let facts = Facts::of_export(&export_settings(), &report);
    let directory = parent.path().join("export");
    let expected = format!(
        "\
outcome         exported 1,250 rows
store           my_store
run             20261123T040000Z-9f1c02ab
directory       {}
export          {}
ingestion time  1795406400
left out        2 records that cannot be read
customers       1,250, 40 with loyalty data
pages           3
ended by        last_page
parts           2, 4.0 KiB written, 10.0 KiB of rows
requests        12 to Yotpo (3 retries, 2 throttled), 1,005 to Treasure Data (1 retry, 0 throttled)
retried after   2 timeouts, 2 throttled requests
received        2.0 KiB from Yotpo
rate limit      4.5 requests/s at the end, 50 % of the fetching time spent waiting, 1 wait for others or the service (2s), other clients used it
phases          starting 120ms, fetching 1m 00s, uploading 1ms, loading 1s, waiting 8m 20s
duration        1m 2s (4 customers per second)",
        directory.display(),
        Sha256Sum::of(b"manifest"),
    );
    assert_eq!(text_of(&facts), expected);
}

#[test]
fn the_text_of_a_dry_run_says_what_a_run_would_do() {
    let stored = Stored { pages: 1, rows: 100, parts: 1, saved_at: TIME };
    let expected = "\
outcome         dry run: a run would append to shop.customers; nothing was loaded
store           my_store
resume          a run resumes after 100 rows of 1 page in 1 part, saved 2026-11-23T04:00:00Z, unless it was abandoned elsewhere; it does not see what changed on these pages since
active          another run of this table is active on this machine
expected        fetching takes about 1m 30s for as many customers as the last run, not including the load job
left out        2 records that cannot be read
duplicates      about 1 customer equals an earlier one; the store may have changed while it was read
customers       1,250, 40 with loyalty data
pages           3
ended by        last_page
parts           2, 4.0 KiB compressed, 10.0 KiB of rows
requests        0 to Yotpo (0 retries, 0 throttled), 0 to Treasure Data (0 retries, 0 throttled)
phases          starting 120ms, fetching 1m 00s, uploading 1ms, loading 1s, waiting 8m 20s
duration        0s (no time at all)";
    let report = dry_run(Resumption::Resume(stored));
    assert_eq!(text_of(&Facts::of_dry_run(&settings(), &report, true)), expected);
}

#[test]
fn the_text_of_a_failure_says_what_may_be_in_the_table() {
    let (failure, settings) = (failure(), settings());
    let left = left(&settings);
    let progress =
        ProgressSnapshot { customers: 0, customers_before: 0, usage: ServiceUse::default(), ..progress() };
    let facts = Facts::of_failure(&failure, &output(), Some(&left), &progress, NOW);
    let expected = "\
outcome         failed while cleaning up: treasure_data_failed
saved           1,000 rows in 2 parts
store           my_store
run             20261123T040000Z-9f1c02ab
session         the_session
load job        77
ingestion time  1795406400
verify with     SELECT COUNT(1) FROM shop.customers WHERE time = 1795406400 -- expected: all
duplicates      about 1 customer equals an earlier one; the store may have changed while it was read
customers       0, 40 with loyalty data
pages           3
ended by        last_page
parts           2, 4.0 KiB uploaded, 10.0 KiB of rows
requests        0 to Yotpo (0 retries, 0 throttled), 0 to Treasure Data (0 retries, 0 throttled)
phases          starting 120ms, fetching 1m 00s, uploading 1ms, loading 1s, waiting 8m 20s
duration        1m 4s 121ms";
    assert_eq!(text_of(&facts), expected);
}

#[test]
fn every_line_is_explained() {
    let (settings, failure, (_parent, export)) = (settings(), failure(), export());
    let left = left(&settings);
    let stored = Stored { pages: 1, rows: 100, parts: 1, saved_at: TIME };
    let dry_run = dry_run(Resumption::Resume(stored));
    let lines = [
        text::lines(&Facts::of_success(&settings, &success())),
        text::lines(&Facts::of_failure(&failure, &output(), Some(&left), &progress(), NOW)),
        text::lines(&Facts::of_export(&export_settings(), &export)),
        text::lines(&Facts::of_dry_run(&settings, &dry_run, true)),
    ];
    let lines: BTreeSet<_> = lines.iter().flatten().map(|(name, _)| *name).collect();
    let page = include_str!("../../../../docs/summary.md");
    let (section, _) = page.split_once("\n## JSON\n").unwrap();
    let explained = section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    assert_eq!(explained.collect::<BTreeSet<_>>(), lines);
}

#[test]
fn a_line_without_a_fact_is_left_out() {
    let settings = settings();
    let report = RunReport {
        error_records: 0,
        progress: ProgressSnapshot { seen_twice: 0, ..ProgressSnapshot::default() },
        ..success()
    };
    let facts = Facts::of_success(&settings, &report);
    let absent = ["left out", "duplicates", "retried after", "received", "rate limit", "directory", "saved"];
    assert_eq!(absent.map(|name| line_of(&facts, name)), [const { None }; 7]);
    assert_eq!(line_of(&facts, "phases").as_deref(), Some(""));
    assert_eq!(line_of(&facts, "duration").as_deref(), Some("1m 2s"), "without a rate");
    let rate = "0.0 requests/s at the end, 0 waits for others or the service (0s)";
    let mut progress = progress();
    progress.usage = ServiceUse::default();
    progress.usage.yotpo.requests = 1;
    progress.durations = [Duration::ZERO; Phase::ALL.len()];
    let facts = Facts::of_success(&settings, &RunReport { progress, ..success() });
    assert_eq!(line_of(&facts, "rate limit").as_deref(), Some(rate), "nothing was fetched");
}

#[test]
fn only_what_this_process_read_is_counted_when_the_rows_were_there_before() {
    let settings = settings();
    let customers = |outcome, pages| {
        let progress = ProgressSnapshot { pages, ..progress() };
        let report = RunReport { outcome, progress, ..success() };
        line_of(&Facts::of_success(&settings, &report), "customers")
    };
    let counted = Some("1,250, 40 with loyalty data".to_owned());
    assert_eq!(customers(Outcome::AlreadyCommitted, 0), None);
    assert_eq!(customers(Outcome::AlreadyCommitted, 1), counted);
    assert_eq!(customers(Outcome::NothingToLoad, 0), counted);
}

#[test]
fn rows_of_an_export_are_uploaded_and_those_of_a_sync_to_a_directory_are_written() {
    let (_directory, report) = export();
    let settings = LoadSettings { source: RowSource::Export(Arc::new(report.export.clone())), ..settings() };
    let facts = Facts::of_success(&settings, &success());
    let path = report.export.directory.path().display().to_string();
    assert_eq!(line_of(&facts, "directory"), Some(path));
    assert_eq!(line_of(&facts, "export"), Some(report.export.sha256.to_string()));
    assert_eq!(line_of(&facts, "parts").as_deref(), Some("2, 4.0 KiB uploaded, 10.0 KiB of rows"));
    let (failure, output) = (failure(), OutputSettings { table: None, ..output() });
    let mut facts = Facts::of_failure(&failure, &output, None, &progress(), NOW);
    assert_eq!(line_of(&facts, "parts").as_deref(), Some("2, 4.0 KiB uploaded, 10.0 KiB of rows"));
    facts.is_into_directory(Path::new("/exports/now"));
    assert_eq!(line_of(&facts, "directory").as_deref(), Some("/exports/now"));
    assert_eq!(line_of(&facts, "parts").as_deref(), Some("2, 4.0 KiB written, 10.0 KiB of rows"));
    assert_eq!((facts.database, facts.table, facts.mode), (None, None, None));
}

#[test]
fn an_export_that_was_complete_before_is_not_reported_as_new() {
    let (_directory, report) = export();
    let before = ExportReport { was_complete: true, resumed: true, ..report };
    let facts = Facts::of_export(&export_settings(), &before);
    let expected = "the directory already holds a complete export of 1,250 rows; nothing was fetched";
    assert_eq!(line_of(&facts, "outcome").as_deref(), Some(expected));
    assert_eq!((facts.outcome, facts.state, facts.resumed), ("already_exported", "exported", true));
}

#[test]
fn stdout_has_the_summary_in_the_wanted_format() {
    let (settings, failure) = (settings(), failure());
    let ended = Facts::of_success(&settings, &success());
    let not_started = Facts::of_failure(&failure, &output(), None, &ProgressSnapshot::default(), NOW);
    let text = on_stdout(&ended, SummaryFormat::Text).unwrap();
    assert!(text.starts_with("outcome         committed"), "{text}");
    assert_eq!(on_stdout(&not_started, SummaryFormat::Text), None, "its error says everything");
    for facts in [&ended, &not_started] {
        let json = on_stdout(facts, SummaryFormat::Json).unwrap();
        assert!(json.starts_with('{') && json.ends_with("}\n"), "{json}");
        assert_eq!(on_stdout(facts, SummaryFormat::None), None);
    }
}
