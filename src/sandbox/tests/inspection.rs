//! The calls below `/sandbox/`, with which other processes inspect the sandbox.

use serde_json::json;

use super::*;

#[tokio::test]
async fn other_processes_see_tables_and_sessions() {
    let (sandbox, client) = start(virtual_settings()).await;
    client.prepare("one", &[part(sandbox.control(), 0..3)]).await;
    let id = sandbox.control().table_id(DATABASE, "customers").unwrap();
    let tables =
        |rows: u64| json!({"tables": [{"database": DATABASE, "table": "customers", "id": id, "rows": rows}]});
    let sessions = |status: &str, parts: &[&str], valid_records: Value| {
        json!({"sessions": [{
            "name": "one",
            "database": DATABASE,
            "table": "customers",
            "table_id": id,
            "is_valid": true,
            "status": status,
            "upload_frozen": true,
            "parts": parts,
            "valid_records": valid_records,
        }]})
    };
    assert_eq!(client.get("/sandbox/tables").await.json(), tables(0));
    assert_eq!(client.get("/sandbox/sessions").await.json(), sessions("uploading", &["part-0"], Value::Null));
    for step in ["perform", "commit"] {
        assert_eq!(client.post(&format!("/v3/bulk_import/{step}/one")).await.status, StatusCode::OK);
    }
    assert_eq!(client.get("/sandbox/tables").await.json(), tables(3));
    assert_eq!(client.get("/sandbox/sessions").await.json(), sessions("committed", &[], json!(3)));
    let count = client.get(&format!("/sandbox/tables/{DATABASE}/customers/count")).await;
    assert_eq!(count.json(), json!({"rows": 3}));
}

#[tokio::test]
async fn calls_that_do_not_exist_or_would_change_something_are_errors() {
    let (sandbox, client) = start(virtual_settings()).await;
    for (method, path, status, message) in [
        (Method::POST, "tables", 405, "only GET is supported under /sandbox/"),
        (Method::GET, "nothing", 404, "no such call"),
        (Method::GET, "requests?store=other", 404, "no such store"),
        (Method::GET, "tables/yotpo/absent/count", 404, "table yotpo.absent does not exist"),
        (Method::GET, "tables/yotpo/absent/rows", 404, "table yotpo.absent does not exist"),
        (Method::GET, "tables/yotpo/absent/verify", 404, "table yotpo.absent does not exist"),
    ] {
        let response = client.td(method, &format!("/sandbox/{path}"), Vec::new()).await.unwrap();
        assert_eq!(response.status.as_u16(), status, "{path}");
        assert_eq!(response.json(), json!({"error": message}), "{path}");
    }
    assert_eq!(sandbox.control().requests(Service::TreasureData), 0, "they are not counted");
}
