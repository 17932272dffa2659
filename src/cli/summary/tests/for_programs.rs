//! The summary as programs read it: as JSON, and in the recording of the report.

use serde_json::{Value, json};

use super::*;
use crate::run::Stored;

/// The JSON without the fields that differ between any two runs.
fn json_of(facts: &Facts<'_>) -> Value {
    let mut summary: Value = serde_json::from_str(&json::render(facts)).unwrap();
    let fields = summary.as_object_mut().unwrap();
    assert!(fields.remove("finished_at").unwrap().is_string());
    assert!(fields.remove("peak_resident_bytes").unwrap().is_u64());
    summary
}

#[test]
fn the_json_of_a_run_has_every_fact() {
    let settings = settings();
    let mut expected = json!({
        "schema_version": 1,
        "outcome": "committed",
        "state": "loaded",
        "store_id": "my_store",
        "database": "shop",
        "table": "customers",
        "mode": "append",
        "run_id": RUN_ID,
        "session": "the_session",
        "job_id": "77",
        "phase": null,
        "rows": 1_249,
        "joined": false,
        "resumed": true,
        "error_records": 1,
        "ingestion_time": TIME,
        "counting_query": "SELECT COUNT(1) FROM shop.customers WHERE time = 1795406400",
        "directory": null,
        "export_sha256": null,
        "dry_run": null,
    });
    let of_work = json!({
        "customers": 1_250,
        "customers_with_loyalty_data": 40,
        "customers_seen_twice": 1,
        "customers_seen_twice_is_estimate": true,
        "pages": 3,
        "ended_by": "last_page",
        "parts": 2,
        "uploaded_bytes": 4_096,
        "row_bytes": 10_240,
        "yotpo": {
            "requests": 12,
            "retries": 3,
            "throttled": 2,
            "retries_by_cause": {
                "timeout": 1, "connection": 0, "throttled": 2, "server_error": 0, "unexpected_body": 0, "other_status": 0,
            },
            "response_bytes": 2_048,
        },
        "rate_limit": {
            "requests": 12,
            "requests_per_second": 4.5,
            "waits": 1,
            "waited_seconds": 2.0,
            "delayed_seconds": 30.0,
            "delayed_share": 0.5,
            "others_used_limit": true,
            "others_requests_per_second": 0.5,
        },
        "treasure_data": {
            "requests": 1_005,
            "retries": 1,
            "throttled": 0,
            "retries_by_cause": {
                "timeout": 1, "connection": 0, "throttled": 0, "server_error": 0, "unexpected_body": 0, "other_status": 0,
            },
        },
        "duration_seconds": 62.001,
        "phase_seconds": {
            "starting": 0.12, "fetching": 60.0, "uploading": 0.001, "loading": 1.5, "committing": 0.0,
            "publishing": 0.0, "cleaning_up": 0.0, "waiting": 500.0,
        },
        "memory_bound_bytes": settings.transfer.memory_bound(),
    });
    let of_failures = json!({
        "exit_code": 0,
        "retryable": false,
        "code": null,
        "error": null,
        "causes": [],
        "hint": null,
        "saved": null,
        "next_command": null,
        "next_step": null,
        "after_correction": null,
    });
    for group in [of_work, of_failures] {
        expected.as_object_mut().unwrap().extend(group.as_object().unwrap().clone());
    }
    assert_eq!(json_of(&Facts::of_success(&settings, &success())), expected);
}

#[test]
fn the_json_of_a_failure_says_what_is_left_and_which_command_helps() {
    let (failure, settings) = (failure(), settings());
    let left = left(&settings);
    let facts = Facts::of_failure(&failure, &output(), Some(&left), &progress(), NOW);
    let summary = json_of(&facts);
    let expected = json!({
        "outcome": "failed",
        "state": "maybe_committed",
        "store_id": "my_store",
        "database": "shop",
        "table": "customers",
        "mode": "append",
        "run_id": RUN_ID,
        "session": "the_session",
        "job_id": "77",
        "phase": "cleaning_up",
        "rows": null,
        "joined": false,
        "resumed": true,
        "error_records": null,
        "ingestion_time": TIME,
        "counting_query": "SELECT COUNT(1) FROM shop.customers WHERE time = 1795406400",
        "duration_seconds": 64.121,
        "memory_bound_bytes": settings.transfer.memory_bound(),
        "exit_code": 5,
        "retryable": true,
        "code": "treasure_data_failed",
        "error": "broken pipe",
        "hint": "look there",
        "saved": "1,000 rows in 2 parts",
        "next_command": "yotpo-td sync",
        "next_step": "resume",
        "after_correction": false,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&summary[name], value, "{name}");
    }
}

#[test]
fn only_rows_that_may_be_committed_have_a_time_to_look_for() {
    let (failure, settings) = (failure(), settings());
    let facts = |recovery| {
        let ended = RunFailure {
            run_id: RUN_ID.parse().unwrap(),
            error: RunError::Denied,
            phase: Phase::Loading,
            recovery,
            rows_in_question: None,
            is_shared: false,
            session: None,
            job_id: None,
        };
        let left = Left::by(&ended, &settings);
        let facts = Facts::of_failure(&failure, &output(), Some(&left), &progress(), NOW);
        (facts.state, facts.ingestion_time, facts.counting_query)
    };
    let query = "SELECT COUNT(1) FROM shop.customers WHERE time = 7".to_owned();
    let maybe = RecoveryState::MaybeCommitted { ingestion_time: 7 };
    assert_eq!(facts(maybe), ("maybe_committed", Some(7), Some(query)));
    assert_eq!(facts(RecoveryState::Deleted), ("deleted", None, None));
}

