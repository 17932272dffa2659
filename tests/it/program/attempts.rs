//! Two attempts of one run id, as real processes on "two machines": whatever happens to the first one at any time, the
//! table holds one complete set, and the report of each process is true.
//!
//! `make attempts` sweeps over more moments than `make test` (`YOTPO_TD_ATTEMPT_MOMENTS`).

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use yotpo_td::sandbox::{SandboxSettings, Service};

use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, wait_until};

/// Moments in the life of the first attempt, unless the variable sets another number.
const MOMENTS: u64 = 24;
const MOMENTS_VARIABLE: &str = "YOTPO_TD_ATTEMPT_MOMENTS";
const CUSTOMERS: u64 = 60;
/// Rows in the table before, in `replace` mode.
const OLD_ROWS: u64 = 40;

/// What happens to the first attempt when the second one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It continues.
    Beside,
    /// It is suspended, and continues when the second one has ended.
    Paused,
    /// It is killed, and started again with its state.
    Killed,
    /// It is killed, and started again on another machine.
    StateLost,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: &'static str,
    way: Way,
    /// Number of requests that the first attempt has sent by then.
    moment: u64,
}

#[expect(clippy::disallowed_methods, reason = "the test's own setting")]
fn moments() -> u64 {
    std::env::var(MOMENTS_VARIABLE).map_or(MOMENTS, |text| text.parse().expect("a number of moments"))
}

fn surroundings(mode: &str) -> Surroundings {
    let surroundings = Surroundings::new(SandboxSettings {
        customers: CUSTOMERS,
        // Slow enough for moments in between, fast enough for hundreds of cases.
        response_delay: Duration::from_millis(4),
        import_duration: Duration::from_millis(20),
        commit_duration: Duration::from_millis(15),
        ..SandboxSettings::default()
    });
    if mode == "replace" {
        surroundings.control().create_table(DATABASE, TABLE);
        let row = |index| serde_json::json!({"time": 1, "json_response": format!("old {index}")});
        let rows: Vec<_> = (0..OLD_ROWS).map(row).collect();
        surroundings.control().insert_rows(DATABASE, TABLE, &rows).unwrap();
    }
    surroundings
}

/// An attempt on a machine of this name.
fn attempt(surroundings: &Surroundings, mode: &str, machine: &str) -> Running {
    let mut command = surroundings.sync(&["--run-id", "one", "--mode", mode, "--summary", "json"]);
    command.env("YOTPO_TD_STATE_DIR", surroundings.directory().join(machine));
    command.env("YOTPO_TD_MAX_RETRIES", "8");
    Running::start(command)
}

fn requests(surroundings: &Surroundings) -> u64 {
    let control = surroundings.control();
    control.requests(Service::Yotpo) + control.requests(Service::TreasureData)
}

/// Requests of an undisturbed attempt.
fn requests_of_one_attempt(mode: &str) -> u64 {
    let surroundings = surroundings(mode);
    attempt(&surroundings, mode, "alone").finish().assert_code(0);
    requests(&surroundings)
}

impl Case {
    /// The results of the attempts that ended, in the order in which they started.
    fn attempts(self, surroundings: &Surroundings) -> Vec<Finished> {
        let Self { mode, way, moment } = self;
        let mut first = attempt(surroundings, mode, "first");
        wait_until("the moment has come", || requests(surroundings) >= moment || first.has_ended());
        match way {
            Way::Beside => {
                let second = attempt(surroundings, mode, "second");
                vec![first.finish(), second.finish()]
            }
            Way::Paused => {
                // After its last request it may have ended by itself.
                let is_paused = !first.has_ended();
                if is_paused {
                    first.signal(Signal::STOP);
                }
                let second = attempt(surroundings, mode, "second").finish();
                if is_paused {
                    first.signal(Signal::CONT);
                }
                vec![first.finish(), second]
            }
            Way::Killed => {
                first.kill();
                vec![attempt(surroundings, mode, "first").finish()]
            }
            Way::StateLost => {
                first.kill();
                vec![attempt(surroundings, mode, "second").finish()]
            }
        }
    }

    fn prove(self) {
        let surroundings = surroundings(self.mode);
        let ended = self.attempts(&surroundings);
        for end in &ended {
            self.assert_true(&surroundings, end);
        }
        // One more attempt finds the same.
        let last = attempt(&surroundings, self.mode, "third").finish();
        assert_eq!(last.code(), 0, "{self:?}: {}", last.stderr);
        self.assert_true(&surroundings, &last);
        let jobs = surroundings.control().import_jobs();
        let again = attempt(&surroundings, self.mode, "fourth").finish();
        assert_eq!(summary(&again)["outcome"], "already_committed", "{self:?}: {}", again.stderr);
        assert_eq!(surroundings.control().import_jobs(), jobs, "{self:?}: something was loaded once more");
    }

    /// Each of these attempts succeeds, and reports the rows and the time that are in the table.
    fn assert_true(self, surroundings: &Surroundings, end: &Finished) {
        assert_eq!(end.code(), 0, "{self:?}: {}", end.stderr);
        let summary = summary(end);
        assert_eq!(summary["rows"], CUSTOMERS, "{self:?}: {summary}");
        let time = summary["ingestion_time"].as_i64().unwrap();
        let found = surroundings.control().verify_table(DATABASE, TABLE, time..=time).unwrap();
        assert!(found.is_exact(), "{self:?}: {summary}: {found:?}");
        let joined = matches!(summary["outcome"].as_str(), Some("committed" | "already_committed"));
        assert!(joined, "{self:?}: {summary}");
    }
}

fn summary(end: &Finished) -> Value {
    serde_json::from_str(&end.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", end.stdout, end.stderr))
}

#[test]
fn two_attempts_at_any_moment_load_and_report_one_complete_set() {
    let mut cases = Vec::new();
    for mode in ["append", "replace"] {
        let requests = requests_of_one_attempt(mode);
        for way in [Way::Beside, Way::Paused, Way::Killed, Way::StateLost] {
            let moment = |nth| nth * requests / moments();
            cases.extend((0..moments()).map(|nth| Case { mode, way, moment: moment(nth) }));
        }
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(panic) = std::panic::catch_unwind(|| case.prove()) {
                        failures.lock().unwrap().push(crate::in_process::watchdog::message(panic.as_ref()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{} cases ({MOMENTS_VARIABLE} sets another number of moments)", cases.len());
    let shown: Vec<_> = failures.iter().take(10).cloned().collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), shown.join("\n"));
}
