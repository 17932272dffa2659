//! Whole runs without faults: every customer arrives once, for all sizes of pages and parts.

use std::num::NonZeroU32;
use std::time::Duration;

use yotpo_td::run::Outcome;
use yotpo_td::sandbox::{Fault, FaultKind, FaultPlan, KeyKind, Operation, WriteOnlyTableCreation};

use crate::in_process::harness::{BEGINNING, SMALLEST_PART, Scenario, TABLE, Verdict, World};
use crate::in_process::watchdog::{in_parallel, on_virtual_time};
use crate::program::binary::{DATABASE, Surroundings};

#[test]
fn append_loads_every_customer_exactly_once() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let report = world.run().await.unwrap();
        assert_eq!((report.outcome, report.rows, report.joined), (Outcome::Committed, Some(100), false));
        assert!(!report.resumed);
        assert_eq!((report.progress.pages, report.progress.customers, report.progress.parts), (10, 100, 10));
        world.assert_complete();
        world.assert_clean();
        assert!(world.control().page_fetches().values().all(|times| *times == 1));
    });
}

#[test]
fn every_row_has_the_time_at_which_the_run_began() {
    on_virtual_time(async || {
        let mut scenario = Scenario::append();
        scenario.sandbox.requests_per_second = NonZeroU32::new(5);
        let world = World::start(scenario.flag("requests-per-second", "4.5")).await;
        let report = world.run().await.unwrap();
        assert_eq!(report.ingestion_time, Some(BEGINNING));
        // The token and ten pages are sent a period apart.
        let taken = world.clock.now();
        assert!(taken.abs_diff(Duration::from_secs_f64(10.0 / 4.5)) < Duration::from_micros(1), "{taken:?}");
        let time = i64::try_from(BEGINNING).unwrap();
        let table = world.control().verify_table(world.database(), TABLE, time..=time).unwrap();
        assert!(table.is_exact(), "{table:?}");
    });
}

#[test]
fn append_keeps_the_rows_that_are_there() {
    on_virtual_time(async || {
        let world = World::start(Scenario { old_rows: 13, ..Scenario::append() }).await;
        world.run().await.unwrap();
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(113));
        assert_eq!(world.verification().unknown, 13);
        world.assert_complete();
        // The next day's run loads the store again, in addition to the rows of today.
        world.clock.advance(Duration::from_secs(86_400));
        world.run().await.unwrap();
        assert_eq!(world.control().row_count(world.database(), TABLE), Some(213));
        assert_eq!(world.verification().duplicated, 100);
    });
}

#[test]
fn replace_keeps_the_old_rows_readable_until_the_rename() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        let database = world.database().to_owned();
        let mut seen = Vec::new();
        let settings = world.settings();
        let result = world.watched_run(&settings, |control| {
            let rows = control.row_count(&database, TABLE);
            let renamed = control.operation_requests(Operation::RenameTable) > 0;
            assert!(renamed || rows == Some(7), "{rows:?} before the rename");
            if seen.last() != Some(&rows) {
                seen.push(rows);
            }
            Verdict::Continue
        });
        result.await.unwrap().unwrap();
        assert_eq!(seen, [Some(7), Some(100)]);
        world.assert_complete();
        world.assert_clean();
        world.run().await.unwrap();
        world.assert_complete();
    });
}

#[test]
fn all_sizes_of_pages_and_parts_load_the_same_rows() {
    let mut cases = Vec::new();
    for page_size in [1, 7, 33, 100] {
        for batch in [1, 3, 10, 100_000] {
            for closing_size in [SMALLEST_PART, 2_000, 1 << 20] {
                for workers in [1, 4] {
                    let scenario = Scenario { page_size, batch, closing_size, workers, ..Scenario::append() };
                    cases.push(scenario);
                }
            }
        }
    }
    in_parallel(Duration::from_secs(100), cases, async |scenario| {
        let mut scenario = scenario.clone();
        // A multiple of neither.
        scenario.sandbox.customers = 101;
        scenario.flags.push(("loyalty-check", "off".to_owned()));
        let world = World::start(scenario).await;
        let report = world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
        let most = world.scenario.batch as u64;
        assert!(report.progress.parts >= 101_u64.div_ceil(most));
        assert_eq!(report.progress.pages, 101_u64.div_ceil(u64::from(world.scenario.page_size)));
    });
}

#[test]
fn a_single_customer_is_a_load() {
    for mut scenario in [Scenario::append(), Scenario { old_rows: 2, ..Scenario::replace() }] {
        scenario.sandbox.customers = 1;
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.run().await.unwrap();
            world.assert_complete();
        });
    }
}

