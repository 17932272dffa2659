//! Possible behaviour of Yotpo that is not documented: each variant loads every customer, or fails with the reason.

use std::num::NonZeroU64;

use yotpo_td::exit_status::ExitStatus;
use yotpo_td::run::{RecoveryState, RunError};
use yotpo_td::sandbox::{
    CursorEncoding, CursorMemory, CustomerShapes, FiltersWithCursor, LastPage, Operation, PageLayout,
    YotpoBehaviour,
};
use yotpo_td::yotpo::YotpoError;

use crate::in_process::harness::{Scenario, TableContent, World};
use crate::in_process::watchdog::on_virtual_time;

fn store_that(change: impl FnOnce(&mut YotpoBehaviour)) -> Scenario {
    let mut scenario = Scenario::append();
    change(&mut scenario.sandbox.yotpo);
    scenario
}

fn loads_everything(scenario: Scenario) {
    on_virtual_time(async move || {
        let world = World::start(scenario.clone()).await;
        let result = world.run().await;
        assert!(result.is_ok(), "{:?}: {result:?}", scenario.sandbox.yotpo);
        assert_eq!(world.content(), TableContent::Complete, "{:?}", scenario.sandbox.yotpo);
        world.assert_clean();
        // And again, from the middle.
        let world = World::start(scenario.clone()).await;
        let failure = world.interrupted_run(2).await;
        assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
        world.run().await.unwrap();
        assert_eq!(world.content(), TableContent::Complete, "resumed, {:?}", scenario.sandbox.yotpo);
    });
}

#[test]
fn every_form_of_the_last_page_ends_the_paging() {
    for last_page in [
        LastPage::NullCursor,
        LastPage::AbsentCursor,
        LastPage::EmptyCursor,
        LastPage::NullPagination,
        LastPage::AbsentPagination,
        LastPage::NoResultsFound,
    ] {
        loads_everything(store_that(|yotpo| yotpo.last_page = last_page));
    }
}

#[test]
fn cursors_may_be_encoded_or_raw() {
    for encoding in [CursorEncoding::Percent, CursorEncoding::Raw] {
        loads_everything(store_that(|yotpo| yotpo.cursor_encoding = encoding));
    }
}

#[test]
fn pages_may_have_any_layout() {
    for layout in [PageLayout::Compact, PageLayout::Spaced, PageLayout::Pretty] {
        loads_everything(store_that(|yotpo| yotpo.page_layout = layout));
    }
}

#[test]
fn empty_pages_in_between_do_not_end_the_paging() {
    for after in [1, 2, 3] {
        loads_everything(store_that(|yotpo| yotpo.empty_page_after = NonZeroU64::new(after)));
    }
}

#[test]
fn filters_that_are_refused_with_a_cursor_are_left_out() {
    let scenario = store_that(|yotpo| yotpo.filters_with_cursor = FiltersWithCursor::BadRequest);
    loads_everything(scenario.clone());
    on_virtual_time(async || {
        let world = World::start(scenario).await;
        world.run().await.unwrap();
        // Ten pages, and two forms that were refused, each twice.
        assert_eq!(world.control().operation_requests(Operation::Customers), 14);
    });
}

#[test]
fn tokens_that_expire_are_replaced() {
    for uses in [1, 2, 4] {
        loads_everything(store_that(|yotpo| yotpo.max_token_uses = NonZeroU64::new(uses)));
    }
}

#[test]
fn lost_loyalty_data_is_refused_and_nothing_is_loaded() {
    let scenario = store_that(|yotpo| {
        yotpo.filters_with_cursor = FiltersWithCursor::BadRequest;
        yotpo.cursor_memory = CursorMemory::Nothing;
        yotpo.shapes = CustomerShapes::Loyalty;
    });
    on_virtual_time(async || {
        let world = World::start(scenario).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::DataRefused);
        assert!(
            matches!(failure.error, RunError::Yotpo(YotpoError::LoyaltyLost { page: 2, .. })),
            "{failure:?}"
        );
        assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
        world.assert_untouched();
    });
}

#[test]
fn a_cursor_that_repeats_is_an_error_and_nothing_is_loaded() {
    let scenario = store_that(|yotpo| yotpo.repeated_cursor_at = NonZeroU64::new(5));
    on_virtual_time(async || {
        let world = World::start(scenario).await;
        let failure = world.run().await.unwrap_err();
        assert_eq!(failure.error.diagnosis().status, ExitStatus::YotpoFailed);
        assert!(matches!(failure.error, RunError::Yotpo(YotpoError::RepeatedCursor { .. })), "{failure:?}");
        assert_eq!(failure.recovery, RecoveryState::Deleted);
        world.assert_untouched();
        world.assert_clean();
    });
}

#[test]
fn a_repeated_cursor_right_after_an_interruption_is_an_error() {
    on_virtual_time(async || {
        let mut page = 0;
        loop {
            page += 1;
            let scenario = store_that(|yotpo| yotpo.repeated_cursor_at = NonZeroU64::new(page + 8));
            let world = World::start(scenario).await;
            let failure = world.interrupted_run(1).await;
            let RecoveryState::Resumable { .. } = failure.recovery else { panic!("{failure:?}") };
            let failure = world.run().await.unwrap_err();
            assert!(
                matches!(failure.error, RunError::Yotpo(YotpoError::RepeatedCursor { .. })),
                "{failure:?}"
            );
            world.assert_untouched();
            world.assert_clean();
            if page == 2 {
                return;
            }
        }
    });
}
