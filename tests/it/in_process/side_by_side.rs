//! Two or three attempts of one run id side by side on virtual time: suspended between any two of their calls and
//! resumed hours later, killed and started again with their state or without, while responses are lost, requests are
//! delivered late or twice, loads and commits fail, and the store changes. In every case the table holds one complete
//! set.
//!
//! `YOTPO_TD_SIDE_BY_SIDE_SEEDS` sets another number of seeds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use yotpo_td::clock::SuspendAt;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::identity::Mode;
use yotpo_td::run::{Outcome, RunReport};
use yotpo_td::sandbox::{Control, Fault, FaultKind, FaultPlan, FaultTarget, SandboxSettings, Service};

use crate::in_process::harness::{SMALLEST_PART, Scenario, TABLE, World};
use crate::in_process::machine::{Attempt, End, Machine};
use crate::in_process::watchdog::in_parallel;

const SEEDS: u64 = 2_000;
const SEEDS_VARIABLE: &str = "YOTPO_TD_SIDE_BY_SIDE_SEEDS";
/// Number of consecutive processes on one machine.
const LIVES: usize = 4;
/// The run of all attempts.
const ONE: &[(&str, &str)] = &[("run-id", "one")];
/// Maximum number of customers that are added to the store.
const MAX_GROWTH: u64 = 9;

#[expect(clippy::disallowed_methods, reason = "the test's own setting")]
fn seeds() -> Vec<u64> {
    let number = std::env::var(SEEDS_VARIABLE).map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    (1..=number).collect()
}

fn scenario(random: &mut fastrand::Rng) -> Scenario {
    let milliseconds = |random: &mut fastrand::Rng, most| Duration::from_millis(random.u64(1..most));
    let mode = if random.bool() { Mode::Append } else { Mode::Replace };
    Scenario {
        mode,
        page_size: random.u8(5..=20),
        batch: 100_000,
        closing_size: random.choice([SMALLEST_PART, 4_000, 1 << 20]).unwrap(),
        workers: random.usize(1..=3),
        old_rows: if random.bool() { 0 } else { 70 },
        sandbox: SandboxSettings {
            customers: random.u64(1..=50),
            seed: random.u64(..),
            requests_per_second: None,
            response_delay: milliseconds(random, 3_000),
            import_duration: milliseconds(random, 20_000),
            commit_duration: milliseconds(random, 9_000),
            faults: faults(random),
            ..SandboxSettings::default()
        },
        flags: vec![("loyalty-check", "off".to_owned()), ("min-rows-ratio", "0".to_owned())],
    }
}

/// Random faults, and requests that take effect late.
fn faults(random: &mut fastrand::Rng) -> FaultPlan {
    let mut plan = FaultPlan::random(random.u64(..), random.usize(0..6), 90);
    for _ in 0..random.u8(0..3) {
        let later = Duration::from_secs(random.choice([1, 7, 60, 1_800, 20_000]).unwrap());
        let kind = match random.u8(0..3) {
            0 => FaultKind::DeliveredAgain(later),
            1 => FaultKind::LateAfterReset(later),
            _ => FaultKind::LateAfterTimeout(later),
        };
        let target = FaultTarget::Request(random.u64(1..90));
        plan.faults.push(Fault { service: Service::TreasureData, target, kind });
    }
    plan
}

/// Row counts that were visible in the table.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<BTreeSet<u64>>>);

impl Reader {
    fn observe(&self, control: &Control, database: &str) {
        self.0.lock().unwrap().insert(control.row_count(database, TABLE).unwrap_or(0));
    }
}

