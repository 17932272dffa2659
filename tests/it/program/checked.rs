//! A finished `yotpo-td check` with its JSON result.

use serde_json::Value;

use crate::program::binary::{Finished, Running, Surroundings, program};

/// Runs `yotpo-td check --output json` with these further arguments and variables.
pub(crate) fn check(surroundings: &Surroundings, arguments: &[&str], variables: &[(&str, &str)]) -> Checked {
    let mut command = program();
    command.args(["check", "--output", "json"]).args(arguments);
    command.envs(surroundings.environment()).envs(variables.iter().copied());
    Checked::of(Running::start(command).finish())
}

/// A finished check with its result.
pub(crate) struct Checked {
    pub(crate) end: Finished,
    pub(crate) result: Value,
}

impl Checked {
    pub(crate) fn of(end: Finished) -> Self {
        let result = serde_json::from_str(&end.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}\nstderr:\n{}", end.stdout, end.stderr));
        Self { end, result }
    }

    #[track_caller]
    pub(crate) fn find(&self, id: &str) -> &Value {
        let checks = self.result["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {}", self.result))
    }

    /// What was seen of a check with this verdict.
    #[track_caller]
    pub(crate) fn seen(&self, id: &str, verdict: &str) -> String {
        let check = self.find(id);
        assert_eq!(check["verdict"], verdict, "{id}: {check}");
        check["seen"].as_str().unwrap().to_owned()
    }

    /// The ids with this verdict.
    pub(crate) fn with_verdict(&self, verdict: &str) -> Vec<&str> {
        let checks = self.result["checks"].as_array().unwrap();
        let wanted = checks.iter().filter(|check| check["verdict"] == verdict);
        wanted.map(|check| check["id"].as_str().unwrap()).collect()
    }

    /// What was observed about an open question of a check.
    #[track_caller]
    pub(crate) fn answer(&self, question: &str) -> &str {
        let settled = self.result["settled"].as_array().unwrap();
        let found = settled.iter().find(|settled| settled["question"].as_str().unwrap().contains(question));
        found.unwrap_or_else(|| panic!("no {question:?} in {settled:?}"))["shown"].as_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        self.end.assert_code(code);
        assert_eq!(self.result["exit_code"], code);
    }
}
