//! One side of a comparison: what is kept of its rows.
//!
//! Owns 48 bytes per row, the facts about a side, and the fields of the few rows that changed. It does not know the other
//! side.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::quality::FixedState;

use super::canonical::{Digest, Digester};
use super::error::CompareError;
use super::fields::{FieldReader, Fields, Paths};
use super::input::{Input, ReadEnd};

/// Distinct times that are counted; more are not told apart.
const MAX_TIMES: usize = 100_000;
/// Fields that are kept of the changed rows of a side, 16 bytes each.
const MAX_FIELDS: usize = 1_000_000;

/// What is kept of a row. The order decides which of several equal rows are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Of the customer's value.
    pub(super) value: Digest,
    /// Of what identifies the customer.
    pub(super) customer: Digest,
    pub(super) time: Option<Time>,
    /// Of the bytes.
    pub(super) text: u64,
}

/// A `time` other than the one that stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(std::num::NonZeroI64);

/// What is known of the rows of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideFacts {
    /// Files that were read.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Customers that can be told apart by their id, e-mail address or phone number.
    pub customers: u64,
    /// Rows without any of these.
    pub rows_without_id: u64,
    /// Rows whose value an earlier row of this side has.
    pub duplicates: u64,
    /// Distinct values of `time`.
    pub times: u64,
    /// Whether there are more distinct times than were counted.
    pub has_more_times: bool,
    /// The smallest time.
    pub first_time: Option<i64>,
    /// The largest time.
    pub last_time: Option<i64>,
    /// Rows without a time.
    pub rows_without_time: u64,
}

/// The rows of a side.
pub(super) struct Side {
    pub(super) facts: SideFacts,
    /// Sorted.
    pub(super) entries: Vec<Entry>,
}

/// What both threads share with the thread that waits for them.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    /// Rows that were read.
    pub(super) rows: &'a AtomicU64,
    pub(super) stop: &'a AtomicBool,
}

impl Watch<'_> {
    fn row(&self) -> Result<(), ReadEnd> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { Err(ReadEnd::Stopped) } else { Ok(()) }
    }
}

impl Time {
    pub(super) fn new(seconds: i64) -> Option<Self> {
        // Stored with all bits inverted, so that the one value that is not possible is -1, not 0.
        std::num::NonZeroI64::new(!seconds).map(Self)
    }

    pub(super) fn seconds(self) -> i64 {
        !self.0.get()
    }
}

/// Reads all rows of a side.
pub(super) fn read(input: &Input, watch: Watch<'_>) -> Result<Side, CompareError> {
    let mut digester = Digester::default();
    let mut entries: Vec<Entry> = Vec::new();
    let mut times = Times::default();
    input.read(|row| {
        watch.row()?;
        let digests = digester.digests(row.text)?;
        let time = row.time.and_then(Time::new);
        times.add(time);
        entries.push(Entry { value: digests.value, customer: digests.customer, time, text: hash(row.text) });
        Ok(())
    })?;
    entries.sort_unstable_by_key(|entry| entry.customer);
    let customers = count_distinct(&entries, |entry| entry.customer);
    let rows_without_id = entries.iter().take_while(|entry| entry.customer == Digest::NONE).count();
    entries.sort_unstable();
    let values = count_distinct(&entries, |entry| entry.value);
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let facts = SideFacts {
        files: number(input.files()),
        rows: number(entries.len()),
        customers: number(customers - usize::from(rows_without_id > 0)),
        rows_without_id: number(rows_without_id),
        duplicates: number(entries.len() - values),
        times: number(times.distinct.len()),
        has_more_times: times.has_more,
        first_time: times.first,
        last_time: times.last,
        rows_without_time: times.rows_without,
    };
    Ok(Side { facts, entries })
}

/// Counts distinct keys of sorted entries.
fn count_distinct<K: PartialEq>(entries: &[Entry], key: impl Fn(&Entry) -> K) -> usize {
    entries.chunk_by(|one, other| key(one) == key(other)).count()
}

#[derive(Default)]
struct Times {
    distinct: HashSet<i64>,
    has_more: bool,
    first: Option<i64>,
    last: Option<i64>,
    latest: Option<i64>,
    rows_without: u64,
}

impl Times {
    fn add(&mut self, time: Option<Time>) {
        let Some(time) = time.map(Time::seconds) else {
            self.rows_without += 1;
            return;
        };
        // Rows of one load have the same.
        if self.latest.replace(time) == Some(time) {
            return;
        }
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        if self.distinct.len() < MAX_TIMES {
            self.distinct.insert(time);
        } else if !self.distinct.contains(&time) {
            self.has_more = true;
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// The fields of rows by the number of their pair, as long as there is room for more.
#[derive(Default)]
struct KeptFields {
    rows: HashMap<usize, Fields>,
    fields: usize,
}

impl KeptFields {
    fn has_room(&self) -> bool {
        self.fields < MAX_FIELDS
    }

    fn add(&mut self, pair: usize, fields: Fields) {
        self.fields += fields.len();
        self.rows.insert(pair, fields);
    }
}

/// What is kept of changed rows.
pub(super) struct ChangedRows {
    /// By the number of the pair to which each row belongs; without those that are too many.
    pub(super) fields: HashMap<usize, Fields>,
    pub(super) paths: Paths,
}

/// Reads the fields of the rows with these values, whose pairs have these numbers.
pub(super) fn read_fields(
    input: &Input,
    values: impl Iterator<Item = (Digest, usize)>,
    watch: Watch<'_>,
) -> Result<ChangedRows, CompareError> {
    let mut wanted: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (value, pair) in values {
        wanted.entry(value).or_default().push(pair);
    }
    let (mut digester, mut reader) = (Digester::default(), FieldReader::default());
    let mut kept = KeptFields::default();
    input.read(|row| {
        watch.row()?;
        let value = digester.digests(row.text)?.value;
        let Some(pair) = wanted.get_mut(&value).and_then(Vec::pop) else { return Ok(()) };
        if kept.has_room() {
            kept.add(pair, reader.fields(row.text)?);
        }
        Ok(())
    })?;
    if wanted.values().any(|pairs| !pairs.is_empty()) {
        return Err(input.changed());
    }
    Ok(ChangedRows { fields: kept.rows, paths: reader.paths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_needs_48_bytes() {
        assert_eq!(size_of::<Entry>(), 48);
        for seconds in [0, 1, -2, 1_700_000_000, i64::MAX, i64::MIN] {
            assert_eq!(Time::new(seconds).map(Time::seconds), Some(seconds));
        }
        assert_eq!(Time::new(-1), None);
    }

    #[test]
    fn fields_are_kept_up_to_a_limit() {
        let field = FieldReader::default().fields(br#"{"a":1}"#).unwrap();
        let mut kept = KeptFields::default();
        kept.add(0, field.repeat(MAX_FIELDS / 2));
        kept.add(1, field.repeat(MAX_FIELDS / 2 - 1));
        assert!(kept.has_room());
        kept.add(2, field);
        assert!(!kept.has_room());
        assert_eq!(kept.rows.len(), 3);
    }

    #[test]
    fn times_are_counted_up_to_a_limit() {
        let limit = i64::try_from(MAX_TIMES).unwrap();
        let count = |last: i64| {
            let mut times = Times::default();
            (0..last).chain(0..last).for_each(|time| times.add(Time::new(time)));
            (times.distinct.len(), times.has_more, times.first, times.last)
        };
        assert_eq!(count(limit), (MAX_TIMES, false, Some(0), Some(limit - 1)));
        assert_eq!(count(limit + 1), (MAX_TIMES, true, Some(0), Some(limit)));
    }
}
