//! `yotpo-td check`, through the real program: what is reported of the pages of a store.

use yotpo_td::sandbox::{CursorEncoding, FaultKind, Glitch, GlitchKind, SandboxSettings, YotpoBehaviour};

use crate::in_process::scripted_server::{Asked, ScriptedResponse, ScriptedServer};
use crate::program::binary::Surroundings;
use crate::program::checked::{Checked, check};

const TOKEN: &str = r#"{"access_token":"token"}"#;
const FIRST_PAGE: &str = concat!(
    r#"{"customers":[{"id":1,"yotpo_loyalty":{}},{"id":2,"yotpo_loyalty":{}}],"#,
    r#""pagination":{"next_page_info":"2"}}"#
);

/// Checks a store with two customers on its first page; `second` responds to requests for the second page.
fn check_two_pages(second: impl Fn(&Asked) -> ScriptedResponse + Send + Sync + 'static) -> Checked {
    let surroundings = Surroundings::with_customers(60);
    let yotpo = ScriptedServer::start_with_headers(move |asked| {
        let response = if asked.line.contains("access_tokens") {
            (200, TOKEN.to_owned())
        } else if asked.line.contains("page_info=") {
            second(asked)
        } else {
            (200, FIRST_PAGE.to_owned())
        };
        (response, "x-request-id: 7f3a\r\n")
    });
    check(&surroundings, &[], &[("YOTPO_TD_YOTPO_ENDPOINT", &yotpo.endpoint())])
}

/// A last page with one customer.
fn last_page(loyalty: &str) -> ScriptedResponse {
    let customer = format!(r#"{{"id":3,"yotpo_loyalty":{loyalty}}}"#);
    (200, format!(r#"{{"customers":[{customer}],"pagination":{{"next_page_info":null}}}}"#))
}

fn surroundings_of(yotpo: YotpoBehaviour) -> Surroundings {
    Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() })
}

#[test]
fn a_store_without_customers_is_a_warning() {
    let checked = check(&Surroundings::with_customers(0), &[], &[]);
    checked.assert_code(0);
    assert_eq!(checked.seen("yotpo_page", "warning"), "the store lists no customers");
    let hint = "look at the store in Yotpo; a run would load nothing";
    assert_eq!(checked.find("yotpo_page")["hint"], hint);
    assert_eq!(checked.seen("yotpo_loyalty", "skipped"), "there are no customers to look at");
}

#[test]
fn customers_that_cannot_become_rows_are_a_warning_unless_they_may_be_left_out() {
    let glitch =
        Glitch { page: 1.try_into().unwrap(), times: u32::MAX, kind: GlitchKind::NumberAmongCustomers };
    let surroundings = surroundings_of(YotpoBehaviour { glitch: Some(glitch), ..YotpoBehaviour::default() });
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(0);
    let seen = checked.seen("yotpo_page", "warning");
    assert!(seen.ends_with("; 1 customer cannot become a row"), "{seen}");
    let hint = checked.find("yotpo_page")["hint"].as_str().unwrap();
    assert!(hint.contains("--max-error-records"), "{hint}");
    let checked = check(&surroundings, &["--max-error-records", "1"], &[]);
    checked.assert_code(0);
    checked.seen("yotpo_page", "passed");
    assert_eq!(checked.find("yotpo_page")["facts"]["unreadable_customers"], 1);
}

#[test]
fn a_second_page_that_cannot_be_fetched_fails_and_the_first_one_is_judged_alone() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(2, &FaultKind::Status(503, None));
    let checked = check(&surroundings, &[], &[]);
    checked.assert_code(4);
    assert_eq!(checked.with_verdict("failed"), ["yotpo_cursor"]);
    checked.seen("yotpo_page", "passed");
    let loyalty = &checked.find("yotpo_loyalty")["facts"];
    assert_eq!(loyalty["second_page_customers"], 0);
    assert_eq!(checked.answer("percent-encoded?"), "yes");
}

#[test]
fn the_form_of_the_cursor_is_reported_as_the_store_writes_it() {
    let raw = YotpoBehaviour { cursor_encoding: CursorEncoding::Raw, ..YotpoBehaviour::default() };
    let checked = check(&surroundings_of(raw), &[], &[]);
    checked.assert_code(0);
    let seen = checked.seen("yotpo_cursor", "passed");
    assert!(seen.starts_with("next_page_info is not encoded; "), "{seen}");
    assert_eq!(checked.answer("percent-encoded?"), "no");
}

#[test]
fn the_parameters_that_a_store_accepts_with_a_cursor_are_found_out() {
    let checked = check_two_pages(|asked| {
        if asked.line.contains("limit=") {
            (400, r#"{"errors":[{"message":"unexpected parameter"}]}"#.to_owned())
        } else {
            last_page("{}")
        }
    });
    checked.assert_code(0);
    let expected = "next_page_info looks the same encoded and plain; the second page has 1 customer \
                    (sent with it: filters)";
    assert_eq!(checked.seen("yotpo_cursor", "passed"), expected);
    let answer = "limit was rejected; include_custom_properties and expand were accepted";
    assert_eq!(checked.answer("sent with page_info?"), answer);
    assert_eq!(checked.answer("contain loyalty data?"), "yes: 1 of 1 customers (sent: filters)");
    assert_eq!(checked.answer("identifies a request?"), "x-request-id");
}

#[test]
fn a_short_second_page_without_loyalty_data_is_no_proof_that_it_was_lost() {
    let checked = check_two_pages(|_| last_page("null"));
    checked.assert_code(0);
    let expected = "customers with loyalty data: 2 of 2 on the first page, 0 of 1 on the second; the second page \
                    has too few customers to tell whether loyalty data was lost";
    assert_eq!(checked.seen("yotpo_loyalty", "warning"), expected);
    let settled = checked.result["settled"].as_array().unwrap();
    let is_about_loyalty = |question: &str| question.contains("contain loyalty data?");
    assert!(!settled.iter().any(|settled| is_about_loyalty(settled["question"].as_str().unwrap())));
}
