//! Request bodies that are too large, incomplete, of unknown length, or cannot be stored.

use super::*;

/// Maximum size of a body other than a part.
const MAX_SIZE: usize = 1_024 * 1_024;

/// A sandbox with an open session `one`.
async fn with_session(settings: SandboxSettings) -> (Sandbox, Client) {
    let (sandbox, client) = start(settings).await;
    client.control.create_table(DATABASE, "customers");
    let created = client.post(&format!("/v3/bulk_import/create/one/{DATABASE}/customers")).await;
    assert_eq!(created.status, StatusCode::OK);
    (sandbox, client)
}

/// Sends `request` as it is, then ends the sending half of the connection. Returns the status line and the message.
async fn send_raw(sandbox: &Sandbox, request: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(sandbox.treasure_data_address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    (head.lines().next().unwrap().to_owned(), body["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn bodies_of_unknown_length_and_incomplete_ones_change_nothing() {
    let (sandbox, client) = with_session(virtual_settings()).await;
    let upload = "PUT /v3/bulk_import/upload_part/one/part";
    for (line, length, body, status, message) in [
        (
            upload,
            "transfer-encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 411 Length Required",
            "Content-Length is required",
        ),
        (
            upload,
            "content-length: 9",
            "half",
            "HTTP/1.1 400 Bad Request",
            "The request body could not be read",
        ),
        (
            "POST /v3/bulk_import/freeze/one",
            "content-length: 9",
            "half",
            "HTTP/1.1 400 Bad Request",
            "The request body could not be read",
        ),
    ] {
        let authorization = &client.authorization;
        let request =
            format!("{line} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n{length}\r\n\r\n{body}");
        let response = send_raw(&sandbox, &request).await;
        assert_eq!(response, (status.to_owned(), message.to_owned()), "{line}, {length}");
    }
    let session = sandbox.control().sessions().remove(0);
    assert_eq!((session.parts, session.upload_frozen), (Vec::new(), false));
}

#[tokio::test]
async fn a_body_may_have_a_mebibyte() {
    let (sandbox, client) = with_session(virtual_settings()).await;
    let freeze =
        async |size| client.td(Method::POST, "/v3/bulk_import/freeze/one", vec![b'x'; size]).await.unwrap();
    let refused = freeze(MAX_SIZE + 1).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.json()["error"], "The request body is too large");
    assert_eq!(refused.headers["connection"], "close");
    assert!(!sandbox.control().sessions()[0].upload_frozen);
    assert_eq!(freeze(MAX_SIZE).await.status, StatusCode::OK);
    assert!(sandbox.control().sessions()[0].upload_frozen);
}

#[tokio::test]
async fn a_part_that_cannot_be_stored_is_an_error_of_the_server() {
    let parent = tempfile::tempdir().unwrap();
    let settings = SandboxSettings { spool_directory: Some(parent.path().to_owned()), ..virtual_settings() };
    let (sandbox, client) = with_session(settings).await;
    let spool = std::fs::read_dir(parent.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir(spool).unwrap();
    let upload = client.td(Method::PUT, "/v3/bulk_import/upload_part/one/part", Vec::new()).await.unwrap();
    assert_eq!(upload.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(upload.json()["error"], "The part could not be stored");
    assert_eq!(sandbox.control().sessions()[0].parts, [""; 0]);
}
