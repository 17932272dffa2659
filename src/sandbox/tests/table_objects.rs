//! Tables are objects with an id, independent of their name.

use super::*;

/// The id of a table as reported by `show` and `list`; `None` if it does not exist.
async fn id(client: &Client, table: &str) -> Option<u64> {
    let shown = client.get(&format!("/v3/table/show/{DATABASE}/{table}")).await.json();
    let list = client.get(&format!("/v3/table/list/{DATABASE}")).await.json();
    let listed = list["tables"].as_array().unwrap().iter().find(|listed| listed["name"] == table);
    let listed = listed.map(|listed| listed["id"].clone()).unwrap_or_default();
    assert_eq!(shown["id"], listed, "show and list agree about {table}");
    assert_eq!(client.control.table_id(DATABASE, table), listed.as_u64());
    listed.as_u64()
}

async fn create(client: &Client, table: &str) -> StatusCode {
    client.post(&format!("/v3/table/create/{DATABASE}/{table}/log")).await.status
}

async fn delete(client: &Client, table: &str) -> StatusCode {
    client.post(&format!("/v3/table/delete/{DATABASE}/{table}")).await.status
}

#[tokio::test]
async fn an_id_is_kept_in_a_rename_and_never_reused() {
    let (sandbox, client) = start(virtual_settings()).await;
    assert_eq!(create(&client, "first").await, StatusCode::OK);
    let first = id(&client, "first").await.unwrap();
    assert_eq!(client.rename("first", "moved", false).await, StatusCode::OK);
    assert_eq!((id(&client, "moved").await, id(&client, "first").await), (Some(first), None));
    assert_eq!(create(&client, "first").await, StatusCode::OK);
    let second = id(&client, "first").await.unwrap();
    assert_eq!(client.rename("first", "moved", true).await, StatusCode::OK);
    assert_eq!((id(&client, "moved").await, id(&client, "first").await), (Some(second), None));
    assert_eq!(delete(&client, "moved").await, StatusCode::OK);
    assert_eq!(create(&client, "moved").await, StatusCode::OK);
    let third = id(&client, "moved").await.unwrap();
    assert!(sandbox.control().recreate_table(DATABASE, "moved"));
    let fourth = id(&client, "moved").await.unwrap();
    let distinct = std::collections::BTreeSet::from([first, second, third, fourth]);
    assert_eq!(distinct.len(), 4);
}

#[tokio::test]
async fn used_and_missing_names_are_errors() {
    let (sandbox, client) = start(virtual_settings()).await;
    assert_eq!(create(&client, "one").await, StatusCode::OK);
    assert_eq!(create(&client, "one").await, StatusCode::CONFLICT);
    assert_eq!(create(&client, "two").await, StatusCode::OK);
    let elsewhere = client.post("/v3/table/create/nowhere/one/log").await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let before = (id(&client, "one").await, id(&client, "two").await);
    for (from, to, overwrite, status) in [
        ("one", "two", false, StatusCode::CONFLICT),
        ("one", "one", true, StatusCode::CONFLICT),
        ("absent", "two", true, StatusCode::NOT_FOUND),
        ("absent", "three", false, StatusCode::NOT_FOUND),
        ("one", "other.one", true, StatusCode::UNPROCESSABLE_ENTITY),
        ("one", "other%2Fone", true, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(client.rename(from, to, overwrite).await, status, "{from} to {to}");
    }
    assert_eq!((id(&client, "one").await, id(&client, "two").await), before);
    assert_eq!(delete(&client, "one").await, StatusCode::OK);
    assert_eq!(delete(&client, "one").await, StatusCode::NOT_FOUND);
    let control = sandbox.control();
    assert_eq!([control.delete_table(DATABASE, "two"), control.delete_table(DATABASE, "two")], [true, false]);
    assert_eq!(control.tables(), []);
    assert!(control.recreate_table(DATABASE, "two") && !control.recreate_table("nowhere", "two"));
    assert_eq!(control.tables(), [(DATABASE.to_owned(), "two".to_owned())]);
}
