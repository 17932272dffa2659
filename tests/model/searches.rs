//! The searches, by fault and bound.

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::Purpose;

use crate::faults::{Faults, Scenario};
use crate::search::search;

const ONE: &[Purpose] = &[Purpose::Load];
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
    let get = |name: &str| std::env::var(name).ok().and_then(|x| x.parse::<u8>().ok()).unwrap_or(0);
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
    const T: &[Purpose] = &[Purpose::Load, Purpose::Load, Purpose::Load];
    const A: &[Purpose] = &[Purpose::Load, Purpose::Load, Purpose::Abandon];
    const B: &[Purpose] = &[Purpose::Load, Purpose::Abandon];
    let purposes = match (get("N"), get("ABANDON")) {
        (1, 0) => ONE,
        (3, 0) => T,
        (3, _) => A,
        (_, 0) => TWO,
        _ => B,
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
