//! Killing the real program everywhere, and starting it again.
//!
//! Owns the sweep: SIGKILL around every save of the state, before the service acts on the n-th request, and after it
//! acted but before its response is complete; for every n until the run ends undisturbed. Then the same command runs
//! again; at every second point it is killed once more.
//!
//! Without `--run-id`, a run that was killed after its last save has succeeded as far as anyone can know: running it
//! again is a new run, so such a case ends there.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use yotpo_td::checkpoint::StateStore;
use yotpo_td::identity::{OwnTable, RunSession};
use yotpo_td::sandbox::{FaultKind, SandboxSettings, Service};

use crate::program::binary::{DATABASE, Running, Surroundings, TABLE, wait_until};

const CUSTOMERS: u64 = 60;
const PAGE_SIZE: u64 = 5;
/// Rows of a table before it is replaced: few enough that the guard accepts 60 rows.
const OLD_ROWS: u64 = 40;
/// Minimum number of kills, so that the sweep does not shrink unnoticed.
const LEAST_POINTS: usize = 400;
/// Number of concurrent programs; each has its own mock servers.
const IMMEDIATELY: usize = 4;
/// A response that does not become complete during the test.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// How the program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Append,
    Replace,
    /// `--run-id`, with the second run on another machine, which has no state directory.
    AppendElsewhere,
    ReplaceElsewhere,
}

/// Where the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At a failpoint.
    Failpoint(&'static str),
    /// While it waits for a service that has not acted on its request.
    BeforeAction(Service),
    /// While it waits for the response of a service that has acted.
    AfterAction(Service),
}

/// The result of one kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Killed,
    /// It ended by itself before it could be killed.
    Escaped,
    /// The place is not reached that often.
    NotReached,
}

const WAYS: [Way; 4] = [Way::Replace, Way::Append, Way::ReplaceElsewhere, Way::AppendElsewhere];
const PLACES: [Place; 7] = [
    Place::BeforeAction(Service::TreasureData),
    Place::AfterAction(Service::TreasureData),
    Place::BeforeAction(Service::Yotpo),
    Place::AfterAction(Service::Yotpo),
    Place::Failpoint("before save"),
    Place::Failpoint("before rename"),
    Place::Failpoint("after save"),
];

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn killed_anywhere_the_same_command_completes_the_table() {
    let lines: VecDeque<_> = PLACES.into_iter().flat_map(|place| WAYS.map(|way| (way, place))).collect();
    let lines = Mutex::new(lines);
    let points: Mutex<BTreeMap<String, usize>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..IMMEDIATELY {
            scope.spawn(|| {
                while let Some((way, place)) = next(&lines) {
                    let killed = sweep(way, place);
                    points.lock().unwrap().insert(format!("{way:?}, {place:?}"), killed);
                }
            });
        }
    });
    let points = points.into_inner().unwrap();
    let total: usize = points.values().sum();
    println!("{total} points: {points:#?}");
    assert!(total >= LEAST_POINTS, "only {total} points: {points:#?}");
    for (line, killed) in &points {
        assert!(*killed > 0, "nothing was killed on the line {line}");
    }
}

fn next(lines: &Mutex<VecDeque<(Way, Place)>>) -> Option<(Way, Place)> {
    lines.lock().unwrap().pop_front()
}

/// Kills at every occurrence of a place, and returns how many runs were killed.
fn sweep(way: Way, place: Place) -> usize {
    let mut killed = 0;
    for nth in 1.. {
        let point = Point { way, place, nth, surroundings: surroundings(way) };
        match point.prove() {
            (Attempt::NotReached, _) => break,
            (_, kills) => killed += kills,
        }
    }
    killed
}

fn surroundings(way: Way) -> Surroundings {
    let settings = SandboxSettings { customers: CUSTOMERS, ..SandboxSettings::default() };
    let surroundings = Surroundings::new(settings);
    if way.replaces() {
        let control = surroundings.control();
        control.create_table(DATABASE, TABLE);
        let rows: Vec<_> =
            (0..OLD_ROWS).map(|row| json!({"time": 1, "json_response": row.to_string()})).collect();
        control.insert_rows(DATABASE, TABLE, &rows).unwrap();
    }
    surroundings
}

/// One place of one run.
struct Point {
    way: Way,
    place: Place,
    nth: u64,
    surroundings: Surroundings,
}

impl Point {
    /// Kills, checks, runs again, and checks. Returns the result of the first kill and how many runs were killed.
    fn prove(&self) -> (Attempt, usize) {
        let first = self.start_and_kill(self.place, self.nth);
        self.check_after_kill();
        if first != Attempt::Killed {
            self.assert_complete();
            return (first, 0);
        }
        let mut kills = 1;
        let mut durable = self.durable_pages();
        self.lose_state();
        if self.nth.is_multiple_of(2) && !self.has_ended_well() {
            let (place, nth) = self.second_place();
            kills += usize::from(self.start_and_kill(place, nth) == Attempt::Killed);
            self.check_after_kill();
            for (page, fetches) in self.durable_pages() {
                durable.entry(page).or_insert(fetches);
            }
            self.lose_state();
        }
        if self.has_ended_well() {
            self.assert_complete();
            return (first, kills);
        }
        let end = Running::start(self.command()).finish();
        assert_eq!(end.code(), 0, "{self}: the same command again:\n{}", end.stderr);
        self.assert_complete();
        let fetches = self.surroundings.control().page_fetches();
        for (page, before) in durable {
            assert_eq!(fetches[&page], before, "{self}: durable page {page} was fetched again");
        }
        (first, kills)
    }

