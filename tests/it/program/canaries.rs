//! No customer data and no secret ever reaches an output or a file. In whole runs at trace level, every name, text and
//! number in a customer and every secret is a canary, and no output or file may contain one.
//!
//! Failing services repeat in their errors what they received. A page's cursor may be in the state file, and only there.

use std::process::Command;

use yotpo_td::sandbox::Service;

use crate::in_process::scripted_server::{Asked, ScriptedResponse, ScriptedServer};
use crate::program::binary::{Finished, Running, Surroundings, files_below};
use crate::program::collector::{Behaviour, Collector};

/// The prefix of every canary. `the_search_finds_canaries` checks that the search works.
const CANARY: &str = "canary";
/// Numbers cannot contain the prefix.
const CANARY_NUMBER: &str = "4815162342";
const CLIENT_SECRET: &str = "canary-client-secret";
const TOKEN: &str = "canary-access-token";
const CURSOR: &str = "canary-cursor";
const API_KEY: &str = "4815162342/ca1ab1e0ca1ab1e0ca1ab1e0ca1ab1e0ca1ab1e0";
const PAGES: usize = 6;

/// A customer in which every key and value that a store could choose is a canary.
fn customer(page: usize, place: usize) -> String {
    format!(
        r#"{{"external_id":"canary-id-{page}-{place}","email":"canary-{place}@canary.example","first_name":"canary\u00e9",
            "phone_number":"+1{CANARY_NUMBER}","total_spent":{CANARY_NUMBER}.5,"orders":{CANARY_NUMBER},
            "tags":"canary-tag,,canary-other","canary_key":{{"canary_inner":[true,null,"canary-deep"]}},
            "yotpo_loyalty":{{"points_balance":{CANARY_NUMBER},"canary_tier":"canary-gold"}}}}"#
    )
}

/// The last customer of the last page.
#[derive(Clone, Copy, Debug)]
enum LastCustomer {
    Sound,
    /// JSON, but not an object: it cannot become a row.
    NoObject,
}

/// What Yotpo does with the fourth page.
#[derive(Clone, Copy, Debug)]
enum FourthPage {
    Served,
    /// A refusal whose text repeats secret, token, cursor and a customer, in one of the known formats.
    Refused(u16),
    /// Half a page.
    Torn,
}

