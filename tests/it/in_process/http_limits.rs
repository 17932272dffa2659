//! Hostile or broken servers cannot harm the HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use http::HeaderName;
use yotpo_td::clock::Clock;
use yotpo_td::http::{
    BodyProblem, CallError, Cause, Class, ClientSettings, HttpClient, Reach, Redactor, Request, Response,
    TransportError, tls_configuration,
};
use yotpo_td::rate_limit::RateLimiter;

/// Sends the same bytes on every connection, and returns the received requests.
fn serve(response: Vec<u8>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = vec![0; 16 * 1024];
            let length = connection.read(&mut request).unwrap_or_default();
            let _ = sender.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ = connection.write_all(&response);
        }
    });
    (address, received)
}

fn get(address: SocketAddr, max_response_bytes: usize) -> Result<Response, CallError> {
    let settings = ClientSettings { request_timeout: Duration::from_secs(10), reach: Reach::Loopback };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tls = tls_configuration(false).unwrap();
        let client = HttpClient::new(
            &settings,
            tls,
            Clock::machine(),
            Redactor::new(),
            Arc::new(RateLimiter::unlimited(Clock::machine())),
        )
        .unwrap();
        let url = format!("http://{address}/").parse().unwrap();
        let mut request = Request::get("reach the test server", url, max_response_bytes);
        request.sensitive_header(HeaderName::from_static("x-yotpo-token"), "canary-token").unwrap();
        client.send_for_success(&request).await
    })
}

fn response(head: &str, body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    response.extend_from_slice(body);
    response
}

#[test]
fn redirect_is_not_followed_and_no_credentials_are_sent() {
    let (target, received) = serve(response("200 OK", b"{}"));
    let (server, _) = serve(response(&format!("307 Temporary Redirect\r\nLocation: http://{target}/"), b""));
    let error = get(server, 1024).err().unwrap();
    assert_eq!(error.class(), Class::Permanent);
    assert!(error.cause().to_string().contains("redirect"), "{}", error.cause());
    assert!(received.try_recv().is_err(), "the target of the redirect received a request");
}

#[test]
fn content_length_beyond_the_limit_is_rejected() {
    let (server, _) = serve(response("200 OK", &[b' '; 4096]));
    let error = get(server, 1024).err().unwrap();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::TooLarge { limit: 1024 })), "{error:?}");
}

#[test]
fn chunked_body_beyond_the_limit_is_rejected_while_it_is_received() {
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..64 {
        endless.extend_from_slice(b"400\r\n");
        endless.extend_from_slice(&[b' '; 1024]);
        endless.extend_from_slice(b"\r\n");
    }
    let (server, _) = serve(endless);
    let error = get(server, 8 * 1024).err().unwrap();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::TooLarge { .. })), "{error:?}");
}

#[test]
fn gzip_bomb_is_rejected() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 4 * 1024 * 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 64 * 1024);
    let (server, _) = serve(response("200 OK\r\nContent-Encoding: gzip", &bomb));
    let error = get(server, 1024 * 1024).err().unwrap();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::TooLarge { .. })), "{error:?}");
}

#[test]
fn endless_headers_are_rejected() {
    let many = format!("X-Header: {}\r\n", "y".repeat(200)).repeat(10_000);
    let (server, _) = serve(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\n{{}}").into_bytes());
    let error = get(server, 1024).err().unwrap();
    let Cause::Transport(TransportError::Interrupted(source)) = error.cause() else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "message head is too large");
}
