use std::io::Write as _;

use super::super::scripted::{ScriptedServer, response};
use super::super::tls::tls_configuration;
use super::*;
use crate::captured_log::CapturedLog;
use crate::http::{Cause, StatusClass};

const OPERATION: &str = "reach the test server";

/// A client for the loopback interface, so that proxies from the environment are ignored.
fn client() -> HttpClient {
    let settings = ClientSettings { request_timeout: Duration::from_secs(60), reach: Reach::Loopback };
    HttpClient::new(
        &settings,
        tls_configuration(false).unwrap(),
        Clock::machine(),
        Redactor::new(),
        Arc::new(RateLimiter::unlimited(Clock::machine())),
    )
    .unwrap()
}

/// The value of a header in a head.
fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
}

/// Sends one request with a limit on the response to a server that sends `response`.
async fn exchange(
    client: &HttpClient,
    response: Vec<u8>,
    max_response_bytes: usize,
) -> Result<(StatusCode, Bytes), CallError> {
    let server = ScriptedServer::start(vec![response]);
    let response = client.send(&Request::get(OPERATION, server.url.clone(), max_response_bytes)).await?;
    Ok((response.status, response.body))
}

/// Sends one request to a server that responds with gzip. Returns the `Accept-Encoding` that the server received and the body.
async fn exchange_gzip(reach: Reach) -> (Option<String>, Bytes) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"customers":[]}"#).unwrap();
    let compressed = encoder.finish().unwrap();
    let server = ScriptedServer::start(vec![response("200 OK\r\nContent-Encoding: gzip", compressed)]);
    let mut client = client();
    client.reach = reach;
    let response = client.send(&Request::get(OPERATION, server.url.clone(), 1024)).await.unwrap();
    (header(&server.requests()[0], "accept-encoding"), response.body)
}

/// A proxy may refuse a POST without a length (status 411).
#[tokio::test]
async fn a_post_without_a_body_says_so() {
    for (method, length) in [(Method::POST, Some("0")), (Method::GET, None)] {
        let server = ScriptedServer::start(vec![response("200 OK", "{}")]);
        let request = Request { method, ..Request::get(OPERATION, server.url.clone(), 1024) };
        client().send(&request).await.unwrap();
        assert_eq!(header(&server.requests()[0], "content-length").as_deref(), length);
    }
}

#[tokio::test]
async fn gzip_is_requested_only_from_the_network_and_always_decompressed() {
    let body = Bytes::from_static(br#"{"customers":[]}"#);
    assert_eq!(exchange_gzip(Reach::Network).await, (Some("gzip".to_owned()), body.clone()));
    assert_eq!(exchange_gzip(Reach::Loopback).await, (None, body));
}

/// A response in two chunks, without a length.
fn chunked(first: &str, second: &str) -> Vec<u8> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(second)).into_bytes()
}

#[tokio::test]
async fn a_response_is_read_up_to_the_limit() {
    let client = client();
    for whole in [response("200 OK", "12345678"), chunked("12345", "678")] {
        let expected = (StatusCode::OK, Bytes::from_static(b"12345678"));
        assert_eq!(exchange(&client, whole.clone(), 8).await.unwrap(), expected);
        for limit in [7, 6, 0] {
            let error = exchange(&client, whole.clone(), limit).await.unwrap_err();
            let Cause::Body(BodyProblem::TooLarge { limit: found }) = error.cause() else {
                panic!("{error:?}")
            };
            assert_eq!(*found, limit);
        }
    }
}

#[tokio::test]
async fn a_failure_has_its_status_even_if_its_body_cannot_be_read() {
    let client = client();
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND] {
        let unreadable = response(&format!("{status}\r\nContent-Encoding: br"), "x");
        assert_eq!(exchange(&client, unreadable, 1024).await.unwrap(), (status, Bytes::new()));
    }
    let error = exchange(&client, response("200 OK\r\nContent-Encoding: br", "x"), 1024).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::Encoding { .. })), "{error:?}");
}

#[tokio::test]
async fn exchanges_and_received_bytes_are_counted_by_operation() {
    let client = client();
    assert_eq!((client.received_bytes(), client.operations()), (0, Vec::new()));
    exchange(&client, response("200 OK", "12345"), 1024).await.unwrap();
    exchange(&client, response("404 Not Found", "123"), 1024).await.unwrap();
    assert_eq!(client.received_bytes(), 8);
    let operations = client.operations();
    let [(OPERATION, found)] = operations[..] else { panic!("{operations:?}") };
    let ended = StatusClass::ALL.map(StatusClass::name).into_iter().zip(found.by_status);
    let expected = [("2xx", 1), ("3xx", 0), ("4xx", 1), ("5xx", 0), ("none", 0)];
    assert_eq!(ended.collect::<Vec<_>>(), expected);
    assert_eq!(found.received_bytes, 8);
}

#[tokio::test]
async fn a_request_is_logged_without_its_query() {
    let log = CapturedLog::start(tracing::Level::DEBUG);
    let server = ScriptedServer::start(vec![response("404 Not Found", "{}")]);
    let url = server.url.join("customers?cursor=abc").unwrap();
    client().send(&Request::get(OPERATION, url, 1024)).await.unwrap();
    let lines = log.lines("request sent");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let expected =
        format!("request sent operation=\"{OPERATION}\" method=GET path=\"/customers\" status=404");
    assert!(line.contains("DEBUG") && line.contains(&expected) && !line.contains("abc"), "{line}");
}

#[test]
fn the_redactor_of_a_client_knows_its_secrets() {
    let redactor = Redactor::new();
    let client = HttpClient { redactor: redactor.clone(), ..client() };
    redactor.add_secret(&"s3cret".into());
    assert_eq!(client.redactor().redact("the s3cret"), "the [redacted]");
}
