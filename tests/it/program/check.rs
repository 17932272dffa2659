//! `yotpo-td check`, through the real program: every check passes, fails or is skipped for the right reason, the exit code is
//! that of the first failed one, and nothing is changed.

use std::collections::BTreeSet;

use serde_json::json;
use yotpo_td::clock::Clock;
use yotpo_td::identity::{Nonce, OwnSessionName, TableId, Target};
use yotpo_td::sandbox::{
    CursorMemory, DateHeader, FaultKind, FiltersWithCursor, KeyKind, Operation, SandboxSettings, Service,
    YotpoBehaviour,
};

use crate::in_process::scripted_server::ScriptedServer;
use crate::program::binary::{DATABASE, Running, Surroundings, TABLE, program};
use crate::program::checked::{Checked, check};
use crate::program::closing_words::{assert_words, with_filters};
use crate::program::dead_address::DeadAddress;
use crate::tls_relay::Authority;

const OTHER_KEY: (&str, &str) = ("TD_API_KEY", "1/0000000000000000000000000000000000000000");
const OTHER_SECRET: (&str, &str) = ("YOTPO_CLIENT_SECRET", "another-secret");

#[test]
fn a_healthy_store_and_account_pass_and_nothing_is_changed() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    let before = surroundings.control().tables();
    let mut command = program();
    command.arg("check").envs(surroundings.environment());
    let end = Running::start(command).finish();
    end.assert_code(0);
    assert_eq!(end.stderr, "");
    assert_words!("check_healthy", &end.stdout);
    assert_eq!((surroundings.control().tables(), surroundings.control().sessions()), (before, vec![]));
    assert!(!surroundings.state_directory().exists(), "the state directory was created");
    let reading = [
        Operation::AccessToken,
        Operation::Customers,
        Operation::ValidateKey,
        Operation::ListSessions,
        Operation::ShowDatabase,
        Operation::ShowTable,
        Operation::ListTables,
    ];
    let sent: BTreeSet<_> =
        surroundings.control().operations().into_keys().map(|(_, operation)| operation).collect();
    assert_eq!(sent, BTreeSet::from(reading));
    assert_eq!(surroundings.control().operation_requests(Operation::Customers), 2, "two pages");
}

#[test]
fn the_json_result_has_a_stable_shape() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.run(&[]).assert_code(0);
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    let mut result = checked.result.clone();
    result["checked_at"] = "[time]".into();
    let text = serde_json::to_string_pretty(&result).unwrap();
    with_filters(|| {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"and took [\w ]+\)", "and took [duration])");
        settings.add_filter(r"within \d+ seconds? of", "within [seconds] of");
        settings.add_filter(r#"(_offset_seconds": )-?\d+"#, "$1[seconds]");
        settings.bind(|| insta::assert_snapshot!("check_json", text));
    });
}

#[test]
fn every_wrong_setting_is_reported_and_nothing_is_sent() {
    let surroundings = Surroundings::with_customers(60);
    let checked =
        check(&surroundings, &["--mode", "prepend"], &[("TD_DATABASE", ""), ("YOTPO_STORE_ID", "")]);
    checked.assert_code(2);
    let seen = checked.seen("settings", "failed");
    for setting in ["--mode", "--database", "--store-id"] {
        assert!(seen.contains(setting), "{setting} in {seen}");
    }
    assert_eq!(checked.with_verdict("failed"), ["settings"]);
    assert_eq!(checked.with_verdict("passed"), [""; 0]);
    assert_eq!(surroundings.control().operations().len(), 0);
    let mut command = program();
    command.arg("check");
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert_words!("check_nothing_set", format!("{}---\n{}", end.stdout, end.stderr));
}

