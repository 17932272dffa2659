//! The body of a page, from the response to the rows of a part.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use yotpo_td::http::{DelayHint, Response};
use yotpo_td::part::{ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::{self, IngestionTime, RowError, Rows};
use yotpo_td::sandbox::fuzzing::{PartRecords, loaded_time, read_back};
use yotpo_td::yotpo::{Page, PageCursor, RejectedCustomer};

use super::Verdict;
use super::unique_keys::UniqueKeys;

const TIME: IngestionTime = IngestionTime::MAX;
const WINDOW: usize = 64 * 1024;

/// Every customer of a page becomes a row that another reader finds complete, or is rejected for a reason. The program
/// accepts exactly the pages that `serde_json` accepts.
pub fn page_body(data: &[u8]) -> Verdict {
    let expected = read_with_serde(data).filter(|_page| !reports_error_with_serde(data));
    let Ok(page) = read(data) else {
        assert_eq!(expected, None, "a valid page is rejected");
        return Verdict::Rejected;
    };
    let (customers, cursor) = expected.expect("an invalid page is accepted");
    assert_eq!(page.next(), cursor.as_ref(), "the cursor differs");
    assert_eq!(page.customers(), customers.len(), "the number of customers differs");
    let (min, max) = count_loyalty_data_with_serde(&customers);
    let counted = page.customers_with_loyalty_data();
    assert!((min..=max).contains(&counted), "{counted} customers have loyalty data, expected {min} to {max}");

    let (rows, rejected) = page.into_rows();
    for RejectedCustomer { position, reason, customer } in &rejected {
        assert_eq!(Some(&&**customer), customers.get(position - 1), "the wrong customer is rejected");
        let is_about_customer = matches!(
            reason,
            RowError::NotAnObject
                | RowError::TooDeep { .. }
                | RowError::TooManyKeys { .. }
                | RowError::NotANumber
        );
        assert!(is_about_customer, "a customer that a parser accepted is rejected: {reason}");
    }
    let rejected: BTreeSet<usize> = rejected.iter().map(|rejected| rejected.position - 1).collect();
    let encoded: Vec<&str> =
        (0..).zip(customers).filter(|(index, _)| !rejected.contains(index)).map(|(_, text)| text).collect();
    assert_eq!(rows.len(), encoded.len(), "the number of rows differs");
    let part = part_of(rows.clone());
    assert_eq!(part.rows, encoded.len() as u64, "the number of rows in the part differs");

    let mut found = PartRecords::new(&part.body[..], WINDOW);
    for (row, customer) in rows.iter().zip(encoded) {
        let record = found.next_record().expect("the part is readable").expect("a row is missing");
        assert_eq!(row, record, "the row differs from the encoded one");
        assert_is_row_of(record, customer);
    }
    assert_eq!(found.next_record(), Ok(None), "there is an additional row");
    Verdict::Accepted
}

/// Reads a body as if it were the response to a request.
pub(super) fn read(body: &[u8]) -> Result<Page, String> {
    let response = Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        delay: DelayHint::default(),
    };
    let page = response.text().and_then(|text| Page::parse(text, TIME));
    page.map_err(|problem| problem.to_string())
}

fn part_of(mut rows: Rows) -> yotpo_td::part::Part {
    let mut chunks = ChunkEncoder::new(CompressionLevel::FASTEST);
    let mut builder = PartBuilder::new();
    // Two chunks, so that parts with several chunks are covered.
    let first = rows.split_to(rows.len() / 2);
    for half in [first, rows] {
        chunks.add(&half);
        builder.append(&chunks.finish().expect("rows can be deflated"));
    }
    builder.finish()
}

