//! Both look-alikes through real connections.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// A client with none of the program's own in it.
struct Client {
    http: reqwest::Client,
    yotpo: String,
    treasure_data: String,
    authorization: String,
    control: Control,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "the sandbox is tested without the program's own client")]
    fn new(sandbox: &Sandbox) -> Self {
        // Another test may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            http: reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap(),
            yotpo: sandbox.yotpo_endpoint(),
            treasure_data: sandbox.treasure_data_endpoint(),
            authorization: format!("TD1 {}", sandbox.credentials().api_key),
            control: sandbox.control().clone(),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let exchange = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
        };
        Clock::machine().deadline(LIMIT, exchange).await.expect("the sandbox answers in time")
    }

    async fn td(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, reqwest::Error> {
        let request = self.http.request(method, format!("{}{path}", self.treasure_data));
        let length = body.len().to_string();
        let request = request.header("authorization", &self.authorization).header("content-length", length);
        self.send(request.body(body)).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.td(Method::POST, path, Vec::new()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.td(Method::GET, path, Vec::new()).await.unwrap()
    }

    async fn session(&self, name: &str) -> Value {
        self.get(&format!("/v3/bulk_import/show/{name}")).await.json()
    }

    async fn token(&self) -> String {
        let url = format!("{}/core/v3/stores/{STORE_ID}/access_tokens", self.yotpo);
        let request = self.http.post(url).body(format!(r#"{{"secret":"{CLIENT_SECRET}"}}"#));
        let answer = self.send(request).await.unwrap();
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn customers(&self, token: &str, query: &str) -> Result<Answer, reqwest::Error> {
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

/// A part with the expected rows of these customers, made by the test's own hands.
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
async fn rows_are_loaded_exactly_once_through_the_whole_state_machine() {
    let mut settings = virtual_settings();
    settings.import_duration = Duration::from_secs(60);
    settings.commit_duration = Duration::from_secs(30);
    settings.row_count_lag = Duration::from_secs(120);
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    client.prepare("first", &[part(control, 100..250), part(control, 0..100)]).await;
    assert_eq!(client.session("first").await["valid_records"], Value::Null);
    let job = client.post("/v3/bulk_import/perform/first").await.json()["job_id"].as_u64().unwrap();
    assert_eq!(client.session("first").await["status"], "performing");
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "queued");
    clock.sleep(Duration::from_secs(60)).await;
    let session = client.session("first").await;
    assert_eq!((&session["status"], &session["valid_records"]), (&"ready".into(), &250.into()));
    assert_eq!(client.get(&format!("/v3/job/show/{job}")).await.json()["status"], "success");
    assert_eq!(control.row_count(DATABASE, "customers"), Some(0));
    assert_eq!(client.post("/v3/bulk_import/commit/first").await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/bulk_import/commit/first").await.status, StatusCode::CONFLICT);
    assert_eq!(client.session("first").await["status"], "committing");
    clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(client.session("first").await["status"], "committed");
    let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
    assert_eq!((&table["count"], control.row_count(DATABASE, "customers")), (&0.into(), Some(250)));
    clock.sleep(Duration::from_secs(120)).await;
    let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
    assert_eq!((&table["count"], &table["schema"]), (&250.into(), &r#"[["json_response","string"]]"#.into()));
    let verified = control.verify_table(DATABASE, "customers", 1_800_000_000..=1_800_000_000).unwrap();
    assert!(verified.is_exact(), "{verified:?}");
    assert_eq!(client.post("/v3/bulk_import/delete/first").await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/bulk_import/delete/first").await.status, StatusCode::NOT_FOUND);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn verification_names_what_is_wrong() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    client.prepare("wrong", &[part(control, 0..100), part(control, 90..240)]).await;
    client.post("/v3/bulk_import/perform/wrong").await;
    client.post("/v3/bulk_import/commit/wrong").await;
    let own = serde_json::json!({"time": 5, "json_response": "{}", "more": 1});
    let changed = control.expected_json_response(7).replacen("null", " null", 1);
    let changed = serde_json::json!({"time": 1_800_000_000, "json_response": changed});
    control.insert_rows(DATABASE, "customers", &[own, changed]).unwrap();
    let found = control.verify_table(DATABASE, "customers", 1_800_000_000..=1_800_000_000).unwrap();
    assert_eq!((found.rows, found.missing, found.duplicated), (252, 10, 11));
    assert_eq!((found.differing, found.unknown, found.wrong_time, found.extra_columns), (1, 1, 1, 1));
    let over_http = client.get(&format!("/sandbox/tables/{DATABASE}/customers/verify")).await.json();
    assert_eq!((&over_http["missing"], &over_http["exact"]), (&10.into(), &false.into()));
    let rows =
        client.get(&format!("/sandbox/tables/{DATABASE}/customers/rows?offset=249&limit=2")).await.json();
    assert_eq!(rows["rows"][1], serde_json::json!({"time": 5, "json_response": "{}", "more": 1}));
    assert_eq!(
        client.get(&format!("/sandbox/tables/{DATABASE}/nothing/count")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn tail_shows_the_last_rows_first() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    for time in 1..=5 {
        control.insert_rows(DATABASE, "customers", &[serde_json::json!({"time": time})]).unwrap();
    }
    let tail = client.get(&format!("/v3/table/tail/{DATABASE}/customers?count=3&format=msgpack")).await;
    assert_eq!(tail.body, b"\x81\xa4time\x05\x81\xa4time\x04\x81\xa4time\x03");
}

#[tokio::test]
async fn sessions_are_bound_to_their_table_and_refuse_what_is_out_of_turn() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    client.prepare("one", &[part(control, 0..10)]).await;
    let again = client.post(&format!("/v3/bulk_import/create/one/{DATABASE}/customers")).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(client.post("/v3/bulk_import/create/ab/x/y").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.post("/v3/bulk_import/create/abc/x/y").await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.post("/v3/bulk_import/freeze/one").await.status, StatusCode::CONFLICT);
    assert_eq!(client.post("/v3/bulk_import/commit/one").await.status, StatusCode::CONFLICT);
    let late = client.td(Method::PUT, "/v3/bulk_import/upload_part/one/late", b"x".to_vec()).await.unwrap();
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(client.post("/v3/bulk_import/perform/one").await.status, StatusCode::OK);
    let renamed = format!("/v3/table/rename/{DATABASE}/customers/elsewhere");
    assert_eq!(client.post(&renamed).await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/bulk_import/commit/one").await.status, StatusCode::NOT_FOUND);
    assert_eq!(control.row_count(DATABASE, "elsewhere"), Some(0));
}

#[tokio::test]
async fn imports_without_valid_records_and_failing_commits_fall_back() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    client.prepare("bad", &[b"not a part".to_vec()]).await;
    let job = client.post("/v3/bulk_import/perform/bad").await.json()["job_id"].as_u64().unwrap();
    let session = client.session("bad").await;
    assert_eq!((&session["status"], &session["error_parts"]), (&"uploading".into(), &1.into()));
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "error");
    control.set_faults(FaultPlan {
        faults: vec![
            Fault::on(Operation::CommitSession, 1, FaultKind::FailCommit),
            Fault::on(Operation::PerformSession, 2, FaultKind::FailImport),
        ],
    });
    client.prepare("good", &[part(control, 0..10)]).await;
    client.post("/v3/bulk_import/perform/good").await;
    assert_eq!(client.session("good").await["status"], "uploading");
    client.post("/v3/bulk_import/perform/good").await;
    assert_eq!(client.post("/v3/bulk_import/commit/good").await.status, StatusCode::OK);
    assert_eq!(client.session("good").await["status"], "ready");
    client.post("/v3/bulk_import/commit/good").await;
    assert_eq!(client.session("good").await["status"], "committed");
    assert_eq!((control.row_count(DATABASE, "customers"), control.applied_faults()), (Some(10), 2));
}

#[tokio::test]
async fn rename_over_a_table_replaces_it() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    for (table, time) in [("old", 1), ("new", 2)] {
        control.create_table(DATABASE, table);
        control.insert_rows(DATABASE, table, &[serde_json::json!({"time": time})]).unwrap();
    }
    let path = format!("/v3/table/rename/{DATABASE}/new/old");
    assert_eq!(client.post(&path).await.status, StatusCode::CONFLICT);
    let request = client.http.post(format!("{}{path}", client.treasure_data));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body("overwrite=true");
    let answer = client.send(request.header("authorization", &client.authorization)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let times: Vec<_> = control.rows(DATABASE, "old").unwrap().map(|row| row.unwrap().time).collect();
    assert_eq!((times, control.row_count(DATABASE, "new")), (vec![2], None));
}

#[tokio::test]
async fn keys_are_checked_and_write_only_ones_may_not_look() {
    let mut settings = virtual_settings();
    settings.key_kind = KeyKind::WriteOnly;
    let (sandbox, mut client) = start(settings).await;
    sandbox.control().create_table(DATABASE, "customers");
    assert_eq!(client.get(&format!("/v3/table/list/{DATABASE}")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(client.get("/v3/user/apikey/validate").await.json()["key_type"], "write_only");
    client.authorization = "TD1 1/wrong".to_owned();
    assert_eq!(client.get("//v3/database/list").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("//v3/system/server_status").await.json()["status"], "ok");
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
    let refused = client.customers(&token, "limit=1").await.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (&refused.headers["ratelimit-remaining"], &refused.headers["ratelimit-reset"]),
        (&"0".parse().unwrap(), &"1".parse().unwrap())
    );
    let control = sandbox.control();
    assert_eq!((control.max_requests_in_rolling_second(), control.connections(Service::Yotpo)), (6, 1));
    assert_eq!(control.operation_requests(Operation::Customers), 5);
    assert_eq!(control.page_fetches(), std::collections::BTreeMap::from([(0, 4)]));
}

#[tokio::test]
async fn every_fault_does_what_it_says() {
    let mut settings = virtual_settings();
    settings.requests_per_second = NonZeroU32::new(1_000);
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    let token = client.token().await;
    let hit = async |kind: FaultKind| {
        let ordinal = control.operation_requests(Operation::Customers) + 1;
        control.set_faults(FaultPlan { faults: vec![Fault::on(Operation::Customers, ordinal, kind)] });
        client.customers(&token, "limit=50").await
    };
    let fetched = || control.page_fetches().get(&0).copied().unwrap_or(0);
    for kind in [FaultKind::ResetBeforeAction, FaultKind::RefuseConnections(0)] {
        assert!(hit(kind).await.is_err());
    }
    assert_eq!(fetched(), 0);
    assert!(hit(FaultKind::ResetAfterAction).await.is_err());
    assert!(hit(FaultKind::TruncatedBody).await.is_err());
    assert_eq!(fetched(), 2);
    assert_eq!(hit(FaultKind::EmptyOk).await.unwrap().body, b"");
    assert_eq!(hit(FaultKind::HtmlOk).await.unwrap().headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(hit(FaultKind::WrongContentType).await.unwrap().headers["content-type"], "text/html");
    assert!(hit(FaultKind::RateLimitTextOk).await.unwrap().body.starts_with(b"API rate limit"));
    assert_eq!(hit(FaultKind::DuplicateDelivery).await.unwrap().status, StatusCode::OK);
    assert_eq!(fetched(), 6);
    let whole = hit(FaultKind::SlowBody(Duration::from_secs(80))).await.unwrap();
    assert!(whole.body.starts_with(b"{") && whole.body.ends_with(b"}") && whole.body.len() > 30_000);
    let delayed = hit(FaultKind::Status(503, Some(RetryDelay::RetryAfterDate(9)))).await.unwrap();
    assert_eq!(delayed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(delayed.headers["retry-after"].to_str().unwrap().ends_with("GMT"));
    assert_eq!(hit(FaultKind::ExpireToken).await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert!(hit(FaultKind::RefuseConnections(2)).await.is_err());
    assert!(client.customers(&token, "").await.is_err() && client.customers(&token, "").await.is_err());
    assert_eq!(client.customers(&token, "").await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert_eq!(control.applied_faults(), 13);
}

#[tokio::test]
async fn hanging_expires_deadlines_on_virtual_time() {
    let mut settings = virtual_settings();
    settings.faults.faults = vec![Fault::on(Operation::AccessToken, 1, FaultKind::Hang)];
    let clock = settings.clock.clone();
    let (_sandbox, client) = start(settings).await;
    let before = clock.now();
    let hung = clock.deadline(Duration::from_secs(30), client.token()).await;
    assert!(hung.is_err());
    assert_eq!(clock.now(), before + Duration::from_secs(30));
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_the_spool_goes_away() {
    let outside = SandboxSettings { yotpo_address: ([0, 0, 0, 0], 0).into(), ..virtual_settings() };
    assert!(matches!(Sandbox::start(outside).await, Err(SandboxError::NotLoopback(_))));
    let folder = tempfile::tempdir().unwrap();
    let settings = SandboxSettings { spool_directory: Some(folder.path().to_owned()), ..virtual_settings() };
    let (sandbox, client) = start(settings).await;
    client.prepare("gone", &[part(sandbox.control(), 0..250)]).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(sandbox);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn garbage_is_answered_and_never_ends_the_service() {
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
            let mut answer = Vec::new();
            // A reset is as good an answer as a status.
            drop(stream.read_to_end(&mut answer).await);
        }
    }
    let unknown = client.get("/v3/nothing/here").await;
    assert_eq!((unknown.status, unknown.json()["severity"].as_str()), (StatusCode::NOT_FOUND, Some("error")));
    assert_eq!(client.get("/sandbox/requests").await.json()["applied_faults"], 0);
}

/// Serves for other people's clients until the file named by `SANDBOX_STOP` exists.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves for clients that are run by hand"]
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
