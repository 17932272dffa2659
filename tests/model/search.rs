//! Runs a search and reports the result.

use std::fmt::Write as _;

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::faults::Scenario;
use crate::properties::{LoneRuns, Violation};
use crate::world::{Action, Search, World};

/// Searches all states; returns their number, or the violation and the path to it.
pub(crate) fn search(scenario: Scenario) -> Result<usize, (Violation, String)> {
    let checker =
        model(scenario).checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let states = checker.unique_state_count();
    if checker.discoveries().is_empty() {
        println!("{states} states, {} transitions, depth {}", checker.state_count(), checker.max_depth());
        return Ok(states);
    }
    // The shortest path is the easiest to read.
    let checker =
        model(scenario).checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = checker.discoveries().into_values().next().expect("found before");
    Err(describe(path, scenario))
}

fn model(scenario: Scenario) -> Search {
    Search { scenario, lone_runs: LoneRuns::default() }
}

fn describe(path: Path<World, Action>, scenario: Scenario) -> (Violation, String) {
    let mut text = String::new();
    let steps = path.into_vec();
    let last = steps.last().expect("a path has a state").0.clone();
    for (world, action) in steps {
        let Some(action) = action else { continue };
        let step = match action {
            Action::Call(process, _) => match &world.processes[process] {
                crate::world::Process::Live(live) => format!(": {}", brief(&format!("{:?}", live.step))),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let _ = writeln!(text, "{action:?}{step}");
    }
    let violation = last.violation.or_else(|| LoneRuns::default().first_failure(&last, &scenario));
    let _ = writeln!(text, "{}", last.service);
    (violation.expect("a violation was found"), text)
}

/// A step without uninformative words.
fn brief(step: &str) -> String {
    let words = [
        "Nonce { time: ",
        "random: ",
        "TableId(",
        "PartTotals { parts: 2, valid: 2, rejected: 0 }",
        "OwnSet { ",
        "Winner { ",
        "progress: ",
        "suffix: Rows, ",
        "table: None, ",
        "totals: None, ",
        "Some(",
        ")",
        " }",
    ];
    words.into_iter().fold(step.to_owned(), |text, word| text.replace(word, ""))
}
