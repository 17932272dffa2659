//! What the harness of several machines guarantees to the simulations.

use std::time::Duration;

use yotpo_td::clock::SuspendAt;
use yotpo_td::identity::Mode;

use crate::in_process::harness::{Scenario, World};
use crate::in_process::machine::Machine;
use crate::in_process::watchdog::{in_parallel, on_virtual_time};

const HOURS: Duration = Duration::from_secs(3 * 3_600);

fn slow_service() -> Scenario {
    let mut scenario = Scenario::append().flag("requests-per-second", "4.5");
    scenario.sandbox.import_duration = Duration::from_secs(3_000);
    scenario.sandbox.commit_duration = Duration::from_secs(200);
    scenario
}

#[track_caller]
fn assert_exact(world: &World, table: &str) {
    let found = world.control().verify_table(world.database(), table, 0..=i64::MAX).unwrap();
    assert!(found.is_exact(), "{table}: {found:?}");
}

#[test]
fn attempts_side_by_side_take_as_long_as_one_alone() {
    on_virtual_time(async || {
        let alone = World::start(slow_service()).await;
        alone.run().await.unwrap();
        assert!(alone.clock.now() > Duration::from_secs(3_200), "{:?}", alone.clock.now());
        let world = World::start(slow_service()).await;
        let attempts: Vec<_> = ["first", "second", "third"]
            .map(|table| {
                let machine = Machine::new(&world);
                let attempt = machine.start(&machine.settings(&[("table", table)]));
                (machine, attempt)
            })
            .into();
        for (_machine, attempt) in attempts {
            let report = attempt.end().await.unwrap().unwrap();
            assert_eq!(report.duration, alone.clock.now());
        }
        assert_eq!(world.clock.now(), alone.clock.now());
        for table in ["first", "second", "third"] {
            assert_exact(&world, table);
        }
    });
}

#[test]
fn an_attempt_is_suspended_between_its_calls_or_in_one_while_others_and_time_go_on() {
    for (moment, sent) in [(SuspendAt::Before(9), 8), (SuspendAt::After(9), 9)] {
        on_virtual_time(async move || {
            let world = World::start(slow_service()).await;
            let [machine, other] = [Machine::new(&world), Machine::new(&world)];
            let mut attempt = machine.start(&machine.settings(&[("table", "suspended")]));
            attempt.suspend_at(moment);
            assert!(attempt.suspended().await);
            let suspended = world.clock.now();
            let beside = other.start(&other.settings(&[("table", "beside")])).end().await;
            beside.unwrap().unwrap();
            assert_exact(&world, "beside");
            assert!(world.clock.now() > suspended + Duration::from_secs(3_200), "{:?}", world.clock.now());
            let requests = world.requests();
            world.clock.sleep(HOURS).await;
            assert_eq!((attempt.requests_sent(), world.requests()), (sent, requests));
            attempt.resume();
            world.clock.sleep(Duration::from_millis(500)).await;
            attempt.suspend();
            // Requests in flight take effect.
            world.clock.wait_until_idle().await;
            let requests = world.requests();
            assert!(attempt.requests_sent() > sent);
            world.clock.sleep(HOURS).await;
            assert_eq!(world.requests(), requests);
            attempt.resume();
            let report = attempt.end().await.unwrap().unwrap();
            assert!(report.duration > 2 * HOURS, "{:?}", report.duration);
            assert_exact(&world, "suspended");
        });
    }
}

#[test]
fn what_a_killed_attempt_has_sent_is_delivered_and_nothing_else() {
    in_parallel(Duration::from_secs(60), (1..=30).collect(), async |sent: &u64| {
        for moment in [SuspendAt::Before(*sent + 1), SuspendAt::After(*sent)] {
            let world = World::start(Scenario::append()).await;
            let machine = Machine::new(&world);
            let mut attempt = machine.start(&machine.settings(&[]));
            attempt.suspend_at(moment);
            assert!(attempt.suspended().await, "{moment:?}");
            // The request leaves when the connection's own task has run.
            world.clock.wait_until_idle().await;
            assert!(attempt.kill().await.is_none());
            world.clock.wait_until_idle().await;
            assert_eq!(world.requests(), *sent, "{moment:?}");
            world.clock.sleep(HOURS).await;
            assert_eq!(world.requests(), *sent, "{moment:?}, later");
        }
    });
}

#[test]
fn a_machine_keeps_the_state_of_a_killed_attempt_until_it_is_lost() {
    for lost in [false, true] {
        on_virtual_time(async move || {
            let world = World::start(Scenario::append()).await;
            let machine = Machine::new(&world);
            let settings = machine.settings(&[]);
            let mut attempt = machine.start(&settings);
            attempt.suspend_at(SuspendAt::Before(25));
            assert!(attempt.suspended().await);
            attempt.kill().await;
            assert!(Machine::saved(&settings).unwrap().parts > 0);
            if lost {
                machine.lose_state();
                assert_eq!(Machine::saved(&settings), None);
            }
            let report = machine.start(&settings).end().await.unwrap().unwrap();
            assert_eq!(report.resumed, !lost);
            world.assert_complete();
        });
    }
}

#[test]
fn an_attempt_is_killed_wherever_it_waits() {
    let cases = (1..=60).flat_map(|poll| [(poll, Mode::Append), (poll, Mode::Replace)]).collect();
    in_parallel(Duration::from_secs(60), cases, async |(poll, mode)| {
        let world = World::start(Scenario::new(*mode)).await;
        let machine = Machine::new(&world);
        let attempt = machine.start(&machine.settings(&[]));
        attempt.kill_at_poll(*poll);
        assert!(attempt.end().await.is_none(), "killed at poll {poll}");
        machine.start(&machine.settings(&[])).end().await.unwrap().unwrap();
        world.assert_complete();
    });
}

#[test]
fn an_attempt_can_be_interrupted() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let machine = Machine::new(&world);
        let mut attempt = machine.start(&machine.settings(&[]));
        attempt.suspend_at(SuspendAt::Before(9));
        assert!(attempt.suspended().await);
        attempt.interrupt();
        attempt.resume();
        let failure = attempt.end().await.unwrap().unwrap_err();
        assert_eq!(failure.error.diagnosis().status.code(), 130);
        world.assert_untouched();
    });
}
