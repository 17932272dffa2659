//! The loyalty check on whole runs: it counts customers across stops and resumes, and the run that a failed run
//! recommends uses what it stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::{RecoveryState, RunError, RunFailure};
use yotpo_td::sandbox::{CursorMemory, CustomerShapes, FiltersWithCursor, SandboxSettings, YotpoBehaviour};
use yotpo_td::yotpo::{LoyaltyCounts, MemberCount, YotpoError};

use crate::in_process::harness::{Scenario, TABLE, World};
use crate::in_process::scripted_server::ScriptedServer;
use crate::in_process::watchdog::on_virtual_time;
use crate::program::binary::Surroundings;

/// Customers on a page.
const PAGE: u64 = 10;

/// A store whose pages have ten customers, of whom `members(page)` have loyalty data (pages counted from 1).
struct Store {
    server: ScriptedServer,
    requested_pages: Arc<AtomicUsize>,
}

impl Store {
    fn of_pages(pages: u64, members: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        let requested_pages = Arc::new(AtomicUsize::new(0));
        let requests = Arc::clone(&requested_pages);
        let server = ScriptedServer::start(move |asked| {
            if asked.line.contains("access_tokens") {
                return (200, r#"{"access_token":"token"}"#.to_owned());
            }
            requests.fetch_add(1, Ordering::SeqCst);
            let cursor = asked.line.split("page_info=page").nth(1).unwrap_or("1");
            let page: u64 = cursor.split(['&', ' ']).next().unwrap().parse().unwrap();
            let customer = |place| {
                let loyalty = if place < members(page) { r#"{"points":1}"# } else { "null" };
                format!(r#"{{"external_id":"{page}-{place}","yotpo_loyalty":{loyalty}}}"#)
            };
            let customers: Vec<_> = (0..PAGE).map(customer).collect();
            let next = if page < pages { format!(r#""page{}""#, page + 1) } else { "null".to_owned() };
            let customers = customers.join(",");
            (200, format!(r#"{{"customers":[{customers}],"pagination":{{"next_page_info":{next}}}}}"#))
        });
        Self { server, requested_pages }
    }

    async fn world(&self) -> World {
        World::start(Scenario::append().flag("yotpo-endpoint", &self.server.endpoint())).await
    }

    /// Requests for pages since the last call.
    fn requested_pages(&self) -> usize {
        self.requested_pages.swap(0, Ordering::SeqCst)
    }
}

#[track_caller]
fn assert_lost(failure: &RunFailure, at_page: u64, expected: LoyaltyCounts) {
    assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused);
    let RunError::Yotpo(YotpoError::LoyaltyLost { page, counts, without_filters: false }) = failure.error
    else {
        panic!("{failure:?}")
    };
    assert_eq!((page, counts), (at_page, expected));
}

/// Rows in the table that have loyalty data, and all.
fn members_and_rows(world: &World) -> (usize, usize) {
    let rows = world.control().rows(world.database(), TABLE).unwrap();
    let texts: Vec<String> = rows.map(|row| row.unwrap().json_response.unwrap()).collect();
    (texts.iter().filter(|text| text.contains("points")).count(), texts.len())
}

fn counts(first_page: (u64, u64), later_pages: (u64, u64)) -> LoyaltyCounts {
    let count = |(customers, with_loyalty_data)| MemberCount { customers, with_loyalty_data };
    LoyaltyCounts { first_page: count(first_page), later_pages: count(later_pages) }
}

#[test]
fn customers_before_a_stop_count_after_it() {
    on_virtual_time(async || {
        // With 1 of 10, it takes 145 customers without loyalty data: more than one of these runs fetches.
        let store = Store::of_pages(21, |page| u64::from(page == 1));
        let world = store.world().await;
        let failure = world.interrupted_run(9).await;
        let RecoveryState::Resumable { rows: customers, .. } = failure.recovery else {
            panic!("{failure:?}")
        };
        assert!((90..160).contains(&customers), "{customers} customers are stored");
        assert_lost(&world.run().await.unwrap_err(), 16, counts((10, 1), (150, 0)));
        world.assert_untouched();
    });
}

#[test]
fn a_member_after_a_stop_decides_it() {
    on_virtual_time(async || {
        let store = Store::of_pages(40, |page| u64::from(page == 1 || page == 15));
        let world = store.world().await;
        world.interrupted_run(9).await;
        let report = world.run().await.unwrap();
        assert_eq!(members_and_rows(&world), (2, 400));
        assert_eq!((report.progress.customers_with_loyalty_data, report.progress.customers), (2, 400));
    });
}

#[test]
fn a_store_with_too_few_customers_to_decide_is_loaded() {
    on_virtual_time(async || {
        let store = Store::of_pages(15, |page| u64::from(page == 1));
        let world = store.world().await;
        let report = world.run().await.unwrap();
        assert_eq!(report.progress.customers_with_loyalty_data, 1);
        assert_eq!(members_and_rows(&world), (1, 150));
    });
}

#[test]
fn without_the_check_stored_rows_are_used_and_loaded_unchanged() {
    on_virtual_time(async || {
        let store = Store::of_pages(20, |page| if page == 1 { PAGE } else { 0 });
        let world = store.world().await;
        let failure = world.run().await.unwrap_err();
        assert_lost(&failure, 2, counts((10, 10), (10, 0)));
        let RecoveryState::Resumable { rows: customers, .. } = failure.recovery else {
            panic!("{failure:?}")
        };
        assert_eq!(customers, 20, "page 2 is stored, too");
        let words = failure.error.diagnosis().hint.unwrap();
        let (first, last) =
            (words.find("check in Yotpo").unwrap(), words.find("--loyalty-check off").unwrap());
        assert!(first < last, "{words}");
        store.requested_pages();

        let report = world.run_with(&[("loyalty-check", "off")]).await.unwrap();
        assert!(report.resumed);
        assert_eq!(store.requested_pages(), 18);
        assert_eq!(report.progress.customers_with_loyalty_data, 10);
        assert_eq!(members_and_rows(&world), (10, 200));
        world.assert_clean();
    });
}

#[test]
fn once_yotpo_is_corrected_no_row_without_loyalty_data_is_loaded() {
    on_virtual_time(async || {
        let corrected = Arc::new(AtomicBool::new(false));
        let is_corrected = Arc::clone(&corrected);
        // With 5 of 10 it takes 23 customers: two pages are stored before the one that decides.
        let store = Store::of_pages(
            20,
            move |page| {
                if page == 1 || is_corrected.load(Ordering::SeqCst) { 5 } else { 0 }
            },
        );
        let world = store.world().await;
        assert_lost(&world.run().await.unwrap_err(), 4, counts((10, 5), (30, 0)));
        // Not corrected: it starts over, and leaves one session.
        assert_lost(&world.run().await.unwrap_err(), 4, counts((10, 5), (30, 0)));
        assert_eq!(world.leftovers().len(), 1);
        world.assert_untouched();

        corrected.store(true, Ordering::SeqCst);
        store.requested_pages();
        let report = world.run().await.unwrap();
        assert_eq!(store.requested_pages(), 20);
        assert_eq!(report.progress.customers_with_loyalty_data, 100);
        assert_eq!(members_and_rows(&world), (100, 200));
        world.assert_clean();
    });
}

#[test]
fn too_few_customers_to_decide_are_a_warning() {
    let yotpo = YotpoBehaviour {
        cursor_memory: CursorMemory::Nothing,
        filters_with_cursor: FiltersWithCursor::BadRequest,
        shapes: CustomerShapes::Loyalty,
        ..YotpoBehaviour::default()
    };
    let settings = SandboxSettings { customers: 4, yotpo, ..SandboxSettings::default() };
    let warning = "no customer after the first page has loyalty data; there are too few of them";
    // With 2 of 2, it takes 13 customers without loyalty data.
    let surroundings = Surroundings::new(settings);
    let end = surroundings.run(&["--page-size", "2", "--loyalty-check", "off"]);
    end.assert_code(0);
    assert!(!end.stderr.contains(warning), "{}", end.stderr);
    let end = surroundings.run(&["--page-size", "2"]);
    end.assert_code(0);
    assert!(end.stderr.contains(warning), "{}", end.stderr);
    assert!(end.stdout.contains("4, 2 with loyalty data"), "{}", end.stdout);
}
