mod whole_page;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use super::format::{decode, encode, sealed};
use super::*;
use crate::checkpoint::seal;
use crate::http::{FailureKind, OperationUse, StatusClass};
use crate::retry::{ClientUse, RequestCounts};
use crate::telemetry::{MAX_SAMPLES, Phase, Recording, Sample};

/// A run that failed after two minutes.
fn example() -> RunRecording {
    let sample = |second: u64| Sample {
        at: Duration::from_secs(second),
        customers: second * 500,
        yotpo_requests: second * 5,
        treasure_data_requests: second / 10,
        limit_millis: 5_000,
        others_millis: if second > 60 { 1_000 } else { 0 },
        delayed: Duration::from_millis(second * 700),
        paused: Duration::from_secs(second / 30),
        parts: second / 20,
        parts_queued: second % 2,
        part_bytes: second * 1_000,
        row_bytes: second * 9_000,
        resident_bytes: 30_000_000 + second * 1_000,
        retries: [second / 50, 0, second / 40, second / 30, 0, 0],
    };
    RunRecording {
        program: "0.1.0".to_owned(),
        run_id: Some("nightly".parse().unwrap()),
        store_id: Some("store".to_owned()),
        destination: Some("shop.customers".to_owned()),
        outcome: "failed".to_owned(),
        outcome_sentence: "failed while fetching: yotpo_page_failed".to_owned(),
        state: "resumable".to_owned(),
        exit_code: 4,
        code: Some("yotpo_page_failed".to_owned()),
        failed_while: Some(Phase::Fetching),
        started_at: 1_795_406_400,
        finished_at: 1_795_406_520,
        duration_millis: 120_000,
        phases: vec![(Phase::Starting, 0), (Phase::Fetching, 400), (Phase::CleaningUp, 119_000)],
        samples: (1..=119).map(sample).collect(),
        latency_bounds: vec![5, 100, 1_000],
        services: vec![ServiceRecording {
            service: "Yotpo".to_owned(),
            requests: 595,
            throttled: 2,
            retries: vec![
                ("timeout".to_owned(), 2),
                ("throttled".to_owned(), 2),
                ("server_error".to_owned(), 3),
            ],
            operations: vec![OperationRecording {
                operation: "fetch a page of customers".to_owned(),
                successes: 588,
                latencies: vec![0, 400, 190, 5],
                total_micros: 60_000_000,
            }],
        }],
        peak_resident_bytes: Some(31_000_000),
        memory_bound_bytes: Some(90_000_000),
        summary: vec![("outcome".to_owned(), "failed while fetching".to_owned())],
        last_words: "error: could not fetch page 596 of customers\nsaved: 59,000 rows".to_owned(),
        ..RunRecording::default()
    }
}

fn page(recording: &RunRecording) -> String {
    render(recording, None).unwrap()
}

#[test]
fn the_page_shows_the_whole_course_of_a_run() {
    let page = page(&example());
    for shown in [
        "Run nightly into shop.customers",
        "4 (yotpo_page_failed)",
        "error: could not fetch page 596 of customers",
        "Failed while fetching: yotpo_page_failed",
        "failed while fetching",
        "59,500 customers in 2m 00s; 495.8 per second on average",
        "The limit in force was 5.0 requests per second.",
        "of other clients of the store (estimated)",
        "7 of 595 requests",
        "throttled (429)",
        "Yotpo: fetch a page of customers",
        "595 requests, mean 100 ms",
        "2026-11-23T04:00:00Z",
    ] {
        assert!(page.contains(shown), "{shown} is not in the page");
    }
    assert!(!page.contains("Attempt on this machine"));
    let mut two_limits = example();
    two_limits.samples.iter_mut().skip(60).for_each(|sample| sample.limit_millis = 2_500);
    assert!(self::page(&two_limits).contains("The limit in force was 2.5 to 5.0 requests per second."));
    let mut without_limit = example();
    without_limit.samples.iter_mut().for_each(|sample| sample.limit_millis = 0);
    let text = self::page(&without_limit);
    assert!(text.contains("Requests per second") && !text.contains("The limit in force was"), "{text}");
    let second = render(&example(), Some(Place { number: 2, of: 3 })).unwrap();
    assert!(second.contains("2 of 3 recorded"));
}

#[test]
fn no_text_becomes_markup() {
    let evil = "</style></svg><script>alert('x')</script>\u{0}\u{7}&\"'";
    let mut recording = example();
    recording.summary = vec![(evil.to_owned(), evil.to_owned())];
    recording.last_words = evil.to_owned();
    for text in [&mut recording.program, &mut recording.outcome, &mut recording.outcome_sentence] {
        *text = evil.to_owned();
    }
    for text in [&mut recording.destination, &mut recording.store_id, &mut recording.code] {
        *text = Some(evil.to_owned());
    }
    recording.services[0].service = evil.to_owned();
    recording.services[0].operations[0].operation = evil.to_owned();
    recording.services[0].retries = vec![(evil.to_owned(), 1)];
    let page = page(&recording);
    assert!(!page.contains("<script") && !page.contains('\u{0}') && !page.contains('\u{7}'));
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("alert("), "the text is shown");
}

