//! Runs that are interrupted while parts hold batches of several pages: nothing collected is lost or loaded twice.

use yotpo_td::run::RecoveryState;
use yotpo_td::sandbox::{Control, Operation};

use crate::in_process::harness::{Scenario, Verdict, World};
use crate::in_process::watchdog::on_virtual_time;

/// One customer per page, about five pages per batch, and about four parts.
fn scenario() -> Scenario {
    let mut scenario = Scenario::append();
    scenario.sandbox.customers = 800;
    scenario.page_size = 1;
    scenario.closing_size = 40_000;
    scenario
}

fn pages_fetched(control: &Control) -> u64 {
    control.page_fetches().len() as u64
}

#[test]
fn parts_hold_several_batches_of_several_pages() {
    on_virtual_time(|| async {
        let world = World::start(scenario()).await;
        let report = world.run().await.unwrap();
        world.assert_complete();
        assert!((3..40).contains(&report.progress.parts), "{} parts", report.progress.parts);
        assert!(world.control().page_fetches().values().all(|fetches| *fetches == 1));
    });
}

#[test]
fn a_run_killed_after_any_part_resumes_there() {
    on_virtual_time(|| async {
        for parts in 1..=3 {
            let world = World::start(scenario()).await;
            let watch = |control: &Control| {
                let stored = control.operation_requests(Operation::UploadPart);
                if stored >= parts { Verdict::Kill } else { Verdict::Continue }
            };
            assert!(world.watched_run(&world.settings(), watch).await.is_none(), "it was to be killed");
            let saved = world.saved().map_or(0, |state| state.position.page());
            let report = world.run().await.unwrap();
            world.assert_complete();
            world.assert_clean();
            assert_eq!(report.resumed, saved > 0, "{saved} pages were saved");
            // What was saved was not fetched again.
            let fetches = world.control().page_fetches();
            let again = fetches.range(..saved).filter(|(_, fetches)| **fetches > 1).count();
            assert_eq!(again, 0, "of {saved} pages");
        }
    });
}

#[test]
fn collected_rows_are_stored_when_a_stop_is_requested() {
    on_virtual_time(|| async {
        for page in 60..=71 {
            let world = World::start(scenario()).await;
            let watch = |control: &Control| {
                if pages_fetched(control) >= page { Verdict::Stop } else { Verdict::Continue }
            };
            let failure = world.watched_run(&world.settings(), watch).await.unwrap().unwrap_err();
            assert!(matches!(failure.recovery, RecoveryState::Resumable { .. }), "{failure:?}");
            // Except the page in flight and the prefetched one.
            let (saved, fetched) = (world.saved().unwrap().position.page(), pages_fetched(world.control()));
            assert!(saved + 3 >= fetched, "{saved} of {fetched} pages were stored");
            world.run().await.unwrap();
            world.assert_complete();
        }
    });
}
