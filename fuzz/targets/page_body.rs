//! A page's body, from the answer to the rows of a part.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;
use yotpo_td::http::{DelayHint, Response};
use yotpo_td::part::{ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::{self, Encoder, IngestionTime, RowError};
use yotpo_td::sandbox::fuzzing::{PartRecords, loaded_time, read_back};
use yotpo_td::yotpo::{Page, PageCursor};

use super::Verdict;
use super::unique_keys::UniqueKeys;

const TIME: IngestionTime = IngestionTime::MAX;
const WINDOW: usize = 64 * 1024;

/// Every customer of a page becomes a row that another reader finds whole, or is refused for a reason.
pub fn page_body(data: &[u8]) -> Verdict {
    let Ok(page) = split(data) else { return Verdict::Refused };
    assert_reads_the_same_otherwise(data, &page);
    let (rows, encoded) = encode(&page);
    let part = part_of(&encoded);
    assert_eq!(part.rows, encoded.len() as u64, "the part counts another number of rows");

    let mut found = PartRecords::new(&part.body[..], WINDOW);
    let mut at = 0;
    for customer in encoded {
        let record = found.next_record().expect("the part is readable").expect("a row is missing");
        assert_eq!(rows.get(at..at + record.len()), Some(record), "another row than was encoded");
        at += record.len();
        assert_is_row_of(record, customer);
    }
    assert_eq!(found.next_record(), Ok(None), "there is a row more");
    assert_eq!(at, rows.len());
    Verdict::Accepted
}

/// Splits a body as if it had been the answer of a request.
pub(super) fn split(body: &[u8]) -> Result<Page, String> {
    let response = Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        delay: DelayHint::default(),
    };
    Page::split(&response).map_err(|problem| problem.to_string())
}

/// The rows of all customers that can have one, and those customers.
fn encode(page: &Page) -> (Vec<u8>, Vec<&str>) {
    let mut encoder = Encoder::new(TIME);
    let (mut rows, mut encoded, mut refused) = (Vec::new(), Vec::new(), 0);
    for customer in page.customers() {
        let before = rows.len();
        match encoder.encode(customer, &mut rows) {
            Ok(()) => encoded.push(&**customer),
            Err(reason) => {
                assert_eq!(rows.len(), before, "a refused customer leaves nothing behind");
                let of_the_customer = matches!(reason, RowError::NotAnObject | RowError::TooDeep { .. });
                assert!(of_the_customer, "a customer that a parser accepted is refused: {reason}");
                refused += 1;
            }
        }
    }
    assert_eq!(encoded.len() + refused, page.customers().len());
    (rows, encoded)
}

fn part_of(customers: &[&str]) -> yotpo_td::part::Part {
    let mut chunks = ChunkEncoder::new(CompressionLevel::FASTEST, TIME);
    let mut builder = PartBuilder::new();
    // Two chunks, so that a part of several is met too.
    let (first, second) = customers.split_at(customers.len() / 2);
    for half in [first, second] {
        for customer in half {
            chunks.add(customer).expect("it could be encoded alone");
        }
        builder.append(&chunks.finish().expect("rows can be deflated"));
    }
    builder.finish()
}

fn assert_is_row_of(record: &[u8], customer: &str) {
    assert_eq!(loaded_time(record), i64::try_from(TIME.unix_seconds()).ok());
    let row = read_back(record);
    let columns: Vec<&str> = row.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(columns, ["json_response", "time"]);
    let text = row.get("json_response").and_then(Value::as_str).expect("json_response is a text");

    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII");
    let json: &RawValue = serde_json::from_str(text).expect("json_response is JSON");
    let mut again = Vec::new();
    row::compact(json, &mut again).expect("json_response is a customer");
    assert_eq!(again, text.as_bytes(), "the compact form is not stable");
    // Numbers out of range, lone surrogates and deep nesting are JSON too, but no `Value`.
    let _read_or_not = serde_json::from_str::<UniqueKeys>(text);
    if let Ok(sent) = serde_json::from_str::<Value>(customer) {
        assert_eq!(serde_json::from_str::<Value>(text).ok(), Some(sent), "the customer was changed");
    }
}

/// A second reading of the body, key by key: only an object with a list of customers is a page.
fn assert_reads_the_same_otherwise(body: &[u8], page: &Page) {
    assert_eq!(body.trim_ascii_start().first(), Some(&b'{'), "a page is an object");
    // Keys that no `String` can hold are not looked at.
    let Ok(body) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body) else { return };
    let customers: Vec<&RawValue> = body
        .get("customers")
        .and_then(|customers| serde_json::from_str(customers.get()).ok())
        .expect("a page has a list of customers");
    assert!(customers.iter().map(|customer| customer.get()).eq(page.customers().iter().map(|text| &**text)));

    let pagination = body.get("pagination").map_or("null", |pagination| pagination.get());
    assert!(pagination == "null" || pagination.starts_with('{'), "pagination is null or an object");
    let Ok(pagination) = serde_json::from_str::<Option<BTreeMap<String, &RawValue>>>(pagination) else {
        return;
    };
    let cursor = pagination.as_ref().and_then(|keys| keys.get("next_page_info")).map(|cursor| cursor.get());
    let cursor = match cursor {
        None | Some("null") => None,
        Some(text) if text.starts_with('"') => serde_json::from_str::<String>(text).ok(),
        Some(number) => Some(number.to_owned()),
    };
    let cursor = cursor.and_then(|cursor| PageCursor::from_answer(&cursor));
    assert_eq!(page.next(), cursor.as_ref(), "another cursor");
}
