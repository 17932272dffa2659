//! What the client of Treasure Data makes of scripted responses, among them some that the sandbox would not send.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use yotpo_td::clock::Clock;
use yotpo_td::http::{ClientSettings, HttpClient, Reach, Redactor, tls_configuration};
use yotpo_td::rate_limit::RateLimiter;
use yotpo_td::retry::{Retrier, RetryPolicy};
use yotpo_td::secret::Secret;
use yotpo_td::treasure_data::{
    Change, JobOutcome, TreasureDataClient, TreasureDataError, TreasureDataSettings,
};

use crate::in_process::scripted_server::ScriptedServer;

/// A client of a scripted server, with two retries.
pub(super) fn client_of(server: &ScriptedServer) -> TreasureDataClient {
    let clock = Clock::machine();
    let settings = ClientSettings { request_timeout: Duration::from_secs(30), reach: Reach::Loopback };
    let tls = tls_configuration(false).unwrap();
    let rate_limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    let http =
        HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), Arc::clone(&rate_limiter)).unwrap();
    let policy = RetryPolicy {
        max_retries: 2,
        base_delay: Duration::from_millis(1),
        timeout: Duration::from_secs(60),
    };
    let retrier = Arc::new(Retrier::new("Treasure Data", policy, rate_limiter, clock, 7));
    let endpoint = server.endpoint().parse().unwrap();
    let account = TreasureDataSettings { endpoint, api_key: Secret::new("1/key").unwrap() };
    TreasureDataClient::new(account, http, retrier).unwrap()
}

/// What a call returns to these responses, the last of which is repeated, and how many requests it sent.
fn call<T>(responses: &[(u16, &str)], call: impl AsyncFnOnce(&TreasureDataClient) -> T) -> (T, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let responses: Vec<_> = responses.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let server = ScriptedServer::start(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        responses.get(number).or(responses.last()).cloned().unwrap()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async { call(&client_of(&server)).await });
    (result, requests.load(Ordering::SeqCst))
}

#[test]
fn only_a_response_that_says_so_means_that_a_session_is_gone() {
    let parts = |responses: &[_]| {
        let name = "session".parse().unwrap();
        call(responses, async move |client| client.parts(&name).await)
    };
    let list = r#"{"name":"session","parts":["part"]}"#;
    let (found, requests) = parts(&[(503, "{}"), (500, "<html>busy</html>"), (200, list)]);
    assert_eq!((found.unwrap(), requests), (Ok(vec!["part".to_owned()]), 3));
    let (found, requests) = parts(&[(404, r#"{"error":"Resource not found"}"#)]);
    assert_eq!((found.unwrap(), requests), (Err(Change::SessionGone), 1));
    let (found, requests) = parts(&[(404, r#"{"error":"Table 'a.b' does not exist"}"#)]);
    assert_eq!((found.unwrap(), requests), (Err(Change::TableGone), 1));
    let (found, requests) = parts(&[(500, "{}")]);
    assert!(matches!(found, Err(TreasureDataError::Call(_))), "{found:?}");
    assert_eq!(requests, 3);
    let (found, requests) = parts(&[(403, r#"{"error":"Resource not found"}"#)]);
    assert!(matches!(found, Err(TreasureDataError::Denied(_))), "{found:?}");
    assert_eq!(requests, 1);
    for not_found in
        [r#"{"error":"path and method do not match any API endpoint"}"#, "<html>not found</html>"]
    {
        let (found, requests) = parts(&[(404, not_found)]);
        assert!(matches!(found, Err(TreasureDataError::WrongEndpoint(_))), "{found:?}");
        assert_eq!(requests, 1);
    }
}

#[test]
fn a_part_that_is_not_there_need_not_be_deleted() {
    let delete = |responses: &[_]| {
        let (session, part) = ("session".parse().unwrap(), "part".parse().unwrap());
        call(responses, async move |client| client.delete_part(&session, &part).await)
    };
    for responses in [&[(200, "{}")], &[(404, r#"{"error":"Part 'part' does not exist"}"#)]] {
        let (deleted, requests) = delete(responses);
        deleted.unwrap();
        assert_eq!(requests, 1);
    }
    let (deleted, requests) = delete(&[(422, r#"{"error":"frozen"}"#)]);
    assert!(matches!(deleted, Err(TreasureDataError::Call(_))), "{deleted:?}");
    assert_eq!(requests, 1);
}

#[test]
fn a_job_has_failed_only_if_it_says_so() {
    for (response, outcome) in [
        (r#"{"status":"queued"}"#, JobOutcome::Queued),
        (r#"{"status":"booting"}"#, JobOutcome::Booting),
        (r#"{"status":"running"}"#, JobOutcome::Running),
        (r#"{"status":"a new state"}"#, JobOutcome::Running),
        (r#"{"status":"success"}"#, JobOutcome::Succeeded),
        (r#"{"status":"error"}"#, JobOutcome::Failed),
        (r#"{"status":"killed"}"#, JobOutcome::Failed),
    ] {
        let (found, _) = call(&[(200, response)], async |client| client.job_outcome("7").await);
        assert_eq!(found.unwrap(), outcome, "{response}");
    }
}