fn yotpo(fourth: FourthPage, last: LastCustomer) -> ScriptedServer {
    ScriptedServer::start(move |asked| {
        if asked.line.contains("access_tokens") {
            return (200, format!(r#"{{"access_token":"{TOKEN}","canary_extra":"canary"}}"#));
        }
        let page: usize = asked
            .line
            .split_once(CURSOR)
            .and_then(|(_, rest)| {
                rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
            })
            .unwrap_or(0);
        let mut customers: Vec<String> = (0..5).map(|place| customer(page, place)).collect();
        if page + 1 == PAGES && matches!(last, LastCustomer::NoObject) {
            customers.push(r#"["canary-list"]"#.to_owned());
        }
        let next = if page + 1 < PAGES { format!(r#""{CURSOR}{}""#, page + 1) } else { "null".to_owned() };
        let body =
            format!(r#"{{"customers":[{}],"pagination":{{"next_page_info":{next}}}}}"#, customers.join(","));
        match fourth {
            FourthPage::Refused(status) if page == 3 => (status, refusal(&asked.headers, "canary-cursor3")),
            FourthPage::Torn if page == 3 => (200, body[..body.len() / 2].to_owned()),
            _ => (200, body),
        }
    })
}

/// An error that repeats everything the service received, and a customer.
fn refusal(headers: &str, cursor: &str) -> String {
    let text = format!(
        "{TOKEN} {CLIENT_SECRET} {API_KEY} {cursor} canary-1@canary.example +1{CANARY_NUMBER} {CANARY_NUMBER} {}",
        headers.replace(['\r', '\n', '"'], " ")
    );
    format!(r#"{{"error":"{text}","text":"{text}","message":"{text}","errors":[{{"message":"{text}"}}]}}"#)
}

/// A Treasure Data that accepts everything except parts, and repeats the key.
fn treasure_data_without_uploads() -> ScriptedServer {
    ScriptedServer::start(|asked: &Asked| -> ScriptedResponse {
        if asked.line.contains("upload_part") {
            return (500, refusal(&asked.headers, ""));
        }
        if asked.line.contains("bulk_import/list") {
            return (200, r#"{"bulk_imports":[]}"#.to_owned());
        }
        if asked.line.contains("/table/show") {
            return (403, refusal(&asked.headers, ""));
        }
        if asked.line.contains("/bulk_import/show") {
            return (404, refusal(&asked.headers, ""));
        }
        (200, "{}".to_owned())
    })
}

/// How a run is made to end.
struct Case {
    name: &'static str,
    code: i32,
    yotpo: ScriptedServer,
    /// `None`: the sandbox, which has its own key.
    treasure_data: Option<ScriptedServer>,
    variables: &'static [(&'static str, &'static str)],
}

fn cases() -> Vec<Case> {
    use FourthPage::{Refused, Served, Torn};
    use LastCustomer::{NoObject, Sound};
    let case = |name, code, fourth, last| Case {
        name,
        code,
        yotpo: yotpo(fourth, last),
        treasure_data: None,
        variables: &[],
    };
    let mut cases = vec![
        case("everything is loaded", 0, Served, Sound),
        case("Yotpo refuses a page", 4, Refused(422), Sound),
        case("Yotpo fails", 4, Refused(500), Sound),
        case("Yotpo refuses the token", 3, Refused(403), Sound),
        case("a page is torn", 4, Torn, Sound),
        case("a customer is no object", 7, Served, NoObject),
    ];
    cases.push(Case { variables: &[("YOTPO_TD_MODE", "replace")], ..case("replaced", 0, Served, Sound) });
    cases.push(Case {
        treasure_data: Some(treasure_data_without_uploads()),
        ..case("Treasure Data fails", 5, Served, Sound)
    });
    if cfg!(debug_assertions) {
        let variables = &[("YOTPO_TD_FAILPOINT", "after save:3:panic")];
        cases.push(Case { variables, ..case("the program panics", 1, Served, Sound) });
    }
    cases
}

/// All log settings.
const LOGS: [&[(&str, &str)]; 5] = [
    &[("YOTPO_TD_LOG_LEVEL", "trace,yotpo_td=trace"), ("YOTPO_TD_LOG_FORMAT", "json")],
    &[("YOTPO_TD_LOG_LEVEL", "trace")],
    &[("RUST_LOG", "trace")],
    &[("YOTPO_TD_LOG_LEVEL", "trace"), ("YOTPO_TD_LOG_FORMAT", "json"), ("YOTPO_TD_SUMMARY", "json")],
    &[("RUST_LOG", "trace"), ("YOTPO_TD_LOG_FORMAT", "json"), ("RUST_BACKTRACE", "full")],
];

fn command(surroundings: &Surroundings, case: &Case, log: &[(&str, &str)]) -> Command {
    let mut command = surroundings.sync(&[]);
    command
        .env("YOTPO_TD_REPORT", surroundings.directory().join("report.html"))
        .env("YOTPO_CLIENT_SECRET", CLIENT_SECRET)
        .env("YOTPO_TD_YOTPO_ENDPOINT", case.yotpo.endpoint())
        .envs(log.iter().copied())
        .envs(case.variables.iter().copied());
    if let Some(treasure_data) = &case.treasure_data {
        command.env("TD_API_SERVER", treasure_data.endpoint()).env("TD_API_KEY", API_KEY);
    }
    command
}

/// The canaries in a text.
fn canaries_in(text: &str, secrets: &[&str]) -> Vec<String> {
    let folded = text.to_lowercase();
    let percent = percent_encoding::percent_decode_str(&folded).decode_utf8_lossy().into_owned();
    let known = [CANARY, CANARY_NUMBER, "ca1ab1e0"].into_iter().chain(secrets.iter().copied());
    known
        .filter(|canary| folded.contains(canary) || percent.contains(canary))
        .map(|canary| {
            let line = folded.lines().find(|line| line.contains(canary)).unwrap_or_default();
            format!("{canary} in: {line}")
        })
        .collect()
}

#[track_caller]
fn assert_silent(surroundings: &Surroundings, name: &str, end: &Finished, key: &str) {
    for (stream, text) in [("stdout", &end.stdout), ("stderr", &end.stderr)] {
        assert_eq!(canaries_in(text, &[key]), [""; 0], "{name}: {stream}");
    }
    for (path, content) in files_below(&surroundings.directory()) {
        // The cursor is needed to resume.
        let cursors = String::from_utf8_lossy(&content).replace(CURSOR, "");
        assert_eq!(canaries_in(&cursors, &[key]), [""; 0], "{name}: {}", path.display());
    }
}

#[test]
fn no_output_and_no_file_holds_a_customer_or_a_secret() {
    for case in cases() {
        for log in LOGS {
            let surroundings = Surroundings::with_customers(0);
            let key = surroundings.environment()["TD_API_KEY"].clone();
            let end = Running::start(command(&surroundings, &case, log)).finish();
            let name = format!("{} with {log:?}", case.name);
            assert_eq!(end.code(), case.code, "{name}:\n{}", end.stderr);
            assert!(end.stderr.contains("TRACE") || end.stderr.contains("DEBUG"), "{name}: no such level");
            assert_silent(&surroundings, &name, &end, &key);
            assert!(surroundings.directory().join("report.html").exists(), "{name}: no report");
            if case.code == 0 {
                assert_eq!(surroundings.rows(), 5 * PAGES as u64, "{name}");
                assert!(surroundings.control().requests(Service::TreasureData) > 0);
            }
        }
    }
}

#[test]
fn no_span_holds_a_customer_or_a_secret() {
    for case in cases() {
        let surroundings = Surroundings::with_customers(0);
        let key = surroundings.environment()["TD_API_KEY"].clone();
        let collector = Collector::start(Behaviour::Accept);
        let mut command = command(&surroundings, &case, LOGS[0]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary-header");
        let end = Running::start(command).finish();
        assert_eq!(end.code(), case.code, "{}:\n{}", case.name, end.stderr);
        assert_silent(&surroundings, case.name, &end, &key);
        let mut received = collector.received();
        assert!(received.requests.iter().all(|head| head.contains("canary-header")), "{}", case.name);
        received.requests.clear();
        received.only("run");
        assert!(
            received.named("page").len() > 2 && received.spans.iter().any(|span| !span.events.is_empty())
        );
        assert_eq!(canaries_in(&format!("{received:?}"), &[&key]), [""; 0], "{}", case.name);
    }
}

#[test]
fn the_cursor_is_only_in_the_state_file() {
    let surroundings = Surroundings::with_customers(0);
    let case = cases().into_iter().find(|case| case.name == "Yotpo fails").unwrap();
    let end = Running::start(command(&surroundings, &case, LOGS[0])).finish();
    assert!(!(end.stdout + &end.stderr).contains(CURSOR));
    let holding: Vec<_> = files_below(&surroundings.directory())
        .into_iter()
        .filter(|(_, content)| String::from_utf8_lossy(content).contains(CURSOR))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(holding, [surroundings.state_file()]);
}

#[test]
fn files_in_the_state_directory_are_accessible_only_by_the_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let surroundings = Surroundings::with_customers(0);
    let case = cases().into_iter().find(|case| case.name == "Yotpo fails").unwrap();
    Running::start(command(&surroundings, &case, LOGS[0])).finish().assert_code(4);
    let files = files_below(&surroundings.state_directory());
    assert_eq!(files.len(), 3, "state, lock and recording");
    for (path, _) in files {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn the_search_finds_canaries() {
    assert_eq!(canaries_in("nothing of it", &["key"]), [""; 0]);
    for text in ["a CANARY", "number 4815162342.5", "key", "%63anary", "ca1ab1e0"] {
        assert_eq!(canaries_in(text, &["key"]).len(), 1, "{text}");
    }
    let transcript = refusal("x-yotpo-token: canary-access-token\r\n", CURSOR);
    assert!(serde_json::from_str::<serde_json::Value>(&transcript).is_ok(), "{transcript}");
    for place in 0..5 {
        serde_json::from_str::<serde_json::Value>(&customer(0, place)).unwrap();
    }
}
