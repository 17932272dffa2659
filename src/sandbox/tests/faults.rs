//! Injected faults from the client's point of view.

use std::num::NonZeroU32;

use super::*;
use crate::clock::{DeadlineElapsed, FLIGHT_HEADER};

#[tokio::test]
async fn every_fault_has_its_effect() {
    let mut settings = virtual_settings();
    settings.requests_per_second = NonZeroU32::new(1_000);
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    let token = client.token().await;
    let fetch_with = async |kind: FaultKind| {
        let ordinal = control.operation_requests(Operation::Customers) + 1;
        control.set_faults(FaultPlan { faults: vec![Fault::on(Operation::Customers, ordinal, kind)] });
        client.customers(&token, "limit=50").await
    };
    let fetched = || control.page_fetches().get(&0).copied().unwrap_or(0);
    for kind in [FaultKind::ResetBeforeAction, FaultKind::ResetNextConnections(0)] {
        assert!(fetch_with(kind).await.is_err());
    }
    assert_eq!(fetched(), 0);
    assert!(fetch_with(FaultKind::ResetAfterAction).await.is_err());
    assert!(fetch_with(FaultKind::TruncatedBody).await.is_err());
    assert_eq!(fetched(), 2);
    assert_eq!(fetch_with(FaultKind::EmptyOk).await.unwrap().body, b"");
    assert_eq!(
        fetch_with(FaultKind::HtmlOk).await.unwrap().headers["content-type"],
        "text/html; charset=utf-8"
    );
    assert_eq!(fetch_with(FaultKind::WrongContentType).await.unwrap().headers["content-type"], "text/html");
    let padded = fetch_with(FaultKind::Padded(100_000)).await.unwrap();
    assert!(padded.body.len() > 130_000 && padded.body.trim_ascii_start().starts_with(b"{"));
    assert!(fetch_with(FaultKind::RateLimitTextOk).await.unwrap().body.starts_with(b"API rate limit"));
    assert_eq!(fetch_with(FaultKind::DuplicateDelivery).await.unwrap().status, StatusCode::OK);
    assert_eq!(fetched(), 7);
    let whole = fetch_with(FaultKind::SlowBody(Duration::from_secs(80))).await.unwrap();
    assert!(whole.body.starts_with(b"{") && whole.body.ends_with(b"}") && whole.body.len() > 30_000);
    let delayed = fetch_with(FaultKind::Status(503, Some(RetryDelay::RetryAfterDate(9)))).await.unwrap();
    assert_eq!(delayed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(delayed.headers["retry-after"].to_str().unwrap().ends_with("GMT"));
    assert_eq!(fetch_with(FaultKind::ExpireToken).await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert!(fetch_with(FaultKind::ResetNextConnections(2)).await.is_err());
    assert!(client.customers(&token, "").await.is_err() && client.customers(&token, "").await.is_err());
    assert_eq!(client.customers(&token, "").await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert_eq!(control.applied_faults(), 14);
}

#[tokio::test]
async fn deadline_of_a_hanging_request_passes_on_virtual_time() {
    let mut settings = virtual_settings();
    settings.faults.faults = vec![Fault::on(Operation::AccessToken, 1, FaultKind::Hang)];
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let before = clock.now();
    let hung = clock.deadline(Duration::from_secs(30), client.token()).await;
    assert_eq!(hung, Err(DeadlineElapsed(Duration::from_secs(30))));
    assert_eq!((clock.now(), sandbox.control().applied_faults()), (before + Duration::from_secs(30), 1));
}

#[tokio::test]
async fn lost_and_duplicated_requests_change_the_session_as_processed() {
    let settings = SandboxSettings { import_duration: Duration::from_secs(60), ..virtual_settings() };
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    control.set_faults(FaultPlan {
        faults: vec![
            Fault::on(Operation::CreateSession, 1, FaultKind::DuplicateDelivery),
            Fault::on(Operation::UploadPart, 1, FaultKind::DuplicateDelivery),
            Fault::on(Operation::UploadPart, 2, FaultKind::Status(500, None)),
            Fault::on(Operation::UploadPart, 3, FaultKind::ResetBeforeAction),
            Fault::on(Operation::PerformSession, 1, FaultKind::DuplicateDelivery),
            Fault::on(Operation::CommitSession, 1, FaultKind::ResetAfterAction),
        ],
    });
    let create = format!("/v3/bulk_import/create/twice/{DATABASE}/customers");
    assert_eq!(client.post(&create).await.status, StatusCode::CONFLICT);
    let upload = |name: &'static str, customers| {
        let path = format!("/v3/bulk_import/upload_part/twice/{name}");
        let body = part(control, customers);
        let client = &client;
        async move { client.td(Method::PUT, &path, body).await }
    };
    assert_eq!(upload("kept", 0..100).await.unwrap().status, StatusCode::OK);
    assert_eq!(upload("failed", 100..250).await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(upload("reset", 100..250).await.is_err());
    assert_eq!(control.sessions()[0].parts, ["kept"]);
    client.post("/v3/bulk_import/freeze/twice").await;
    assert_eq!(client.post("/v3/bulk_import/perform/twice").await.status, StatusCode::CONFLICT);
    clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(client.session("twice").await["status"], "ready");
    assert!(client.td(Method::POST, "/v3/bulk_import/commit/twice", Vec::new()).await.is_err());
    assert_eq!(client.session("twice").await["status"], "committed");
    assert_eq!((control.row_count(DATABASE, "customers"), control.applied_faults()), (Some(100), 6));
}

#[tokio::test]
async fn connections_are_reset_while_others_stay_open() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    let reset = FaultKind::ResetNextConnections(1);
    control.set_faults(FaultPlan { faults: vec![Fault::on(Operation::ListDatabases, 1, reset)] });
    assert!(client.td(Method::GET, "/v3/database/list", Vec::new()).await.is_err());
    assert!(client.td(Method::GET, "/v3/database/list", Vec::new()).await.is_err());
    assert_eq!(client.get("/v3/database/list").await.status, StatusCode::OK);
    assert_eq!(control.connections(Service::TreasureData), 3);
    assert_eq!(control.requests(Service::TreasureData), 2);
    assert_eq!(client.token().await.len(), 40);
}

#[tokio::test]
async fn requests_are_processed_late_or_again_regardless_of_the_response() {
    let settings = virtual_settings();
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    client.prepare("late", &[]).await;
    client.post("/v3/bulk_import/unfreeze/late").await;
    let delay = Duration::from_secs(90);
    control.set_faults(FaultPlan {
        faults: vec![
            Fault::on(Operation::UploadPart, 1, FaultKind::LateAfterReset(delay)),
            Fault::on(Operation::UploadPart, 2, FaultKind::LateAfterTimeout(delay)),
            Fault::on(Operation::FreezeSession, 2, FaultKind::DeliveredAgain(delay)),
        ],
    });
    let upload = async |name: &str| {
        let path = format!("/v3/bulk_import/upload_part/late/{name}");
        client.td(Method::PUT, &path, part(control, 0..10)).await
    };
    let session = || control.sessions().remove(0);
    assert!(upload("reset").await.unwrap_err().is_request());
    clock.sleep(Duration::from_secs(89)).await;
    assert_eq!(session().parts, [""; 0]);
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(session().parts, ["reset"]);
    let timeout = Duration::from_secs(60);
    assert_eq!(clock.deadline(timeout, upload("hung")).await.unwrap_err(), DeadlineElapsed(timeout));
    assert_eq!(session().parts, ["reset"]);
    clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(session().parts, ["hung", "reset"]);
    assert_eq!(client.post("/v3/bulk_import/freeze/late").await.status, StatusCode::OK);
    client.post("/v3/bulk_import/unfreeze/late").await;
    clock.sleep(Duration::from_secs(89)).await;
    assert!(!session().upload_frozen);
    clock.sleep(Duration::from_secs(1)).await;
    assert!(session().upload_frozen);
}

#[tokio::test]
async fn a_request_is_processed_although_its_client_disconnected_before_it_was_read() {
    use tokio::io::AsyncWriteExt as _;
    let settings = virtual_settings();
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    client.prepare("gone", &[]).await;
    client.post("/v3/bulk_import/unfreeze/gone").await;
    let flight = clock.flight().await;
    let body = part(sandbox.control(), 0..10);
    let head = format!(
        "PUT /v3/bulk_import/upload_part/gone/part HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\
         content-length: {}\r\n{FLIGHT_HEADER}: {}\r\n\r\n",
        client.authorization,
        body.len(),
        flight.header().unwrap()
    );
    let mut stream = tokio::net::TcpStream::connect(sandbox.treasure_data_address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    drop(stream);
    drop(flight);
    clock.wait_until_idle().await;
    assert_eq!(sandbox.control().sessions()[0].parts, ["part"]);
}
