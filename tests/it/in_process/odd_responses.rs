//! Unusual responses of servers and proxies: each kind is handled correctly, or ends with a message that names it.

use std::error::Error as _;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use yotpo_td::clock::Clock;
use yotpo_td::row::RowError;
use yotpo_td::yotpo::{LoyaltyCheck, YotpoError};

use crate::in_process::harness::{Scenario, World};
use crate::in_process::scripted_server::{Asked, ScriptedResponse, ScriptedServer};
use crate::in_process::watchdog::on_virtual_time;

const TOKEN: &str = r#"{"access_token":"token"}"#;
const WEB_PAGE: &str = "<!DOCTYPE html><title>Attention Required</title>";

/// A request for a page, as a script sees it.
struct PageRequest<'a> {
    /// From 1.
    page: u64,
    /// How often this page was requested, this time included.
    nth: u64,
    asked: &'a Asked,
}

/// The result of paging through the responses of a script.
struct Paged {
    customers: usize,
    with_loyalty_data: usize,
    refused: Vec<RowError>,
    error: Option<YotpoError>,
    /// Every request with its time of arrival.
    requests: Vec<(Duration, String)>,
}

impl Paged {
    /// The requests for pages, without the path.
    fn page_queries(&self) -> Vec<&str> {
        let queries = self.requests.iter().filter_map(|(_, line)| line.split_once('?'));
        queries.map(|(_, query)| query.split(' ').next().unwrap()).collect()
    }

    /// The error and its causes, as text.
    fn words(&self) -> String {
        let error = self.error.as_ref().expect("it failed");
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            words.push_str(": ");
            words.push_str(&cause.to_string());
            source = cause.source();
        }
        words
    }
}

fn plain_page(page: u64) -> String {
    let next = if page < 4 { format!("\"{}\"", page + 1) } else { "null".to_owned() };
    format!(
        r#"{{"customers":[{{"id":{page},"yotpo_loyalty":{{}}}}],"pagination":{{"next_page_info":{next}}}}}"#
    )
}

