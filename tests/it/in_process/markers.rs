//! What runs leave in Treasure Data for other attempts: how long markers are kept, and what later runs remove.

use std::time::Duration;

use yotpo_td::identity::{Mode, Nonce, RunSession};
use yotpo_td::treasure_data::Change;

use crate::in_process::harness::{Scenario, TABLE, World};
use crate::in_process::run_id::{DAY, ID, assert_markers, both_modes};
use crate::in_process::watchdog::on_virtual_time;

#[test]
fn the_marker_stays_for_eight_days() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            let first = world.run_with(ID).await.unwrap();
            let winner = first.session.unwrap().to_string();
            world.clock.advance(7 * DAY + DAY / 2);
            world.run_with(&[("run-id", "second")]).await.unwrap();
            assert!(world.leftovers().contains(&winner));
            world.clock.advance(DAY);
            world.run_with(&[("run-id", "third")]).await.unwrap();
            assert!(!world.leftovers().contains(&winner), "{:?}", world.leftovers());
            assert_markers(&world, 2);
        });
    }
}

#[test]
fn a_run_removes_a_hundred_sessions_of_old_runs_at_most() {
    on_virtual_time(async || {
        let world = World::start(Scenario::append()).await;
        let winner = world.run_with(ID).await.unwrap().session.unwrap().to_string();
        let Some(RunSession::Own(own)) = RunSession::parse(&winner) else { panic!("{winner}") };
        world.clock.advance(9 * DAY);
        let client = world.services(&world.settings()).treasure_data;
        let (database, table) = (world.database().parse().unwrap(), TABLE.parse().unwrap());
        for attempt in 1..=104 {
            let nonce = Nonce::new(own.nonce.time(), attempt).unwrap().to_string();
            let name = winner.replace(&own.nonce.to_string(), &nonce).parse().unwrap();
            let created = client.create_session(&mut client.series(), &name, &database, &table).await;
            assert_eq!(created.unwrap(), Change::Done);
        }
        let old = || {
            let sessions = world.control().sessions().into_iter();
            sessions.filter(|session| session.name.contains(&own.nonce.time().to_string())).count()
        };
        assert_eq!(old(), 105);
        world.run_with(&[("run-id", "second")]).await.unwrap();
        assert_eq!(old(), 5);
        world.run_with(&[("run-id", "third")]).await.unwrap();
        assert_eq!(old(), 0);
    });
}

#[test]
fn a_live_attempt_of_another_machine_is_not_touched() {
    for scenario in both_modes() {
        on_virtual_time(async || {
            let world = World::start(scenario).await;
            // Another machine in the middle of its run, with its own state.
            world.interrupted_run(3).await;
            let sessions = world.control().sessions();
            world.lose_state();
            let report = world.run().await.unwrap();
            assert!(!report.resumed);
            world.assert_complete();
            assert_eq!(world.control().sessions().len(), sessions.len());
            assert_eq!(world.control().sessions()[0].name, sessions[0].name);
            if world.scenario.mode == Mode::Append {
                assert_eq!(world.control().sessions(), sessions);
            }
        });
    }
}

#[test]
fn the_temporary_table_of_an_older_run_is_removed_before_the_rename() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        world.interrupted_run(3).await;
        assert!(world.control().remove_session(&world.own_session()));
        world.lose_state();
        world.clock.advance(Duration::from_secs(1));
        world.run().await.unwrap();
        world.assert_complete();
        world.assert_clean();
    });
}

#[test]
fn a_table_with_a_similar_name_is_left_alone() {
    on_virtual_time(async || {
        let world = World::start(Scenario::replace()).await;
        let fingerprint = world.settings().load.target.fingerprint();
        let names = [
            "yotpo_td_somebody".to_owned(),
            "yotpo_td_tmp_somebody".to_owned(),
            format!("yotpo_td_v1_{fingerprint}_y_somebody"),
        ];
        for name in &names {
            world.control().create_table(world.database(), name);
        }
        world.run().await.unwrap();
        world.assert_complete();
        let mut left = world.leftovers();
        left.sort();
        assert_eq!(left, names);
    });
}
