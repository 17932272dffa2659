//! Comparison of two sets of rows by content, such as an export of a table and a `sync --to` directory.
//!
//! Owns what is equal (`docs/compare.md`), which class each row is in, and which fields of changed rows differ. It keeps 48
//! bytes per row, never a row, and reports counts and names of fields, never a value. It changes nothing, knows no service,
//! and does not print.
//!
//! Both sides are read at the same time, each on its own thread. Only if rows changed, both are read once more, for the fields
//! of these rows.

mod canonical;
mod error;
mod fields;
mod input;
mod json;
mod json_lines;
mod matching;
mod message_pack;
mod number;
mod side;
mod source;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

pub use self::error::{CompareError, FileProblem, RowProblem};
pub use self::input::{EXTENSIONS, Input};
pub use self::matching::TimeDifference;
pub use self::side::SideFacts;

use self::fields::PathId;
use self::matching::Matching;
use self::side::{ChangedRows, Side, Watch};

/// For rows that nest as deep as they may, with room to spare.
const STACK_SIZE: usize = 8 << 20;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What is known of both sides.
    pub sides: [SideFacts; 2],
    /// Rows that are equal byte for byte.
    pub identical: u64,
    /// Rows that are equal, but written differently.
    pub written_differently: u64,
    /// Rows of the same customer with another value.
    pub changed: u64,
    /// Rows that only one side has.
    pub only_in: [u64; 2],
    /// How many of them are further copies of a row that both sides have.
    pub copies: [u64; 2],
    /// The fields that differ in changed rows, and in how many, the most frequent first.
    pub fields: Vec<(String, u64)>,
    /// Changed rows whose fields were compared.
    pub rows_with_fields: u64,
    /// How the times of equal rows differ.
    pub time_difference: Option<TimeDifference>,
}

/// How far a comparison is; can be read from any thread.
#[derive(Debug, Default)]
pub struct CompareProgress {
    rows: [AtomicU64; 2],
    is_second_pass: AtomicBool,
    stop: AtomicBool,
}

impl Comparison {
    /// Whether both sides have the same customers with the same values.
    pub fn is_equal(&self) -> bool {
        self.changed == 0 && self.only_in == [0, 0]
    }
}

impl CompareProgress {
    /// Rows of both sides that were read in this pass.
    pub fn rows(&self) -> [u64; 2] {
        self.rows.each_ref().map(|rows| rows.load(Ordering::Relaxed))
    }

    /// Whether the changed rows are being read once more.
    pub fn is_second_pass(&self) -> bool {
        self.is_second_pass.load(Ordering::Relaxed)
    }

    /// Asks the comparison to stop after the current row.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn start_second_pass(&self) {
        self.rows.iter().for_each(|rows| rows.store(0, Ordering::Relaxed));
        self.is_second_pass.store(true, Ordering::Relaxed);
    }
}

/// Compares two sets of rows. It blocks until both are read.
///
/// # Errors
/// When one of them cannot be read to its end.
pub fn compare(inputs: &[Input; 2], progress: &CompareProgress) -> Result<Comparison, CompareError> {
    let [a, b] = inputs;
    let [ours, theirs] = on_both_sides(progress, |watch| side::read(a, watch), |watch| side::read(b, watch))?;
    let (Side { facts, entries: mut ours }, Side { facts: other_facts, entries: mut theirs }) =
        (ours, theirs);
    let matching = matching::matched(&mut ours, &mut theirs);
    drop((ours, theirs));
    let (fields, rows_with_fields) = if matching.pairs.is_empty() {
        (Vec::new(), 0)
    } else {
        differing_fields(inputs, &matching, progress)?
    };
    let Matching { identical, written_differently, changed, only_in, copies, time_difference, .. } = matching;
    Ok(Comparison {
        sides: [facts, other_facts],
        identical,
        written_differently,
        changed,
        only_in,
        copies,
        fields,
        rows_with_fields,
        time_difference,
    })
}

/// The fields that differ, each with its number of rows, and in how many rows they were compared.
fn differing_fields(
    inputs: &[Input; 2],
    matching: &Matching,
    progress: &CompareProgress,
) -> Result<(Vec<(String, u64)>, u64), CompareError> {
    progress.start_second_pass();
    let [a, b] = inputs;
    let pairs = || matching.pairs.iter().enumerate();
    let [ours, theirs] = on_both_sides(
        progress,
        |watch| side::read_fields(a, pairs().map(|(pair, [value, _])| (*value, pair)), watch),
        |watch| side::read_fields(b, pairs().map(|(pair, [_, value])| (*value, pair)), watch),
    )?;
    let (ChangedRows { fields: ours, mut paths }, ChangedRows { fields: theirs, paths: other_paths }) =
        (ours, theirs);
    paths.extend(other_paths);
    let mut rows: HashMap<PathId, u64> = HashMap::new();
    let mut compared = 0;
    for (pair, ours) in &ours {
        let Some(theirs) = theirs.get(pair) else { continue };
        compared += 1;
        for path in paths.differences(ours, theirs) {
            *rows.entry(path).or_default() += 1;
        }
    }
    let mut fields: Vec<_> = rows.into_iter().map(|(path, rows)| (paths.name(path), rows)).collect();
    fields.sort_by(|(name, rows), (other_name, other_rows)| {
        other_rows.cmp(rows).then_with(|| name.cmp(other_name))
    });
    Ok((fields, compared))
}

/// Reads both sides at the same time. If one fails, the other stops.
fn on_both_sides<T: Send>(
    progress: &CompareProgress,
    a: impl FnOnce(Watch<'_>) -> Result<T, CompareError> + Send,
    b: impl FnOnce(Watch<'_>) -> Result<T, CompareError> + Send,
) -> Result<[T; 2], CompareError> {
    let [rows_a, rows_b] = &progress.rows;
    let stop = &progress.stop;
    let stopping =
        |result: Result<T, CompareError>| result.inspect_err(|_| stop.store(true, Ordering::Relaxed));
    thread::scope(|scope| {
        let start = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE);
        let a = start("compare a")
            .spawn_scoped(scope, || stopping(a(Watch { rows: rows_a, stop })))
            .map_err(CompareError::Thread)?;
        let b = start("compare b")
            .spawn_scoped(scope, || stopping(b(Watch { rows: rows_b, stop })))
            .map_err(CompareError::Thread);
        if b.is_err() {
            progress.stop();
        }
        let joined = |thread: thread::ScopedJoinHandle<'_, Result<T, CompareError>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        match (joined(a), joined(b?)) {
            // The side that stopped because of the other one does not know why.
            (Err(CompareError::Stopped), b) => b.and(Err(CompareError::Stopped)),
            (a, b) => Ok([a?, b?]),
        }
    })
}

#[cfg(test)]
mod tests;
