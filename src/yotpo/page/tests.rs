use super::*;
use crate::http::{DelayHint, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

fn read(body: &str) -> Result<Page, BodyProblem> {
    read_bytes(body.as_bytes())
}

fn read_bytes(body: &[u8]) -> Result<Page, BodyProblem> {
    let response = Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        delay: DelayHint::default(),
    };
    Page::parse(response.text()?, IngestionTime::MAX)
}

/// The rows of customers, each encoded separately.
fn rows(customers: &[&str]) -> Rows {
    let row = |customer: &&str| {
        let mut row = Vec::new();
        Encoder::new(IngestionTime::MAX).encode(customer, &mut row).unwrap();
        row
    };
    customers.iter().map(row).collect()
}

fn next(body: &str) -> Option<String> {
    read(body).unwrap().next().map(|cursor| cursor.as_str().to_owned())
}

#[test]
fn each_customer_is_a_row_or_rejected_with_its_position() {
    let body = r#" {"x" :[{"customers":1}], "customers" : [ {"a" : 1.10} , null,{"b":"\u00e9"},[{}] , {} ] , "y":2} "#;
    let page = read(body).unwrap();
    assert_eq!(page.customers(), 5);
    let (found, rejected) = page.into_rows();
    assert_eq!(found, rows(&[r#"{"a":1.10}"#, r#"{"b":"\u00e9"}"#, "{}"]));
    let rejected: Vec<_> =
        rejected.iter().map(|rejected| (rejected.position, rejected.reason, &*rejected.customer)).collect();
    let reason = RowError::NotAnObject;
    assert_eq!(rejected, [(2, reason, "null"), (4, reason, "[{}]")]);
}

#[test]
fn escaped_keys_are_recognised_and_duplicate_keys_rejected() {
    let page = read(r#"{"\u0063ustomers":[{}],"paginatio\u006e":{"next_page_info":"a"}}"#).unwrap();
    assert_eq!((page.customers(), page.next().map(PageCursor::as_str)), (1, Some("a")));
    for twice in [
        r#"{"customers":[],"customers":[]}"#,
        r#"{"customers":[],"\u0063ustomers":[]}"#,
        r#"{"pagination":null,"customers":[],"pagination":null}"#,
    ] {
        assert!(read(twice).is_err(), "{twice}");
    }
}

#[test]
fn every_missing_cursor_means_the_last_page() {
    for tail in [
        "",
        r#","pagination":null"#,
        r#","pagination":{}"#,
        r#","pagination":{"next_page_info":null}"#,
        r#","pagination":{"next_page_info":""}"#,
    ] {
        assert_eq!(next(&format!(r#"{{"customers":[]{tail}}}"#)), None, "{tail}");
    }
}

#[test]
fn end_with_pagination_is_distinguished_from_end_without() {
    for (tail, expected) in [
        ("", Some(EndedBy::ShortPage)),
        (r#","pagination":null"#, Some(EndedBy::ShortPage)),
        (r#","pagination":{}"#, Some(EndedBy::LastPage)),
        (r#","pagination":{"next_page_info":null}"#, Some(EndedBy::LastPage)),
        (r#","pagination":{"next_page_info":""}"#, Some(EndedBy::LastPage)),
        (r#","pagination":{"next_page_info":"a"}"#, None),
    ] {
        assert_eq!(read(&format!(r#"{{"customers":[{{}}]{tail}}}"#)).unwrap().ended_by(), expected, "{tail}");
    }
}

#[test]
fn page_that_reports_an_error_is_rejected_without_its_message() {
    for body in [
        r#"{"customers":[],"errors":[{"message":"ann@example.com"}]}"#,
        r#"{"error":"ann@example.com","customers":[{}],"pagination":{"next_page_info":"a"}}"#,
        r#"{"customers":[{}],"status":{"code":500,"message":"ann@example.com"},"pagination":null}"#,
        r#"{"\u0065rror":"ann@example.com","customers":[{}]}"#,
        r#"{"errors":[{"message":"ann@example.com"}]}"#,
    ] {
        let problem = read(body).unwrap_err();
        assert!(matches!(problem, BodyProblem::ReportsError), "{body} {problem:?}");
    }
    let fine =
        r#"{"error":null,"errors":[],"status":{"code":200},"customers":[{"error":"x"}],"pagination":null}"#;
    assert_eq!(read(fine).unwrap().customers(), 1);
}

#[test]
fn cursor_is_found_wherever_pagination_is() {
    assert_eq!(next(r#"{"pagination":{"next_page_info":"a%3D"},"customers":[]}"#).as_deref(), Some("a="));
    assert_eq!(next(r#"{"customers":[{}],"pagination":{"next_page_info":"a\/b"}}"#).as_deref(), Some("a/b"));
    assert_eq!(next(r#"{"customers":[],"pagination":{"next_page_info":12}}"#).as_deref(), Some("12"));
}

#[test]
fn row_capacity_is_an_eighth_more_and_never_excessive() {
    for length in [0, 1, 7, 100, 1_000, 97_800, 116_508, 116_509, 1_000_000, 64 << 20] {
        let (capacity, min) = (row_capacity(length), length + length / 8);
        assert!((min..=min + min / 2 + 1).contains(&capacity), "{capacity} for {length}");
    }
    assert_eq!((row_capacity(90_000), row_capacity(116_000)), (128 << 10, 128 << 10));
}

#[test]
fn a_cursor_is_accepted_up_to_the_limit() {
    let body = |length: usize| {
        format!(r#"{{"customers":[],"pagination":{{"next_page_info":"{}"}}}}"#, "c".repeat(length))
    };
    assert_eq!(next(&body(MAX_CURSOR_BYTES)).unwrap().len(), MAX_CURSOR_BYTES);
    for length in [MAX_CURSOR_BYTES + 1, 2 * MAX_CURSOR_BYTES] {
        let problem = read(&body(length)).unwrap_err().to_string();
        assert!(problem.contains("a cursor of more than 16384 bytes"), "{problem}");
    }
}

#[test]
fn rows_are_accepted_up_to_the_limit() {
    let size = |customer: &str| rows(&[customer]).iter().map(<[u8]>::len).sum::<usize>();
    let customer = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
    // A long text takes as many bytes in a row, and a constant number besides.
    let besides = size(&customer(MAX_PAGE_BYTES - 1_000)) - (MAX_PAGE_BYTES - 1_000);
    let largest = customer(MAX_PAGE_BYTES - besides);
    assert_eq!(size(&largest), MAX_PAGE_BYTES);
    assert_eq!(read(&format!(r#"{{"customers":[{largest}]}}"#)).unwrap().customers(), 1);
    let cut = read(&format!(r#"{{"customers":[{largest}"#)).unwrap_err().to_string();
    assert!(cut.contains("unexpected end"), "{cut}");
    let larger = customer(MAX_PAGE_BYTES - besides + 1);
    let problem = read(&format!(r#"{{"customers":[{larger}]}}"#)).unwrap_err();
    assert!(matches!(problem, BodyProblem::TooLarge { limit: MAX_PAGE_BYTES }), "{problem}");
}

#[test]
fn debug_output_hides_the_customers() {
    let page = read(r#"{"customers":[{"email":"ann@example.com"}],"pagination":null}"#).unwrap();
    assert_eq!(format!("{page:?}"), "Page(1 customers, None)");
    let (_, rejected) = read(r#"{"customers":[{},["ann@example.com"]]}"#).unwrap().into_rows();
    let reason = RowError::NotAnObject;
    assert_eq!(format!("{rejected:?}"), format!("[RejectedCustomer(position 2, {reason})]"));
}

#[test]
fn invalid_utf8_is_rejected_without_quoting_it() {
    let problem = read_bytes(b"{\"customers\":[{\"a\":\"\xff\"}]}").unwrap_err().to_string();
    assert!(problem.contains("not UTF-8") && problem.contains("index 20"), "{problem}");
}

#[test]
fn bodies_that_are_not_a_page_are_rejected_without_quoting_them() {
    for body in [
        "",
        "<html>",
        "rate limit exceeded",
        r#"{"errors":[{"message":"ann@example.com"}]}"#,
        r#"{"customers":null}"#,
        r#"{"customers":{}}"#,
        r#"{"customers":[],"pagination":{"next_page_info":{"a":1}}}"#,
        r#"{"customers":[],"pagination":7}"#,
        r#"{"customers":[],"pagination":["cursor"]}"#,
        "[[],null]",
        r#"{"customers":[{"email":"ann@example.com"#,
        r#"{"customers":[]} trailing"#,
        r#"{"customers":[]}}"#,
        r#"{"customers":[{}}"#,
        r#"{"customers":[{},]}"#,
        r#"{"customers":[{} {}]}"#,
        r#"{"customers":[{"id":?}],"pagination":null}"#,
        r#"{"customers":[],}"#,
        r#"{"customers":[] "pagination":null}"#,
        r#"{"customers" []}"#,
        r#"{"customers":[],"x":nul}"#,
        r#"{"customers":[],1:2}"#,
        "{}",
    ] {
        let problem = read(body).unwrap_err().to_string();
        assert!(!problem.contains("ann@"), "{problem}");
        assert!(!problem.contains("nested too deeply"), "serde accepts {body}");
    }
}

#[test]
fn deep_nesting_is_harmless() {
    let deep = 1_000_000;
    let body = format!(r#"{{"customers":[{}{}]}}"#, "[".repeat(deep), "]".repeat(deep));
    let page = read(&body).unwrap();
    assert_eq!(page.customers_with_loyalty_data(), 0);
    let (rows, rejected) = page.into_rows();
    assert!(rows.is_empty());
    assert_eq!(rejected.iter().map(|rejected| rejected.customer.len()).collect::<Vec<_>>(), [2 * deep]);
    let cut = read(&format!(r#"{{"customers":[{}"#, "[".repeat(deep))).unwrap_err();
    assert!(cut.to_string().contains("unexpected end"), "{cut}");
    let deep = 2 * deep;
    let problem =
        read(&format!(r#"{{"customers":[{}{}]}}"#, "[".repeat(deep), "]".repeat(deep))).unwrap_err();
    assert!(problem.to_string().contains("nested too deeply"), "{problem}");
    // Ignored values may be nested to any depth.
    let page = read(&format!(r#"{{"x":{}{},"customers":[]}}"#, "[".repeat(deep), "]".repeat(deep)));
    assert_eq!(page.unwrap().customers(), 0);
}

#[test]
fn too_many_customers_are_not_a_page() {
    let body = |count: usize| format!(r#"{{"customers":[{}]}}"#, vec!["1"; count].join(","));
    assert_eq!(read(&body(MAX_CUSTOMERS)).unwrap().customers(), MAX_CUSTOMERS);
    let problem = read(&body(MAX_CUSTOMERS + 1)).unwrap_err().to_string();
    assert!(problem.contains("more than 100000 customers"), "{problem}");
    let cut = body(MAX_CUSTOMERS).replace("]}", "");
    let problem = read(&cut).unwrap_err().to_string();
    assert!(problem.contains("unexpected end"), "{problem}");
}

#[test]
fn customers_with_loyalty_data_are_counted() {
    for (customers, expected) in [
        ("", 0),
        (r#"{"yotpo_loyalty":null},{"email":"yotpo_loyalty"}"#, 0),
        (r#"null,7,{"a":{"yotpo_loyalty":{}}}"#, 0),
        (r#"[{"yotpo_loyalty":{"points":1}}]"#, 0),
        (r#"{"a":1},{"yotpo_loyalty":{"points":0}}, { "yotpo_loyalty" : {} }"#, 2),
    ] {
        let page = read(&format!(r#"{{"customers":[{customers}]}}"#)).unwrap();
        assert_eq!(page.customers_with_loyalty_data(), expected, "{customers}");
    }
}
