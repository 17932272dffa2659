//! The searches, by fault and bound.

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Purpose;

use crate::faults::{Faults, Scenario};
use crate::mutation::Mutation;
use crate::search::search;

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
    strangers: 0,
    newer_runs: 0,
    changes: 0,
};

fn holds(scenario: Scenario) {
    if let Err((broken, path)) = search(scenario) {
        panic!("{broken:?}\n{path}");
    }
}

#[test]
#[ignore = "one search, by hand: the variables say of what"]
fn explore() {
    let get = |name: &str| variable(name).and_then(|text| text.parse::<u8>().ok()).unwrap_or(0);
    let mode = if get("REPLACE") > 0 { Mode::Replace } else { Mode::Append };
    let faults = Faults {
        crashes: get("CRASHES"),
        restarts: get("RESTARTS"),
        messages: get("MESSAGES"),
        failing_jobs: get("JOBS"),
        failing_commits: get("COMMITS"),
        strangers: get("STRANGERS"),
        newer_runs: get("NEWER"),
        changes: get("CHANGES"),
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
    holds(scenario);
}

/// Two attempts, and one fault at a time.
fn two(mode: Mode, faults: Faults) -> Scenario {
    Scenario::new(mode, TWO, faults)
}

fn is_full() -> bool {
    variable("MODEL").is_some_and(|value| value == "full")
}

#[expect(clippy::disallowed_methods, reason = "the test's own setting")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn attempts_that_meet_nothing_agree() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(two(mode, NONE));
    }
}

#[test]
fn attempts_are_killed_and_started_again_with_their_state_and_without() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(two(mode, Faults { crashes: 1, restarts: 1, ..NONE }));
    }
}

#[test]
fn responses_are_lost_and_requests_come_late_or_twice() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(two(mode, Faults { messages: 1, ..NONE }));
    }
}

#[test]
fn attempts_are_killed_while_their_requests_come_late() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(two(mode, Faults { crashes: 1, messages: 1, ..NONE }));
    }
}

#[test]
fn loads_and_commits_fail() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(two(mode, Faults { failing_jobs: 1, failing_commits: 1, ..NONE }));
    }
}

#[test]
fn the_store_changes_and_the_target_is_missing() {
    for mode in [Mode::Append, Mode::Replace] {
        let mut scenario = two(mode, Faults { changes: 1, ..NONE });
        scenario.target_exists = false;
        holds(scenario);
    }
}

#[test]
fn a_third_party_abandons_the_run() {
    for mode in [Mode::Append, Mode::Replace] {
        holds(Scenario::new(
            mode,
            &[Purpose::Load, Purpose::Abandon],
            Faults { crashes: 1, restarts: 1, ..NONE },
        ));
        holds(Scenario::new(mode, &[Purpose::Load, Purpose::Load, Purpose::Abandon], NONE));
    }
}

#[test]
fn the_store_is_empty_for_one_attempt_or_for_both() {
    for empty in [0, 1] {
        let mut scenario = two(Mode::Replace, NONE);
        scenario.empty_store = Some(empty);
        holds(scenario);
    }
}

#[test]
fn the_target_is_emptied_by_a_stranger_and_replaced_by_a_newer_run() {
    holds(two(Mode::Replace, Faults { strangers: 1, ..NONE }));
    holds(two(Mode::Replace, Faults { newer_runs: 1, ..NONE }));
    let mut scenario = two(Mode::Replace, Faults { strangers: 1, ..NONE });
    (scenario.follows_renames, scenario.hides_invalid) = (true, true);
    holds(scenario);
    let mut scenario = two(Mode::Replace, NONE);
    scenario.older_exists = true;
    holds(scenario);
}

#[test]
fn the_run_grows_old_and_its_sessions_expire() {
    for mode in [Mode::Append, Mode::Replace] {
        let mut scenario = two(mode, NONE);
        scenario.ticks = &[6, 7];
        holds(scenario);
    }
}

#[test]
fn what_takes_minutes_holds_too() {
    if !is_full() {
        println!("skipped: MODEL=full searches the large bounds");
        return;
    }
    for faults in [Faults { strangers: 1, ..NONE }, Faults { newer_runs: 1, ..NONE }] {
        holds(two(Mode::Append, faults));
    }
    for mode in [Mode::Append, Mode::Replace] {
        holds(Scenario::new(mode, &[Purpose::Load, Purpose::Load, Purpose::Load], NONE));
        holds(two(mode, Faults { crashes: 1, restarts: 1, messages: 1, ..NONE }));
        holds(two(mode, Faults { failing_jobs: 1, failing_commits: 1, messages: 1, ..NONE }));
    }
}

/// The search finds what `mutation` breaks.
fn finds(mode: Mode, faults: Faults, mutation: Mutation) {
    let mut scenario = two(mode, faults);
    scenario.mutation = Some(mutation);
    scenario.reduced = false;
    let found = search(scenario).map_err(|(broken, _)| println!("{mutation:?} in {mode}: {broken:?}"));
    assert!(found.is_err(), "{mutation:?} in {mode} is not found: {found:?} states");
}

#[test]
fn a_missing_ballot_is_found() {
    for mode in [Mode::Append, Mode::Replace] {
        finds(mode, NONE, Mutation::NoBallot);
    }
}

#[test]
fn a_target_that_is_not_looked_at_is_found() {
    finds(Mode::Append, Faults { strangers: 1, ..NONE }, Mutation::TargetUnchecked);
}

#[test]
fn a_rename_that_is_believed_is_found() {
    finds(Mode::Replace, Faults { messages: 1, ..NONE }, Mutation::RenameBelieved);
}

#[test]
fn an_attempt_that_removes_the_sessions_of_others_is_found() {
    for mode in [Mode::Append, Mode::Replace] {
        finds(mode, NONE, Mutation::DeletesOthers);
    }
}

#[test]
fn a_stale_rename_is_found() {
    finds(Mode::Replace, Faults { newer_runs: 1, ..NONE }, Mutation::StaleRename);
}

#[test]
fn a_frozen_session_that_is_trusted_is_found() {
    finds(Mode::Append, Faults { crashes: 1, messages: 1, changes: 1, ..NONE }, Mutation::TrustFrozen);
}