#[test]
fn a_write_only_key_is_enough_to_append() {
    for (old_rows, creation) in [(7, WriteOnlyTableCreation::Denied), (0, WriteOnlyTableCreation::Allowed)] {
        let mut scenario = Scenario { old_rows, ..Scenario::append() };
        scenario.sandbox.key_kind = KeyKind::WriteOnly;
        scenario.sandbox.treasure_data.write_only_table_creation = creation;
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.run().await.unwrap();
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn a_column_with_another_type_is_a_warning_before_the_first_upload() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.control().create_table(DATABASE, TABLE);
    surroundings.fault_on_every(Operation::AppendSchema, FaultKind::Status(422, None));
    surroundings.control().start_request_log();
    let end = surroundings.run(&[]);
    end.assert_code(0);
    let warning = "the column json_response is not a string in this table";
    assert_eq!(end.stderr.matches(warning).count(), 1, "{}", end.stderr);
    let operations: Vec<_> =
        surroundings.control().request_log().into_iter().map(|request| request.operation).collect();
    let first = |operation| operations.iter().position(|operations| *operations == operation);
    assert!(first(Operation::AppendSchema) < first(Operation::UploadPart), "{operations:?}");
    assert_eq!(surroundings.control().operation_requests(Operation::AppendSchema), 1);
    surroundings.assert_exact_and_clean();
}

#[test]
fn the_column_is_declared_later_if_the_table_is_not_visible_yet() {
    for scenario in [Scenario::append(), Scenario::replace()] {
        on_virtual_time(async || {
            let fault = Fault::on(Operation::AppendSchema, 1, FaultKind::Status(404, None));
            let world = World::start(scenario.faults(vec![fault])).await;
            world.run().await.unwrap();
            assert_eq!(world.control().operation_requests(Operation::AppendSchema), 2);
            world.assert_complete();
            world.assert_clean();
        });
    }
}

#[test]
fn responses_may_be_compressed_or_not() {
    for compress_responses in [true, false] {
        let mut scenario = Scenario { page_size: 100, ..Scenario::append() };
        scenario.sandbox.compress_responses = compress_responses;
        scenario.sandbox.customers = 300;
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            world.run().await.unwrap();
            world.assert_complete();
        });
    }
}

#[test]
fn no_rolling_second_has_more_than_five_requests_faults_included() {
    for rate in ["4.5", "5"] {
        for seed in 0..40 {
            let mut scenario = Scenario::append().flag("requests-per-second", rate);
            scenario.page_size = 2;
            scenario.flags.push(("loyalty-check", "off".to_owned()));
            scenario.sandbox.requests_per_second = NonZeroU32::new(5);
            scenario.sandbox.faults = FaultPlan::random(seed, 20, 50);
            // A load job that fails ends the run, at whatever rate.
            scenario.sandbox.faults.faults.retain(|fault| fault.kind != FaultKind::FailImport);
            on_virtual_time(async move || {
                let world = World::start(scenario).await;
                let result = world.run().await;
                assert!(result.is_ok(), "{result:?} at {rate}, seed {seed}");
                world.assert_complete();
                let most = world.control().max_requests_in_rolling_second();
                assert!((1..=5).contains(&most), "{most} at {rate}, seed {seed}");
            });
        }
    }
}

#[test]
fn the_full_rate_is_used_if_a_response_takes_less_than_a_period() {
    on_virtual_time(|| async {
        let mut scenario = Scenario::append().flag("requests-per-second", "4.5");
        scenario.sandbox.customers = 900;
        scenario.sandbox.requests_per_second = NonZeroU32::new(5);
        // A round trip of 80 ms and 100 ms in the server; the next request may be sent after 222 ms.
        scenario.sandbox.response_delay = Duration::from_millis(180);
        let world = World::start(scenario).await;
        let started = world.clock.now();
        world.run().await.unwrap();
        let taken = world.clock.now().saturating_sub(started);
        world.assert_complete();
        // The token and 90 pages are sent a period apart, plus the time of the last response. Before the usual latency
        // is known, the first request may have arrived as late as its response, so the sixth waits for that once.
        let answer = Duration::from_millis(180);
        let expected = Duration::from_secs_f64(85.0 / 4.5) + answer + Duration::from_millis(1_010) + answer;
        assert!(taken.abs_diff(expected) < Duration::from_micros(1), "{taken:?}");
        assert_eq!(world.control().max_requests_in_rolling_second(), 5);
    });
}
