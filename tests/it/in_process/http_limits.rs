//! What a hostile or broken server can do to the HTTP client: nothing.

use std::error::Error as _;
use std::io::{Read, Write};
use std::iter::successors;
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

/// Answers every connection with the same bytes, and tells what it was sent.
fn serve(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = vec![0; 16 * 1024];
            let length = connection.read(&mut request).unwrap_or_default();
            let _ = sender.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ = connection.write_all(&answer);
        }
    });
    (address, seen)
}

fn get(address: SocketAddr, answer_limit: usize) -> Result<Response, CallError> {
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
        let mut request = Request::get("try a server", url, answer_limit);
        request.sensitive_header(HeaderName::from_static("x-yotpo-token"), "canary-token").unwrap();
        client.send_for_success(&request).await
    })
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[test]
fn a_redirect_is_not_followed_and_takes_no_credentials_along() {
    let (elsewhere, seen) = serve(answer("200 OK", b"{}"));
    let (server, _) = serve(answer(&format!("307 Temporary Redirect\r\nLocation: http://{elsewhere}/"), b""));
    let error = get(server, 1024).err().unwrap();
    assert_eq!(error.class(), Class::Permanent);
    assert!(error.cause().to_string().contains("redirect"), "{}", error.cause());
    assert!(seen.try_recv().is_err(), "the other host was asked");
}

#[test]
fn an_announced_size_beyond_the_cap_is_refused() {
    let (server, _) = serve(answer("200 OK", &[b' '; 4096]));
    let error = get(server, 1024).err().unwrap();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::TooLarge { limit: 1024 })), "{error:?}");
}

#[test]
fn a_chunked_body_beyond_the_cap_is_refused_while_it_comes() {
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
fn a_gzip_bomb_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 4 * 1024 * 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 64 * 1024);
    let (server, _) = serve(answer("200 OK\r\nContent-Encoding: gzip", &bomb));
    let error = get(server, 1024 * 1024).err().unwrap();
    assert!(matches!(error.cause(), Cause::Body(BodyProblem::TooLarge { .. })), "{error:?}");
}

#[test]
fn endless_headers_are_refused() {
    let many = format!("X-Header: {}\r\n", "y".repeat(200)).repeat(10_000);
    let (server, _) = serve(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\n{{}}").into_bytes());
    let error = get(server, 1024).err().unwrap();
    let Cause::Transport(TransportError::Interrupted(source)) = error.cause() else { panic!("{error:?}") };
    let causes: Vec<_> =
        successors(source.source(), |cause| (*cause).source()).map(ToString::to_string).collect();
    assert_eq!(causes.last().map(String::as_str), Some("message head is too large"), "{causes:?}");
}
