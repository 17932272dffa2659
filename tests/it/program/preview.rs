//! `yotpo-td preview`, through the real program: it shows the rows that `sync` stores, masks them, needs only a store, and changes
//! nothing.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{
    CursorMemory, FaultKind, FiltersWithCursor, Operation, Row, SandboxSettings, Service, YotpoBehaviour,
};

use crate::in_process::scripted_server::ScriptedServer;
use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, program};
use crate::program::closing_words::{CORRECT_AND_RETRY, RETRY, assert_words, next_command_to, transcript};
use crate::program::dead_address::DeadAddress;

/// What a preview needs: nothing of Treasure Data, no state.
const NEEDED: [&str; 6] = [
    "YOTPO_TD_YOTPO_ENDPOINT",
    "YOTPO_CLIENT_SECRET",
    "YOTPO_STORE_ID",
    "YOTPO_TD_RETRY_BASE_DELAY",
    "YOTPO_TD_MAX_RETRIES",
    "YOTPO_TD_REQUESTS_PER_SECOND",
];

/// `yotpo-td preview` of the store of a sandbox, with these further arguments.
fn command(surroundings: &Surroundings, arguments: &[&str]) -> Command {
    let mut command = program();
    let environment = surroundings.environment();
    command.arg("preview").args(arguments).envs(NEEDED.map(|name| (name, &environment[name])));
    command
}

fn preview(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    Running::start(command(surroundings, arguments)).finish()
}

/// The rows that `--output ndjson` printed.
#[track_caller]
fn rows(end: &Finished) -> Vec<(u64, String)> {
    end.assert_code(0);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row.as_object().unwrap().len(), 2, "{line}");
        (row["time"].as_u64().unwrap(), row["json_response"].as_str().unwrap().to_owned())
    };
    end.stdout.lines().map(row).collect()
}

fn texts(end: &Finished) -> Vec<String> {
    rows(end).into_iter().map(|(_, text)| text).collect()
}

/// What `sync` stored, as the sandbox decodes it.
fn stored(surroundings: &Surroundings) -> Vec<String> {
    surroundings.run(&["--batch-size", "1000"]).assert_code(0);
    let rows = surroundings.control().rows(DATABASE, TABLE).unwrap();
    rows.map(|row| row.unwrap()).map(|Row { json_response, .. }| json_response.unwrap()).collect()
}

fn requested_pages(surroundings: &Surroundings) -> u64 {
    surroundings.control().operation_requests(Operation::Customers)
}

