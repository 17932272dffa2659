use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::http::scripted::{ScriptedServer, response};
use crate::http::{ClientSettings, HttpClient, Reach, Redactor, tls_configuration};
use crate::identity::{DatabaseName, OwnPart, PartName, SessionName, TableName};
use crate::rate_limit::RateLimiter;
use crate::retry::{Retrier, RetryPolicy};
use crate::secret::Secret;

/// The machine's clock, which is a minute behind [`SERVER_DATE`].
const MACHINE_TIME: Duration = Duration::from_secs(1_795_406_340);
const MACHINE_DATE: &str = "Mon, 23 Nov 2026 03:59:00 GMT";
const SERVER_DATE: &str = "Mon, 23 Nov 2026 04:00:00 GMT";

/// A client that retries nothing, and its server.
fn client(responses: Vec<Vec<u8>>) -> (TreasureDataClient, ScriptedServer) {
    let server = ScriptedServer::start(responses);
    let clock = Clock::virtual_at(MACHINE_TIME);
    let limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    let settings = ClientSettings { request_timeout: Duration::from_secs(60), reach: Reach::Loopback };
    let tls = tls_configuration(false).unwrap();
    let http = HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), Arc::clone(&limiter)).unwrap();
    let policy = RetryPolicy { max_retries: 0, base_delay: Duration::ZERO, timeout: Duration::from_secs(60) };
    let retrier = Arc::new(Retrier::new("Treasure Data", policy, limiter, clock, 7));
    let api_key = Secret::new("1/key").unwrap();
    let settings = TreasureDataSettings { endpoint: server.url.clone(), api_key };
    (TreasureDataClient::new(settings, http, retrier).unwrap(), server)
}

/// A client whose server sends this status, with a message that says nothing.
fn client_with_status(status: u16) -> TreasureDataClient {
    client(vec![response(&format!("{status} Status"), r#"{"error":"no"}"#)]).0
}

fn session() -> SessionName {
    "yotpo_td_v1_0_s_1".parse().unwrap()
}

fn part() -> PartName {
    OwnPart::new(0, b"part").render()
}

/// The status of the response that was no success.
fn status(error: &TreasureDataError) -> Option<u16> {
    error.call().status_code().map(|status| status.as_u16())
}

#[tokio::test]
async fn only_404_means_that_there_is_no_session() {
    assert_eq!(client_with_status(404).session(&session()).await.unwrap(), None);
    for other in [400, 403, 409, 422, 500] {
        let error = client_with_status(other).session(&session()).await.unwrap_err();
        assert_eq!(status(&error), Some(other), "{error:?}");
    }
    let (client, _server) = client(vec![response("200 OK", r#"{"name":"one","status":"uploading"}"#)]);
    assert_eq!(client.session(&session()).await.unwrap().unwrap().name, "one");
}

#[tokio::test]
async fn a_session_that_accepts_no_parts_is_distinguished_from_a_failed_upload() {
    let body = Bytes::from_static(b"part");
    for (code, is_stored) in [(200, true), (404, false), (409, false), (422, false)] {
        let stored = client_with_status(code).upload_part(&session(), &part(), body.clone()).await;
        assert_eq!(stored.unwrap(), is_stored, "{code}");
    }
    for other in [400, 403, 413, 500] {
        let stored = client_with_status(other).upload_part(&session(), &part(), body.clone()).await;
        let error = stored.unwrap_err();
        assert_eq!(status(&error), Some(other), "{error:?}");
    }
    let no_api = r#"{"error":"path and method do not match any API endpoint"}"#;
    let (client, _server) = client(vec![response("404 Not Found", no_api)]);
    let error = client.upload_part(&session(), &part(), body).await.unwrap_err();
    assert!(matches!(error, TreasureDataError::WrongEndpoint(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_gone_need_not_be_removed() {
    for code in [200, 404] {
        client_with_status(code).kill_job("4711").await.unwrap();
        client_with_status(code).delete_session(&session()).await.unwrap();
        client_with_status(code).delete_part(&session(), &part()).await.unwrap();
    }
    for other in [400, 403, 409, 422, 500] {
        for error in [
            client_with_status(other).kill_job("4711").await.unwrap_err(),
            client_with_status(other).delete_session(&session()).await.unwrap_err(),
            client_with_status(other).delete_part(&session(), &part()).await.unwrap_err(),
        ] {
            assert_eq!(status(&error), Some(other), "{error:?}");
        }
    }
}

#[tokio::test]
async fn each_request_has_a_date_and_each_response_sets_the_clock() {
    let dated = response(&format!("200 OK\r\nDate: {SERVER_DATE}"), "{}");
    let (client, server) = client(vec![response("200 OK", "{}"), dated]);
    assert_eq!((client.counts().requests, client.server_time()), (0, None));
    client.kill_job("4711").await.unwrap();
    assert_eq!((client.counts().requests, client.server_time()), (1, None));
    client.kill_job("4711").await.unwrap();
    assert_eq!((client.counts().requests, client.server_time()), (2, Some(MACHINE_TIME.as_secs() + 60)));
    let date = format!("\r\ndate: {MACHINE_DATE}\r\n");
    assert!(server.requests().iter().all(|request| request.contains(&date)));
}

#[tokio::test]
async fn the_kind_of_a_key_is_a_word_and_nothing_else() {
    let longest = "a".repeat(40);
    for (kind, expected) in [
        ("master", Some("master")),
        ("Write_Only", Some("write_only")),
        ("import-only", Some("import-only")),
        (&longest, Some(longest.as_str())),
        (&"a".repeat(41), None),
        ("", None),
        ("ann@example.com", None),
        ("two words", None),
        ("key1", None),
    ] {
        let body = serde_json::json!({"key_type": kind, "administrator": true}).to_string();
        let (client, _server) = client(vec![response("200 OK", body)]);
        let info = client.key_info().await.unwrap();
        assert_eq!((info.kind.as_deref(), info.administrator), (expected, Some(true)), "{kind}");
    }
}

#[tokio::test]
async fn a_column_that_cannot_be_declared_does_not_keep_rows_from_being_loaded() {
    let (database, table): (DatabaseName, TableName) =
        ("shop".parse().unwrap(), "customers".parse().unwrap());
    for (status, expected) in [
        (200, ColumnDeclaration::Done),
        (403, ColumnDeclaration::Rejected),
        (404, ColumnDeclaration::TableMissing),
        (409, ColumnDeclaration::Rejected),
        (422, ColumnDeclaration::Rejected),
    ] {
        let declared = client_with_status(status).declare_columns(&database, &table).await.unwrap();
        assert_eq!(declared, expected, "{status}");
    }
    for other in [400, 401, 500] {
        let error = client_with_status(other).declare_columns(&database, &table).await.unwrap_err();
        assert_eq!(status(&error), Some(other), "{error:?}");
    }
}
