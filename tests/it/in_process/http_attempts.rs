//! One attempt of the HTTP client: exactly one request on the wire, with a timeout that depends on the size of its body.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use yotpo_td::clock::{Clock, DeadlineElapsed};
use yotpo_td::http::{
    CallError, Cause, ClientSettings, Effect, HttpClient, Reach, Redactor, Request, TransportError,
    tls_configuration,
};
use yotpo_td::rate_limit::RateLimiter;

use crate::in_process::watchdog::on_virtual_time;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const QUARTER_MEBIBYTE: usize = 256 * 1024;

/// What the server does with the tested requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    /// Resets the connection instead of a response.
    Reset,
    /// Closes the connection instead of a response.
    Close,
    /// Closes the connection in the middle of the body.
    Truncate,
    /// Responds with this status and `Retry-After: 0`.
    Status(u16),
}

/// Serves keep-alive connections and counts requests: the first `healthy` succeed, all others fail.
fn serve(failing: Failing, healthy: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            let counted = Arc::clone(&counted);
            // The client may close its connections at any time.
            std::thread::spawn(move || drop(serve_connection(&connection, failing, healthy, &counted)));
        }
    });
    (address, requests)
}

fn serve_connection(
    connection: &TcpStream,
    failing: Failing,
    healthy: usize,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    loop {
        read_request(&mut reader)?;
        let earlier = requests.fetch_add(1, Ordering::SeqCst);
        if earlier < healthy {
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
            continue;
        }
        match failing {
            // The kernel resets a connection that is closed with this option.
            Failing::Reset => {
                return socket2::SockRef::from(connection).set_linger(Some(Duration::ZERO));
            }
            Failing::Close => return Ok(()),
            Failing::Truncate => return writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
            Failing::Status(status) => {
                write!(
                    writer,
                    "HTTP/1.1 {status} Failed\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{{}}"
                )?;
            }
        }
    }
}

/// Reads one request with its whole body; an error at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(())
}

fn client(clock: &Clock) -> HttpClient {
    let settings = ClientSettings { request_timeout: REQUEST_TIMEOUT, reach: Reach::Loopback };
    let tls = tls_configuration(false).unwrap();
    HttpClient::new(
        &settings,
        tls,
        clock.clone(),
        Redactor::new(),
        Arc::new(RateLimiter::unlimited(clock.clone())),
    )
    .unwrap()
}

fn request(address: SocketAddr, method: Method, body: Option<Bytes>) -> Request {
    Request {
        operation: "reach the test server",
        effect: Effect::CheckFirst,
        method,
        url: format!("http://{address}/").parse().unwrap(),
        headers: HeaderMap::new(),
        body,
        max_response_bytes: 1024,
    }
}

/// Only the retry loop repeats requests: it waits, counts, checks the state first, and acquires the rate limiter.
#[test]
fn failed_attempt_is_one_request_on_new_and_reused_connections() {
    for failing in
        [Failing::Reset, Failing::Close, Failing::Truncate, Failing::Status(429), Failing::Status(503)]
    {
        for healthy in [0, 1] {
            on_virtual_time(move || async move {
                let (address, requests) = serve(failing, healthy);
                let client = client(&Clock::virtual_at(Duration::ZERO));
                for _ in 0..healthy {
                    client.send_for_success(&request(address, Method::GET, None)).await.unwrap();
                }
                for (method, body) in [(Method::GET, None), (Method::POST, Some(Bytes::from_static(b"{}")))] {
                    let before = requests.load(Ordering::SeqCst);
                    let error = client.send_for_success(&request(address, method, body)).await.err().unwrap();
                    match (failing, error.cause()) {
                        (Failing::Status(sent), Cause::Status { status, .. }) => assert_eq!(*status, sent),
                        (
                            Failing::Reset | Failing::Close | Failing::Truncate,
                            Cause::Transport(TransportError::Interrupted(_)),
                        ) => {}
                        _ => panic!("{failing:?}: {error:?}"),
                    }
                    let sent = requests.load(Ordering::SeqCst) - before;
                    assert_eq!(sent, 1, "{failing:?} after {healthy} successes");
                }
            });
        }
    }
}

/// Sends a body to a server that reads one byte of it and never responds, and returns the timeout that ended the attempt. Uses
/// tokio's paused time, which advances when every task waits.
async fn timeout_of(body: Option<Bytes>) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Clock::machine();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_exact(&mut [0]).unwrap();
        connection
    });
    let result = client(&clock).send(&request(address, Method::PUT, body)).await;
    let _connection = server.join().unwrap();
    let error: CallError = result.err().unwrap();
    let Cause::Transport(TransportError::TimedOut(DeadlineElapsed(limit))) = error.cause() else {
        panic!("{error:?}")
    };
    assert_eq!(clock.now(), *limit);
    *limit
}

#[tokio::test(start_paused = true)]
async fn upload_timeout_grows_by_a_second_per_256_kib() {
    for (bytes, seconds) in [
        (0, 0),
        (QUARTER_MEBIBYTE - 1, 0),
        (QUARTER_MEBIBYTE, 1),
        (2 * QUARTER_MEBIBYTE - 1, 1),
        (4 * 1024 * 1024, 16),
        (64 * 1024 * 1024, 256),
    ] {
        let body = Some(Bytes::from(vec![0; bytes]));
        let limit = timeout_of(body).await;
        assert_eq!(limit, REQUEST_TIMEOUT + Duration::from_secs(seconds), "{bytes} bytes");
    }
    assert_eq!(timeout_of(None).await, REQUEST_TIMEOUT);
}
