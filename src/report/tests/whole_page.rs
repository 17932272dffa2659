//! Whole pages as they were when somebody looked at them in a browser: every text, and where each thing in a chart is.

use std::fmt::Write as _;

use super::*;

/// The texts of a page one per line, and the shapes of its charts, without the thin lines of axes. Charts for narrow screens are made in
/// the same way, and are left out. Of a long line, every tenth corner is enough.
fn written(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let mut written = String::new();
    let mut is_narrow = false;
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        is_narrow = (is_narrow || tag.starts_with("div class=\"chart narrow\"")) && tag != "/div";
        if is_narrow || tag.contains("stroke-width=\"1\"") {
            continue;
        }
        let is_shape = ["svg", "rect", "polyline", "polygon"].iter().any(|name| tag.starts_with(name));
        if is_shape {
            writeln!(written, "    <{}>", shape(tag)).unwrap();
        } else if let Some((_, class)) = tag.split_once("class=\"swatch ") {
            write!(written, "{} ", class.trim_end_matches('"')).unwrap();
        } else if tag.starts_with("p class=\"outcome") {
            writeln!(written, "<{tag}>").unwrap();
        } else if let Some((_, id)) = tag.split_once("section id=\"") {
            writeln!(written, "\n#{}", id.trim_end_matches('"')).unwrap();
        } else if let Some((_, label)) = tag.split_once("aria-label=\"") {
            writeln!(written, "[{}]", label.trim_end_matches('"')).unwrap();
        }
        if !text.trim().is_empty() {
            writeln!(written, "{}{}", if tag.starts_with("text") { "    " } else { "" }, text.trim())
                .unwrap();
        }
    }
    written
}

/// A tag of a shape without what is the same for all.
fn shape(tag: &str) -> String {
    let Some((before, rest)) = tag.split_once("points=\"") else {
        return tag.trim_end_matches('/').to_owned();
    };
    let (points, after) = rest.split_once('"').unwrap();
    let corners: Vec<_> = points.split_ascii_whitespace().collect();
    let kept: Vec<_> = if corners.len() > 12 { corners.into_iter().step_by(10).collect() } else { corners };
    format!("{before}points=\"{}\"{}", kept.join(" "), after.trim_end_matches('/'))
}

fn assert_page(name: &str, recording: &RunRecording, place: Option<Place>) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("../../../tests/fixtures/report");
    let page = written(&render(recording, place).unwrap());
    settings.bind(|| insta::assert_snapshot!(name, page));
}

#[test]
fn a_failed_run_is_shown_with_its_last_words_and_figures() {
    assert_page("failed_run_with_last_words_and_figures", &example(), Some(Place { number: 2, of: 3 }));
}

/// All there is to see: two services, a second run of the target, several limits, a bound of the memory that can be drawn.
fn committed() -> RunRecording {
    let sample = |second: u64| Sample {
        at: Duration::from_secs(second),
        customers: second.min(40) * 300,
        yotpo_requests: second.min(40) * 3,
        treasure_data_requests: second * 2,
        limit_millis: if second < 20 { 5_000 } else { 3_000 },
        others_millis: 500,
        delayed: Duration::from_millis(second.min(40) * 800),
        paused: Duration::from_millis(second.saturating_sub(20).min(20) * 400),
        parts: second / 10,
        parts_queued: u64::from(second == 9),
        part_bytes: second / 10 * 70_000,
        row_bytes: second / 10 * 400_000,
        resident_bytes: if second == 0 { 0 } else { 20_000_000 + second * 100_000 },
        retries: [0, second / 30, second / 30, 0, second / 45, 0],
    };
    let operation = |operation: &str, successes, latencies: [u64; 4]| OperationRecording {
        operation: operation.to_owned(),
        successes,
        latencies: latencies.to_vec(),
        total_micros: 1_234_567,
    };
    RunRecording {
        outcome: "committed".to_owned(),
        outcome_sentence: "committed 12,000 rows".to_owned(),
        state: "committed".to_owned(),
        exit_code: 0,
        code: None,
        failed_while: None,
        is_sandbox: true,
        rows: Some(12_000),
        finished_at: 1_795_406_460,
        duration_millis: 60_000,
        phases: vec![
            (Phase::Starting, 0),
            (Phase::Waiting, 200),
            (Phase::Fetching, 1_000),
            (Phase::Uploading, 40_000),
            (Phase::Loading, 42_000),
            (Phase::CleaningUp, 59_000),
        ],
        samples: (0..60).map(sample).collect(),
        services: vec![
            ServiceRecording {
                service: "Yotpo".to_owned(),
                requests: 120,
                throttled: 0,
                retries: vec![("connection".to_owned(), 1), ("throttled".to_owned(), 0)],
                operations: vec![operation("fetch a page of customers", 119, [100, 19, 1, 0])],
            },
            ServiceRecording {
                service: "Treasure Data".to_owned(),
                requests: 118,
                throttled: 0,
                retries: vec![("unexpected_body".to_owned(), 1)],
                operations: vec![
                    operation("store a part", 6, [0, 2, 3, 2]),
                    operation("never sent", 0, [0, 0, 0, 0]),
                ],
            },
        ],
        peak_resident_bytes: None,
        memory_bound_bytes: Some(40_000_000),
        last_words: String::new(),
        ..example()
    }
}