#[test]
fn a_wrong_secret_does_not_hide_a_wrong_key() {
    let surroundings = Surroundings::with_customers(60);
    let checked = check(&surroundings, &[], &[OTHER_SECRET, OTHER_KEY]);
    checked.assert_code(3);
    assert_eq!(checked.with_verdict("failed"), ["yotpo_token", "treasure_data_key"]);
    assert_eq!(checked.find("yotpo_token")["code"], "yotpo_credentials_refused");
    assert_eq!(checked.find("treasure_data_key")["code"], "treasure_data_permission_denied");
    assert_eq!(checked.seen("yotpo_page", "skipped"), "there is no access token");
    assert!(checked.end.closing().starts_with("error: 2 of 21 checks failed, first yotpo_token\n"));
    let checked = check(&surroundings, &[], &[OTHER_SECRET]);
    checked.assert_code(3);
    assert_eq!(checked.with_verdict("failed"), ["yotpo_token"]);
    checked.seen("database", "passed");
    checked.seen("clock", "passed");
    let checked = check(&surroundings, &[], &[OTHER_KEY]);
    checked.assert_code(3);
    assert_eq!(checked.with_verdict("failed"), ["treasure_data_key"]);
    checked.seen("yotpo_cursor", "passed");
}

#[test]
fn a_write_only_key_is_enough_to_append_and_not_to_replace() {
    let settings =
        SandboxSettings { customers: 60, key_kind: KeyKind::WriteOnly, ..SandboxSettings::default() };
    let surroundings = Surroundings::new(settings);
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    assert!(checked.seen("treasure_data_key", "passed").contains("write_only"));
    checked.seen("database", "skipped");
    checked.seen("table", "warning");
    checked.seen("columns", "skipped");
    assert_eq!(checked.answer("May a key of this kind read"), "no (403)");
    let checked = check(&surroundings, &["--mode", "replace"], &[]);
    checked.assert_code(3);
    assert_eq!(checked.with_verdict("failed"), ["treasure_data_key", "table"]);
}

#[test]
fn a_missing_database_is_a_wrong_setting() {
    let surroundings = Surroundings::with_customers(60);
    let checked = check(&surroundings, &[], &[("TD_DATABASE", "another")]);
    checked.assert_code(2);
    assert_eq!(checked.with_verdict("failed"), ["database"]);
    assert_eq!(checked.find("database")["code"], "treasure_data_no_database");
    assert_eq!(checked.seen("table", "skipped"), "the database could not be read");
}

#[test]
fn a_column_of_another_type_is_a_warning() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    surroundings.control().insert_rows(DATABASE, TABLE, &[json!({"time": 1, "json_response": 7})]).unwrap();
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    assert_eq!(checked.seen("columns", "warning"), "json_response is not a string in this table");
    assert_eq!(checked.result["warnings"], 1);
}

#[test]
fn a_service_that_is_not_there_leaves_the_other_one_to_be_checked() {
    let surroundings = Surroundings::with_customers(60);
    let dead = DeadAddress::new();
    let checked = check(&surroundings, &[], &[("YOTPO_TD_YOTPO_ENDPOINT", &dead.url)]);
    checked.assert_code(4);
    assert_eq!(checked.with_verdict("failed"), ["yotpo_connection"]);
    assert!(checked.seen("yotpo_connection", "failed").contains(" (from YOTPO_TD_YOTPO_ENDPOINT)"));
    assert_eq!(checked.seen("yotpo_token", "skipped"), "Yotpo cannot be reached");
    checked.seen("database", "passed");
    let checked = check(&surroundings, &[], &[("TD_API_SERVER", &dead.url)]);
    checked.assert_code(5);
    assert_eq!(checked.with_verdict("failed"), ["treasure_data_connection"]);
    checked.seen("yotpo_cursor", "passed");
}