#[test]
fn a_run_of_which_nothing_is_known_has_a_page_without_charts() {
    let page = page(&RunRecording::default());
    assert!(!page.contains("<svg"), "{page}");
    for words in
        ["ended before its first phase", "fetched no customers", "sent no requests", "None of 0 requests"]
    {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn no_number_is_too_large_for_a_chart() {
    let huge = Sample {
        at: Duration::from_millis(u64::MAX),
        customers: u64::MAX,
        yotpo_requests: u64::MAX,
        treasure_data_requests: u64::MAX,
        limit_millis: u64::MAX,
        others_millis: u64::MAX,
        delayed: Duration::from_millis(u64::MAX),
        paused: Duration::from_millis(u64::MAX),
        parts: u64::MAX,
        parts_queued: u64::MAX,
        part_bytes: u64::MAX,
        row_bytes: u64::MAX,
        resident_bytes: u64::MAX,
        retries: [u64::MAX; 6],
    };
    let mut recording = example();
    recording.samples = vec![Sample::default(), huge];
    recording.duration_millis = u64::MAX;
    recording.finished_at = u64::MAX;
    recording.services[0].requests = u64::MAX;
    recording.services[0].operations[0].latencies = vec![u64::MAX; 4];
    assert!(decode(&encode(&recording).unwrap()).is_ok());
    let page = page(&recording);
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn a_run_of_a_tenth_of_a_second_has_sensible_charts() {
    let mut recording = example();
    recording.duration_millis = 100;
    recording.phases = vec![(Phase::Starting, 0), (Phase::Fetching, 20)];
    let at = |millis, customers| Sample { at: Duration::from_millis(millis), customers, ..Sample::default() };
    recording.samples = vec![at(20, 0), at(40, 100), at(100, 1_000)];
    let page = page(&recording);
    assert!(page.contains("1,000 customers in 100 ms; 10,000.0 per second on average"), "{page}");
    assert!(page.contains(">\n20 ms\n<") || page.contains(">\n50 ms\n<"), "marks of time in milliseconds");
}

#[test]
fn every_colour_has_a_counterpart_on_a_dark_screen() {
    let style = include_str!("../../templates/report.css");
    let (light, dark) = style.split_once("prefers-color-scheme: dark").unwrap();
    for colour in palette::ALL {
        let plotters::style::RGBColor(red, green, blue) = colour.rgb;
        let hexadecimal = format!("\"#{red:02X}{green:02X}{blue:02X}\"]");
        assert!(dark.contains(&hexadecimal), "{colour:?}");
        let class = format!(".{} {{ color", colour.class);
        let is_in_legends = !["ink", "grid"].contains(&colour.class);
        assert!(!is_in_legends || (light.contains(&class) && dark.contains(&class)), "{colour:?}");
    }
    let distinct: BTreeSet<_> = palette::ALL.map(|colour| (colour.rgb.0, colour.rgb.1, colour.rgb.2)).into();
    assert_eq!(distinct.len(), palette::ALL.len());
}

#[test]
fn a_recording_is_read_back_as_it_was_kept() {
    let file = encode(&example()).unwrap();
    assert_eq!(decode(&file), Ok(example()));
    assert!(file.starts_with(b"yotpo-td recording 1 "));
}

#[test]
fn damage_is_detected() {
    let file = encode(&example()).unwrap();
    for length in 0..file.len() {
        assert!(decode(&file[..length]).is_err(), "{length}");
    }
    for bit in (0..file.len() * 8).step_by(7) {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
    assert_eq!(decode(b""), Err(RecordingFormatError::NotARecording));
    let later = seal("yotpo-td recording", 2, "{}");
    assert_eq!(decode(&later), Err(RecordingFormatError::OtherVersion { found: 2 }));
    assert_eq!(decode(&sealed("{}")), Err(RecordingFormatError::Content));
}

#[test]
fn what_cannot_be_drawn_is_not_read() {
    let changes: [fn(&mut RunRecording); 9] = [
        |recording| recording.samples = vec![Sample::default(); MAX_SAMPLES + 1],
        |recording| recording.samples.reverse(),
        |recording| recording.phases.reverse(),
        |recording| recording.duration_millis = 1_000,
        |recording| recording.phases = vec![(Phase::Starting, 0); 200],
        |recording| recording.latency_bounds = vec![5],
        |recording| recording.latency_bounds.reverse(),
        |recording| recording.last_words = "x".repeat(20_000),
        |recording| recording.summary = vec![(String::new(), String::new()); 200],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut recording = example();
        change(&mut recording);
        assert_eq!(decode(&encode(&recording).unwrap()), Err(RecordingFormatError::Content), "{number}");
    }
}

#[test]
fn a_recording_has_the_course_of_the_run_and_what_each_client_sent() {
    let samples = vec![Sample { customers: 7, ..Sample::default() }];
    let phases = vec![(Phase::Fetching, Duration::from_millis(20))];
    let course = Recording { phases, duration: Duration::from_millis(1_500), samples: samples.clone() };
    let mut used = OperationUse { by_status: [0; 5], ..OperationUse::default() };
    used.by_status[StatusClass::Success as usize] = 3;
    (used.latencies.counts[1], used.latencies.sum) = (4, Duration::from_micros(90));
    let requests = RequestCounts {
        requests: 5,
        retries: 1,
        throttled: 1,
        retries_by_cause: [(FailureKind::Throttled, 1)].into_iter().collect(),
    };
    let client =
        ClientUse { service: "Yotpo", requests, retry_budget: 1.0, operations: vec![("fetch", used)] };
    let recording = RunRecording::default().with_course(course).with_clients(&[client]);
    assert_eq!((recording.duration_millis, recording.samples), (1_500, samples));
    assert_eq!(recording.phases, [(Phase::Fetching, 20)]);
    assert_eq!(recording.latency_bounds.first(), Some(&5));
    let [ServiceRecording { service, requests: 5, throttled: 1, retries, operations }] =
        recording.services.as_slice()
    else {
        panic!("{:?}", recording.services)
    };
    assert_eq!(service, "Yotpo");
    assert!(retries.contains(&("throttled".to_owned(), 1)), "{retries:?}");
    let [OperationRecording { operation, successes: 3, latencies, total_micros: 90 }] = operations.as_slice()
    else {
        panic!("{operations:?}")
    };
    assert_eq!((operation.as_str(), &latencies[..3]), ("fetch", &[0, 4, 0][..]));
}

#[test]
fn a_recording_that_is_kept_is_within_the_bounds() {
    let long = "é".repeat(100_000);
    let recording = RunRecording {
        last_words: long.clone(),
        outcome_sentence: long.clone(),
        summary: vec![(long.clone(), long.clone()); 10],
        store_id: Some(long),
        ..example()
    };
    let bounded = recording.bounded();
    assert_eq!(bounded.last_words, "é".repeat(8_192));
    assert_eq!((bounded.outcome_sentence.as_str(), bounded.summary.len()), ("é".repeat(2_048).as_str(), 10));
    assert_eq!(decode(&encode(&bounded).unwrap()), Ok(bounded));
}

fn archive(directory: &Path, stem: &str) -> RecordingArchive {
    RecordingArchive::next_to(&directory.join(format!("{stem}.state")))
}

fn started(at: u64) -> RunRecording {
    RunRecording { started_at: at, finished_at: at + 5, ..example() }
}

#[test]
fn the_last_ten_recordings_of_each_target_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (archive(directory.path(), "shop.a.1"), archive(directory.path(), "shop.a.10"));
    other.keep(&started(1), 7).unwrap();
    for at in (90..103).rev() {
        one.keep(&started(at), 7).unwrap();
    }
    // Two processes of the same second.
    one.keep(&started(102), 8).unwrap();
    let files = RecordingFile::all(directory.path()).unwrap();
    let times: Vec<_> = files.iter().map(|file| file.read().unwrap().started_at).collect();
    assert_eq!(times, [1, 94, 95, 96, 97, 98, 99, 100, 101, 102, 102]);
    for file in &files {
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_a_killed_process_left_is_removed_later() {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(directory.path(), "shop.a.1");
    let now = crate::clock::Clock::machine().unix_time().as_secs();
    let left = directory.path().join("shop.a.1.5-5.recording.new");
    fs::write(&left, "half").unwrap();
    archive.keep(&started(now), 7).unwrap();
    assert!(left.exists(), "another process may be writing it");
    archive.keep(&started(now + 3_700), 7).unwrap();
    assert!(!left.exists());
}

#[test]
fn a_file_that_another_user_could_have_written_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    archive(directory.path(), "shop.a.1").keep(&started(1), 7).unwrap();
    let file = RecordingFile::all(directory.path()).unwrap().remove(0);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(file.path(), &elsewhere).unwrap();
    symlink(&elsewhere, file.path()).unwrap();
    assert!(matches!(file.read(), Err(RecordingError::Untrusted(_))));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(RecordingFile::all(directory.path()), Err(RecordingError::Untrusted(_))));
    assert_eq!(RecordingFile::all(&directory.path().join("absent")).unwrap(), []);
}

#[test]
fn a_recording_that_is_too_large_to_read_back_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let recording = RunRecording { last_words: "x".repeat(300_000), ..example() };
    let error = archive(directory.path(), "shop.a.1").keep(&recording, 7).unwrap_err();
    assert!(matches!(error, RecordingError::TooLarge { size } if size > 300_000), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
