//! The entire program as users run it, against `yotpo-td sandbox` in another process: wall time, CPU, memory and bytes
//! sent, and the distance from the floor, which is splitting the same pages and deflating the same rows and nothing
//! else. Prints a table on stderr and one JSON document on stdout.
//!
//! `cargo bench --bench end_to_end -- [--customers N]... [--runs N] [--side-by-side N] [--choices]`

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run should stop"
)]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the figures are the result")]

mod floor;
mod pages;
mod processes;
mod report;

use serde_json::{Value, json};

use crate::floor::Floor;
use crate::processes::{SandboxProcess, Usage};
use crate::report::{Row, median};

/// Customers of the reference workload.
const REFERENCE: u64 = 100_000;

/// Customers in benchmarks that only measure the time around them.
const SMALL: u64 = 100;

struct Options {
    customers: Vec<u64>,
    runs: usize,
    in_parallel: usize,
    choices: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` also runs this; there is nothing to test.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let options = parse_options(&arguments);
    let mut figures = json!({ "version": env!("CARGO_PKG_VERSION"), "processors": processors() });
    for customers in &options.customers {
        let served = SandboxProcess::start(*customers);
        // The first run fills the page cache.
        served.sync(&[]);
        let runs: Vec<Usage> = (0..runs_of(*customers, options.runs)).map(|_| served.sync(&[])).collect();
        figures[format!("customers_{customers}")] = report::runs(&format!("{customers} customers"), &runs);
        if *customers == REFERENCE {
            figures["floor"] = compared_with_floor(&served, options.runs);
            if options.in_parallel > 1 {
                figures["side_by_side"] = in_parallel(&served, options.in_parallel);
            }
            if options.choices {
                figures["choices"] = choices(&served, options.runs);
            }
        }
    }
    figures["waiting"] = waiting();
    println!("{figures}");
}

/// The cost of waiting for a load job at the default poll interval: the same small workload with and without a wait.
fn waiting() -> Value {
    const SECONDS: u32 = 20;
    let poll = ["--poll-interval", "2s"];
    let without = SandboxProcess::start(SMALL).sync(&poll);
    let with = SandboxProcess::start_with(SMALL, &["--import-time", &format!("{SECONDS}s")]).sync(&poll);
    let cpu = with.cpu - without.cpu;
    eprintln!(
        "waiting {SECONDS} s for a load job: {cpu:.4} s of CPU, {:.2} %",
        100.0 * cpu / f64::from(SECONDS)
    );
    json!({ "seconds": SECONDS, "cpu_seconds": cpu, "wall_seconds": with.wall })
}

/// Long runs need fewer repetitions: disturbances even out within a run.
fn runs_of(customers: u64, runs: usize) -> usize {
    if customers > REFERENCE { 1 } else { runs }
}

/// Measures the whole program and the floor alternately, so that a machine whose speed drifts affects both equally.
fn compared_with_floor(served: &SandboxProcess, runs: usize) -> Value {
    let floor = Floor::of(&pages::fetch_all(served));
    let (mut ratios, mut floors, mut alone, mut wholes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        // One warm-up each: right after the other, it would find none of its data in the caches.
        served.sync(&[]);
        let whole = served.sync(&[]).cpu;
        floor.measure();
        let floor_time = floor.measure();
        alone.push(floor.measure_alone().total());
        ratios.push(whole / floor_time.total());
        floors.push(floor_time);
        wholes.push(whole);
    }
    let splitting = median(floors.iter().map(|floor| floor.splitting));
    let deflating = median(floors.iter().map(|floor| floor.deflating));
    let (ratio, whole) = (median(ratios.iter().copied()), median(wholes.iter().copied()));
    let alone = median(alone.iter().copied());
    eprintln!(
        "floor: splitting {splitting:.3} s + deflating {deflating:.3} s of CPU in parallel ({alone:.3} s sequentially); \
         whole program {whole:.3} s; ratio {ratio:.2} ({:.2})",
        whole / alone
    );
    json!({
        "json_bytes": floor.json_bytes(),
        "row_bytes": floor.row_bytes(),
        "splitting_seconds": splitting,
        "deflating_seconds": deflating,
        "alone_seconds": alone,
        "whole_program_cpu_seconds": whole,
        "ratio": ratio,
        "ratio_to_alone": whole / alone,
        "ratios": ratios,
    })
}

/// Runs concurrent syncs, as Digdag's `for_each>` with `_parallel` would, each with its own table.
fn in_parallel(served: &SandboxProcess, count: usize) -> Value {
    let (wall, usages) = served.sync_in_parallel(count);
    let cpu: f64 = usages.iter().map(|usage| usage.cpu).sum();
    let memory: u64 = usages.iter().map(|usage| usage.peak_bytes).sum();
    let customers = REFERENCE * count as u64;
    eprintln!(
        "{count} syncs of {REFERENCE} customers in parallel: {wall:.2} s wall, {cpu:.2} s CPU, {:.1} MB in total",
        report::megabytes(memory)
    );
    json!({
        "syncs": count,
        "customers": customers,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_bytes_of_all": memory,
    })
}

/// The measurements behind the defaults.
fn choices(served: &SandboxProcess, runs: usize) -> Value {
    let mut found = Vec::new();
    for (name, values) in [
        ("--compression-level", &["1", "2", "3", "4", "6", "9"][..]),
        ("--part-size", &["1MiB", "2MiB", "4MiB", "8MiB", "16MiB"]),
        ("--upload-workers", &["1", "2", "4", "8"]),
    ] {
        for value in values {
            let usages: Vec<Usage> = (0..runs).map(|_| served.sync(&[name, value])).collect();
            let figures = report::runs(&format!("{name} {value}"), &usages);
            found.push(json!({ "setting": name, "value": value, "figures": figures }));
        }
    }
    Value::from(found)
}

fn parse_options(arguments: &[String]) -> Options {
    let mut options = Options { customers: Vec::new(), runs: 7, in_parallel: 8, choices: false };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match word.as_str() {
            "--bench" => {}
            "--customers" => options.customers.extend(number()),
            "--runs" => options.runs = number().and_then(|runs| usize::try_from(runs).ok()).unwrap().max(1),
            "--side-by-side" => options.in_parallel = usize::try_from(number().unwrap()).unwrap(),
            "--choices" => options.choices = true,
            other => panic!("{other}: expected --customers, --runs, --side-by-side or --choices"),
        }
    }
    if options.customers.is_empty() {
        options.customers = vec![REFERENCE, 10 * REFERENCE];
    }
    Row::print_header();
    options
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
