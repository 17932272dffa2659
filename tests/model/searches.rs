//! The searches, by fault and bound. Those that take longest are in [`wide`].

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Purpose;

use crate::faults::{Faults, Scenario};
use crate::mutation::Mutation;
use crate::search::search;

mod wide;

const ONE: &[Purpose] = &[Purpose::Load];
const THREE: &[Purpose] = &[Purpose::Load, Purpose::Load, Purpose::Load];
const TWO_AND_ABANDON: &[Purpose] = &[Purpose::Load, Purpose::Load, Purpose::Abandon];
const ONE_AND_ABANDON: &[Purpose] = &[Purpose::Load, Purpose::Abandon];
const TWO: &[Purpose] = &[Purpose::Load, Purpose::Load];
const NONE: Faults = Faults {
    crashes: 0,
    restarts: 0,
    messages: 0,
    failing_jobs: 0,
    failing_commits: 0,
    other_clients: 0,
    newer_runs: 0,
    changes: 0,
    ignored: 0,
};

fn assert_holds(scenario: Scenario) {
    if let Err((violation, path)) = search(scenario) {
        panic!("{violation:?}\n{path}");
    }
}

#[test]
#[ignore = "a single search, with parameters from variables"]
fn explore() {
    let get = |name: &str| variable(name).and_then(|text| text.parse::<u8>().ok()).unwrap_or(0);
    let mode = if get("REPLACE") > 0 { Mode::Replace } else { Mode::Append };
    let faults = Faults {
        crashes: get("CRASHES"),
        restarts: get("RESTARTS"),
        messages: get("MESSAGES"),
        failing_jobs: get("JOBS"),
        failing_commits: get("COMMITS"),
        other_clients: get("OTHER_CLIENTS"),
        newer_runs: get("NEWER"),
        changes: get("CHANGES"),
        ignored: get("IGNORED"),
    };
    let purposes = match (get("N"), get("ABANDON")) {
        (1, 0) => ONE,
        (3, 0) => THREE,
        (3, _) => TWO_AND_ABANDON,
        (_, 0) => TWO,
        _ => ONE_AND_ABANDON,
    };
    let mut scenario = Scenario::new(mode, purposes, faults);
    scenario.follows_renames = get("FOLLOWS") > 0;
    scenario.hides_invalid = get("HIDES") > 0;
    scenario.target_exists = get("MISSING") == 0;
    scenario.older_exists = get("OLDER") > 0;
    scenario.reduced = get("FULL") == 0;
    if get("EMPTY") > 0 {
        scenario.empty_store = Some(get("EMPTY") - 1);
    }
    scenario.ticks = match get("TICKS") {
        0 => &[],
        1 => &[6, 7],
        2 => &[5, 6, 12, 13],
        3 => &[5, 12, 13],
        _ => &[5, 6, 7, 12, 13],
    };
    assert_holds(scenario);
}

/// A scenario with two attempts.
fn two(mode: Mode, faults: Faults) -> Scenario {
    Scenario::new(mode, TWO, faults)
}

fn is_full() -> bool {
    variable("MODEL").is_some_and(|value| value == "full")
}

#[expect(clippy::disallowed_methods, reason = "a setting of the test")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn attempts_agree_without_faults() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, NONE));
    }
}

#[test]
fn attempts_are_killed_and_restarted_with_and_without_their_state() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, Faults { crashes: 1, restarts: 1, ..NONE }));
    }
}

#[test]
fn responses_are_lost_and_requests_arrive_late_or_twice() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, Faults { messages: 1, ..NONE }));
    }
}

#[test]
fn calls_are_acknowledged_and_have_no_effect() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, Faults { ignored: 1, ..NONE }));
    }
}

#[test]
fn attempts_are_killed_while_their_requests_are_delayed() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, Faults { crashes: 1, messages: 1, ..NONE }));
    }
}

#[test]
fn loads_and_commits_fail() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(two(mode, Faults { failing_jobs: 1, failing_commits: 1, ..NONE }));
    }
}

#[test]
fn the_store_changes_and_the_target_is_missing() {
    for mode in [Mode::Append, Mode::Replace] {
        let mut scenario = two(mode, Faults { changes: 1, ..NONE });
        scenario.target_exists = false;
        assert_holds(scenario);
    }
}

#[test]
fn the_store_is_empty_for_one_attempt_or_for_both() {
    for empty in [0, 1] {
        let mut scenario = two(Mode::Replace, NONE);
        scenario.empty_store = Some(empty);
        assert_holds(scenario);
    }
}

#[test]
fn searches_that_take_minutes() {
    if !is_full() {
        println!("skipped: MODEL=full searches the large bounds");
        return;
    }
    for faults in [Faults { other_clients: 1, ..NONE }, Faults { newer_runs: 1, ..NONE }] {
        assert_holds(two(Mode::Append, faults));
    }
    for mode in [Mode::Append, Mode::Replace] {
        assert_holds(Scenario::new(mode, &[Purpose::Load, Purpose::Load, Purpose::Load], NONE));
        assert_holds(two(mode, Faults { crashes: 1, restarts: 1, messages: 1, ..NONE }));
        assert_holds(two(mode, Faults { failing_jobs: 1, failing_commits: 1, messages: 1, ..NONE }));
    }
}

/// Asserts that the search finds the bug `mutation`.
fn assert_finds(mode: Mode, faults: Faults, mutation: Mutation) {
    let mut scenario = two(mode, faults);
    scenario.mutation = Some(mutation);
    scenario.reduced = false;
    let found = search(scenario).map_err(|(violation, _)| println!("{mutation:?} in {mode}: {violation:?}"));
    assert!(found.is_err(), "{mutation:?} in {mode} is not found: {found:?} states");
}

#[test]
fn a_missing_ballot_is_found() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_finds(mode, NONE, Mutation::NoBallot);
    }
}

#[test]
fn a_target_that_is_not_checked_is_found() {
    assert_finds(Mode::Append, Faults { other_clients: 1, ..NONE }, Mutation::TargetUnchecked);
}

#[test]
fn a_rename_that_is_assumed_is_found() {
    assert_finds(Mode::Replace, Faults { messages: 1, ..NONE }, Mutation::RenameAssumed);
}

#[test]
fn an_attempt_that_removes_the_sessions_of_others_is_found() {
    for mode in [Mode::Append, Mode::Replace] {
        assert_finds(mode, NONE, Mutation::DeletesOthers);
    }
}

#[test]
fn a_stale_rename_is_found() {
    assert_finds(Mode::Replace, Faults { newer_runs: 1, ..NONE }, Mutation::StaleRename);
}

#[test]
fn a_frozen_session_that_is_trusted_is_found() {
    assert_finds(Mode::Append, Faults { crashes: 1, messages: 1, changes: 1, ..NONE }, Mutation::TrustFrozen);
}
