use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::super::tls::tls_configuration;
use super::*;

/// Sends one request to a server that responds with gzip. Returns the `Accept-Encoding` that the server received and the body.
async fn exchange_gzip(reach: Reach) -> (Option<String>, Bytes) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"customers":[]}"#).unwrap();
    let compressed = encoder.finish().unwrap();
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
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            compressed.len()
        )
        .unwrap();
        connection.write_all(&compressed).unwrap();
        String::from_utf8(head).unwrap()
    });
    // Built for the loopback interface, so that proxies from the environment are ignored.
    let settings = ClientSettings { request_timeout: Duration::from_secs(60), reach: Reach::Loopback };
    let tls = tls_configuration(false).unwrap();
    let mut client = HttpClient::new(
        &settings,
        tls,
        Clock::machine(),
        Redactor::new(),
        Arc::new(RateLimiter::unlimited(Clock::machine())),
    )
    .unwrap();
    client.reach = reach;
    let response = client.send(&Request::get("reach the test server", url, 1024)).await.unwrap();
    let head = server.join().unwrap().to_ascii_lowercase();
    let accept_encoding =
        head.lines().find_map(|line| line.strip_prefix("accept-encoding: ").map(str::to_owned));
    (accept_encoding, response.body)
}

#[tokio::test]
async fn gzip_is_requested_only_from_the_network_and_always_decompressed() {
    let body = Bytes::from_static(br#"{"customers":[]}"#);
    assert_eq!(exchange_gzip(Reach::Network).await, (Some("gzip".to_owned()), body.clone()));
    assert_eq!(exchange_gzip(Reach::Loopback).await, (None, body));
}
