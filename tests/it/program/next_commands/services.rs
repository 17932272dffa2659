//! Exit codes 0 to 6: problems of a service, a setting or the machine.

use yotpo_td::sandbox::{FaultKind, KeyKind, Operation, SandboxSettings, Service};

use super::{counted, follow_to_the_end, glitch, own_session, run_with};
use crate::program::binary::{DATABASE, Surroundings, TABLE};
use crate::program::closing_words::{
    CORRECT_AND_RESUME, CORRECT_AND_RETRY, RESUME, RETRY, assert_no_command, next_command_to,
};
use crate::tls_relay::Authority;

#[test]
fn code_0_the_query_counts_the_rows_of_this_run_and_no_others() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    surroundings.control().insert_rows(DATABASE, TABLE, &[serde_json::json!({"time": 1})]).unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(0);
    assert_eq!(counted(&surroundings, &end.stdout, "expected: "), (60, 60));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn code_1_a_version_without_the_defect_resumes_what_was_saved() {
    let surroundings = Surroundings::with_customers(60);
    let defect = [("YOTPO_TD_FAILPOINT", "after save:3:panic")];
    let end = run_with(&surroundings, &["--fresh", "--upload-workers", "1"], &defect);
    end.assert_code(1);
    // `--fresh` would abandon what was saved.
    assert_eq!(next_command_to(CORRECT_AND_RESUME, &end), "yotpo-td sync --upload-workers 1");
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RESUME);
    let sandbox = run_with(&surroundings, &["--sandbox"], &defect);
    sandbox.assert_code(1);
    assert_no_command(&sandbox);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn code_1_before_anything_is_stored_no_resume_is_promised() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with(&surroundings, &[], &[("YOTPO_TD_FAILPOINT", "after save:1:panic")]);
    end.assert_code(1);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
}

#[test]
fn code_2_names_no_command() {
    let surroundings = Surroundings::with_customers(60);
    let wrong = surroundings.run(&["--page-size", "0"]);
    let no_database = run_with(&surroundings, &[], &[("TD_DATABASE", "another")]);
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    let done = surroundings.run(&["--run-id", "nightly", "--fresh"]);
    for end in [wrong, no_database, done] {
        end.assert_code(2);
        assert_no_command(&end);
    }
}

#[test]
fn code_3_with_the_right_credentials_the_same_command_loads() {
    for (variable, value) in [
        ("YOTPO_CLIENT_SECRET", "another-secret"),
        ("YOTPO_STORE_ID", "another-store"),
        ("TD_API_KEY", "1/0000000000000000000000000000000000000000"),
    ] {
        let surroundings = Surroundings::with_customers(60);
        let end = run_with(&surroundings, &[], &[(variable, value)]);
        end.assert_code(3);
        follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
    }
}

#[test]
fn code_3_a_key_that_is_denied_halfway_is_corrected_and_the_run_resumes() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::UploadPart, 4, FaultKind::Status(403, None));
    let end = surroundings.run(&["--upload-workers", "1"]);
    end.assert_code(3);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RESUME);
}

#[test]
fn code_3_the_table_that_the_hint_has_created_is_loaded() {
    let settings =
        SandboxSettings { customers: 60, key_kind: KeyKind::WriteOnly, ..SandboxSettings::default() };
    let surroundings = Surroundings::new(settings);
    let end = surroundings.run(&[]);
    end.assert_code(3);
    assert!(end.closing().contains(&format!("td table:create {DATABASE} {TABLE}\n")), "{}", end.closing());
    surroundings.control().create_table(DATABASE, TABLE);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
}

#[test]
fn code_4_is_resumed_or_retried_and_a_refused_request_is_neither() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let end = surroundings.run(&["--fresh", "--batch-size", "5"]);
    end.assert_code(4);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RESUME);

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(1, &FaultKind::Status(503, None));
    let end = surroundings.run(&["--fresh"]);
    end.assert_code(4);
    surroundings.end_faults();
    assert_eq!(next_command_to(RETRY, &end), "yotpo-td sync --fresh");
    follow_to_the_end(&surroundings, &end, RETRY);

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(1, &FaultKind::Status(404, None));
    let end = surroundings.run(&[]);
    end.assert_code(4);
    assert_no_command(&end);
}

#[test]
fn code_5_is_resumed_or_retried_and_a_refused_request_is_neither() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::PerformSession, FaultKind::FailImport);
    let end = surroundings.run(&["--mode", "replace"]);
    end.assert_code(5);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RESUME);

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::ListSessions, FaultKind::Status(500, None));
    let end = surroundings.run(&[]);
    end.assert_code(5);
    surroundings.end_faults();
    follow_to_the_end(&surroundings, &end, RETRY);

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on_every(Operation::CreateSession, FaultKind::Status(402, None));
    let end = surroundings.run(&[]);
    end.assert_code(5);
    assert_no_command(&end);
}

#[test]
fn code_6_after_the_machine_is_corrected_the_run_starts() {
    let surroundings = Surroundings::with_customers(60);
    std::fs::write(surroundings.state_directory(), "a file").unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(6);
    std::fs::remove_file(surroundings.state_directory()).unwrap();
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);

    let surroundings = Surroundings::with_customers(60);
    let authority = Authority::named("of the test");
    let treasure_data = surroundings.relay(Service::TreasureData, &authority);
    let certificates = surroundings.directory().join("authority.pem");
    let variables =
        [("TD_API_SERVER", &*treasure_data.endpoint()), ("SSL_CERT_FILE", certificates.to_str().unwrap())];
    let end = run_with(&surroundings, &[], &variables);
    end.assert_code(6);
    std::fs::write(&certificates, authority.pem()).unwrap();
    let next = surroundings.type_in(&next_command_to(CORRECT_AND_RETRY, &end), &variables).finish();
    next.assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[cfg(target_os = "linux")]
#[test]
fn code_6_with_more_open_files_the_run_starts() {
    let surroundings = Surroundings::with_customers(60);
    let end = surroundings.type_in("/usr/bin/prlimit --nofile=12 yotpo-td sync", &[]).finish();
    end.assert_code(6);
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RETRY);
}

#[test]
fn code_6_a_corrected_quarantine_stores_rejected_records() {
    let yotpo = glitch(6, u32::MAX);
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() });
    let directory = surroundings.directory().join("quarantine");
    std::fs::create_dir(&directory).unwrap();
    let quarantine = directory.to_str().unwrap();
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    let arguments = ["--batch-size", "5", "--quarantine-dir", quarantine, "--max-error-records", "1"];
    surroundings.run(&arguments).assert_code(4);
    surroundings.end_faults();
    // A link in place of the file of this session.
    let session = own_session(&surroundings);
    let link = directory.join(format!("{session}.customers.jsonl"));
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let end = surroundings.run(&arguments);
    end.assert_code(6);
    std::fs::remove_file(&link).unwrap();
    follow_to_the_end(&surroundings, &end, CORRECT_AND_RESUME);
    assert_eq!(std::fs::read_to_string(&link).unwrap().lines().count(), 1);
}