#[test]
fn a_name_that_does_not_resolve_fails_before_the_connection() {
    let surroundings = Surroundings::with_customers(60);
    let checked = check(&surroundings, &["--td-endpoint", "https://yotpo-td.invalid"], &[]);
    // A machine without certificates cannot send anything.
    if checked.end.code() != 6 {
        checked.assert_code(5);
        assert_eq!(checked.with_verdict("failed"), ["treasure_data_dns"]);
        checked.seen("treasure_data_connection", "skipped");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_fails_after_the_connection() {
    let surroundings = Surroundings::with_customers(60);
    let (authority, other) = (Authority::named("of the test"), Authority::named("another"));
    let relay = surroundings.relay(Service::Yotpo, &authority);
    let certificates = surroundings.directory().join("authority.pem");
    let through_tls = |pem: Option<&str>| {
        let _ = std::fs::remove_file(&certificates);
        if let Some(pem) = pem {
            std::fs::write(&certificates, pem).unwrap();
        }
        let variables = [
            ("YOTPO_TD_YOTPO_ENDPOINT", relay.endpoint()),
            ("SSL_CERT_FILE", certificates.to_str().unwrap().to_owned()),
        ];
        check(&surroundings, &[], &variables.each_ref().map(|(name, value)| (*name, value.as_str())))
    };
    let trusted = through_tls(Some(&authority.pem()));
    trusted.assert_code(0);
    assert_eq!(trusted.seen("yotpo_tls", "passed"), "the certificate is trusted");
    let untrusted = through_tls(Some(&other.pem()));
    untrusted.assert_code(4);
    assert_eq!(untrusted.with_verdict("failed"), ["yotpo_tls"]);
    untrusted.seen("yotpo_connection", "passed");
    untrusted.seen("treasure_data_key", "passed");
    let without = through_tls(None);
    without.assert_code(6);
    assert_eq!(without.with_verdict("failed"), ["certificates"]);
    without.seen("treasure_data_key", "skipped");
}

#[test]
fn what_is_not_a_page_of_yotpo_is_reported_for_its_support() {
    let surroundings = Surroundings::with_customers(60);
    for (kind, words) in [
        (FaultKind::HtmlOk, "the response is HTML instead of JSON"),
        (FaultKind::Status(404, None), "404 Not Found"),
        (FaultKind::Status(503, None), "503 Service Unavailable"),
    ] {
        surroundings.fault_on_every(Operation::Customers, kind);
        let checked = check(&surroundings, &[], &[]);
        checked.assert_code(4);
        assert_eq!(checked.with_verdict("failed"), ["yotpo_page"]);
        let answer = checked.answer("customers?expand=loyalty");
        assert!(answer.starts_with("no: ") && answer.contains(words), "{answer}");
        checked.seen("database", "passed");
    }
}

#[test]
fn a_store_without_loyalty_data_is_a_warning() {
    let surroundings = Surroundings::with_customers(60);
    let yotpo = ScriptedServer::start(|asked| {
        let body = if asked.line.contains("access_tokens") {
            r#"{"access_token":"token"}"#
        } else {
            r#"{"customers":[{"email":"ann@example.com"}],"pagination":{"next_page_info":null}}"#
        };
        (200, body.to_owned())
    });
    let checked = check(&surroundings, &[], &[("YOTPO_TD_YOTPO_ENDPOINT", &yotpo.endpoint())]);
    checked.assert_code(0);
    assert!(checked.seen("yotpo_loyalty", "warning").starts_with("0 of 1 customers"));
    assert_eq!(checked.seen("yotpo_cursor", "passed"), "the first page is the last one");
    assert_eq!(checked.seen("yotpo_rate_limit", "warning"), "no header reports the rate limit");
    assert!(!checked.end.stdout.contains("ann@"), "{}", checked.end.stdout);
}

#[test]
fn a_cursor_that_forgets_loyalty_data_fails_as_a_run_would() {
    let yotpo = YotpoBehaviour {
        filters_with_cursor: FiltersWithCursor::BadRequest,
        cursor_memory: CursorMemory::Nothing,
        ..YotpoBehaviour::default()
    };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 300, yotpo, ..SandboxSettings::default() });
    let checked = check(&surroundings, &["--page-size", "100"], &[]);
    checked.assert_code(7);
    assert_eq!(checked.with_verdict("failed"), ["yotpo_loyalty"]);
    assert_eq!(checked.answer("contain loyalty data?"), "no: 0 of 100 customers (sent: limit)");
    assert!(
        checked
            .answer("sent with page_info?")
            .starts_with("include_custom_properties and expand were rejected")
    );
    let checked = check(&surroundings, &["--page-size", "100", "--loyalty-check", "off"], &[]);
    checked.assert_code(0);
    checked.seen("yotpo_loyalty", "warning");
}