    fn command(&self) -> Command {
        self.surroundings.sync(self.way.arguments())
    }

    fn start_and_kill(&self, place: Place, nth: u64) -> Attempt {
        let applied = self.surroundings.control().applied_faults();
        let mut command = self.command();
        match place {
            Place::Failpoint(name) => {
                command.env("YOTPO_TD_FAILPOINT", format!("{name}:{nth}:kill"));
                let end = Running::start(command).finish();
                return if end.status.code().is_none() { Attempt::Killed } else { self.unharmed(&end) };
            }
            Place::BeforeAction(service) => {
                self.surroundings.fault_on_request(service, nth, FaultKind::Hang);
            }
            Place::AfterAction(service) => {
                self.surroundings.fault_on_request(service, nth, FaultKind::SlowBody(FOR_EVER));
            }
        }
        let mut running = Running::start(command);
        let hit = || self.surroundings.control().applied_faults() > applied;
        wait_until("the request is there, or the run is at its end", || hit() || running.has_ended());
        self.surroundings.end_faults();
        if running.has_ended() {
            let end = running.finish();
            self.unharmed(&end);
            return if hit() { Attempt::Escaped } else { Attempt::NotReached };
        }
        running.kill();
        Attempt::Killed
    }

    fn unharmed(&self, end: &crate::program::binary::Finished) -> Attempt {
        assert_eq!(end.code(), 0, "{self}: unharmed:\n{}", end.stderr);
        Attempt::NotReached
    }

    /// Another place for the second kill, in the resumed run.
    fn second_place(&self) -> (Place, u64) {
        let step = 1 + self.nth % 5;
        match self.place {
            Place::Failpoint(_) => (self.place, step),
            Place::BeforeAction(service) | Place::AfterAction(service) => {
                (self.place, self.surroundings.control().requests(service) + step)
            }
        }
    }

    /// The table is unchanged or complete.
    fn check_after_kill(&self) {
        let untouched = if self.way.replaces() { OLD_ROWS } else { 0 };
        if self.surroundings.rows() != untouched {
            let found = self.surroundings.verification().unwrap();
            assert!(found.is_exact(), "{self}: {found:?}");
        }
    }

    /// How often each page was fetched that is stored according to the state. Another machine has none.
    fn durable_pages(&self) -> BTreeMap<u64, u32> {
        let Some(state) = self.surroundings.saved_run() else { return BTreeMap::new() };
        if self.way.is_elsewhere() {
            return BTreeMap::new();
        }
        let mut fetches = self.surroundings.control().page_fetches();
        fetches.retain(|first_customer, _| *first_customer < state.position.page() * PAGE_SIZE);
        assert_eq!(
            fetches.len() as u64,
            state.position.page(),
            "{self}: stored pages that were never fetched"
        );
        fetches
    }

    /// Whether the state shows that the run succeeded; another machine has no state.
    fn has_ended_well(&self) -> bool {
        let stores = StateStore::all(&self.surroundings.state_directory()).unwrap();
        stores.first().is_some_and(|store| !store.history().unwrap().is_empty())
    }

    fn lose_state(&self) {
        if self.way.is_elsewhere() && self.surroundings.state_directory().exists() {
            std::fs::remove_dir_all(self.surroundings.state_directory()).unwrap();
        }
    }

    /// The table has exactly the rows of the source. Only a run with an id leaves something: its winner, its ballot, and
    /// what the killed attempt created, because others cannot know that it is not running.
    fn assert_complete(&self) {
        let control = self.surroundings.control();
        let found = self.surroundings.verification().unwrap();
        assert!(found.is_exact(), "{self}: {found:?}");
        let sessions = control.sessions();
        let mut tables = control.tables();
        if self.way.is_elsewhere() {
            let committed = sessions.iter().filter(|session| session.status == "committed").count();
            assert_eq!(committed, 1, "{self}: {sessions:?}");
            let foreign = |name: &str| RunSession::parse(name).is_none();
            assert!(!sessions.iter().any(|session| foreign(&session.name)), "{self}: {sessions:?}");
            assert!(sessions.len() <= 4, "{self}: {sessions:?}");
            tables.retain(|(_, table)| OwnTable::parse(table).is_none());
        } else {
            assert_eq!(sessions, [], "{self}: sessions");
        }
        assert_eq!(tables, [(DATABASE.to_owned(), TABLE.to_owned())], "{self}: tables");
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} killed at {:?} number {}", self.way, self.place, self.nth)
    }
}

impl Way {
    fn replaces(self) -> bool {
        matches!(self, Self::Replace | Self::ReplaceElsewhere)
    }

    fn is_elsewhere(self) -> bool {
        matches!(self, Self::AppendElsewhere | Self::ReplaceElsewhere)
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Append => &["--summary", "none"],
            Self::Replace => &["--summary", "none", "--mode", "replace"],
            Self::AppendElsewhere => &["--summary", "none", "--run-id", "session-uuid"],
            Self::ReplaceElsewhere => &["--summary", "none", "--mode", "replace", "--run-id", "session-uuid"],
        }
    }
}
