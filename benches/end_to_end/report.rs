//! Results as a table and as JSON.

use serde_json::{Value, json};

use crate::processes::Usage;

/// Column titles of the table.
pub(crate) struct Row;

impl Row {
    pub(crate) fn print_header() {
        eprintln!(
            "{:<26} {:>4}  {:>22}  {:>22}  {:>11}  {:>8}  {:>8}",
            "whole program",
            "runs",
            "wall s (min med max)",
            "CPU s (min med max)",
            "customers/s",
            "peak MB",
            "sent MB"
        );
    }
}

/// Prints a line of the table and returns the same figures as JSON.
pub(crate) fn runs(what: &str, runs: &[Usage]) -> Value {
    let wall = spread(runs.iter().map(|run| run.wall));
    let cpu = spread(runs.iter().map(|run| run.cpu));
    let customers = runs.first().map_or(0, |run| run.customers);
    let peak = runs.iter().map(|run| run.peak_bytes).max().unwrap_or_default();
    let uploaded = runs.first().map_or(0, |run| run.uploaded_bytes);
    let count = u32::try_from(customers).map_or(f64::INFINITY, f64::from);
    let (per_second, cpu_per_100_000) = (count / wall[1], cpu[1] * 100_000.0 / count);
    eprintln!(
        "{what:<26} {:>4}  {:>22}  {:>22}  {per_second:>11.0}  {:>8.1}  {:>8.1}",
        runs.len(),
        format_spread(wall),
        format_spread(cpu),
        megabytes(peak),
        megabytes(uploaded),
    );
    json!({
        "runs": runs.len(),
        "customers": customers,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "customers_per_second": per_second,
        "cpu_seconds_per_100000": cpu_per_100_000,
        "peak_resident_bytes": peak,
        "uploaded_bytes": uploaded,
    })
}

/// The median; for an even number of values, the upper of the two middle ones.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    spread(values)[1]
}

/// Millions of bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    u32::try_from(bytes / 1_000).map_or(f64::INFINITY, f64::from) / 1_000.0
}

/// Minimum, median and maximum.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn format_spread([min, median, max]: [f64; 3]) -> String {
    format!("{min:.3} {median:.3} {max:.3}")
}
