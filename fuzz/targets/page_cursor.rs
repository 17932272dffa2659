//! A cursor, from the response to the URL of the next page.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use yotpo_td::sandbox::fuzzing::cursor_on_page;
use yotpo_td::secret::Secret;
use yotpo_td::yotpo::fuzzing::page_urls;
use yotpo_td::yotpo::{PageCursor, YotpoSettings};

use super::Verdict;
use super::page_body::read;

/// A cursor is sent encoded exactly once, however it was received, and does not change when it is saved.
pub fn page_cursor(data: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else { return Verdict::Rejected };
    let Some(cursor) = PageCursor::from_response(text) else {
        assert!(text.is_empty(), "only an empty cursor is rejected");
        return Verdict::Rejected;
    };
    if !text.contains('%') {
        assert_eq!(cursor.as_str(), text, "a cursor that is not encoded is unchanged");
    }
    assert_eq!(PageCursor::from_plain(cursor.as_str()), cursor, "saving does not change a cursor");
    let encoded = utf8_percent_encode(cursor.as_str(), NON_ALPHANUMERIC).to_string();
    assert_eq!(PageCursor::from_response(&encoded).as_ref(), Some(&cursor), "the encoded cursor is the same");
    assert_eq!(format!("{cursor:?}"), format!("PageCursor({} bytes)", cursor.as_str().len()));

    assert_is_found_on_a_page(text, &cursor);
    assert_is_sent(&cursor);
    assert_accepted_by_the_sandbox(text);
    assert_accepted_by_the_sandbox(cursor.as_str());
    Verdict::Accepted
}

fn assert_is_found_on_a_page(text: &str, cursor: &PageCursor) {
    let body = serde_json::json!({ "customers": [], "pagination": { "next_page_info": text } }).to_string();
    let page = read(body.as_bytes()).expect("this is a page");
    assert_eq!(page.next(), Some(cursor));
}

fn assert_is_sent(cursor: &PageCursor) {
    let settings = YotpoSettings {
        endpoint: "https://127.0.0.1/base".parse().expect("a URL"),
        store: "store".parse().expect("a store"),
        client_secret: Secret::new("secret").expect("a secret"),
    };
    let all = [("limit", "100"), ("include_custom_properties", "true"), ("expand", "loyalty")];
    for (address, others) in page_urls(&settings, cursor).iter().zip([&all[..], &all[1..], &all[..1]]) {
        let address = url::Url::parse(address.as_str()).expect("a URL");
        assert_eq!(address.path(), "/base/core/v3/stores/store/customers");
        assert_eq!((address.host_str(), address.fragment()), (Some("127.0.0.1"), None));
        let pairs: Vec<_> = address.query_pairs().collect();
        let expected = [("page_info", cursor.as_str())];
        let expected = expected.iter().chain(others).map(|(name, value)| ((*name).into(), (*value).into()));
        assert!(pairs.iter().cloned().eq(expected), "sent as {address}");
    }
}

/// The sandbox accepts the cursor that it returned, and only if it was decoded once.
fn assert_accepted_by_the_sandbox(text: &str) {
    let Some(encoded) = cursor_on_page(text) else { return };
    let received = PageCursor::from_response(&encoded).expect("a cursor on a page is not empty");
    assert_eq!(received.as_str(), text);
    assert_eq!(cursor_on_page(&encoded), None, "a cursor that is still encoded is rejected");
}