#[test]
fn only_customers_of_an_interrupted_run_make_a_failure_a_resumed_one() {
    let failure = failure();
    let is_resumed = |customers_before| {
        let progress = ProgressSnapshot { customers_before, ..progress() };
        Facts::of_failure(&failure, &output(), None, &progress, NOW).resumed
    };
    assert_eq!([0, 1].map(is_resumed), [false, true]);
}

#[test]
fn a_success_is_recorded() {
    let settings = settings();
    let facts = Facts::of_success(&settings, &success());
    let recording = recorded(&facts);
    let lines = text::lines(&facts);
    assert_eq!(recording.summary.len(), lines.len());
    assert_eq!(recording.summary[1], ("store".to_owned(), "my_store".to_owned()));
    assert!(recording.peak_resident_bytes.is_some());
    let expected = RunRecording {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: Some(RUN_ID.parse().unwrap()),
        store_id: Some("my_store".to_owned()),
        destination: Some("shop.customers".to_owned()),
        outcome: "committed".to_owned(),
        outcome_sentence: "committed 1,249 rows to shop.customers".to_owned(),
        state: "loaded".to_owned(),
        exit_code: 0,
        rows: Some(1_249),
        memory_bound_bytes: Some(settings.transfer.memory_bound()),
        ..RunRecording::default()
    };
    let is = RunRecording { summary: Vec::new(), peak_resident_bytes: None, ..recording };
    assert_eq!(is, expected);
}

#[test]
fn a_failure_is_recorded_with_what_it_means() {
    let (failure, settings) = (failure(), settings());
    let left = left(&settings);
    let facts = Facts::of_failure(&failure, &output(), Some(&left), &progress(), NOW);
    let recording = recorded(&facts);
    assert_eq!(recording.summary[1], ("saved".to_owned(), "1,000 rows in 2 parts".to_owned()));
    let expected = RunRecording {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: Some(RUN_ID.parse().unwrap()),
        store_id: Some("my_store".to_owned()),
        destination: Some("shop.customers".to_owned()),
        outcome: "failed".to_owned(),
        outcome_sentence: "failed while cleaning up: treasure_data_failed".to_owned(),
        state: "maybe_committed".to_owned(),
        exit_code: 5,
        code: Some("treasure_data_failed".to_owned()),
        failed_while: Some(Phase::CleaningUp),
        memory_bound_bytes: Some(settings.transfer.memory_bound()),
        ..RunRecording::default()
    };
    let is = RunRecording { summary: Vec::new(), peak_resident_bytes: None, ..recording };
    assert_eq!(is, expected);
    let before_start = Facts::of_failure(&failure, &output(), None, &ProgressSnapshot::default(), NOW);
    let recording = recorded(&before_start);
    assert_eq!((recording.state.as_str(), recording.summary), ("not_started", Vec::new()));
}

#[test]
fn the_directory_of_an_export_is_recorded_as_its_destination() {
    let (_directory, report) = export();
    let recording = recorded(&Facts::of_export(&export_settings(), &report));
    assert_eq!(recording.destination, Some(report.export.directory.path().display().to_string()));
    assert_eq!((recording.rows, recording.outcome.as_str()), (Some(1_250), "exported"));
}

#[test]
fn the_json_of_an_export_names_it() {
    let (_directory, report) = export();
    let settings = export_settings();
    let summary = json_of(&Facts::of_export(&settings, &ExportReport { resumed: true, ..report.clone() }));
    let expected = json!({
        "outcome": "exported",
        "state": "exported",
        "store_id": "my_store",
        "database": null,
        "table": null,
        "mode": null,
        "run_id": RUN_ID,
        "rows": 1_250,
        "resumed": true,
        "error_records": 2,
        "ingestion_time": TIME,
        "counting_query": null,
        "directory": report.export.directory.path().display().to_string(),
        "export_sha256": report.export.sha256.to_string(),
        "duration_seconds": 62.0,
        "memory_bound_bytes": settings.transfer.memory_bound(),
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&summary[name], value, "{name}");
    }
}

#[test]
fn the_json_of_a_dry_run_has_what_it_found() {
    let reason = "it is too old".to_owned();
    let stored = Stored { pages: 1, rows: 100, parts: 1, saved_at: TIME };
    let facts = |resumption| json_of(&Facts::of_dry_run(&settings(), &dry_run(resumption), false));
    let summary = facts(Resumption::Abandon { stored, reason });
    assert_eq!((&summary["outcome"], &summary["state"]), (&json!("dry_run"), &json!("nothing_created")));
    assert_eq!((&summary["rows"], &summary["error_records"]), (&json!(1_248), &json!(2)));
    let expected = json!({
        "resumption": "abandon",
        "reason": "it is too old",
        "saved_pages": 1,
        "saved_rows": 100,
        "saved_parts": 1,
        "saved_at": TIME,
        "another_run_is_active": false,
        "is_partial": true,
        "expected_fetching_seconds": 90.0,
    });
    assert_eq!(summary["dry_run"], expected);
    let summary = facts(Resumption::Nothing);
    let found = [&summary["dry_run"]["resumption"], &summary["dry_run"]["saved_at"]];
    assert_eq!(found, [&json!("nothing_saved"), &Value::Null]);
}
