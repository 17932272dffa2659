//! Errors of the real program about an address that leads nowhere or to another server: they name host, port and
//! setting, and there are no long retries.

use yotpo_td::sandbox::Operation;

use crate::in_process::scripted_server::ScriptedServer;
use crate::program::binary::{Finished, Running, Surroundings};
use crate::program::closing_words::{assert_no_command, assert_words, transcript};
use crate::program::dead_address::DeadAddress;

/// Runs with many retries, so that an early end has another reason.
fn run_with(surroundings: &Surroundings, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = surroundings.sync(arguments);
    command.env("YOTPO_TD_MAX_RETRIES", "9").envs(variables.iter().copied());
    Running::start(command).finish()
}

/// Compares the closing words, except the resolver's reason, which differs between machines.
#[track_caller]
fn assert_says(end: &Finished, code: i32, texts: &[&str]) {
    end.assert_code(code);
    for text in texts {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
}

#[test]
fn name_that_does_not_resolve_ends_soon_and_names_the_setting() {
    let surroundings = Surroundings::with_customers(60);
    let nowhere = "https://yotpo-td.invalid";
    let end = run_with(&surroundings, &[], &[("TD_API_SERVER", nowhere)]);
    let said = [
        "could not list the bulk import sessions at yotpo-td.invalid:443 (from TD_API_SERVER) after 3 attempts",
        "because: could not resolve the server's name",
        "hint: check --site or --td-endpoint (TD_API_SERVER), the network and its name servers",
    ];
    assert_says(&end, 5, &said);
    let end = run_with(&surroundings, &["--yotpo-endpoint", nowhere], &[]);
    let said = [
        "could not get an access token at yotpo-td.invalid:443 (from --yotpo-endpoint) after 3 attempts",
        "because: could not resolve the server's name",
        "hint: check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT), the network and its name servers",
    ];
    assert_says(&end, 4, &said);
}

#[test]
fn https_to_a_server_without_tls_ends_soon() {
    let surroundings = Surroundings::with_customers(60);
    let https = |variable: &str| surroundings.environment()[variable].replace("http://", "https://");
    let end = run_with(&surroundings, &[], &[("TD_API_SERVER", &https("TD_API_SERVER"))]);
    let not_tls = "because: the server does not speak TLS, which https requires";
    assert_says(
        &end,
        5,
        &[" (from TD_API_SERVER) after 3 attempts", not_tls, "hint: check --site or --td-endpoint"],
    );
    let variable = "YOTPO_TD_YOTPO_ENDPOINT";
    let end = run_with(&surroundings, &[], &[(variable, &https(variable))]);
    assert_says(
        &end,
        4,
        &[" (from YOTPO_TD_YOTPO_ENDPOINT) after 3 attempts", not_tls, "hint: check --yotpo-endpoint"],
    );
}

#[test]
fn redirect_is_a_wrong_address_and_is_not_repeated() {
    let surroundings = Surroundings::with_customers(60);
    for (variable, code, name, hint) in [
        (
            "TD_API_SERVER",
            5,
            "treasure_data_request_refused",
            "hint: correct --site or --td-endpoint (TD_API_SERVER)",
        ),
        (
            "YOTPO_TD_YOTPO_ENDPOINT",
            4,
            "yotpo_request_refused",
            "hint: correct --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT) to the address of the API",
        ),
    ] {
        let moved = ScriptedServer::start(|_| (302, String::new()));
        let end = run_with(&surroundings, &[], &[(variable, &moved.endpoint())]);
        let reason = "the server returned 302 Found: redirects are not followed";
        assert_says(&end, code, &[&format!(" (from {variable})\n"), reason, hint, &format!("code: {name} ")]);
        assert_no_command(&end);
    }
}

#[test]
fn address_at_which_nobody_listens_is_in_the_hint() {
    let surroundings = Surroundings::with_customers(60);
    let dead = DeadAddress::new();
    for (variable, code, hint) in [
        (
            "TD_API_SERVER",
            5,
            "hint: check --site or --td-endpoint (TD_API_SERVER); if it is right, run it again",
        ),
        (
            "YOTPO_TD_YOTPO_ENDPOINT",
            4,
            "hint: check --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT); if it is right, run it again",
        ),
    ] {
        let end = run_with(&surroundings, &[], &[(variable, &*dead.url), ("YOTPO_TD_MAX_RETRIES", "1")]);
        assert_says(&end, code, &["because: Connection refused", hint, "the same command may succeed later"]);
    }
}

#[test]
fn path_of_the_api_at_the_end_of_yotpos_address_is_refused() {
    let surroundings = Surroundings::with_customers(60);
    let variable = "YOTPO_TD_YOTPO_ENDPOINT";
    let server = surroundings.environment()[variable].clone();
    for path in ["/core/v3", "/core/v3/", "/base/core/v3"] {
        let end = run_with(&surroundings, &[], &[(variable, &format!("{server}{path}"))]);
        assert_says(&end, 2, &["--yotpo-endpoint", "ends with /core/v3", "leave it out"]);
    }
    assert_eq!(surroundings.control().operation_requests(Operation::AccessToken), 0);
}

#[test]
fn version_at_the_end_of_td_api_server_is_removed() {
    let surroundings = Surroundings::with_customers(60);
    let server = surroundings.environment()["TD_API_SERVER"].clone();
    for path in ["/v3", "/v3/", "//v3"] {
        run_with(&surroundings, &[], &[("TD_API_SERVER", &format!("{server}{path}"))]).assert_code(0);
    }
    assert_eq!(surroundings.rows(), 180);
    assert_eq!(surroundings.control().sessions(), []);
}

#[test]
fn wrong_path_blames_the_endpoint_and_not_the_database() {
    let surroundings = Surroundings::with_customers(60);
    let server = format!("{}/elsewhere", surroundings.environment()["TD_API_SERVER"]);
    let end = run_with(&surroundings, &[], &[("TD_API_SERVER", &server)]);
    end.assert_code(2);
    assert_words!("path_of_treasure_data", transcript(&end));
    assert_eq!(surroundings.control().operation_requests(Operation::Unknown), 1, "it is not repeated");
    let yotpo = format!("{}/elsewhere", surroundings.environment()["YOTPO_TD_YOTPO_ENDPOINT"]);
    let end = run_with(&surroundings, &["--yotpo-endpoint", &yotpo], &[]);
    assert_says(
        &end,
        3,
        &[" (from --yotpo-endpoint)", "404 Not Found", "and --yotpo-endpoint (YOTPO_TD_YOTPO_ENDPOINT)"],
    );
}

#[test]
fn web_page_in_place_of_treasure_data_blames_the_endpoint() {
    let surroundings = Surroundings::with_customers(60);
    let site =
        ScriptedServer::start(|_| (404, "<!DOCTYPE html><html><body>Not found</body></html>".to_owned()));
    let end = run_with(&surroundings, &[], &[("TD_API_SERVER", &site.endpoint())]);
    let said = ["there is no Treasure Data API at this address", "hint: correct --site or --td-endpoint"];
    assert_says(&end, 2, &said);
    assert_no_command(&end);
}