/// Consecutive processes on one machine until one succeeds, or all lives are used up.
async fn lives(
    world: &World,
    reader: Reader,
    seed: u64,
    flags: &[(&'static str, &str)],
) -> Option<RunReport> {
    let mut random = fastrand::Rng::with_seed(seed);
    let machine = Machine::new(world);
    for _ in 0..LIVES {
        world.clock.sleep(Duration::from_millis(random.u64(0..40_000))).await;
        let database = world.database().to_owned();
        let reader = reader.clone();
        let watch = move |control: &Control| reader.observe(control, &database);
        let attempt = machine.start_watched(&machine.settings(flags), watch);
        match troubled(world, &mut random, attempt).await {
            Some(Ok(report)) => return Some(report),
            Some(Err(failure)) => {
                assert_ne!(failure.error.diagnosis().status, ExitStatus::Bug, "{failure:?}");
            }
            None => {
                if random.bool() {
                    machine.lose_state();
                }
            }
        }
    }
    None
}

/// One process, which may be suspended and resumed, or killed.
async fn troubled(world: &World, random: &mut fastrand::Rng, mut attempt: Attempt) -> End {
    for _ in 0..random.u8(0..3) {
        let request = attempt.requests_sent() + random.u64(1..40);
        let is_after = random.bool();
        attempt.suspend_at(if is_after { SuspendAt::After(request) } else { SuspendAt::Before(request) });
        if !attempt.suspended().await {
            return attempt.end().await;
        }
        if random.u8(0..3) == 0 {
            return attempt.kill().await;
        }
        let pause = random.choice([1, 30, 600, 7_200, 36_000]).unwrap();
        world.clock.sleep(Duration::from_secs(pause)).await;
        attempt.resume();
    }
    attempt.end().await
}

/// Customers are added while the attempts are running.
async fn grow(world: &World, growth: u64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let customers = world.control().customers();
    for more in 1..=growth {
        world.clock.sleep(Duration::from_millis(random.u64(0..60_000))).await;
        world.control().set_customers(customers + more);
    }
}

/// The table holds exactly the set in a report, and what was there before.
#[track_caller]
fn assert_holds(world: &World, report: &RunReport, context: &str) {
    let time = i64::try_from(report.ingestion_time.unwrap()).unwrap();
    let rows = report.rows.unwrap();
    let old = if world.scenario.mode == Mode::Append { world.scenario.old_rows } else { 0 };
    let found = world.control().verify_table(world.database(), TABLE, time..=time).unwrap();
    let wrong = [found.duplicated, found.differing, found.extra_columns];
    assert_eq!(wrong, [0; 3], "{context}: {report:?} {found:?}");
    // Rows that were there before belong to no customer and have another time.
    assert_eq!(
        (found.rows, found.unknown, found.wrong_time),
        (rows + old, old, old),
        "{context}: {report:?} {found:?}"
    );
    assert_eq!(found.customers - found.missing, rows, "{context}: {report:?} {found:?}");
}

async fn live_through(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::start(scenario(&mut random)).await;
    let (old, customers) = (world.scenario.old_rows, world.control().customers());
    let growth = random.u64(0..=MAX_GROWTH);
    let reader = Reader::default();
    let attempts: Vec<_> =
        (0..random.usize(2..=3)).map(|_| lives(&world, reader.clone(), random.u64(..), ONE)).collect();
    let grown = grow(&world, growth, random.u64(..));
    let (reports, ()) = futures_util::join!(join_all(attempts), grown);
    let reports: Vec<_> = reports.into_iter().flatten().collect();
    for report in &reports {
        assert_holds(&world, report, &format!("seed {seed}"));
    }
    // Everything in flight arrives. Then a single attempt on another machine completes the run.
    world.clock.sleep(Duration::from_secs(30_000)).await;
    world.control().set_faults(FaultPlan::none());
    let machine = Machine::new(&world);
    let settings = machine.settings(ONE);
    let last = machine.start(&settings).end().await.expect("it is not killed");
    let last = last.unwrap_or_else(|failure| panic!("seed {seed}: a lone attempt ends with {failure:?}"));
    assert_holds(&world, &last, &format!("seed {seed}, the lone attempt"));
    assert!((customers..=customers + growth).contains(&last.rows.unwrap()), "seed {seed}: {last:?}");
    if !reports.is_empty() {
        assert_eq!(last.outcome, Outcome::AlreadyCommitted, "seed {seed}: {last:?}");
    }
    reader.observe(world.control(), world.database());
    let kept = if world.scenario.mode == Mode::Append { old } else { 0 };
    let right = BTreeSet::from([old, kept + last.rows.unwrap()]);
    let seen = reader.0.lock().unwrap();
    assert!(seen.is_subset(&right), "seed {seed}: the table had {seen:?} rows, and {right:?} would be right");
}

#[test]
fn attempts_side_by_side_load_one_complete_set() {
    let seeds = seeds();
    println!("{} seeds ({SEEDS_VARIABLE} sets another number)", seeds.len());
    let limit = Duration::from_secs(120 + seeds.len() as u64 / 2);
    in_parallel(limit, seeds, async |seed| live_through(*seed).await);
}

/// One machine appends and one replaces, with the same run id: if one loads, the other does not. Returns whether one did.
async fn differ_in_mode(seed: u64) -> bool {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scenario = scenario(&mut random);
    scenario.sandbox.faults = FaultPlan::none();
    let world = World::start(scenario).await;
    let (old, customers) = (world.scenario.old_rows, world.control().customers());
    let reader = Reader::default();
    let [append, replace] =
        [&[("run-id", "one"), ("mode", "append")][..], &[("run-id", "one"), ("mode", "replace")][..]]
            .map(|flags| lives(&world, reader.clone(), random.u64(..), flags));
    let (append, replace) = futures_util::join!(append, replace);
    assert!(append.is_none() || replace.is_none(), "seed {seed}: {append:?} and {replace:?}");
    reader.observe(world.control(), world.database());
    let rows = world.control().row_count(world.database(), TABLE).unwrap_or(0);
    if append.is_some() {
        assert_eq!(rows, old + customers, "seed {seed}");
    }
    if replace.is_some() {
        assert_eq!(rows, customers, "seed {seed}");
    }
    // One that was killed may have loaded before.
    let seen = reader.0.lock().unwrap();
    let of_append = BTreeSet::from([old, old + customers]);
    let of_replace = BTreeSet::from([old, customers]);
    assert!(
        seen.is_subset(&of_append) || seen.is_subset(&of_replace),
        "seed {seed}: the table had {seen:?} rows"
    );
    append.is_some() || replace.is_some()
}

#[test]
fn attempts_in_different_modes_do_not_both_load() {
    let mut seeds = seeds();
    seeds.truncate(seeds.len() / 4);
    let (count, loads) = (seeds.len(), Arc::new(AtomicUsize::new(0)));
    let limit = Duration::from_secs(120 + count as u64 / 2);
    let counted = Arc::clone(&loads);
    in_parallel(limit, seeds, async move |seed| {
        if differ_in_mode(*seed).await {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let loads = loads.load(Ordering::Relaxed);
    assert!(loads > count / 4, "only {loads} of {count} loaded");
}