/// Reads all pages; `script` gives status, body and further headers.
async fn paged_with(
    flags: &[(&'static str, &str)],
    loyalty_check: LoyaltyCheck,
    token: ScriptedResponse,
    script: impl Fn(&PageRequest<'_>) -> (ScriptedResponse, &'static str) + Send + Sync + 'static,
) -> Paged {
    let clock = Arc::new(OnceLock::<Clock>::new());
    let requests = Arc::new(Mutex::new(Vec::<(Duration, String)>::new()));
    let (server_clock, noted) = (Arc::clone(&clock), Arc::clone(&requests));
    let yotpo = ScriptedServer::start_with_headers(move |asked| {
        let page_of = |line: &str| -> u64 {
            let cursor =
                line.split_once("page_info=").map_or("1", |(_, rest)| rest.split(['&', ' ']).next().unwrap());
            cursor.parse().unwrap()
        };
        let mut requests = noted.lock().unwrap();
        requests.push((server_clock.get().unwrap().now(), asked.line.clone()));
        if asked.line.contains("access_tokens") {
            return (token.clone(), "");
        }
        let page = page_of(&asked.line);
        let of_page = requests.iter().filter(|(_, line)| line.contains("customers") && page_of(line) == page);
        let nth = of_page.count() as u64;
        drop(requests);
        script(&PageRequest { page, nth, asked })
    });
    let world = World::start(Scenario::append()).await;
    assert!(clock.set(world.clock.clone()).is_ok());
    let endpoint = yotpo.endpoint();
    let settings = world.settings_with(&[&[("yotpo-endpoint", endpoint.as_str())], flags].concat());
    let mut pages = world.pages(&settings, loyalty_check);
    let mut paged =
        Paged { customers: 0, with_loyalty_data: 0, refused: Vec::new(), error: None, requests: Vec::new() };
    loop {
        match pages.next_page().await {
            Ok(Some(page)) => {
                paged.customers += page.customers();
                paged.with_loyalty_data += page.customers_with_loyalty_data();
                paged.refused.extend(page.into_rows().1.into_iter().map(|refused| refused.reason));
            }
            Ok(None) => break,
            Err(error) => {
                paged.error = Some(error);
                break;
            }
        }
    }
    paged.requests = requests.lock().unwrap().clone();
    paged
}

async fn paged(script: impl Fn(&PageRequest<'_>) -> ScriptedResponse + Send + Sync + 'static) -> Paged {
    let token = (200, TOKEN.to_owned());
    paged_with(&[], LoyaltyCheck::Off, token, move |request| (script(request), "")).await
}

#[track_caller]
fn assert_whole(paged: &Paged, context: &str) {
    assert!(paged.error.is_none(), "{context}: {:?}", paged.error);
    assert_eq!((paged.customers, paged.with_loyalty_data), (4, 4), "{context}");
}

#[test]
fn a_single_400_or_422_is_not_conclusive() {
    for status in [400, 422] {
        for odd in 1..=4 {
            on_virtual_time(async move || {
                let paged = paged(move |request| match (request.page == odd, request.nth) {
                    (true, 1) => (status, r#"{"error":"Bad Request"}"#.to_owned()),
                    _ => (200, plain_page(request.page)),
                });
                let paged = paged.await;
                assert_whole(&paged, &format!("{status} on page {odd}"));
                let queries = paged.page_queries();
                assert_eq!(queries.len(), 5, "{queries:?}");
                assert!(
                    queries.iter().all(|query| query.contains("limit=") && query.contains("expand=loyalty"))
                );
            });
        }
    }
}

#[test]
fn the_form_that_a_store_accepts_is_found_and_kept() {
    for (accepted, requests) in [("filters", 4 + 2), ("limit", 4 + 4)] {
        on_virtual_time(async move || {
            let paged = paged(move |request| {
                let line = &request.asked.line;
                let is_right = match accepted {
                    "filters" => !line.contains("limit="),
                    _ => !line.contains("expand="),
                };
                if request.page == 1 || is_right {
                    (200, plain_page(request.page))
                } else {
                    (400, r#"{"errors":[{"message":"unexpected parameter"}]}"#.to_owned())
                }
            });
            let paged = paged.await;
            assert_whole(&paged, accepted);
            assert_eq!(paged.page_queries().len(), requests, "{:?}", paged.page_queries());
        });
    }
}

#[test]
fn loyalty_data_that_is_lost_with_the_filters_is_reported() {
    on_virtual_time(async || {
        let token = (200, TOKEN.to_owned());
        let paged = paged_with(&[], LoyaltyCheck::On, token, |request| {
            let loyalty = if request.page == 1 { "{}" } else { "null" };
            let customers = vec![format!(r#"{{"yotpo_loyalty":{loyalty}}}"#); 20].join(",");
            let next = request.page + 1;
            let page = format!(r#"{{"customers":[{customers}],"pagination":{{"next_page_info":"{next}"}}}}"#);
            let is_refused = request.page > 1 && request.asked.line.contains("expand=");
            if is_refused { ((400, String::new()), "") } else { ((200, page), "") }
        });
        let words = paged.await.words();
        let expected =
            "Yotpo rejects expand=loyalty in requests with a cursor, and the cursor does not preserve it";
        assert!(words.contains(expected), "{words}");
    });
}

#[test]
fn a_web_page_with_403_or_503_is_retried_and_named_if_it_persists() {
    for status in [403, 503] {
        on_virtual_time(async move || {
            let some = paged(move |request| match (request.page, request.nth) {
                (2, 1..=3) => (status, WEB_PAGE.to_owned()),
                _ => (200, plain_page(request.page)),
            });
            assert_whole(&some.await, "three times");
            let always = paged(move |_| (status, WEB_PAGE.to_owned())).await;
            assert!(matches!(always.error, Some(YotpoError::Page { page: 1, .. })), "{:?}", always.error);
            let words = always.words();
            assert!(words.contains("a firewall, a captcha or a maintenance page"), "{words}");
            assert!(words.contains(&status.to_string()), "{words}");
            let tokens = always.requests.iter().filter(|(_, line)| line.contains("access_tokens")).count();
            assert_eq!(tokens, 1, "it says nothing of the token");
        });
    }
}

#[test]
fn a_fresh_token_is_tried_again_before_a_new_one_is_requested() {
    on_virtual_time(async || {
        let token = (200, TOKEN.to_owned());
        let flags = [("retry-base-delay", "1s")];
        let paged =
            paged_with(&flags, LoyaltyCheck::Off, token, |request| match (request.page, request.nth) {
                (1, 1..=2) => ((401, r#"{"error":"unknown token"}"#.to_owned()), ""),
                _ => ((200, plain_page(request.page)), ""),
            });
        let paged = paged.await;
        assert_whole(&paged, "known at the third trial");
        let seconds: Vec<_> = paged.requests.iter().map(|(time, _)| time.as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 3, 3, 3, 3]);
        let token = (200, TOKEN.to_owned());
        let always = paged_with(&flags, LoyaltyCheck::Off, token, |_| ((401, String::new()), "")).await;
        assert!(
            matches!(always.error, Some(YotpoError::TokenNotAccepted { page: 1, .. })),
            "{:?}",
            always.error
        );
        let tokens = always.requests.iter().filter(|(_, line)| line.contains("access_tokens")).count();
        assert_eq!((tokens, always.requests.len()), (3, 3 + 9));
    });
}

#[test]
fn a_token_response_with_an_error_is_a_refusal_with_its_reason() {
    on_virtual_time(async || {
        let token = (200, r#"{"error":"invalid_client","error_description":"x"}"#.to_owned());
        let paged = paged_with(&[], LoyaltyCheck::Off, token, |_| unreachable!("there is no token")).await;
        assert!(matches!(paged.error, Some(YotpoError::CredentialsDenied(_))), "{:?}", paged.error);
        assert!(paged.words().contains("invalid_client"), "{}", paged.words());
        assert_eq!(paged.requests.len(), 1);
    });
}

#[test]
fn an_endless_series_of_empty_pages_ends() {
    on_virtual_time(async || {
        let paged = paged(|request| {
            let next = request.page + 1;
            (200, format!(r#"{{"customers":[],"pagination":{{"next_page_info":"{next}"}}}}"#))
        });
        let paged = paged.await;
        assert!(matches!(paged.error, Some(YotpoError::EndlessEmptyPages { page: 1_001, pages: 1_001 })));
        assert!(paged.requests.len() <= 1_003, "{}", paged.requests.len());
    });
}

#[test]
fn responses_that_exceed_the_memory_bound_are_refused_with_the_limit() {
    for (body, limit) in [
        (
            format!(
                r#"{{"customers":[],"pagination":{{"next_page_info":"{}"}}}}"#,
                "x".repeat(16 * 1024 + 1)
            ),
            "16384",
        ),
        // Each character of two bytes becomes six.
        (format!(r#"{{"customers":[{{"a":"{}"}}]}}"#, "é".repeat(3 * 1024 * 1024)), "16 MiB"),
        (format!(r#"{{"customers":[{{"a":"{}"}}]}}"#, "x".repeat(16 * 1024 * 1024)), "16 MiB"),
    ] {
        on_virtual_time(async move || {
            let body = Arc::new(body);
            let words = paged(move |_| (200, body.to_string())).await.words();
            assert!(words.contains(limit), "{words}");
        });
    }
}

#[test]
fn a_number_that_json_does_not_allow_is_one_bad_record() {
    on_virtual_time(async || {
        let paged = paged(|request| {
            let page = plain_page(request.page);
            (200, if request.page == 2 { page.replace("\"id\":2", "\"id\":NaN") } else { page })
        });
        let paged = paged.await;
        assert_whole(&paged, "NaN");
        assert_eq!(paged.refused, [RowError::NotANumber]);
    });
}

#[test]
fn more_than_a_hundred_headers_are_read() {
    const MANY: &str = "X-A: 1\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\n";
    on_virtual_time(async || {
        let many: &'static str = MANY.repeat(40).leak();
        let token = (200, TOKEN.to_owned());
        let script = move |request: &PageRequest<'_>| ((200, plain_page(request.page)), many);
        assert_whole(&paged_with(&[], LoyaltyCheck::Off, token, script).await, "160 headers");
    });
}

#[test]
fn a_wait_that_a_success_asks_for_never_passes_the_timeout_silently() {
    on_virtual_time(async || {
        let token = (200, TOKEN.to_owned());
        let flags = [("retry-timeout", "10m")];
        let script = |request: &PageRequest<'_>| {
            let headers = if request.page == 2 { "Retry-After: 7200\r\n" } else { "" };
            ((200, plain_page(request.page)), headers)
        };
        let paged = paged_with(&flags, LoyaltyCheck::Off, token, script).await;
        assert!(matches!(paged.error, Some(YotpoError::Page { page: 3, .. })), "{:?}", paged.error);
        assert_eq!(paged.customers, 2, "what came before is kept");
        assert!(
            paged.words().contains("the server requested a delay of 2h, longer than --retry-timeout 10m"),
            "{}",
            paged.words()
        );
    });
}

#[test]
fn customers_that_are_fetched_twice_are_counted_and_reported() {
    on_virtual_time(async || {
        let yotpo = ScriptedServer::start(|asked| {
            if asked.line.contains("access_tokens") {
                return (200, TOKEN.to_owned());
            }
            let (customers, next) = if asked.line.contains("page_info=2") {
                (r#"{"id":3},{"id":2},{"id":4}"#, "null")
            } else {
                (r#"{"id":1},{"id":2},{"id":3}"#, r#""2""#)
            };
            (200, format!(r#"{{"customers":[{customers}],"pagination":{{"next_page_info":{next}}}}}"#))
        });
        let world = World::start(Scenario::append()).await;
        let report = world.run_with(&[("yotpo-endpoint", &yotpo.endpoint())]).await.unwrap();
        assert_eq!(
            (report.rows, report.progress.seen_twice, report.progress.is_estimate),
            (Some(6), 2, false)
        );
    });
}
