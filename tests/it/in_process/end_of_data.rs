//! The end of the data is reported, not guessed: a doubtful end is requested again, and a run that ends without a last
//! page reports this.

use std::num::NonZeroU64;
use std::time::Duration;

use serde_json::Value;
use yotpo_td::checkpoint::RunPhase;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::{RecoveryState, RunError, RunReport};
use yotpo_td::sandbox::{Glitch, GlitchKind, LastPage, Operation, SandboxSettings, YotpoBehaviour};
use yotpo_td::yotpo::{EndedBy, YotpoError};

use crate::in_process::harness::{Scenario, TABLE, World};
use crate::in_process::scripted_server::ScriptedServer;
use crate::in_process::watchdog::on_virtual_time;
use crate::program::binary::Surroundings;

const ALWAYS: u32 = u32::MAX;

/// A store of ten pages, one of which responds like this so many times.
fn store_with_glitch(page: u64, times: u32, kind: GlitchKind) -> Scenario {
    let mut scenario = Scenario::append();
    scenario.sandbox.yotpo.glitch = Some(Glitch { page: NonZeroU64::new(page).unwrap(), times, kind });
    scenario
}

fn store_that_ends_by(last_page: LastPage, customers: u64) -> Scenario {
    let mut scenario = Scenario::append();
    scenario.sandbox.yotpo.last_page = last_page;
    scenario.sandbox.customers = customers;
    scenario
}

fn page_requests(world: &World) -> u64 {
    world.control().operation_requests(Operation::Customers)
}

/// How the data ended, on how many pages with how many customers.
fn end(report: &RunReport) -> (Option<EndedBy>, u64, u64) {
    (report.progress.ended_by, report.progress.pages, report.progress.customers)
}

#[test]
fn a_temporary_glitch_is_neither_an_end_nor_a_failure() {
    for (kind, most) in [
        // The fourth in a row would be accepted.
        (GlitchKind::NoResultsFound, 3),
        (GlitchKind::MissingPagination, 3),
        (GlitchKind::EmptyPage, 3),
        (GlitchKind::ErrorsInsteadOfCustomers, 8),
        (GlitchKind::ErrorsWithCustomers, 8),
        (GlitchKind::FailingStatus, 8),
    ] {
        for (page, times) in [(1, most), (2, 1), (2, most), (5, 1), (5, most), (10, most)] {
            on_virtual_time(async move || {
                let world = World::start(store_with_glitch(page, times, kind)).await;
                let report = world.run().await.unwrap();
                assert_eq!(end(&report), (Some(EndedBy::LastPage), 10, 100), "{kind:?} on page {page}");
                assert_eq!(page_requests(&world), 10 + u64::from(times), "{kind:?} on page {page}");
                world.assert_complete();
                world.assert_clean();
            });
        }
    }
}

#[test]
fn a_persistent_end_is_accepted_and_reported() {
    for (kind, page, expected, requests) in [
        (GlitchKind::NoResultsFound, 5, (Some(EndedBy::NoResults), 4, 40), 8),
        (GlitchKind::MissingPagination, 5, (Some(EndedBy::MissingPagination), 5, 50), 8),
        (GlitchKind::EmptyPage, 5, (Some(EndedBy::MissingPagination), 5, 40), 8),
        // The other forms of the request are tried as well, before the first cursor is abandoned.
        (GlitchKind::NoResultsFound, 2, (Some(EndedBy::NoResults), 1, 10), 13),
    ] {
        on_virtual_time(async move || {
            let world = World::start(store_with_glitch(page, ALWAYS, kind)).await;
            let started = world.clock.now();
            let report = world.run().await.unwrap();
            assert_eq!(end(&report), expected, "{kind:?} on page {page}");
            assert_eq!(page_requests(&world), requests, "{kind:?} on page {page}");
            assert_eq!(world.control().row_count(world.database(), TABLE), Some(expected.2));
            let waited = world.clock.now().saturating_sub(started);
            assert!(waited < Duration::from_secs(60), "{waited:?}");
        });
    }
}