/// A store whose pages have these texts between `"customers":[` and `]`, the last one first requested last.
pub(crate) fn store_of(pages: Vec<String>) -> ScriptedServer {
    ScriptedServer::start(move |asked| {
        if asked.line.contains("access_tokens") {
            return (200, r#"{"access_token":"token"}"#.to_owned());
        }
        let cursor = asked.line.split_once("page_info=page").map(|(_, rest)| rest);
        let page: usize = cursor.map_or(0, |rest| rest[..1].parse().unwrap());
        let next = if page + 1 < pages.len() { format!("\"page{}\"", page + 1) } else { "null".to_owned() };
        (200, format!(r#"{{"customers":[{}],"pagination":{{"next_page_info":{next}}}}}"#, pages[page]))
    })
}

/// A preview of the store at another address.
fn preview_of(server: &ScriptedServer, arguments: &[&str]) -> Finished {
    let mut command = program();
    command.arg("preview").args(arguments);
    command.env("YOTPO_TD_YOTPO_ENDPOINT", server.endpoint());
    command.env("YOTPO_CLIENT_SECRET", "secret").env("YOTPO_STORE_ID", "store");
    Running::start(command).finish()
}

#[test]
fn unmasked_rows_are_those_that_sync_stores() {
    let surroundings = Surroundings::with_customers(60);
    let before = Clock::machine().unix_time().as_secs();
    let end = preview(&surroundings, &["--mask", "off", "--output", "ndjson", "--limit", "10000"]);
    assert_eq!(surroundings.control().requests(Service::TreasureData), 0);
    let after = Clock::machine().unix_time().as_secs();
    assert!(rows(&end).iter().all(|(time, _)| (before..=after).contains(time)), "{}", end.stdout);
    let stored = stored(&surroundings);
    assert_eq!(stored.len(), 60);
    assert_eq!(texts(&end), stored);
}

#[test]
fn a_limit_ends_within_a_page_and_fetches_no_page_that_is_not_needed() {
    let surroundings = Surroundings::with_customers(60);
    let stored = stored(&surroundings);
    for (page_size, limit, pages) in [("5", "3", 1), ("5", "5", 1), ("5", "10", 2), ("20", "45", 3)] {
        let before = requested_pages(&surroundings);
        let arguments = ["--page-size", page_size, "--limit", limit, "--mask", "off", "--output", "ndjson"];
        let end = preview(&surroundings, &arguments);
        assert_eq!(texts(&end), stored[..limit.parse().unwrap()], "{limit} in pages of {page_size}");
        assert_eq!(requested_pages(&surroundings) - before, pages, "{limit} in pages of {page_size}");
        assert_eq!(end.stderr, format!("{limit} customers shown; the store may have more\n"));
    }
    let end = preview(&surroundings, &["--limit", "61"]);
    assert_eq!(end.stderr, "60 customers shown, masked; the store has no more\n");
}

#[test]
fn pages_are_no_larger_than_the_limit() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let asked_sizes = Arc::clone(&sizes);
    let server = ScriptedServer::start(move |asked| {
        let size = asked.line.split_once("limit=").and_then(|(_, rest)| rest.split(['&', ' ']).next());
        asked_sizes.lock().unwrap().extend(size.map(str::to_owned));
        let body = r#"{"access_token":"token","customers":[{}],"pagination":{"next_page_info":null}}"#;
        (200, body.to_owned())
    });
    for limit in ["1", "7", "99", "100", "300"] {
        preview_of(&server, &["--limit", limit]).assert_code(0);
    }
    assert_eq!(*sizes.lock().unwrap(), ["1", "7", "99", "100", "100"]);
}

#[test]
fn strings_are_masked_by_default_in_every_format() {
    let surroundings = Surroundings::with_customers(60);
    let expected: Vec<String> =
        stored(&surroundings).iter().map(|text| yotpo_td::preview::mask(text)).collect();
    let end = preview(&surroundings, &["--output", "ndjson", "--limit", "60", "--log-level", "trace"]);
    assert_eq!(texts(&end), expected);
    let secret = &surroundings.environment()["YOTPO_CLIENT_SECRET"];
    let personal = ["@example", "+1555", "Grace", "\\u0130rem"];
    let unmasked = preview(&surroundings, &["--mask", "off", "--output", "ndjson", "--limit", "60"]);
    for personal in personal {
        assert!(texts(&unmasked).concat().contains(personal), "the sandbox has {personal}");
    }
    for output in ["table", "json", "ndjson"] {
        let end = preview(&surroundings, &["--output", output, "--limit", "60", "--log-level", "trace"]);
        end.assert_code(0);
        for stream in [&end.stdout, &end.stderr] {
            for text in personal.iter().chain([&secret.as_str()]) {
                assert!(!stream.contains(text), "{output}: {text}");
            }
        }
        assert!(end.stdout.contains("***"), "{output}");
        let logged = preview(&surroundings, &["--output", output, "--limit", "60", "--mask", "off", "-vv"]);
        for text in personal.iter().chain([&secret.as_str()]) {
            assert!(!logged.stderr.contains(text), "{output}: {text} is logged");
        }
    }
}

#[test]
fn json_is_one_array_of_the_rows_of_ndjson() {
    let surroundings = Surroundings::with_customers(7);
    let array: Vec<Value> =
        serde_json::from_str(&preview(&surroundings, &["--output", "json"]).stdout).unwrap();
    let array: Vec<_> = array.iter().map(|row| row["json_response"].as_str().unwrap().to_owned()).collect();
    assert_eq!(array, texts(&preview(&surroundings, &["--output", "ndjson"])));
    assert_eq!(array.len(), 7);
}

#[test]
fn the_table_has_one_line_per_customer_that_fits() {
    let surroundings = Surroundings::with_customers(60);
    let end = preview(&surroundings, &["--limit", "12"]);
    end.assert_code(0);
    assert!(end.stdout.lines().all(|line| line.chars().count() <= 120), "{}", end.stdout);
    assert_words!("preview_table", format!("{}---\n{}", end.stdout, end.stderr));
}

#[test]
fn an_empty_store_is_reported() {
    let surroundings = Surroundings::with_customers(0);
    for (output, stdout) in
        [("json", "[]\n"), ("ndjson", ""), ("table", "CUSTOMER  BYTES  LOYALTY  JSON_RESPONSE\n")]
    {
        let end = preview(&surroundings, &["--output", output]);
        end.assert_code(0);
        assert_eq!((end.stdout.as_str(), end.stderr.as_str()), (stdout, "the store lists no customers\n"));
    }
}

#[test]
fn only_the_settings_of_the_store_are_needed_and_all_problems_are_reported() {
    let mut command = program();
    command.args(["preview", "--page-size", "0"]).env("YOTPO_TD_REQUEST_TIMEOUT", "long");
    // Settings of other commands do not matter.
    command.env("TD_DATABASE", "!").env("TD_API_KEY", "two words");
    let end = Running::start(command).finish();
    end.assert_code(2);
    assert_words!("preview_settings", transcript(&end));
}

#[test]
fn limits_and_formats_are_checked() {
    for arguments in [["--limit", "0"], ["--limit", "10001"], ["--output", "yaml"], ["--mask", "some"]] {
        let mut command = program();
        command.arg("preview").args(arguments);
        let end = Running::start(command).finish();
        end.assert_code(2);
        assert!(end.stderr.contains(&format!("invalid value '{}'", arguments[1])), "{}", end.stderr);
    }
}

#[test]
fn a_wrong_secret_is_denied() {
    let surroundings = Surroundings::with_customers(60);
    let mut command = command(&surroundings, &[]);
    command.env("YOTPO_CLIENT_SECRET", "another-secret");
    let end = Running::start(command).finish();
    end.assert_code(3);
    assert_words!("preview_secret", transcript(&end));
    assert_eq!(next_command_to(CORRECT_AND_RETRY, &end), "yotpo-td preview");
}

#[test]
fn a_failing_yotpo_prints_no_half_result() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(3, &FaultKind::Status(503, None));
    let end = preview(&surroundings, &["--page-size", "5", "--limit", "20", "--output", "ndjson"]);
    end.assert_code(4);
    assert_words!("preview_failing", transcript(&end));
    let dead = DeadAddress::new();
    let end = preview(&surroundings, &["--yotpo-endpoint", &dead.url, "--log-format", "json"]);
    end.assert_code(4);
    let last: Value = serde_json::from_str(end.last_line()).unwrap();
    assert_eq!(last["saved"], "nothing: preview loads nothing");
    assert_eq!((&last["exit_code"], end.stdout.as_str()), (&json!(4), ""));
}

#[test]
fn rejected_customers_are_counted_with_their_reason_and_never_shown() {
    let server = store_of(vec![
        r#"{"a":"canary"},["canary"],{"b":1}"#.to_owned(),
        r#""canary",{"c":1},{"d":1}"#.to_owned(),
    ]);
    let end = preview_of(&server, &["--page-size", "3", "--limit", "5", "--output", "ndjson"]);
    assert_eq!(texts(&end), [r#"{"a":"***"}"#, r#"{"b":1}"#, r#"{"c":1}"#]);
    let warnings: Vec<&str> = end.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    let [first, second, summary] = warnings[..] else { panic!("{}", end.stderr) };
    assert!(first.contains(" page=1 position=2 reason=") && first.contains("not a JSON object"), "{first}");
    assert!(second.contains(" page=2 position=1 "), "{second}");
    assert!(summary.contains("sync would fail") && summary.contains(" rejected=2 "), "{summary}");
    assert_eq!(end.last_line(), "3 of 5 customers shown, masked; the store may have more");
    assert!(!end.stderr.contains("canary"), "{}", end.stderr);
    let table = preview_of(&server, &["--page-size", "3", "--limit", "5"]);
    let positions: Vec<_> = table.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(positions, ["CUSTOMER", "1", "3", "5"]);
    let end = preview_of(&server, &["--max-error-records", "2"]);
    end.assert_code(0);
    assert!(end.stderr.contains("sync would leave them out"), "{}", end.stderr);
}

#[test]
fn a_store_whose_every_customer_is_rejected_is_no_failure() {
    let end = preview_of(&store_of(vec!["1,2".to_owned()]), &["--output", "json"]);
    end.assert_code(0);
    assert_eq!(end.stdout, "[]\n");
    assert_eq!(end.last_line(), "0 of 2 customers shown, masked; the store has no more");
}

#[test]
fn lost_loyalty_data_fails_as_a_run_would_also_at_the_last_page() {
    let yotpo = YotpoBehaviour {
        filters_with_cursor: FiltersWithCursor::BadRequest,
        cursor_memory: CursorMemory::Nothing,
        ..YotpoBehaviour::default()
    };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 300, yotpo, ..SandboxSettings::default() });
    for limit in ["200", "300"] {
        let end = preview(&surroundings, &["--limit", limit]);
        end.assert_code(7);
        assert!(end.stderr.contains("code: loyalty_data_lost"), "{}", end.stderr);
        preview(&surroundings, &["--limit", limit, "--loyalty-check", "off"]).assert_code(0);
    }
}

#[test]
fn a_signal_stops_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let surroundings = Surroundings::with_customers(60);
        surroundings.fault_on(Operation::Customers, 2, FaultKind::Hang);
        let running = Running::start(command(&surroundings, &["--page-size", "5", "--limit", "20"]));
        surroundings.wait_for_fault();
        let clock = Clock::machine();
        running.signal(signal);
        let end = running.finish();
        assert!(clock.now() < Duration::from_secs(5), "took {:?}", clock.now());
        end.assert_code(code);
        assert_eq!(end.stdout, "");
        assert_eq!(next_command_to(RETRY, &end), "yotpo-td preview --page-size 5 --limit 20");
        assert!(end.last_line().starts_with("saved: nothing: preview loads nothing; "), "{}", end.stderr);
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let surroundings = Surroundings::with_customers(60);
    let arguments = ["--limit", "60", "--mask", "off", "--output", "ndjson"];
    let mut child =
        command(&surroundings, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let end = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(end.stderr).unwrap();
    assert_eq!(
        (end.status.code(), stderr.as_str()),
        (Some(0), "60 customers shown; the store has no more\n")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let surroundings = Surroundings::with_customers(10);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = command(&surroundings, &[]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let end = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(end.stderr).unwrap();
    assert_eq!(end.status.code(), Some(6), "{stderr}");
    assert!(
        stderr.contains("error: could not write to stdout\n") && stderr.contains("code: disk_full"),
        "{stderr}"
    );
}

#[test]
fn the_closing_line_follows_the_settings_of_logs() {
    let surroundings = Surroundings::with_customers(60);
    assert_eq!(preview(&surroundings, &["-q"]).stderr, "");
    let end = preview(&surroundings, &["--log-format", "json"]);
    let line: Value = serde_json::from_str(end.stderr.trim_end()).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&json!("INFO"), &json!("preview complete")));
    assert_eq!(
        (&line["shown"], &line["masked"], &line["has_more"]),
        (&json!(10), &json!(true), &json!(true))
    );
}

#[test]
fn the_embedded_sandbox_needs_no_settings_and_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(["preview", "--sandbox", "--limit", "3"]).args(arguments);
        command.env("HOME", directory.path()).env("TMPDIR", directory.path());
        let end = Running::start(command).finish();
        end.assert_code(0);
        end
    };
    assert_eq!(run(&[]).stdout, run(&[]).stdout, "the seed is fixed");
    assert_ne!(run(&[]).stdout, run(&["--sandbox-seed", "2"]).stdout);
    assert_words!("preview_sandbox", run(&[]).stdout);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
}
