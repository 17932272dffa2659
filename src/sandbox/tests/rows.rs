//! Rows that are inserted, read back, skipped and tailed.

use std::error::Error as _;
use std::io::ErrorKind;

use serde_json::json;

use super::super::decode::{PartReader, check_record};
use super::*;

fn gzip(mut records: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut records, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// A sandbox whose table `customers` has these loaded parts.
async fn with_parts(settings: SandboxSettings, parts: &[Vec<Value>]) -> (Sandbox, Client) {
    let (sandbox, client) = start(settings).await;
    client.control.create_table(DATABASE, "customers");
    for rows in parts {
        client.control.insert_rows(DATABASE, "customers", rows).unwrap();
    }
    (sandbox, client)
}

/// The rows of `customers`, as other processes see them.
async fn rows(client: &Client, query: &str) -> Value {
    let path = format!("/sandbox/tables/{DATABASE}/customers/rows{query}");
    client.get(&path).await.json()["rows"].clone()
}

/// The times of the last rows, latest first.
async fn tail(client: &Client, query: &str) -> Vec<i64> {
    let response = client.get(&format!("/v3/table/tail/{DATABASE}/customers{query}")).await;
    assert_eq!(response.headers["content-type"], "application/x-msgpack");
    let mut records = PartReader::new(&response.body[..]);
    let mut times = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        times.push(check_record(record).unwrap());
    }
    times
}

#[tokio::test]
async fn inserted_rows_are_read_back_with_values_of_every_type() {
    let inserted = vec![
        json!({
            "time": 7,
            "json_response": "{}",
            "nothing": null,
            "yes": true,
            "negative": -70_000,
            "half": 0.5,
            "list": [1, "x", [-1]],
            "map": {"inner": {}},
        }),
        json!({"time": 8}),
        json!({"time": 9, "json_response": 5}),
    ];
    let (sandbox, client) = with_parts(virtual_settings(), std::slice::from_ref(&inserted)).await;
    assert_eq!(rows(&client, "").await, Value::Array(inserted));
    let read = sandbox.control().rows(DATABASE, "customers").unwrap();
    let responses: Vec<_> = read.map(|row| row.unwrap().json_response).collect();
    assert_eq!(responses, [Some("{}".to_owned()), None, None], "a number is a column like any other");
}

#[tokio::test]
async fn rows_need_a_table_and_a_time() {
    let (sandbox, _client) = with_parts(virtual_settings(), &[]).await;
    let control = sandbox.control();
    let rows = [json!({"time": 1}), json!({"time": "1"}), json!({}), json!(5)];
    let refused = control.insert_rows(DATABASE, "customers", &rows).unwrap_err();
    assert_eq!(refused.to_string(), "3 rows have no integer time");
    assert_eq!(control.row_count(DATABASE, "customers"), Some(0));
    for error in [
        control.insert_rows(DATABASE, "absent", &rows[..1]).unwrap_err(),
        control.rows(DATABASE, "absent").unwrap_err(),
        control.verify_table(DATABASE, "absent", 0..=1).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "table yotpo.absent does not exist");
    }
}

#[tokio::test]
async fn rows_are_skipped_within_and_across_parts() {
    let parts = [[1, 2], [3, 4]].map(|times| times.map(|time| json!({"time": time})).to_vec());
    let (sandbox, client) = with_parts(virtual_settings(), &parts).await;
    // How many rows are skipped before and after the first that is read, its time, and the times of the others.
    for (before, after, first, others) in [
        (0, 0, Some(1), vec![2, 3, 4]),
        (0, 2, Some(1), vec![4]),
        (1, 1, Some(2), vec![4]),
        (2, 0, Some(3), vec![4]),
        (3, 5, Some(4), Vec::new()),
        (9, 0, None, Vec::new()),
    ] {
        let mut rows = sandbox.control().rows(DATABASE, "customers").unwrap();
        rows.skip_rows(before).unwrap();
        assert_eq!(rows.next().map(|row| row.unwrap().time), first, "{before}");
        rows.skip_rows(after).unwrap();
        let left: Vec<_> = rows.map(|row| row.unwrap().time).collect();
        assert_eq!(left, others, "{before}, {after}");
    }
    assert_eq!(rows(&client, "?offset=3&limit=5").await, json!([{"time": 4}]));
    assert_eq!(rows(&client, "?offset=9").await, json!([]));
}

#[tokio::test]
async fn records_that_cannot_be_loaded_are_not_rows() {
    let (sandbox, client) = start(virtual_settings()).await;
    client.prepare("one", &[gzip(b"\x81\xa4time\x01\x81\xa1a\x02\x81\xa4time\x03")]).await;
    for step in ["perform", "commit"] {
        assert_eq!(client.post(&format!("/v3/bulk_import/{step}/one")).await.status, StatusCode::OK);
    }
    assert_eq!(rows(&client, "").await, json!([{"time": 1}, {"time": 3}]));
    assert_eq!(tail(&client, "").await, [3, 1]);
    assert_eq!(sandbox.control().row_count(DATABASE, "customers"), Some(2));
}

#[tokio::test]
async fn tail_returns_eighty_rows_unless_asked_for_another_number() {
    let many = (1..=100).map(|time| json!({"time": time})).collect();
    let (_sandbox, client) = with_parts(virtual_settings(), &[many]).await;
    assert_eq!(tail(&client, "").await, (21..=100).rev().collect::<Vec<i64>>());
    assert_eq!(tail(&client, "?count=2").await, [100, 99]);
    assert_eq!(tail(&client, "?count=100000").await, (1..=100).rev().collect::<Vec<i64>>());
}

#[tokio::test]
async fn tail_ends_with_the_row_that_exceeds_four_mebibytes() {
    let large = json!({"time": 3, "json_response": "x".repeat(4 * 1_024 * 1_024)});
    let parts = [vec![json!({"time": 1})], vec![json!({"time": 2}), large], vec![json!({"time": 4})]];
    let (_sandbox, client) = with_parts(virtual_settings(), &parts).await;
    assert_eq!(tail(&client, "").await, [4, 3]);
}

#[tokio::test]
async fn a_damaged_part_is_an_error_and_not_the_end_of_the_rows() {
    for (content, kind) in [
        (None, ErrorKind::NotFound),
        (Some(b"this is not a gzip file".to_vec()), ErrorKind::InvalidInput),
        (Some(gzip(b"\xc1")), ErrorKind::Other),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let settings =
            SandboxSettings { spool_directory: Some(parent.path().to_owned()), ..virtual_settings() };
        let (sandbox, client) = with_parts(settings, &[vec![json!({"time": 1})]]).await;
        let spool = std::fs::read_dir(parent.path()).unwrap().next().unwrap().unwrap().path();
        let stored = spool.join("00000000.part");
        match &content {
            Some(content) => std::fs::write(&stored, content).unwrap(),
            None => std::fs::remove_file(&stored).unwrap(),
        }
        let error = sandbox.control().rows(DATABASE, "customers").unwrap().next().unwrap().unwrap_err();
        let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!((error.to_string(), source.kind()), ("could not read a loaded part".to_owned(), kind));
        for (path, message) in [
            ("/sandbox/tables/yotpo/customers/rows", "could not read back the rows of the table"),
            ("/sandbox/tables/yotpo/customers/verify", "could not read back the rows of the table"),
            ("/v3/table/tail/yotpo/customers", "Reading the table failed"),
        ] {
            let response = client.get(path).await;
            assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}, {kind}");
            assert_eq!(response.json()["error"], message, "{path}, {kind}");
        }
    }
}
