use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::http::scripted::{ScriptedServer, response};
use crate::http::{BodyProblem, Cause, ClientSettings, HttpClient, Reach, Redactor, tls_configuration};
use crate::rate_limit::{RateLimiter, RequestRate};
use crate::retry::{Retrier, RetryPolicy};
use crate::row::IngestionTime;
use crate::secret::Secret;

const TOKEN: &str = r#"{"access_token":"token"}"#;
const SETTINGS: PagesSettings =
    PagesSettings { page_size: 100, time: IngestionTime::MAX, loyalty_check: LoyaltyCheck::On };

/// A client that retries nothing, and its server.
pub(super) fn client(responses: Vec<Vec<u8>>) -> (Arc<YotpoClient>, ScriptedServer) {
    let clock = Clock::machine();
    client_with(responses, RateLimiter::unlimited(clock.clone()), clock)
}

fn client_with(
    responses: Vec<Vec<u8>>,
    limiter: RateLimiter,
    clock: Clock,
) -> (Arc<YotpoClient>, ScriptedServer) {
    let server = ScriptedServer::start(responses);
    let limiter = Arc::new(limiter);
    let settings = ClientSettings { request_timeout: Duration::from_secs(60), reach: Reach::Loopback };
    let tls = tls_configuration(false).unwrap();
    let http = HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), Arc::clone(&limiter)).unwrap();
    let policy = RetryPolicy { max_retries: 0, base_delay: Duration::ZERO, timeout: Duration::from_secs(60) };
    let retrier = Arc::new(Retrier::new("Yotpo", policy, limiter, clock, 7));
    let settings = YotpoSettings {
        endpoint: server.url.clone(),
        store: "store".parse().unwrap(),
        client_secret: Secret::new("s3cret").unwrap(),
    };
    (Arc::new(YotpoClient::new(settings, http, retrier)), server)
}

fn ok(body: &str) -> Vec<u8> {
    response("200 OK", body)
}

/// The body of a page of two customers, one of them with loyalty data.
fn page(next: &str) -> String {
    format!(r#"{{"customers":[{{"yotpo_loyalty":{{}}}},{{}}],"pagination":{{"next_page_info":{next}}}}}"#)
}

#[tokio::test]
async fn each_page_is_requested_once_and_counted() {
    let bodies = [TOKEN.to_owned(), page("\"c1\""), page("\"c2\""), page("\"c3\""), page("null")];
    let (client, server) = client(bodies.iter().map(|body| ok(body)).collect());
    let mut pages = Pages::new(Arc::clone(&client), SETTINGS);
    for number in 1..=4_u64 {
        assert_eq!(pages.next_page().await.unwrap().unwrap().customers(), 2);
        let later_pages = MemberCount { customers: 2 * (number - 1), with_loyalty_data: number - 1 };
        let first_page = MemberCount { customers: 2, with_loyalty_data: 1 };
        assert_eq!(pages.loyalty(), LoyaltyCounts { first_page, later_pages });
    }
    assert!(pages.next_page().await.unwrap().is_none());
    let requests = server.requests();
    assert_eq!((requests.len(), client.counts().requests), (5, 5), "{requests:?}");
    let cursors = ["?page_info=c1", "?page_info=c2", "?page_info=c3"];
    for (request, cursor) in requests[2..].iter().zip(cursors) {
        assert!(request.contains(cursor), "{request}");
    }
    let received: usize = bodies.iter().map(String::len).sum();
    assert_eq!(usize::try_from(client.response_bytes()), Ok(received));
}

#[tokio::test]
async fn no_page_after_the_last_that_is_wanted_is_requested() {
    let bodies = [TOKEN.to_owned(), page("\"c1\""), page("\"c2\""), page("\"c3\""), page("null")];
    let (client, server) = client(bodies.iter().map(|body| ok(body)).collect());
    let mut pages = Pages::new(Arc::clone(&client), SETTINGS).until(3);
    for _ in 1..=3 {
        assert_eq!(pages.next_page().await.unwrap().unwrap().customers(), 2);
    }
    assert!(pages.next_page().await.unwrap().is_none());
    assert_eq!((server.requests().len(), client.counts().requests), (4, 4));
}

#[tokio::test]
async fn an_error_names_the_page_that_was_requested_ahead() {
    let mut responses: Vec<_> =
        [TOKEN, &page("\"c1\""), &page("\"c2\""), &page("\"c3\"")].into_iter().map(ok).collect();
    responses.push(response("402 Payment Required", "{}"));
    let (client, _server) = client(responses);
    let mut pages = Pages::new(client, SETTINGS);
    for _ in 1..=3 {
        assert_eq!(pages.next_page().await.unwrap().unwrap().customers(), 2);
    }
    let error = pages.next_page().await.unwrap_err();
    assert!(matches!(error, YotpoError::Page { page: 4, .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_no_token() {
    for body in ["{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#, r#"{"access_token":"\u0007"}"#]
    {
        let (client, _server) = client(vec![ok(body)]);
        let error = client.token().await.map(drop).unwrap_err();
        let YotpoError::Token(source) = &error else { panic!("{body}: {error:?}") };
        assert!(matches!(source.cause(), Cause::Body(BodyProblem::Malformed { .. })), "{body}: {error:?}");
    }
    let (client, _server) = client(vec![ok(r#"{"access_token":"","message":"no such store"}"#)]);
    let error = client.token().await.map(drop).unwrap_err();
    assert!(matches!(error, YotpoError::CredentialsDenied(_)), "{error:?}");
}

#[tokio::test]
async fn the_use_of_the_rate_limit_is_that_of_the_store() {
    let clock = Clock::virtual_at(Duration::ZERO);
    let rate = RequestRate::new(2.0).unwrap();
    let limiter = RateLimiter::with_rate(rate, clock.clone());
    let (client, _server) = client_with(vec![ok(TOKEN)], limiter, clock);
    client.token().await.map(drop).unwrap();
    let usage = client.rate_usage();
    assert_eq!((usage.configured_per_second, usage.requests_per_second), (2.0, 2.0));
}
