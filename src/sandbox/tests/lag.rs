//! `show` with outdated results.

use super::*;

async fn shown(client: &Client) -> (Value, Value, Value) {
    let session = client.session("one").await;
    (session["status"].clone(), session["job_id"].clone(), session["valid_records"].clone())
}

/// A frozen session with a hundred customers.
async fn frozen(behaviour: TreasureDataBehaviour) -> (Sandbox, Client) {
    let (sandbox, client) = start(SandboxSettings { treasure_data: behaviour, ..virtual_settings() }).await;
    client.control.create_table(DATABASE, "customers");
    for call in ["create/one/yotpo/customers", "freeze/one"] {
        if call.starts_with("freeze") {
            let part = part(&client.control, 0..100);
            let stored = client.td(Method::PUT, "/v3/bulk_import/upload_part/one/first", part).await.unwrap();
            assert_eq!(stored.status, StatusCode::OK);
        }
        assert_eq!(client.post(&format!("/v3/bulk_import/{call}")).await.status, StatusCode::OK);
    }
    (sandbox, client)
}

#[tokio::test]
async fn show_is_outdated_after_a_perform_or_a_commit() {
    let behaviour = TreasureDataBehaviour { stale_show_calls: 2, ..TreasureDataBehaviour::default() };
    let (_sandbox, client) = frozen(behaviour).await;
    let before = shown(&client).await;
    assert_eq!(before, ("uploading".into(), Value::Null, Value::Null));
    assert_eq!(client.post("/v3/bulk_import/perform/one").await.status, StatusCode::OK);
    let listed = client.get("/v3/bulk_import/list").await.json();
    assert_eq!(listed["bulk_imports"][0]["status"], "ready", "the list is current");
    assert_eq!([shown(&client).await, shown(&client).await], [before.clone(), before]);
    let loaded = shown(&client).await;
    assert_eq!((&loaded.0, &loaded.2), (&"ready".into(), &100.into()));
    assert_eq!(client.post("/v3/bulk_import/commit/one").await.status, StatusCode::OK);
    assert_eq!([shown(&client).await, shown(&client).await], [loaded.clone(), loaded]);
    assert_eq!(shown(&client).await.0, "committed");
}

#[tokio::test]
async fn counters_may_appear_later_than_ready() {
    let behaviour =
        TreasureDataBehaviour { show_calls_without_counters: 2, ..TreasureDataBehaviour::default() };
    let (_sandbox, client) = frozen(behaviour).await;
    assert_eq!(client.post("/v3/bulk_import/perform/one").await.status, StatusCode::OK);
    for counters in [Value::Null, Value::Null, 100.into(), 100.into()] {
        let (status, _, valid) = shown(&client).await;
        assert_eq!((status, valid), ("ready".into(), counters));
    }
}
