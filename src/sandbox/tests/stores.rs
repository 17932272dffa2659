//! Several stores at one Yotpo address.

use std::num::NonZeroU32;

use super::*;

const SECOND: &str = "sandbox-store-2";

fn two_stores() -> SandboxSettings {
    SandboxSettings { additional_stores: vec![StoreSettings::numbered(2, 30, 9)], ..virtual_settings() }
}

/// Requests a token of a store with a secret.
async fn log_in(client: &Client, store: &str, secret: &str) -> Response {
    let url = format!("{}/core/v3/stores/{store}/access_tokens", client.yotpo);
    let request = client.http.post(url).body(format!(r#"{{"secret":"{secret}"}}"#));
    client.send(request).await.unwrap()
}

async fn token(client: &Client, store: &str, secret: &str) -> String {
    log_in(client, store, secret).await.json()["access_token"].as_str().unwrap().to_owned()
}

async fn page(client: &Client, store: &str, token: &str, query: &str) -> Response {
    let url = format!("{}/core/v3/stores/{store}/customers?{query}", client.yotpo);
    client.send(client.http.get(url).header("x-yotpo-token", token)).await.unwrap()
}

/// Number of customers on a page and its cursor. Customers may contain lone surrogates, which `Value` does not support.
fn customers_and_cursor(page: &Response) -> (u64, Option<String>) {
    #[derive(serde::Deserialize)]
    struct Page {
        customers: Vec<Box<serde_json::value::RawValue>>,
        pagination: Value,
    }
    let page: Page = serde_json::from_slice(&page.body).unwrap();
    (page.customers.len() as u64, page.pagination["next_page_info"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn each_store_has_its_own_secret_tokens_cursors_and_customers() {
    let settings = SandboxSettings { requests_per_second: None, ..two_stores() };
    let (sandbox, client) = start(settings).await;
    let stores = [(STORE_ID, CLIENT_SECRET, 250), (SECOND, "sandbox-client-secret-2", 30)];
    let named =
        sandbox.stores().iter().map(|store| (&*store.store_id, &*store.client_secret, store.customers));
    assert_eq!(named.collect::<Vec<_>>(), stores);
    for (store, secret, status) in [
        (STORE_ID, "sandbox-client-secret-2", StatusCode::UNAUTHORIZED),
        (SECOND, CLIENT_SECRET, StatusCode::UNAUTHORIZED),
        ("sandbox-store-3", CLIENT_SECRET, StatusCode::NOT_FOUND),
    ] {
        assert_eq!(log_in(&client, store, secret).await.status, status, "{store}");
    }
    let tokens = [token(&client, STORE_ID, CLIENT_SECRET).await, token(&client, SECOND, stores[1].1).await];
    assert_ne!(tokens[0], tokens[1]);
    let mut cursors = Vec::new();
    for (at, (store, _, customers)) in stores.into_iter().enumerate() {
        let foreign = page(&client, store, &tokens[1 - at], "limit=20").await;
        assert_eq!(foreign.status, StatusCode::UNAUTHORIZED, "a token of another store");
        let (count, cursor) = customers_and_cursor(&page(&client, store, &tokens[at], "limit=20").await);
        assert_eq!(count, 20);
        let query = format!("page_info={}&limit=100", cursor.clone().unwrap());
        let rest = page(&client, store, &tokens[at], &query).await;
        assert_eq!(customers_and_cursor(&rest).0, (customers - 20).min(100));
        cursors.push(cursor.unwrap());
    }
    for (at, (store, ..)) in stores.into_iter().enumerate() {
        let foreign = page(&client, store, &tokens[at], &format!("page_info={}", cursors[1 - at])).await;
        assert_eq!(foreign.status, StatusCode::BAD_REQUEST, "a cursor of another store");
    }
    sandbox.control().for_store(SECOND).unwrap().expire_tokens();
    assert_eq!(page(&client, SECOND, &tokens[1], "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(page(&client, STORE_ID, &tokens[0], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_store_has_its_own_rate_limit() {
    let settings = SandboxSettings { requests_per_second: NonZeroU32::new(3), ..two_stores() };
    let (sandbox, client) = start(settings).await;
    let first = token(&client, STORE_ID, CLIENT_SECRET).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(page(&client, STORE_ID, &first, "limit=1").await.status.as_u16());
    }
    let second = token(&client, SECOND, "sandbox-client-secret-2").await;
    for _ in 0..3 {
        statuses.push(page(&client, SECOND, &second, "limit=1").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
    let control = sandbox.control();
    let counts = |control: &Control| (control.max_requests_in_rolling_second(), control.page_fetches());
    assert_eq!(counts(control), (4, std::collections::BTreeMap::from([(0, 2)])));
    assert_eq!(counts(&control.for_store(SECOND).unwrap()), counts(control));
    assert!(control.for_store("sandbox-store-3").is_none());
}

#[tokio::test]
async fn a_fault_expires_the_tokens_of_all_stores() {
    let (sandbox, client) = start(two_stores()).await;
    let first = token(&client, STORE_ID, CLIENT_SECRET).await;
    let second = token(&client, SECOND, "sandbox-client-secret-2").await;
    let faults = vec![Fault::on(Operation::Customers, 1, FaultKind::ExpireToken)];
    sandbox.control().set_faults(FaultPlan { faults });
    assert_eq!(page(&client, STORE_ID, &first, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(page(&client, SECOND, &second, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_table_is_compared_with_the_named_store() {
    let (sandbox, client) = start(two_stores()).await;
    let control = sandbox.control();
    let second = control.for_store(SECOND).unwrap();
    assert_eq!((control.customers(), second.customers()), (250, 30));
    client.prepare("second", &[part(&second, 0..30)]).await;
    client.post("/v3/bulk_import/perform/second").await;
    client.post("/v3/bulk_import/commit/second").await;
    assert!(second.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap().is_exact());
    let other = control.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap();
    assert_eq!((other.missing, other.differing), (220, 30));
    let verify = format!("/sandbox/tables/{DATABASE}/customers/verify");
    for (query, exact) in [("", false), ("?store=sandbox-store", false), ("?store=sandbox-store-2", true)] {
        assert_eq!(client.get(&format!("{verify}{query}")).await.json()["exact"], exact, "{query}");
    }
    assert_eq!(client.get(&format!("{verify}?store=absent")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stores_need_different_ids() {
    let twice = vec![StoreSettings::numbered(2, 1, 1), StoreSettings::numbered(2, 5, 5)];
    for additional_stores in [twice, vec![StoreSettings::numbered(1, 1, 1)]] {
        let settings = SandboxSettings { additional_stores, ..virtual_settings() };
        assert!(matches!(Sandbox::start(settings).await, Err(SandboxError::DuplicateStore(_))));
    }
}
