//! Error records that are too large for memory: streamed in pieces, and started over after a failed attempt.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;
use yotpo_td::http::{BodySink, RestartableSink};
use yotpo_td::treasure_data::TreasureDataError;

use crate::in_process::scripted_server::{ScriptedResponse, ScriptedServer};
use crate::in_process::scripted_treasure_data::client_of;

/// Larger than the maximum response that is held in memory.
const RECORDS_SIZE: usize = 20 * 1024 * 1024;

/// A sink that counts what it receives.
#[derive(Default)]
struct CountingSink {
    bytes: usize,
    max_piece: usize,
    restarts: u32,
}

impl BodySink for CountingSink {
    type Error = &'static str;

    async fn write(&mut self, piece: Bytes) -> Result<(), Self::Error> {
        self.bytes += piece.len();
        self.max_piece = self.max_piece.max(piece.len());
        if piece.starts_with(b"full") { Err("the disk is full") } else { Ok(()) }
    }
}

impl RestartableSink for CountingSink {
    async fn restart(&mut self) -> Result<(), Self::Error> {
        self.bytes = 0;
        self.restarts += 1;
        Ok(())
    }
}

fn download(
    script: impl Fn(usize) -> ScriptedResponse + Send + Sync + 'static,
) -> (CountingSink, Result<Result<(), &'static str>, TreasureDataError>) {
    let attempts = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| {
        assert!(request.line.starts_with("GET /v3/bulk_import/error_records/session "), "{}", request.line);
        script(attempts.fetch_add(1, Ordering::SeqCst))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut received = CountingSink::default();
    let result = runtime.block_on(async {
        let client = client_of(&server);
        client.error_records(&"session".parse().unwrap(), &mut received).await
    });
    (received, result)
}

#[test]
fn large_body_is_streamed_in_pieces() {
    let (received, result) = download(|_| (200, "x".repeat(RECORDS_SIZE)));
    result.unwrap().unwrap();
    assert_eq!((received.bytes, received.restarts), (RECORDS_SIZE, 1));
    assert!(received.max_piece <= 1024 * 1024, "{} bytes at once", received.max_piece);
}

#[test]
fn failed_attempt_leaves_no_data() {
    let script = |attempt| if attempt == 0 { (503, "{}".to_owned()) } else { (200, "records".to_owned()) };
    let (received, result) = download(script);
    result.unwrap().unwrap();
    assert_eq!((received.bytes, received.restarts), (7, 2));
}

#[test]
fn web_page_is_not_a_record() {
    let script =
        |attempt| (200, if attempt == 0 { "<html>busy</html>".to_owned() } else { "records".to_owned() });
    let (received, result) = download(script);
    result.unwrap().unwrap();
    assert_eq!((received.bytes, received.restarts), (7, 2));
}

#[test]
fn error_response_is_not_a_record() {
    let (received, result) = download(|_| (404, r#"{"error":"There are no error records yet"}"#.to_owned()));
    let TreasureDataError::Call(error) = result.unwrap_err() else { panic!("expected a failed call") };
    assert_eq!(error.status_code(), Some(StatusCode::NOT_FOUND));
    assert_eq!((received.bytes, received.restarts), (0, 1));
}

#[test]
fn full_disk_ends_the_download_immediately() {
    let (received, result) = download(|_| (200, "full".to_owned()));
    assert_eq!(result.unwrap(), Err("the disk is full"));
    assert_eq!(received.restarts, 1);
}
