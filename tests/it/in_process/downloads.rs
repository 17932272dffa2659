//! Error records that are more than memory should hold: passed on piece by piece, anew after an attempt that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use yotpo_td::clock::Clock;
use yotpo_td::http::{
    BodySink, ClientSettings, HttpClient, Reach, Redactor, RestartableSink, tls_configuration,
};
use yotpo_td::rate_limit::RateLimiter;
use yotpo_td::retry::{Retrier, RetryPolicy};
use yotpo_td::secret::Secret;
use yotpo_td::treasure_data::{TreasureDataClient, TreasureDataError, TreasureDataSettings};

use crate::in_process::scripted_server::{Answer, ScriptedServer};

/// More than any answer that is held in memory may be.
const RECORDS: usize = 20 * 1024 * 1024;

/// What a sink was given.
#[derive(Default)]
struct Seen {
    bytes: usize,
    largest: usize,
    restarts: u32,
}

impl BodySink for Seen {
    type Error = &'static str;

    async fn take(&mut self, piece: Bytes) -> Result<(), Self::Error> {
        self.bytes += piece.len();
        self.largest = self.largest.max(piece.len());
        if piece.starts_with(b"full") { Err("the disk is full") } else { Ok(()) }
    }
}

impl RestartableSink for Seen {
    async fn restart(&mut self) -> Result<(), Self::Error> {
        self.bytes = 0;
        self.restarts += 1;
        Ok(())
    }
}

fn download(
    script: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> (Seen, Result<Result<(), &'static str>, TreasureDataError>) {
    let attempts = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |asked| {
        assert!(asked.line.starts_with("GET /v3/bulk_import/error_records/session "), "{}", asked.line);
        script(attempts.fetch_add(1, Ordering::SeqCst))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = Seen::default();
    let result = runtime.block_on(async {
        let clock = Clock::machine();
        let settings = ClientSettings { request_timeout: Duration::from_secs(30), reach: Reach::Loopback };
        let tls = tls_configuration(false).unwrap();
        let rate_limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
        let http = HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), Arc::clone(&rate_limiter))
            .unwrap();
        let policy = RetryPolicy {
            max_retries: 2,
            base_delay: Duration::from_millis(1),
            timeout: Duration::from_secs(60),
        };
        let retrier = Arc::new(Retrier::new("Treasure Data", policy, rate_limiter, clock, 7));
        let endpoint = server.endpoint().parse().unwrap();
        let account = TreasureDataSettings { endpoint, api_key: Secret::new("1/key").unwrap() };
        let client = TreasureDataClient::new(account, http, retrier).unwrap();
        client.error_records(&"session".parse().unwrap(), &mut seen).await
    });
    (seen, result)
}

#[test]
fn more_than_memory_should_hold_is_passed_on_in_pieces() {
    let (seen, result) = download(|_| (200, "x".repeat(RECORDS)));
    result.unwrap().unwrap();
    assert_eq!((seen.bytes, seen.restarts), (RECORDS, 1));
    assert!(seen.largest <= 1024 * 1024, "{} bytes at once", seen.largest);
}

#[test]
fn attempt_that_failed_leaves_nothing_behind() {
    let script = |attempt| if attempt == 0 { (503, "{}".to_owned()) } else { (200, "records".to_owned()) };
    let (seen, result) = download(script);
    result.unwrap().unwrap();
    assert_eq!((seen.bytes, seen.restarts), (7, 2));
}

#[test]
fn web_page_is_no_record() {
    let script =
        |attempt| (200, if attempt == 0 { "<html>busy</html>".to_owned() } else { "records".to_owned() });
    let (seen, result) = download(script);
    result.unwrap().unwrap();
    assert_eq!((seen.bytes, seen.restarts), (7, 2));
}

#[test]
fn refusal_is_no_record() {
    let (seen, result) = download(|_| (404, r#"{"error":"There are no error records yet"}"#.to_owned()));
    let TreasureDataError::Call(error) = result.unwrap_err() else { panic!("a call failed") };
    assert_eq!(error.status_code(), Some(StatusCode::NOT_FOUND));
    assert_eq!((seen.bytes, seen.restarts), (0, 1));
}

#[test]
fn disk_that_is_full_ends_the_download_at_once() {
    let (seen, result) = download(|_| (200, "full".to_owned()));
    assert_eq!(result.unwrap(), Err("the disk is full"));
    assert_eq!(seen.restarts, 1);
}
