//! Permissions of keys.

use super::*;

#[tokio::test]
async fn wrong_keys_are_denied() {
    let (_sandbox, mut client) = start(virtual_settings()).await;
    client.authorization = "TD1 1/wrong".to_owned();
    assert_eq!(client.get("//v3/database/list").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("//v3/system/server_status").await.json()["status"], "ok");
}

#[tokio::test]
async fn a_write_only_key_may_not_read_or_change_tables() {
    let settings = SandboxSettings { key_kind: KeyKind::WriteOnly, ..virtual_settings() };
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    assert_eq!(client.get("/v3/user/apikey/validate").await.json()["key_type"], "write_only");
    for path in ["database/list", "database/show/yotpo", "table/list/yotpo", "table/show/yotpo/customers"] {
        assert_eq!(client.get(&format!("/v3/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(client.get("/v3/table/tail/yotpo/customers").await.status, StatusCode::FORBIDDEN);
    for path in [
        "database/create/more",
        "database/delete/yotpo",
        "table/delete/yotpo/customers",
        "table/rename/yotpo/customers/elsewhere",
        "table/swap/yotpo/customers/customers",
        "table/update-schema/yotpo/customers",
        "table/create/yotpo/more/log",
    ] {
        assert_eq!(client.post(&format!("/v3/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(control.tables(), [(DATABASE.to_owned(), "customers".to_owned())]);
}

#[tokio::test]
async fn a_write_only_key_creates_tables_where_that_is_allowed() {
    let treasure_data = TreasureDataBehaviour {
        write_only_table_creation: WriteOnlyTableCreation::Allowed,
        ..TreasureDataBehaviour::default()
    };
    let settings = SandboxSettings { key_kind: KeyKind::WriteOnly, treasure_data, ..virtual_settings() };
    let (sandbox, client) = start(settings).await;
    assert_eq!(client.post("/v3/table/create/yotpo/customers/log").await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/table/create/yotpo/customers/log").await.status, StatusCode::CONFLICT);
    assert_eq!(client.post("/v3/table/delete/yotpo/customers").await.status, StatusCode::FORBIDDEN);
    assert!(sandbox.control().table_id(DATABASE, "customers").is_some());
}

#[tokio::test]
async fn a_write_only_key_may_use_all_of_bulk_import() {
    let settings = SandboxSettings { key_kind: KeyKind::WriteOnly, ..virtual_settings() };
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    let mut results = Vec::new();
    for (method, path) in [
        (Method::POST, "table/append-schema/yotpo/customers?schema=[[\"json_response\",\"string\"]]"),
        (Method::POST, "bulk_import/create/one/yotpo/customers"),
        (Method::PUT, "bulk_import/upload_part/one/kept"),
        (Method::PUT, "bulk_import/upload_part/one/removed"),
        (Method::POST, "bulk_import/delete_part/one/removed"),
        (Method::GET, "bulk_import/list_parts/one"),
        (Method::POST, "bulk_import/freeze/one"),
        (Method::POST, "bulk_import/unfreeze/one"),
        (Method::POST, "bulk_import/freeze/one"),
        (Method::POST, "bulk_import/perform/one"),
        (Method::GET, "bulk_import/error_records/one"),
        (Method::GET, "job/list"),
        (Method::POST, "bulk_import/commit/one"),
        (Method::GET, "bulk_import/show/one"),
        (Method::GET, "bulk_import/list"),
        (Method::POST, "bulk_import/delete/one"),
    ] {
        let body = if method == Method::PUT { part(control, 0..250) } else { Vec::new() };
        let response = client.td(method, &format!("/v3/{path}"), body).await.unwrap();
        results.push((path, response.status));
    }
    let denied: Vec<_> = results.iter().filter(|(_, status)| *status != StatusCode::OK).collect();
    assert_eq!(denied, Vec::<&(&str, StatusCode)>::new());
    assert!(control.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap().is_exact());
}
