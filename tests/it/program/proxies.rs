//! The real program with a proxy that denies access, and with invalid proxies in the environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::in_process::scripted_server::ScriptedServer;
use crate::program::binary::{Finished, Running, Surroundings};
use crate::program::dead_address::DeadAddress;

/// Treasure Data has a different address; the proxies never connect to it.
fn run_with(variables: &[(&str, &str)]) -> Finished {
    let surroundings = Surroundings::with_customers(60);
    let mut command = surroundings.sync(&[]);
    command.env("TD_API_SERVER", "https://yotpo-td.invalid").env("YOTPO_TD_MAX_RETRIES", "9");
    command.envs(variables.iter().copied());
    Running::start(command).finish()
}

/// The result of a run with a proxy that responds to every CONNECT with `status`, and the number of these requests.
fn run_with_proxy(variable: &str, status: u16) -> (Finished, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let proxy = ScriptedServer::start(move |request| {
        assert!(request.line.starts_with("CONNECT yotpo-td.invalid:443"), "{}", request.line);
        counter.fetch_add(1, Ordering::SeqCst);
        (status, String::new())
    });
    // Spaces around the address are ignored.
    let end = run_with(&[(variable, &format!(" {} ", proxy.endpoint()))]);
    (end, requests.load(Ordering::SeqCst))
}

#[test]
fn proxy_that_refuses_gets_one_request_and_the_hint_names_its_variable() {
    for (variable, status, because, hint, code) in [
        (
            "HTTPS_PROXY",
            407,
            "because: the proxy requires authentication (407)",
            "hint: correct the proxy's user and password in HTTPS_PROXY (or ALL_PROXY)",
            "code: treasure_data_request_refused (exit code 5)\n",
        ),
        (
            "ALL_PROXY",
            403,
            "because: the proxy refused to connect to the server",
            "hint: allow the server on the proxy in HTTPS_PROXY (or ALL_PROXY)",
            "code: treasure_data_failed (exit code 5, the same command may succeed later)\n",
        ),
    ] {
        let (end, requests) = run_with_proxy(variable, status);
        end.assert_code(5);
        assert_eq!(requests, 1, "{}", end.stderr);
        for text in [because, hint, code, "yotpo-td.invalid:443 (from TD_API_SERVER)"] {
            assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
        }
    }
}

#[test]
fn proxy_that_does_not_listen_is_named_without_its_password() {
    let dead = DeadAddress::new();
    let address = dead.url.strip_prefix("http://").unwrap();
    let end =
        run_with(&[("HTTPS_PROXY", &format!("http://user:hidden@{address}")), ("YOTPO_TD_MAX_RETRIES", "1")]);
    end.assert_code(5);
    for text in [
        "yotpo-td.invalid:443 (from TD_API_SERVER) after 2 attempts",
        &format!("because: could not connect through the proxy {address} of HTTPS_PROXY"),
        "because: Connection refused",
        "hint: allow the server on the proxy in HTTPS_PROXY (or ALL_PROXY), correct that variable",
        "code: treasure_data_failed (exit code 5, the same command may succeed later)\n",
    ] {
        assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
    }
    assert!(!end.stderr.contains("hidden"), "{}", end.stderr);
    let exempt = run_with(&[("HTTPS_PROXY", &*dead.url), ("NO_PROXY", "yotpo-td.invalid")]);
    assert!(exempt.closing().contains("could not resolve the server's name"), "{}", exempt.closing());
}

#[test]
fn proxy_that_cannot_be_used_is_a_settings_error_without_its_value() {
    for (variable, value, what) in [
        ("ALL_PROXY", "socks5://user:hidden@127.0.0.1:1", "only http and https proxies are supported"),
        ("https_proxy", "http://hidden:99999", "not the address of a proxy"),
    ] {
        let end = run_with(&[(variable, value)]);
        end.assert_code(2);
        assert!(end.stderr.contains(&format!("{variable}: {what}")), "{}", end.stderr);
        assert!(!end.stderr.contains("hidden"), "{}", end.stderr);
    }
}