fn assert_is_row_of(record: &[u8], customer: &str) {
    assert_eq!(loaded_time(record), i64::try_from(TIME.unix_seconds()).ok());
    let row = read_back(record);
    let columns: Vec<&str> = row.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(columns, ["json_response", "time"]);
    let text = row.get("json_response").and_then(Value::as_str).expect("json_response is a string");

    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII");
    let json: &RawValue = serde_json::from_str(text).expect("json_response is JSON");
    let mut again = Vec::new();
    row::compact(json, &mut again).expect("json_response is a customer");
    assert_eq!(again, text.as_bytes(), "the compact form is not stable");
    // Numbers out of range, lone surrogates and deep nesting are valid JSON, but not a `Value`.
    let _read_or_not = serde_json::from_str::<UniqueKeys>(text);
    if let Ok(sent) = serde_json::from_str::<Value>(customer) {
        assert_eq!(serde_json::from_str::<Value>(text).ok(), Some(sent), "the customer was changed");
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    customers: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    pagination: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Pagination<'a> {
    #[serde(default, borrow)]
    next_page_info: Option<&'a RawValue>,
}

/// The customers and the cursor of a page, as another parser reads it.
fn read_with_serde(body: &[u8]) -> Option<(Vec<&str>, Option<PageCursor>)> {
    let Body { customers, pagination } = parse_object(std::str::from_utf8(body).ok()?)?;
    let next = match pagination.map_or("null", RawValue::get) {
        "null" => None,
        pagination => parse_object::<Pagination<'_>>(pagination)?.next_page_info,
    };
    let cursor = match next.map_or("null", RawValue::get) {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).ok()?,
        number if number.starts_with(|first: char| first.is_ascii_digit()) => number.to_owned(),
        _ => return None,
    };
    let customers = customers.iter().map(|customer| customer.get()).collect();
    Some((customers, PageCursor::from_response(&cursor)))
}

/// Whether a page reports an error, as another parser reads it.
fn reports_error_with_serde(body: &[u8]) -> bool {
    let Ok(members) = serde_json::from_slice::<Members<'_>>(body) else { return false };
    members.0.iter().any(|(key, value)| match key.as_str() {
        "error" | "errors" | "error_type" => match serde_json::from_str::<Value>(value.get()) {
            Ok(Value::Null | Value::Bool(false)) => false,
            Ok(Value::Number(number)) => number.as_f64() != Some(0.0),
            Ok(Value::String(text)) => !text.trim().is_empty(),
            Ok(Value::Array(items)) => !items.is_empty(),
            Ok(Value::Object(fields)) => !fields.is_empty(),
            // Anything that is not a `Value` is not empty: a number out of range, a string with a lone surrogate, deep nesting.
            Ok(Value::Bool(true)) | Err(_) => true,
        },
        "status" => serde_json::from_str::<Value>(value.get()).is_ok_and(|status| {
            let code = if status.is_object() { status.get("code") } else { Some(&status) };
            match code {
                Some(Value::Number(code)) => code.as_f64().is_some_and(|code| (400.0..600.0).contains(&code)),
                Some(Value::String(text)) => {
                    let text = text.trim().to_ascii_lowercase();
                    let is_code = text.parse().is_ok_and(|code: f64| (400.0..600.0).contains(&code));
                    is_code || ["error", "fail", "failed", "failure"].contains(&text.as_str())
                }
                _ => false,
            }
        }),
        _ => false,
    })
}

/// The members of an object in order, including duplicate keys.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Self)
    }
}

/// The minimum and maximum number of customers with loyalty data: numbers out of range, lone surrogates and deep nesting
/// are valid JSON, but not a `Value`.
fn count_loyalty_data_with_serde(customers: &[&str]) -> (usize, usize) {
    let has_loyalty_data =
        |customer: Value| customer.get("yotpo_loyalty").is_some_and(|data| !data.is_null());
    let read = customers.iter().map(|customer| serde_json::from_str::<Value>(customer).ok());
    let found: Vec<Option<bool>> = read.map(|customer| customer.map(has_loyalty_data)).collect();
    let min = found.iter().filter(|found| **found == Some(true)).count();
    (min, min + found.iter().filter(|found| found.is_none()).count())
}

/// serde alone would accept a list as a struct, field by field.
fn parse_object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}
