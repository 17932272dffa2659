//! Searches of many states, which `make sweeps` runs.

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Purpose;

use super::{NONE, assert_holds, two};
use crate::faults::{Faults, Scenario};

#[test]
fn a_third_party_abandons_the_run() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(Scenario::new(
            mode,
            &[Purpose::Load, Purpose::Abandon],
            Faults { crashes: 1, restarts: 1, ..NONE },
        ));
        assert_holds(Scenario::new(mode, &[Purpose::Load, Purpose::Load, Purpose::Abandon], NONE));
    }
}

#[test]
fn the_target_is_emptied_by_another_client_and_replaced_by_a_newer_run() {
    assert_holds(two(Mode::Replace, Faults { other_clients: 1, ..NONE }));
    assert_holds(two(Mode::Replace, Faults { newer_runs: 1, ..NONE }));
    let mut scenario = two(Mode::Replace, Faults { other_clients: 1, ..NONE });
    (scenario.follows_renames, scenario.hides_invalid) = (true, true);
    assert_holds(scenario);
    let mut scenario = two(Mode::Replace, NONE);
    scenario.older_exists = true;
    assert_holds(scenario);
}

#[test]
fn the_run_expires_and_so_do_its_sessions() {
    for mode in [Mode::Append, Mode::Replace] {
        let mut scenario = two(mode, NONE);
        scenario.ticks = &[6, 7];
        assert_holds(scenario);
    }
}
