//! Stores of realistic size: every row is loaded, in memory that does not depend on their number.

use serde_json::Value;
use yotpo_td::http::Reach;
use yotpo_td::sandbox::SandboxSettings;

use crate::in_process::harness::{Scenario, World};
use crate::in_process::watchdog::on_virtual_time;
use crate::program::binary::{Running, Surroundings, program};

const MEBIBYTE: u64 = 1024 * 1024;

/// Maximum memory of a process with the embedded sandbox.
const MOST_MEMORY: u64 = 64 * MEBIBYTE;

/// The documented memory bound of the program alone with default settings on two processors. With small pages, it also
/// holds on more processors.
const MOST_MEMORY_ALONE: u64 = 48_000_000;

#[test]
fn a_hundred_thousand_customers_arrive_exactly_in_bounded_memory() {
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 100_000, ..SandboxSettings::default() });
    let mut command =
        surroundings.sync(&["--page-size", "100", "--batch-size", "100000", "--summary", "json"]);
    command.env("YOTPO_TD_LOG_LEVEL", "error");
    let finished = Running::start(command).finish();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let verification = surroundings.verification().unwrap();
    assert!(verification.is_exact() && verification.rows == 100_000, "{verification:?}");
    let summary: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(summary["rows"], 100_000);
    if let Some(peak) = summary["peak_resident_bytes"].as_u64() {
        assert!(peak < MOST_MEMORY_ALONE, "{peak} bytes");
    }
}

#[test]
fn memory_is_the_same_for_ten_times_the_customers_with_the_sandbox_inside() {
    let peak = |customers: &str| {
        let mut command = program();
        command.args(["sync", "--sandbox", "--sandbox-customers", customers, "--part-size", "1MiB"]);
        command.args(["--summary", "json", "--log-level", "error"]);
        let finished = Running::start(command).finish();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON document and no more");
        summary["peak_resident_bytes"].as_u64()
    };
    if let (Some(small), Some(large)) = (peak("20000"), peak("200000")) {
        // A debug allocator and thread timing move it by a few megabytes either way.
        assert!(large < small + 16 * MEBIBYTE && large < MOST_MEMORY, "{small} and {large} bytes");
    }
}

#[test]
fn memory_stays_within_the_bound_of_the_settings() {
    let surroundings = Surroundings::new(SandboxSettings { customers: 30_000, ..SandboxSettings::default() });
    for settings in [
        &[][..],
        &["--part-size", "1MiB"],
        &["--part-size", "1MiB", "--upload-workers", "8"],
        &["--part-size", "1MiB", "--compression-level", "9"],
        &["--part-size", "64MiB", "--upload-workers", "1"],
        &["--batch-size", "1000", "--page-size", "10"],
    ] {
        let defaults = ["--page-size", "100", "--batch-size", "100000"];
        let overridden = |name: &&str| settings.contains(name);
        let mut arguments: Vec<&str> =
            defaults.chunks(2).filter(|pair| !overridden(&pair[0])).flatten().copied().collect();
        arguments.extend(settings);
        arguments.extend(["--summary", "json", "--log-level", "error", "--fresh"]);
        let finished = Running::start(surroundings.sync(&arguments)).finish();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        let summary: Value = serde_json::from_str(&finished.stdout).unwrap();
        let bound = summary["memory_bound_bytes"].as_u64().unwrap();
        if let Some(peak) = summary["peak_resident_bytes"].as_u64() {
            assert!(peak <= bound, "{settings:?}: {peak} bytes are more than the bound of {bound}");
        }
    }
}

#[test]
fn compressed_responses_load_the_same_rows() {
    on_virtual_time(|| async {
        let mut scenario = Scenario::append();
        scenario.page_size = 100;
        scenario.sandbox.customers = 1_000;
        let world = World::start(scenario).await;
        let mut settings = world.settings();
        settings.store.connections.reach = Reach::Network;
        settings.treasure_data_connections.reach = Reach::Network;
        world.run_as(&settings).await.unwrap();
        world.assert_complete();
    });
}
