//! Both mock servers through real connections.

mod bodies;
mod bulk_import;
mod databases;
mod dates;
mod faults;
mod inspection;
mod jobs;
mod keys;
mod lag;
mod retention;
mod rows;
mod sessions;
mod stores;
mod table_objects;

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::settings::DATABASE;
use super::*;
use crate::clock::{Clock, FLIGHT_HEADER};

const CLIENT_SECRET: &str = "sandbox-client-secret";
const STORE_ID: &str = "sandbox-store";
const LIMIT: Duration = Duration::from_secs(30);

/// A client that shares no code with the program's clients.
struct Client {
    http: reqwest::Client,
    yotpo: String,
    treasure_data: String,
    authorization: String,
    control: Control,
    clock: Clock,
}

#[derive(Debug)]
struct Response {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "the sandbox is tested without the program's client")]
    fn new(sandbox: &Sandbox) -> Self {
        // Another test may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            http: reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap(),
            yotpo: sandbox.yotpo_endpoint(),
            treasure_data: sandbox.treasure_data_endpoint(),
            authorization: format!("TD1 {}", sandbox.credentials().api_key),
            control: sandbox.control().clone(),
            clock: sandbox.shared.clock.clone(),
        }
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Response, reqwest::Error> {
        let flight = self.clock.flight().await;
        if let Some(id) = flight.header() {
            request = request.header(FLIGHT_HEADER, id);
        }
        let exchange = async move {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await?.to_vec();
            flight.finish().await;
            Ok(Response { status, headers, body })
        };
        Clock::machine().deadline(LIMIT, exchange).await.expect("the sandbox responds in time")
    }

    async fn td(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response, reqwest::Error> {
        let request = self.http.request(method, format!("{}{path}", self.treasure_data));
        let length = body.len().to_string();
        let request = request.header("authorization", &self.authorization).header("content-length", length);
        self.send(request.body(body)).await
    }

    async fn post(&self, path: &str) -> Response {
        self.td(Method::POST, path, Vec::new()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.td(Method::GET, path, Vec::new()).await.unwrap()
    }

    async fn rename(&self, from: &str, to: &str, overwrite: bool) -> StatusCode {
        let url = format!("{}/v3/table/rename/{DATABASE}/{from}/{to}", self.treasure_data);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("authorization", &self.authorization);
        self.send(request.body(format!("overwrite={overwrite}"))).await.unwrap().status
    }

    async fn session(&self, name: &str) -> Value {
        self.get(&format!("/v3/bulk_import/show/{name}")).await.json()
    }

    async fn token(&self) -> String {
        let url = format!("{}/core/v3/stores/{STORE_ID}/access_tokens", self.yotpo);
        let request = self.http.post(url).body(format!(r#"{{"secret":"{CLIENT_SECRET}"}}"#));
        let response = self.send(request).await.unwrap();
        response.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn customers(&self, token: &str, query: &str) -> Result<Response, reqwest::Error> {
        let url = format!("{}/core/v3/stores/{STORE_ID}/customers?{query}", self.yotpo);
        self.send(self.http.get(url).header("x-yotpo-token", token)).await
    }

    /// Creates, uploads and freezes a session with these parts.
    async fn prepare(&self, name: &str, parts: &[Vec<u8>]) {
        self.control.create_table(DATABASE, "customers");
        let created = self.post(&format!("/v3/bulk_import/create/{name}/{DATABASE}/customers")).await;
        assert_eq!(created.status, StatusCode::OK);
        for (number, part) in parts.iter().enumerate() {
            let path = format!("/v3/bulk_import/upload_part/{name}/part-{number}");
            assert_eq!(self.td(Method::PUT, &path, part.clone()).await.unwrap().status, StatusCode::OK);
        }
        assert_eq!(self.post(&format!("/v3/bulk_import/freeze/{name}")).await.status, StatusCode::OK);
    }
}

async fn start(settings: SandboxSettings) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(settings).await.unwrap();
    let client = Client::new(&sandbox);
    (sandbox, client)
}

fn virtual_settings() -> SandboxSettings {
    SandboxSettings {
        customers: 250,
        clock: Clock::virtual_at(Duration::from_secs(1_800_000_000)),
        ..SandboxSettings::default()
    }
}

/// A part with the expected rows of these customers, encoded by the test itself.
fn part(control: &Control, customers: std::ops::Range<u64>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for index in customers {
        let row = control.expected_json_response(index);
        rmp::encode::write_map_len(&mut encoder, 2).unwrap();
        rmp::encode::write_str(&mut encoder, "time").unwrap();
        rmp::encode::write_uint(&mut encoder, 1_800_000_000).unwrap();
        rmp::encode::write_str(&mut encoder, "json_response").unwrap();
        rmp::encode::write_str(&mut encoder, &row).unwrap();
    }
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn pages_are_limited_compressed_and_counted() {
    let (sandbox, client) = start(virtual_settings()).await;
    let token = client.token().await;
    let url = format!("{}/core/v3/stores/{STORE_ID}/customers?limit=100", client.yotpo);
    let request = client.http.get(url).header("x-yotpo-token", &token).header("accept-encoding", "gzip");
    let first = client.send(request).await.unwrap();
    assert_eq!(
        (&first.headers["content-encoding"], &first.headers["ratelimit-remaining"]),
        (&"gzip".parse().unwrap(), &"3".parse().unwrap())
    );
    for _ in 0..3 {
        assert_eq!(client.customers(&token, "limit=1").await.unwrap().status, StatusCode::OK);
    }
    let limited = client.customers(&token, "limit=1").await.unwrap();
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (&limited.headers["ratelimit-remaining"], &limited.headers["ratelimit-reset"]),
        (&"0".parse().unwrap(), &"1".parse().unwrap())
    );
    let control = sandbox.control();
    assert_eq!((control.max_requests_in_rolling_second(), control.connections(Service::Yotpo)), (6, 1));
    assert_eq!(control.operation_requests(Operation::Customers), 5);
    assert_eq!(control.page_fetches(), std::collections::BTreeMap::from([(0, 4)]));
}

#[tokio::test]
async fn sandbox_listens_only_on_loopback_and_removes_its_spool() {
    let outside = SandboxSettings { yotpo_address: ([0, 0, 0, 0], 0).into(), ..virtual_settings() };
    assert!(matches!(Sandbox::start(outside).await, Err(SandboxError::NotLoopback(_))));
    let directory = tempfile::tempdir().unwrap();
    let settings =
        SandboxSettings { spool_directory: Some(directory.path().to_owned()), ..virtual_settings() };
    let (sandbox, client) = start(settings).await;
    client.prepare("gone", &[part(sandbox.control(), 0..250)]).await;
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    drop(sandbox);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn garbage_gets_a_response_and_never_stops_the_service() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (sandbox, client) = start(virtual_settings()).await;
    for garbage in [
        &b"\x00\xff\x01garbage\r\n\r\n"[..],
        b"GET /%ff%00/../.. HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PUT /v3/bulk_import/upload_part/a/b HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET /core/v3/stores/sandbox-store/customers?page_info=%%%&limit=%00 HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        for address in [sandbox.yotpo_address, sandbox.treasure_data_address] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut response = Vec::new();
            // A reset is as acceptable as a status.
            drop(stream.read_to_end(&mut response).await);
        }
    }
    let unknown = client.get("/v3/nothing/here").await;
    assert_eq!((unknown.status, unknown.json()["severity"].as_str()), (StatusCode::NOT_FOUND, Some("error")));
    assert_eq!(client.get("/sandbox/requests").await.json()["applied_faults"], 0);
}

/// Serves third-party clients until the file named by `SANDBOX_STOP` exists.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves clients that are run by hand"]
#[expect(clippy::disallowed_methods, reason = "run by hand")]
async fn serve_by_hand() {
    let sandbox = Sandbox::start(SandboxSettings {
        treasure_data_address: ([127, 0, 0, 1], 18_080).into(),
        yotpo_address: ([127, 0, 0, 1], 18_081).into(),
        import_duration: Duration::from_secs(1),
        commit_duration: Duration::from_secs(1),
        ..SandboxSettings::default()
    })
    .await
    .unwrap();
    println!("{} {}", sandbox.treasure_data_endpoint(), sandbox.credentials().api_key);
    let stop = std::env::var("SANDBOX_STOP").unwrap();
    while !std::path::Path::new(&stop).exists() {
        Clock::machine().sleep(Duration::from_millis(200)).await;
    }
}
