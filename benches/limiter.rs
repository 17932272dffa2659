//! How much of the rate limit a run uses over a slow connection: the real program through TLS to the sandbox, with a round
//! trip of 80 ms and 100 ms per response. Ninety pages at 4.5 per second take at least 19.8 s; the benchmark fails if the
//! pages take more than 1.03 times as long. Real time: about 25 s.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::indexing_slicing, reason = "the relay indexes its own record")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]

#[path = "../tests/tls_relay/mod.rs"]
#[expect(dead_code, reason = "only the tests use expired certificates")]
mod tls_relay;

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tls_relay::{Authority, Delays, Exchange, TlsRelay};
use tokio::runtime::Builder;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{Sandbox, SandboxSettings, Service};

const DELAYS: Delays = Delays { round_trip: Duration::from_millis(80), response: Duration::from_millis(100) };
const PAGES: u32 = 90;
const PAGE_SIZE: u32 = 100;
const REQUESTS_PER_SECOND: f64 = 4.5;
/// Maximum duration of the pages, as a multiple of the minimum that the limit allows.
const MAX_RATIO: f64 = 1.03;

/// Both services over a slow connection.
struct SlowConnection {
    sandbox: Sandbox,
    authority: Authority,
    yotpo: TlsRelay,
    treasure_data: TlsRelay,
    clock: Clock,
}

impl SlowConnection {
    async fn start() -> Self {
        let clock = Clock::machine();
        let customers = u64::from(PAGES * PAGE_SIZE);
        let settings = SandboxSettings { customers, clock: clock.clone(), ..SandboxSettings::default() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let authority = Authority::named("of the benchmark");
        let yotpo = TlsRelay::start(&sandbox.yotpo_endpoint(), &authority, DELAYS, &clock).await;
        let treasure_data =
            TlsRelay::start(&sandbox.treasure_data_endpoint(), &authority, DELAYS, &clock).await;
        Self { sandbox, authority, yotpo, treasure_data, clock }
    }

    /// Runs the program with default settings except for the endpoints.
    fn load(&self, directory: &Path) -> Output {
        let certificates = directory.join("authority.pem");
        std::fs::write(&certificates, self.authority.pem()).unwrap();
        let credentials = self.sandbox.credentials();
        Command::new(env!("CARGO_BIN_EXE_yotpo-td"))
            .env_clear()
            .args(["sync", "--requests-per-second", &REQUESTS_PER_SECOND.to_string()])
            .args(["--page-size", &PAGE_SIZE.to_string()])
            .env("YOTPO_TD_YOTPO_ENDPOINT", self.yotpo.endpoint())
            .env("TD_API_SERVER", self.treasure_data.endpoint())
            .env("YOTPO_CLIENT_SECRET", &credentials.client_secret)
            .env("YOTPO_STORE_ID", &credentials.store_id)
            .env("TD_API_KEY", &credentials.api_key)
            .env("TD_DATABASE", &credentials.database)
            .env("YOTPO_TD_STATE_DIR", directory.join("state"))
            .env("SSL_CERT_FILE", certificates)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn main() -> ExitCode {
    // `cargo test` runs every benchmark to check that it works; this one takes too long for that.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let slow_connection = runtime.block_on(SlowConnection::start());
    let directory = tempfile::tempdir().unwrap();

    let started = slow_connection.clock.now();
    let output = slow_connection.load(directory.path());
    let wall = slow_connection.clock.now().saturating_sub(started);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let pages: Vec<Exchange> = slow_connection
        .yotpo
        .exchanges()
        .into_iter()
        .filter(|page| page.request.ends_with("/customers"))
        .collect();
    assert_eq!(pages.len(), PAGES as usize);
    // A second connection costs two more round trips and is a defect in itself.
    assert!(pages.iter().all(|page| page.connection == 0), "not all pages used the same connection");
    report(&slow_connection, &pages, started, wall)
}

fn report(
    slow_connection: &SlowConnection,
    pages: &[Exchange],
    started: Duration,
    wall: Duration,
) -> ExitCode {
    let (first, last) = (pages.first().unwrap(), pages.last().unwrap());
    // The relay measures at the server's end of the connection; the program is half a round trip away.
    let half = DELAYS.round_trip / 2;
    let first_sent = first.requested_at.saturating_sub(half);
    let first_connection = slow_connection.yotpo.first_connection().unwrap().saturating_sub(started);
    let start = first_sent.saturating_sub(started);
    let fetching = (last.responded_at + half).saturating_sub(first_sent);
    let ideal = Duration::from_secs_f64(f64::from(PAGES - 1) / REQUESTS_PER_SECOND);
    let ratio = fetching.as_secs_f64() / ideal.as_secs_f64();
    let gaps = pages.windows(2).map(|pair| pair[1].requested_at.saturating_sub(pair[0].requested_at));
    let max_gap = gaps.max().unwrap();
    let max_response =
        pages.iter().map(|page| page.responded_at.saturating_sub(page.requested_at)).max().unwrap();
    let control = slow_connection.sandbox.control();
    let max_in_a_second = control.max_requests_in_rolling_second();
    let requests = control.requests(Service::Yotpo);
    let connections = slow_connection.yotpo.connections();

    let milliseconds = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
    println!("| pages | ideal | fetching | ratio | start | wall | maximum gap | maximum response |");
    println!(
        "| {PAGES} | {ideal:.2?} | {fetching:.2?} | {ratio:.4} | {start:.1?} | {wall:.2?} | {max_gap:.1?} | \
         {max_response:.1?} |"
    );
    let figures = json!({
        "benchmark": "limiter",
        "pages": PAGES,
        "page_size": PAGE_SIZE,
        "requests_per_second": REQUESTS_PER_SECOND,
        "round_trip_ms": milliseconds(DELAYS.round_trip),
        "response_ms": milliseconds(DELAYS.response),
        "first_connection_ms": milliseconds(first_connection),
        "start_ms": milliseconds(start),
        "fetching_ms": milliseconds(fetching),
        "ideal_ms": milliseconds(ideal),
        "ratio": (ratio * 10_000.0).round() / 10_000.0,
        "wall_ms": milliseconds(wall),
        "max_gap_ms": milliseconds(max_gap),
        "max_response_ms": milliseconds(max_response),
        "yotpo_requests": requests,
        "yotpo_connections": connections,
        "max_requests_in_a_second": max_in_a_second,
    });
    println!("{figures}");
    if ratio > MAX_RATIO {
        println!("the pages took {ratio:.4} times as long as the limit allows (maximum {MAX_RATIO})");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