#[test]
fn a_committed_run_is_shown_with_its_waits_and_limits() {
    assert_page("committed_run_with_waits_and_limits", &committed(), Some(Place { number: 1, of: 1 }));
}

#[test]
fn only_requests_to_treasure_data_are_shown_if_there_were_no_others() {
    let mut recording = RunRecording { rows: None, run_id: None, destination: None, ..committed() };
    for sample in &mut recording.samples {
        sample.yotpo_requests = 0;
        sample.customers = 0;
        sample.delayed = Duration::ZERO;
    }
    recording.services.remove(0);
    recording.memory_bound_bytes = Some(900_000_000);
    recording.duration_millis = 72_345;
    recording.outcome_sentence = "committed, but by whom is unknown".to_owned();
    assert_page("only_requests_to_treasure_data", &recording, None);
}

#[test]
fn all_figures_are_missing_in_an_empty_recording() {
    assert_page("all_figures_missing", &RunRecording::default(), None);
}

#[test]
fn a_figure_is_drawn_if_any_of_its_numbers_is_not_zero() {
    for (of_first, of_second) in [(1, 0), (0, 1), (1, 1)] {
        let sample = Sample {
            at: Duration::from_secs(1),
            parts: of_first,
            parts_queued: of_second,
            row_bytes: of_first,
            part_bytes: of_second,
            ..Sample::default()
        };
        let samples = vec![Sample::default(), sample];
        let page = page(&RunRecording { samples, duration_millis: 2_000, ..RunRecording::default() });
        assert!(page.contains(&format!("{of_first} parts stored; at most {of_second} queued.")), "{page}");
        assert!(page.contains(&format!("{of_first} B of rows in {of_second} B of parts.")), "{page}");
    }
}

#[test]
fn waits_of_one_hundredth_of_the_run_are_drawn() {
    for (millis, is_drawn) in [(999, false), (1_000, true)] {
        let delayed = Duration::from_millis(millis);
        let samples =
            vec![Sample::default(), Sample { at: Duration::from_secs(99), delayed, ..Sample::default() }];
        let page = page(&RunRecording { samples, duration_millis: 100_000, ..RunRecording::default() });
        assert_eq!(page.contains("Waits by cause."), is_drawn, "{millis}");
    }
}

#[test]
fn a_limit_is_drawn_unless_it_is_far_above_the_requests() {
    for (limit_millis, is_drawn) in [(8_000, true), (8_100, false)] {
        let sample = |second: u64| Sample {
            at: Duration::from_secs(second),
            yotpo_requests: 2 * second,
            limit_millis,
            ..Sample::default()
        };
        let samples = (0..=60).map(sample).collect();
        let page = page(&RunRecording { samples, duration_millis: 60_000, ..RunRecording::default() });
        assert_eq!(page.contains("limit in force</li>"), is_drawn, "{limit_millis}");
    }
}
