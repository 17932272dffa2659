//! The next page is requested as soon as its cursor can be guessed, and a wrong guess changes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use yotpo_td::preview::{Masking, PreviewSettings, preview};
use yotpo_td::sandbox::{Operation, Service};
use yotpo_td::telemetry::Progress;
use yotpo_td::yotpo::LoyaltyCheck;

use crate::in_process::harness::{Scenario, World, pages};
use crate::in_process::scripted_server::ScriptedServer;
use crate::in_process::watchdog::on_virtual_time;

/// Maximum time for a request in flight to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_page_is_requested_before_the_previous_one_is_taken() {
    on_virtual_time(|| async {
        let world = World::start(Scenario::append()).await;
        let (settings, services) = (world.settings(), world.services(&world.settings()));
        let mut pages = pages(&services, &settings, LoyaltyCheck::On);
        for _ in 0..3 {
            pages.next_page().await.unwrap().unwrap();
        }
        let asked = || {
            let operations = world.control().operations();
            operations.get(&(Service::Yotpo, Operation::Customers)).copied().unwrap_or_default()
        };
        while asked() < 4 {
            tokio::task::yield_now().await;
        }
        // One page ahead and no more.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            (asked(), services.yotpo.as_ref().unwrap().counts().requests),
            (4, 5),
            "a token and four pages"
        );
        let mut rest = 0;
        while pages.next_page().await.unwrap().is_some() {
            rest += 1;
        }
        assert_eq!((rest, asked()), (7, 10));
        assert_eq!(world.control().connections(Service::Yotpo), 1);
    });
}

#[test]
fn a_preview_requests_no_page_ahead_of_the_last_one_that_it_needs() {
    on_virtual_time(|| async {
        let world = World::start(Scenario::append()).await;
        let (settings, services) = (world.settings(), world.services(&world.settings()));
        let yotpo = services.yotpo.as_ref().unwrap();
        let page_size = settings.load.transfer.page_size;
        let limit = 3 * u64::from(page_size);
        let (masking, loyalty_check) = (Masking::On, LoyaltyCheck::On);
        let wanted = PreviewSettings { limit, masking, page_size, loyalty_check };
        let shown = preview(yotpo, wanted, &Progress::default(), &services.clock).await.unwrap();
        assert_eq!((shown.customers.len() as u64, shown.has_more), (limit, true));
        // A request counts before it is sent.
        assert_eq!(yotpo.counts().requests, 4, "a token and three pages");
    });
}

/// Cursors in the order in which they were sent.
#[derive(Default)]
struct Sent(Mutex<Vec<String>>, Condvar);

impl Sent {
    /// Records a cursor and returns how often it was sent before.
    fn note(&self, cursor: &str) -> usize {
        let mut sent = self.0.lock().unwrap();
        sent.push(cursor.to_owned());
        self.1.notify_all();
        sent.iter().filter(|other| *other == cursor).count() - 1
    }

    fn wait_for(&self, cursor: &str) {
        let missing = |sent: &mut Vec<String>| !sent.iter().any(|other| other == cursor);
        let (_sent, late) = self.1.wait_timeout_while(self.0.lock().unwrap(), PATIENCE, missing).unwrap();
        assert!(!late.timed_out(), "{cursor} was not requested");
    }
}

#[test]
fn a_page_requested_by_a_wrong_guess_is_dropped() {
    let page = |id: &str, next: &str| {
        format!(r#"{{"customers":[{{"id":"{id}"}}],"pagination":{{"next_page_info":{next}}}}}"#)
    };
    let bodies = HashMap::from([
        (String::new(), page("1", r#""two""#)),
        ("two".to_owned(), page("2", r#""three""#)),
        // Its cursor is where it cannot be guessed, so that there is no further guess.
        (
            "three".to_owned(),
            r#"{"pagination":{"next_page_info":"four"},"customers":[{"id":"3"}]}"#.to_owned(),
        ),
        ("four".to_owned(), page("4", "null")),
        ("wrong".to_owned(), page("unknown", "null")),
    ]);
    let sent = Arc::new(Sent::default());
    let noted = Arc::clone(&sent);
    let yotpo = ScriptedServer::start(move |asked| {
        if asked.line.contains("access_tokens") {
            return (200, r#"{"access_token":"token"}"#.to_owned());
        }
        let cursor = asked.line.split("page_info=").nth(1).unwrap_or_default();
        let cursor = cursor.split(['&', ' ']).next().unwrap_or_default();
        match (cursor, noted.note(cursor)) {
            // Damaged, with an intact end.
            ("three", 0) => {
                (200, r#"{"customers":[{"id":?}],"pagination":{"next_page_info":"wrong"}}"#.to_owned())
            }
            ("three", _) => {
                noted.wait_for("wrong");
                (200, bodies["three"].clone())
            }
            _ => (200, bodies[cursor].clone()),
        }
    });
    on_virtual_time(async move || {
        let world = World::start(Scenario::append()).await;
        let settings = world.settings_with(&[("yotpo-endpoint", &yotpo.endpoint())]);
        let mut pages = world.pages(&settings, LoyaltyCheck::On);
        let mut customers = Vec::new();
        while let Some(page) = pages.next_page().await.unwrap() {
            let (rows, refused) = page.into_rows();
            assert_eq!(refused.len(), 0);
            customers.extend(rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()));
        }
        assert_eq!(customers.len(), 4);
        for (customer, id) in customers.iter().zip(1..) {
            assert!(customer.ends_with(&format!(r#"{{"id":"{id}"}}"#)), "{customer}");
        }
        let mut sent = sent.0.lock().unwrap().clone();
        sent.sort_unstable();
        assert_eq!(sent, ["", "four", "three", "three", "two", "wrong"]);
    });
}
