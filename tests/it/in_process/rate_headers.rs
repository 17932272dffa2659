//! Rate limit headers of a successful response: the next request obeys them, to the nanosecond of virtual time.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use yotpo_td::clock::Clock;
use yotpo_td::yotpo::LoyaltyCheck;

use crate::in_process::harness::{Scenario, World};
use crate::in_process::scripted_server::{ScriptedResponse, ScriptedServer};
use crate::in_process::watchdog::on_virtual_time;

/// Time between two requests at one request a second: the limiter's guard makes it a hundredth more.
const PERIOD: Duration = Duration::from_millis(1_010);

/// What carries the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CarriedBy {
    Token,
    FirstPage,
}

/// Times from the response with these headers to the next request, and from that to the one after it.
async fn waits_after(carrier: CarriedBy, headers: &'static str) -> [Duration; 2] {
    let clock = Arc::new(OnceLock::<Clock>::new());
    let times = Arc::new(Mutex::new(Vec::new()));
    let (server_clock, noted) = (Arc::clone(&clock), Arc::clone(&times));
    let yotpo = ScriptedServer::start_with_headers(move |asked| {
        noted.lock().unwrap().push(server_clock.get().unwrap().now());
        if asked.line.contains("access_tokens") {
            let headers = if carrier == CarriedBy::Token { headers } else { "" };
            return ((200, r#"{"access_token":"token"}"#.to_owned()), headers);
        }
        let page = |next: &str| -> ScriptedResponse {
            (200, format!(r#"{{"customers":[{{"id":1}}],"pagination":{{"next_page_info":{next}}}}}"#))
        };
        if asked.line.contains("page_info=two") {
            (page(r#""three""#), "")
        } else if asked.line.contains("page_info=three") {
            (page("null"), "")
        } else {
            (page(r#""two""#), if carrier == CarriedBy::FirstPage { headers } else { "" })
        }
    });
    let world = World::start(Scenario::append()).await;
    assert!(clock.set(world.clock.clone()).is_ok());
    let flags = [("yotpo-endpoint", yotpo.endpoint()), ("requests-per-second", "1".to_owned())];
    let settings = world.settings_with(&flags.each_ref().map(|(key, value)| (*key, value.as_str())));
    let mut pages = world.pages(&settings, LoyaltyCheck::Off);
    let mut count = 0;
    while pages.next_page().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
    let times = times.lock().unwrap();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    let [after_token, after_first, after_second] = waits[..] else { panic!("{times:?}") };
    match carrier {
        CarriedBy::Token => [after_token, after_first],
        CarriedBy::FirstPage => [after_first, after_second],
    }
}

#[test]
fn rate_headers_of_a_success_delay_the_next_request() {
    let asked = Duration::from_secs(30);
    let cases = [
        ("", PERIOD),
        ("RateLimit-Remaining: 4\r\nRateLimit-Reset: 30\r\n", PERIOD),
        // Other clients used the limit: the next request waits until our last one is a second old, which the period
        // ensures.
        ("RateLimit-Remaining: 0\r\n", PERIOD),
        ("RateLimit-Remaining: 0\r\nRateLimit-Reset: 1\r\n", PERIOD),
        ("RateLimit-Remaining: 0\r\nRateLimit-Reset: 30\r\n", asked),
        ("RateLimit-Remaining: 0\r\nRetry-After: 30\r\n", asked),
        ("Retry-After: 30\r\n", asked),
    ];
    for carrier in [CarriedBy::Token, CarriedBy::FirstPage] {
        for (headers, wait) in cases {
            on_virtual_time(move || async move {
                let waits = waits_after(carrier, headers).await;
                assert_eq!(waits, [wait, PERIOD], "{headers:?} carrier {carrier:?}");
            });
        }
    }
}
