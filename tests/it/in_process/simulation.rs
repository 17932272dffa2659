//! Random faults, kills and restarts: in the end every customer is in the table exactly once, and at any time before the
//! table is unchanged or complete.

use std::cell::RefCell;
use std::time::Duration;

use yotpo_td::identity::{Mode, RunSession};
use yotpo_td::run::Outcome;
use yotpo_td::sandbox::{Control, FaultPlan, SandboxSettings};

use crate::in_process::fault_sweep::check_aftermath;
use crate::in_process::harness::{
    BEGINNING, SMALLEST_PART, Scenario, TABLE, TableContent, Verdict, World, requests,
};
use crate::in_process::watchdog::in_parallel;

/// Seeds of the simulation, unless the variable sets another number.
const SEEDS: u64 = 1_000;
const SEEDS_VARIABLE: &str = "YOTPO_TD_SIMULATION_SEEDS";
/// Attempts that may be hit or killed, except the last.
const TROUBLED_ATTEMPTS: u32 = 4;

#[expect(clippy::disallowed_methods, reason = "the test's own setting")]
fn seeds() -> Vec<u64> {
    let number = std::env::var(SEEDS_VARIABLE).ok();
    let number = number.map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    (1..=number).collect()
}

fn scenario(random: &mut fastrand::Rng) -> Scenario {
    let mode = if random.bool() { Mode::Append } else { Mode::Replace };
    let customers = random.u64(1..=60);
    let old_rows = if random.bool() { 0 } else { random.u64(61..70) };
    let milliseconds = |random: &mut fastrand::Rng| Duration::from_millis(random.u64(0..9_000));
    Scenario {
        mode,
        page_size: random.u8(5..=20),
        batch: if random.bool() { 100_000 } else { random.usize(1..25) },
        closing_size: random.choice([SMALLEST_PART, 4_000, 1 << 20]).unwrap(),
        workers: random.usize(1..=4),
        old_rows,
        sandbox: SandboxSettings {
            customers,
            seed: random.u64(..),
            requests_per_second: None,
            import_duration: milliseconds(random),
            commit_duration: milliseconds(random),
            row_count_lag: milliseconds(random),
            compress_responses: random.bool(),
            ..SandboxSettings::default()
        },
        // Pages of five customers often have no loyalty data, and old rows may be more than the customers.
        flags: vec![("loyalty-check", "off".to_owned()), ("min-rows-ratio", "0".to_owned())],
    }
}

/// What kills a run: a number of requests, or a number of polls.
enum Death {
    Never,
    AfterRequests(u64),
    AfterLooks(u64),
}

impl Death {
    fn draw(random: &mut fastrand::Rng, world: &World) -> Self {
        match random.u8(0..3) {
            0 => Self::Never,
            1 => Self::AfterRequests(world.requests() + random.u64(1..30)),
            _ => Self::AfterLooks(random.u64(1..120)),
        }
    }

    fn has_come(&mut self, control: &Control) -> bool {
        match self {
            Self::Never => false,
            Self::AfterRequests(count) => requests(control) >= *count,
            Self::AfterLooks(left) => {
                *left -= 1;
                *left == 0
            }
        }
    }
}

/// At any time the table holds the old rows or all of the new ones.
struct Reader {
    old: u64,
    complete: u64,
    database: String,
    seen: RefCell<Vec<u64>>,
}

impl Reader {
    fn observe(&self, control: &Control) {
        let rows = control.row_count(&self.database, TABLE).unwrap_or(0);
        if self.seen.borrow().last() != Some(&rows) {
            self.seen.borrow_mut().push(rows);
        }
    }

    #[track_caller]
    fn assert_never_anything_else(&self, seed: u64) {
        let seen = self.seen.borrow();
        let right = [vec![self.old, self.complete], vec![self.old], vec![self.complete], vec![]];
        assert!(right.contains(&seen), "seed {seed}: the table had {seen:?} rows");
    }
}

