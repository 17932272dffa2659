//! The whole program as its users start it, against `yotpo-td sandbox` in another process: wall time, CPU, memory and bytes
//! sent, and how far that is from the floor, which is splitting the same pages and deflating the same rows and nothing
//! else. A table on stderr, one JSON document on stdout.
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
use crate::processes::{Served, Usage};
use crate::report::{Row, median};

/// Customers of the reference work.
const REFERENCE: u64 = 100_000;

/// Customers where only the time around them is looked at.
const SMALL: u64 = 100;

struct Wanted {
    customers: Vec<u64>,
    runs: usize,
    side_by_side: usize,
    choices: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this too: there is nothing to test.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted = wanted(&arguments);
    let mut figures = json!({ "version": env!("CARGO_PKG_VERSION"), "processors": processors() });
    for customers in &wanted.customers {
        let served = Served::start(*customers);
        // The first run pays for what is not in the page cache yet.
        served.sync(&[]);
        let runs: Vec<Usage> = (0..runs_of(*customers, wanted.runs)).map(|_| served.sync(&[])).collect();
        figures[format!("customers_{customers}")] = report::runs(&format!("{customers} customers"), &runs);
        if *customers == REFERENCE {
            figures["floor"] = compared_with_floor(&served, wanted.runs);
            if wanted.side_by_side > 1 {
                figures["side_by_side"] = side_by_side(&served, wanted.side_by_side);
            }
            if wanted.choices {
                figures["choices"] = choices(&served, wanted.runs);
            }
        }
    }
    figures["waiting"] = waiting();
    println!("{figures}");
}

/// What it costs to wait for a load job, at the default poll interval: the same small work with and without a wait.
fn waiting() -> Value {
    const SECONDS: u32 = 20;
    let poll = ["--poll-interval", "2s"];
    let without = Served::start(SMALL).sync(&poll);
    let with = Served::start_with(SMALL, &["--import-time", &format!("{SECONDS}s")]).sync(&poll);
    let cpu = with.cpu - without.cpu;
    eprintln!(
        "waiting {SECONDS} s for a load job: {cpu:.4} s of CPU, {:.2} %",
        100.0 * cpu / f64::from(SECONDS)
    );
    json!({ "seconds": SECONDS, "cpu_seconds": cpu, "wall_seconds": with.wall })
}

/// Long runs need fewer of them: what disturbs a run evens out in it.
fn runs_of(customers: u64, runs: usize) -> usize {
    if customers > REFERENCE { 1 } else { runs }
}

/// Whole program and floor in turn, so that a machine whose speed drifts disturbs both alike.
fn compared_with_floor(served: &Served, runs: usize) -> Value {
    let floor = Floor::of(&pages::fetch_all(served));
    let (mut ratios, mut floors, mut alone, mut wholes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        // Each once before it counts: right behind the other it finds none of its data in the caches.
        served.sync(&[]);
        let whole = served.sync(&[]).cpu;
        floor.measure();
        let least = floor.measure();
        alone.push(floor.measure_alone().total());
        ratios.push(whole / least.total());
        floors.push(least);
        wholes.push(whole);
    }
    let splitting = median(floors.iter().map(|floor| floor.splitting));
    let deflating = median(floors.iter().map(|floor| floor.deflating));
    let (ratio, whole) = (median(ratios.iter().copied()), median(wholes.iter().copied()));
    let alone = median(alone.iter().copied());
    eprintln!(
        "floor: splitting {splitting:.3} s + deflating {deflating:.3} s of CPU at once ({alone:.3} s one after the other); \
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

/// As many syncs at once as Digdag's `for_each>` with `_parallel` would start, each with a table of its own.
fn side_by_side(served: &Served, count: usize) -> Value {
    let (wall, usages) = served.sync_side_by_side(count);
    let cpu: f64 = usages.iter().map(|usage| usage.cpu).sum();
    let memory: u64 = usages.iter().map(|usage| usage.peak_bytes).sum();
    let customers = REFERENCE * count as u64;
    eprintln!(
        "{count} syncs of {REFERENCE} customers at once: {wall:.2} s wall, {cpu:.2} s CPU, {:.1} MB in all",
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

/// What the defaults were chosen from.
fn choices(served: &Served, runs: usize) -> Value {
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

fn wanted(arguments: &[String]) -> Wanted {
    let mut wanted = Wanted { customers: Vec::new(), runs: 7, side_by_side: 8, choices: false };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match word.as_str() {
            "--bench" => {}
            "--customers" => wanted.customers.extend(number()),
            "--runs" => wanted.runs = number().and_then(|runs| usize::try_from(runs).ok()).unwrap().max(1),
            "--side-by-side" => wanted.side_by_side = usize::try_from(number().unwrap()).unwrap(),
            "--choices" => wanted.choices = true,
            other => panic!("{other} is not one of --customers, --runs, --side-by-side, --choices"),
        }
    }
    if wanted.customers.is_empty() {
        wanted.customers = vec![REFERENCE, 10 * REFERENCE];
    }
    Row::head();
    wanted
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
