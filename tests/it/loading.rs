//! Whole runs without faults: every customer arrives once, whatever the cut into pages and parts.

use yotpo_td::pipeline::Outcome;

use crate::harness::{Scenario, World, on_virtual_time};

#[test]
fn append_loads_every_customer_exactly_once() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let started = std::time::SystemTime::UNIX_EPOCH;
        let _ = started;
        let report = world.run().await.unwrap();
        assert!(matches!(report.outcome, Outcome::Committed { rows: Some(100), .. }), "{report:?}");
        world.assert_complete();
        world.assert_clean();
    });
}
