use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::super::tls::tls_configuration;
use super::*;

/// A server that answers one request, and returns its head in lower case.
fn answer_once(response: Vec<u8>) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        connection.write_all(&response).unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    (url, server)
}

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

/// Sends one request to a server that responds with gzip. Returns the `Accept-Encoding` that the server received and the body.
async fn exchange_gzip(reach: Reach) -> (Option<String>, Bytes) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"customers":[]}"#).unwrap();
    let compressed = encoder.finish().unwrap();
    let length = compressed.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    let (url, server) = answer_once([head.as_bytes(), &compressed].concat());
    let mut client = client();
    client.reach = reach;
    let response = client.send(&Request::get("reach the test server", url, 1024)).await.unwrap();
    (header(&server.join().unwrap(), "accept-encoding"), response.body)
}

/// A proxy may refuse a POST without a length (status 411).
#[tokio::test]
async fn a_post_without_a_body_says_so() {
    for (method, length) in [(Method::POST, Some("0")), (Method::GET, None)] {
        let (url, server) = answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec());
        let request = Request { method, ..Request::get("reach the test server", url, 1024) };
        client().send(&request).await.unwrap();
        assert_eq!(header(&server.join().unwrap(), "content-length").as_deref(), length);
    }
}

#[tokio::test]
async fn gzip_is_requested_only_from_the_network_and_always_decompressed() {
    let body = Bytes::from_static(br#"{"customers":[]}"#);
    assert_eq!(exchange_gzip(Reach::Network).await, (Some("gzip".to_owned()), body.clone()));
    assert_eq!(exchange_gzip(Reach::Loopback).await, (None, body));
}