async fn live_through(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let run_id = random.bool().then_some("session-uuid");
    let world = World::start(scenario(&mut random)).await;
    let mut flags = Vec::new();
    flags.extend(run_id.map(|id| ("run-id", id)));
    let settings = world.settings_with(&flags);
    let reader = Reader {
        old: world.scenario.old_rows,
        complete: world.complete_rows(),
        database: world.database().to_owned(),
        seen: RefCell::default(),
    };
    let mut succeeded = false;
    for attempt in 0..=TROUBLED_ATTEMPTS {
        let troubled = attempt < TROUBLED_ATTEMPTS;
        if troubled {
            let faults = FaultPlan::random(random.u64(..), 5, 20);
            world.control().set_faults(later(faults, &world));
        } else {
            world.control().set_faults(FaultPlan::none());
        }
        let mut death = if troubled { Death::draw(&mut random, &world) } else { Death::Never };
        let result = world
            .watched_run(&settings, |control| {
                reader.observe(control);
                if death.has_come(control) { Verdict::Kill } else { Verdict::Continue }
            })
            .await;
        reader.observe(world.control());
        reader.assert_never_anything_else(seed);
        match result {
            Some(Ok(_)) => {
                assert_eq!(world.content(), TableContent::Complete, "seed {seed}");
                succeeded = true;
                break;
            }
            Some(Err(failure)) => assert!(troubled, "seed {seed}: without faults {failure:?}"),
            // Killed between its last save and its exit: everything was loaded, and without an id the next run is a new
            // one, as the README says.
            None if run_id.is_none()
                && world.saved().is_none()
                && world.content() == TableContent::Complete =>
            {
                let history = world.store().history().unwrap();
                let rows = history.first().and_then(|last| last.rows);
                assert_eq!(rows, Some(world.scenario.sandbox.customers), "seed {seed}");
                succeeded = true;
                break;
            }
            None => {}
        }
        if run_id.is_some() && random.u8(0..3) == 0 {
            // A fresh container.
            std::fs::remove_file(world.store().path()).ok();
        }
        world.clock.advance(Duration::from_secs(random.u64(0..600)));
    }
    assert!(succeeded, "seed {seed}");
    assert_eq!(world.content(), TableContent::Complete, "seed {seed}");
    world.control().set_faults(FaultPlan::none());
    assert_what_is_left(&world, run_id, seed).await;
}

/// Ordinals of a plan count from the start of the sandbox: those of a later attempt come later.
fn later(mut plan: FaultPlan, world: &World) -> FaultPlan {
    use yotpo_td::sandbox::FaultTarget;
    for fault in &mut plan.faults {
        fault.target = match fault.target {
            FaultTarget::Request(nth) => FaultTarget::Request(nth + world.control().requests(fault.service)),
            FaultTarget::Operation(operation, nth) => {
                FaultTarget::Operation(operation, nth + world.control().operation_requests(operation))
            }
            always => always,
        };
    }
    plan
}

/// A run without an id leaves nothing. A run with an id leaves its ballots, its winner, and what was created by attempts
/// that may be alive.
async fn assert_what_is_left(world: &World, run_id: Option<&str>, seed: u64) {
    assert_eq!(world.saved(), None, "seed {seed}");
    let left = world.leftovers();
    match run_id {
        None => assert_eq!(left, [""; 0], "seed {seed}"),
        Some(id) => {
            let sessions = world.control().sessions();
            let committed = sessions.iter().filter(|session| session.status == "committed").count();
            assert_eq!(committed, 1, "seed {seed}: {sessions:?}");
            for session in &sessions {
                let ours = RunSession::parse(&session.name);
                assert!(
                    matches!(ours, Some(RunSession::Ballot(_) | RunSession::Own(_))),
                    "seed {seed}: {session:?}"
                );
            }
            // Starting it again, even on another machine, loads nothing.
            let before = world.control().import_jobs();
            std::fs::remove_file(world.store().path()).ok();
            let report = world.run_with(&[("run-id", id)]).await.unwrap();
            assert_eq!(report.outcome, Outcome::AlreadyCommitted, "seed {seed}");
            assert_eq!(report.rows, Some(world.control().customers()), "seed {seed}");
            assert_eq!(world.content(), TableContent::Complete, "seed {seed}");
            assert_eq!(world.control().import_jobs(), before, "seed {seed}");
        }
    }
}

#[test]
fn killed_and_restarted_under_faults_the_rows_are_there_exactly_once() {
    let seeds = seeds();
    println!("{} seeds ({SEEDS_VARIABLE} sets another number)", seeds.len());
    let limit = Duration::from_secs(120 + seeds.len() as u64 / 2);
    in_parallel(limit, seeds, async |seed| live_through(*seed).await);
}

#[test]
fn five_random_faults_load_exactly_the_source_or_leave_the_table_untouched() {
    in_parallel(Duration::from_secs(120), (1..=200).collect(), async |seed| {
        let mut random = fastrand::Rng::with_seed(*seed);
        let mut scenario = scenario(&mut random);
        scenario.sandbox.faults = FaultPlan::random(*seed, 5, 25);
        let world = World::start(scenario).await;
        let before = world.clock.unix_time().as_secs();
        assert_eq!(before, BEGINNING);
        match world.run().await {
            Ok(_) => assert_eq!(world.content(), TableContent::Complete, "seed {seed}"),
            Err(failure) => {
                assert_ne!(failure.error.diagnosis().status.code(), 0);
                check_aftermath(&world, &failure, &format!("seed {seed}")).await;
            }
        }
    });
}