#[test]
fn a_persistent_error_fails_the_run_and_fetched_rows_are_kept() {
    for kind in
        [GlitchKind::ErrorsInsteadOfCustomers, GlitchKind::ErrorsWithCustomers, GlitchKind::FailingStatus]
    {
        on_virtual_time(async move || {
            // The first request and its eight retries.
            let world = World::start(store_with_glitch(5, 9, kind)).await;
            let failure = world.run().await.unwrap_err();
            assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed);
            let RunError::Yotpo(YotpoError::Page { page: 5, source }) = &failure.error else {
                panic!("{failure:?}")
            };
            let cause = source.cause().to_string();
            assert_eq!(cause, "the response reports an error, with or instead of customers");
            let RecoveryState::Resumable { rows: 40, .. } = failure.recovery else { panic!("{failure:?}") };
            world.assert_untouched();

            let report = world.run().await.unwrap();
            assert!(report.resumed);
            assert_eq!(end(&report), (Some(EndedBy::LastPage), 10, 100));
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn without_retries_a_doubtful_end_is_a_failure() {
    for last_page in [LastPage::NoResultsFound, LastPage::AbsentPagination] {
        on_virtual_time(async move || {
            let world = World::start(store_that_ends_by(last_page, 100)).await;
            let failure = world.run_with(&[("max-retries", "0")]).await.unwrap_err();
            assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed);
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            world.assert_untouched();
            // One repetition confirms it.
            let report = world.run_with(&[("max-retries", "1")]).await.unwrap();
            assert_eq!(report.progress.customers, 100);
            world.assert_complete();
        });
    }
}

#[test]
fn every_kind_of_end_has_a_name() {
    for (last_page, customers, expected) in [
        (LastPage::NullCursor, 100, EndedBy::LastPage),
        (LastPage::AbsentCursor, 95, EndedBy::LastPage),
        (LastPage::EmptyCursor, 100, EndedBy::LastPage),
        (LastPage::NullPagination, 100, EndedBy::MissingPagination),
        (LastPage::AbsentPagination, 100, EndedBy::MissingPagination),
        (LastPage::NullPagination, 95, EndedBy::ShortPage),
        (LastPage::AbsentPagination, 95, EndedBy::ShortPage),
        // A store's only page.
        (LastPage::AbsentPagination, 5, EndedBy::LastPage),
        (LastPage::NoResultsFound, 100, EndedBy::NoResults),
    ] {
        on_virtual_time(async move || {
            let scenario = store_that_ends_by(last_page, customers);
            let world = World::start(scenario.clone()).await;
            let report = world.run().await.unwrap();
            let expected = (Some(expected), customers.div_ceil(10), customers);
            assert_eq!(end(&report), expected, "{last_page:?}");
            world.assert_complete();
            // And when another process completes it.
            let world = World::killed_when(&scenario, &[], |state| state.phase >= RunPhase::Loading).await;
            let report = world.run().await.unwrap();
            assert!(report.resumed);
            assert_eq!(end(&report), expected, "resumed, {last_page:?}");
        });
    }
}

#[test]
fn a_form_of_the_request_without_results_is_not_the_end() {
    let server = ScriptedServer::start(|asked| match &asked.line {
        line if line.contains("access_tokens") => (200, r#"{"access_token":"token"}"#.to_owned()),
        line if !line.contains("page_info") => {
            (200, r#"{"customers":[{}],"pagination":{"next_page_info":"two"}}"#.to_owned())
        }
        line if line.contains("expand=") => (400, r#"{"error":"No results found"}"#.to_owned()),
        _ => (200, r#"{"customers":[{},{}],"pagination":{"next_page_info":null}}"#.to_owned()),
    });
    on_virtual_time(async move || {
        let world = World::start(Scenario::append().flag("yotpo-endpoint", &server.endpoint())).await;
        let report = world.run().await.unwrap();
        assert_eq!(end(&report), (Some(EndedBy::LastPage), 2, 3));
    });
}

#[test]
fn the_message_is_recognised_although_it_contains_a_secret() {
    let server = ScriptedServer::start(|asked| match &asked.line {
        // The redactor knows the token and removes it from every text that is shown.
        line if line.contains("access_tokens") => (200, r#"{"access_token":"results"}"#.to_owned()),
        line if !line.contains("page_info") => {
            (200, r#"{"customers":[{}],"pagination":{"next_page_info":"two"}}"#.to_owned())
        }
        _ => (400, r#"{"error":"No results found"}"#.to_owned()),
    });
    on_virtual_time(async move || {
        let world = World::start(Scenario::append().flag("yotpo-endpoint", &server.endpoint())).await;
        let report = world.run().await.unwrap();
        assert_eq!(end(&report), (Some(EndedBy::NoResults), 1, 1));
    });
}

#[test]
fn the_summary_and_a_warning_report_how_the_data_ended() {
    let warning = "the data ended without an explicit last page";
    for (last_page, name, is_warning) in
        [(LastPage::NullCursor, "last_page", false), (LastPage::NoResultsFound, "no_results", true)]
    {
        let yotpo = YotpoBehaviour { last_page, ..YotpoBehaviour::default() };
        let settings = SandboxSettings { customers: 20, yotpo, ..SandboxSettings::default() };
        let surroundings = Surroundings::new(settings);
        let fast = ["--page-size", "10", "--retry-base-delay", "1ms"];
        let end = surroundings.run(&fast);
        end.assert_code(0);
        assert!(end.stdout.contains(&format!("ended by        {name}\n")), "{}", end.stdout);
        assert_eq!(end.stderr.contains(warning), is_warning, "{}", end.stderr);
        let end = surroundings.run(&[&fast[..], &["--summary", "json"]].concat());
        end.assert_code(0);
        let summary: Value = serde_json::from_str(&end.stdout).unwrap();
        assert_eq!(summary["ended_by"], name);
        assert!(summary["customers_with_loyalty_data"].is_u64(), "{summary}");
    }
}