#[test]
fn what_old_runs_left_is_a_warning_with_the_command_that_removes_it() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    let environment = surroundings.environment();
    let target = Target {
        store: environment["YOTPO_STORE_ID"].parse().unwrap(),
        yotpo_endpoint: environment["YOTPO_TD_YOTPO_ENDPOINT"].clone(),
        treasure_data_endpoint: environment["TD_API_SERVER"].clone(),
        database: DATABASE.parse().unwrap(),
        table: TABLE.parse().unwrap(),
    };
    let now = Clock::machine().unix_time().as_secs();
    for (days, id) in [(9, "old"), (1, "young")] {
        let nonce = Nonce::new(now - days * 86_400, 7).unwrap();
        let run_id = id.parse().unwrap();
        let name =
            OwnSessionName::new(target.fingerprint(), &run_id, nonce, TableId::from_api("5"), None).render();
        let path = format!("/v3/bulk_import/create/{name}/{DATABASE}/{TABLE}");
        surroundings.call_treasure_data("POST", &path, b"");
    }
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    let seen = checked.seen("leftovers", "warning");
    assert!(
        seen.starts_with("2 sessions in the account, 2 of them of yotpo-td;")
            && seen.ends_with("; 1 can be removed")
    );
    let hint = checked.find("leftovers")["hint"].as_str().unwrap();
    let (_, command) = hint.split_once(": ").unwrap();
    // It asks on a terminal; here there is none.
    surroundings.type_in(&format!("{command} --yes"), &[]).finish().assert_code(0);
    let checked = check(&surroundings, &[], &[]);
    assert!(checked.seen("leftovers", "passed").starts_with("1 session in the account,"));
}

#[test]
fn a_clock_that_is_off_is_a_warning() {
    for (date_header, words) in [
        (DateHeader::Skewed(3_600), " seconds behind Yotpo's and "),
        (DateHeader::Skewed(-3_600), " seconds ahead of Yotpo's and "),
        (DateHeader::Absent, "no response has a Date header"),
    ] {
        let surroundings =
            Surroundings::new(SandboxSettings { customers: 9, date_header, ..SandboxSettings::default() });
        let checked = check(&surroundings, &[], &[]);
        checked.assert_code(0);
        let seen = checked.seen("clock", "warning");
        assert!(seen.contains(words), "{words:?} in {seen}");
    }
}

#[test]
fn neither_secrets_nor_customers_are_printed() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    let environment = surroundings.environment();
    let checked = check(&surroundings, &["--probe-bulk-import", "--log-level", "trace"], &[]);
    checked.assert_code(0);
    let token = "sandbox0000000000";
    for secret in [environment["YOTPO_CLIENT_SECRET"].as_str(), &environment["TD_API_KEY"], token, "@example"]
    {
        for printed in [&checked.end.stdout, &checked.end.stderr] {
            assert!(!printed.contains(secret), "{secret}");
        }
    }
}

#[test]
fn the_embedded_sandbox_needs_no_settings_and_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["check", "--sandbox", "--probe-bulk-import", "--probe-tables", "--output", "json"]);
    command.env("HOME", directory.path()).env("TMPDIR", directory.path());
    let checked = Checked::of(Running::start(command).finish());
    checked.assert_code(0);
    assert_eq!(checked.result["failed"], 0);
    assert!(checked.seen("settings", "passed").contains("into sandbox_td_yotpo.sandbox_td_yotpo_customers"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
}
