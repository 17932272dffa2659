//! Tokens, cursors and pages.

use super::super::customer::PageLayout;
use super::super::reply::CallBody;
use super::*;

#[derive(serde::Deserialize)]
struct Page {
    customers: Vec<Box<serde_json::value::RawValue>>,
    #[serde(default)]
    pagination: Value,
}

fn store(customers: u64, behaviour: YotpoBehaviour) -> Yotpo {
    let (store_id, client_secret) = ("store".to_owned(), "secret".to_owned());
    Yotpo::new(&StoreSettings { store_id, client_secret, customers, seed: 1 }, 0, behaviour, None)
}

fn call(yotpo: &Yotpo, operation: Operation, query: &str, token: &str, body: &'static str) -> Reply {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-yotpo-token", http::HeaderValue::from_str(token).unwrap());
    yotpo.handle(&Call {
        operation,
        arguments: vec!["store".to_owned()],
        query: query.to_owned(),
        headers,
        body: CallBody::Memory(Bytes::from_static(body.as_bytes())),
    })
}

fn token(yotpo: &Yotpo) -> String {
    let reply = call(yotpo, Operation::AccessToken, "", "", r#"{"secret":"secret"}"#);
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn get(yotpo: &Yotpo, token: &str, query: &str) -> (StatusCode, Value) {
    let reply = call(yotpo, Operation::Customers, query, token, "");
    if reply.status != StatusCode::OK {
        return (reply.status, serde_json::from_slice(&reply.body).unwrap());
    }
    // Customers stay text: some contain lone surrogates, which `Value` does not support.
    let page: Page = serde_json::from_slice(&reply.body).unwrap();
    let customers: Vec<_> = page.customers.iter().map(|customer| customer.get()).collect();
    (reply.status, json!({"customers": customers, "pagination": page.pagination}))
}

/// Follows the cursors; returns the size of each page and the last response.
fn follow_cursors(yotpo: &Yotpo, filters: &str) -> (Vec<usize>, StatusCode, Value) {
    let token = token(yotpo);
    let mut sizes = Vec::new();
    let mut query = format!("limit=100{filters}");
    for _ in 0..100 {
        let (status, body) = get(yotpo, &token, &query);
        if status != StatusCode::OK {
            return (sizes, status, body);
        }
        sizes.push(body["customers"].as_array().unwrap().len());
        match body["pagination"]["next_page_info"].as_str() {
            None | Some("") => return (sizes, status, body["pagination"].clone()),
            Some(cursor) => query = format!("page_info={cursor}{filters}"),
        }
    }
    (sizes, StatusCode::LOOP_DETECTED, Value::Null)
}

#[test]
fn all_customers_are_listed_once_with_every_kind_of_last_page() {
    for last_page in [
        LastPage::NullCursor,
        LastPage::AbsentCursor,
        LastPage::EmptyCursor,
        LastPage::NullPagination,
        LastPage::AbsentPagination,
    ] {
        let yotpo = store(250, YotpoBehaviour { last_page, ..YotpoBehaviour::default() });
        let (sizes, status, _) = follow_cursors(&yotpo, "&expand=loyalty");
        assert_eq!((sizes, status), (vec![100, 100, 50], StatusCode::OK), "{last_page:?}");
        assert_eq!(yotpo.page_fetches(), BTreeMap::from([(0, 1), (100, 1), (200, 1)]));
    }
    assert_eq!(follow_cursors(&store(0, YotpoBehaviour::default()), "").0, [0]);
    assert_eq!(follow_cursors(&store(100, YotpoBehaviour::default()), "").0, [100]);
}

#[test]
fn the_end_can_be_an_error_and_pages_can_be_empty() {
    let last_page = LastPage::NoResultsFound;
    let yotpo = store(200, YotpoBehaviour { last_page, ..YotpoBehaviour::default() });
    let (sizes, status, body) = follow_cursors(&yotpo, "");
    assert_eq!((sizes, status), (vec![100, 100], StatusCode::BAD_REQUEST));
    assert!(body.to_string().contains("No results found"));
    let empty_page_after = NonZeroU64::new(1);
    let yotpo = store(250, YotpoBehaviour { empty_page_after, ..YotpoBehaviour::default() });
    assert_eq!(follow_cursors(&yotpo, "").0, [100, 0, 100, 0, 50]);
}

#[test]
fn a_number_can_be_among_the_customers() {
    let kind = GlitchKind::NumberAmongCustomers;
    for page_layout in [PageLayout::Compact, PageLayout::Spaced, PageLayout::Pretty] {
        let glitch = Some(Glitch { page: NonZeroU64::MIN, times: 1, kind });
        let yotpo = store(2, YotpoBehaviour { page_layout, glitch, ..YotpoBehaviour::default() });
        let token = token(&yotpo);
        let customers = |body: Value| body["customers"].as_array().unwrap().clone();
        let (with, without) = (customers(get(&yotpo, &token, "").1), customers(get(&yotpo, &token, "").1));
        assert_eq!(with[0], "7");
        assert_eq!(with[1..], without);
    }
}

#[test]
fn repeated_cursor_causes_an_endless_loop() {
    let repeated_cursor_at = NonZeroU64::new(2);
    let yotpo = store(1_000, YotpoBehaviour { repeated_cursor_at, ..YotpoBehaviour::default() });
    assert_eq!(follow_cursors(&yotpo, "").1, StatusCode::LOOP_DETECTED);
}

#[test]
fn cursor_must_be_encoded_exactly_once() {
    let yotpo = store(250, YotpoBehaviour::default());
    let token = token(&yotpo);
    let (_, body) = get(&yotpo, &token, "limit=100");
    let cursor = body["pagination"]["next_page_info"].as_str().unwrap();
    assert_eq!(get(&yotpo, &token, &format!("page_info={cursor}")).0, StatusCode::OK);
    let twice = cursor.replace('%', "%25");
    assert_eq!(get(&yotpo, &token, &format!("page_info={twice}")).0, StatusCode::BAD_REQUEST);
    yotpo.invalidate_cursors();
    assert_eq!(get(&yotpo, &token, &format!("page_info={cursor}")).0, StatusCode::BAD_REQUEST);
}

#[test]
fn filters_with_a_cursor_are_kept_forgotten_or_an_error() {
    let has_loyalty = |body: &Value| body.to_string().contains("points_balance");
    let second = |behaviour: YotpoBehaviour, filters: &str| {
        let yotpo = store(250, behaviour);
        let token = token(&yotpo);
        let (_, first) = get(&yotpo, &token, "limit=100&expand=loyalty");
        assert!(has_loyalty(&first));
        let cursor = first["pagination"]["next_page_info"].as_str().unwrap().to_owned();
        get(&yotpo, &token, &format!("page_info={cursor}{filters}"))
    };
    assert!(has_loyalty(&second(YotpoBehaviour::default(), "").1));
    let forgets = YotpoBehaviour { cursor_memory: CursorMemory::Nothing, ..YotpoBehaviour::default() };
    assert!(!has_loyalty(&second(forgets.clone(), "").1));
    assert!(has_loyalty(&second(forgets, "&expand=loyalty").1));
    let filters_with_cursor = FiltersWithCursor::BadRequest;
    let rejects = YotpoBehaviour { filters_with_cursor, ..YotpoBehaviour::default() };
    assert_eq!(second(rejects.clone(), "&expand=loyalty").0, StatusCode::BAD_REQUEST);
    assert_eq!(second(rejects, "&limit=100").0, StatusCode::OK);
}

#[test]
fn tokens_are_checked_used_up_and_expired() {
    let yotpo = store(10, YotpoBehaviour { max_token_uses: NonZeroU64::new(2), ..YotpoBehaviour::default() });
    assert_eq!(get(&yotpo, "invented", "").0, StatusCode::UNAUTHORIZED);
    let first = token(&yotpo);
    let statuses: Vec<_> = (0..3).map(|_| get(&yotpo, &first, "").0.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 401]);
    let second = token(&yotpo);
    yotpo.expire_tokens();
    assert_eq!(get(&yotpo, &second, "").0, StatusCode::UNAUTHORIZED);
    let wrong_secret = call(&yotpo, Operation::AccessToken, "", "", r#"{"secret":"wrong"}"#);
    assert_eq!(wrong_secret.status, StatusCode::UNAUTHORIZED);
    assert_eq!(call(&yotpo, Operation::AccessToken, "", "", "garbage").status, StatusCode::BAD_REQUEST);
}

#[test]
fn page_size_is_limited() {
    let yotpo = store(250, YotpoBehaviour::default());
    let token = token(&yotpo);
    for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "limit="] {
        assert_eq!(get(&yotpo, &token, query).0, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(get(&yotpo, &token, "limit=7").1["customers"].as_array().unwrap().len(), 7);
}
