//! Databases, schemas, and calls for databases and tables that cannot succeed.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_database_is_created_and_deleted_once() {
    let (_sandbox, client) = start(virtual_settings()).await;
    let created = client.post("/v3/database/create/more_2").await;
    assert_eq!((created.status, created.json()), (StatusCode::OK, json!({"database": "more_2"})));
    let again = client.post("/v3/database/create/more_2").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json()["message"], "Database already exists");
    let shown = client.get("/v3/database/show/more_2").await.json();
    assert_eq!(shown["id"], again.json()["details"]["conflicts_with"].to_string());
    let list = client.get("/v3/database/list").await.json();
    let names: Vec<_> = list["databases"].as_array().unwrap().iter().map(|listed| &listed["name"]).collect();
    assert_eq!(names, ["more_2", DATABASE]);
    for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
        assert_eq!(client.post("/v3/database/delete/more_2").await.status, status);
    }
}

#[tokio::test]
async fn calls_with_invalid_or_unknown_names_say_what_is_wrong() {
    const DATABASE_NAME: &str = "Validation failed: database name must be 3 to 128 of [a-z0-9_]";
    const TABLE_NAME: &str = "Validation failed: table name must be 3 to 128 of [a-z0-9_]";
    const NO_DATABASE: &str = "Database 'nowhere' does not exist";
    const NO_TABLE: &str = "Table 'yotpo.absent' does not exist";
    let (sandbox, client) = start(virtual_settings()).await;
    sandbox.control().create_table(DATABASE, "one");
    for (method, path, status, message) in [
        (Method::POST, "database/create/ab", 422, DATABASE_NAME),
        (Method::POST, "database/create/Upper", 422, DATABASE_NAME),
        (Method::POST, "database/delete/nowhere", 404, NO_DATABASE),
        (Method::GET, "database/show/nowhere", 404, NO_DATABASE),
        (Method::GET, "table/list/nowhere", 404, NO_DATABASE),
        (Method::GET, "table/show/yotpo/absent", 404, NO_TABLE),
        (Method::POST, "table/create/yotpo/ab/log", 422, TABLE_NAME),
        (Method::POST, "table/create/yotpo/items/item", 422, "Validation failed: table type must be log"),
        (Method::POST, "table/create/nowhere/items/log", 404, NO_DATABASE),
        (Method::POST, "table/rename/nowhere/one/two", 404, NO_DATABASE),
        (Method::POST, "table/swap/nowhere/one/two", 404, NO_DATABASE),
        (Method::POST, "table/swap/yotpo/one/absent", 404, NO_TABLE),
        (Method::POST, "table/update-schema/yotpo/one", 422, "Validation failed: schema is missing"),
        (Method::POST, "table/update-schema/yotpo/absent?schema=[]", 404, NO_TABLE),
        (Method::GET, "table/tail/yotpo/absent", 404, NO_TABLE),
        (
            Method::GET,
            "table/tail/yotpo/one?format=csv",
            422,
            "Validation failed: only the format msgpack is offered",
        ),
        (Method::GET, "table/tail/yotpo/one?count=few", 422, "Validation failed: count must be a number"),
    ] {
        let response = client.td(method, &format!("/v3/{path}"), Vec::new()).await.unwrap();
        assert_eq!(response.status.as_u16(), status, "{path}");
        assert_eq!(response.json()["error"], message, "{path}");
    }
    assert_eq!(sandbox.control().tables(), [(DATABASE.to_owned(), "one".to_owned())]);
}

#[tokio::test]
async fn a_schema_can_be_replaced_by_columns_of_any_type() {
    let (sandbox, client) = start(virtual_settings()).await;
    sandbox.control().create_table(DATABASE, "customers");
    for (operation, columns) in [
        ("append", r#"[["id","long"]]"#),
        ("update", r#"[["id","string"],["_tags","array<string>"],["map2","map<string,long>"]]"#),
    ] {
        let path = format!("/v3/table/{operation}-schema/{DATABASE}/customers?schema={columns}");
        assert_eq!(client.post(&path).await.status, StatusCode::OK);
        let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
        assert_eq!(table["schema"], columns);
    }
}
