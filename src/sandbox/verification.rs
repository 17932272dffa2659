//! Verifies that a table contains exactly the customers of the store.
//!
//! Owns the comparison of every row with the row that the Python job would have stored according to the generator.
//! Needs one bit of memory per customer. Blocking.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::customer::Generator;
use super::decode::{Field, fields, integer, text};
use super::read_back::{ReadBackError, Rows};

/// A table compared with the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Rows in the table.
    pub rows: u64,
    /// Customers of the store.
    pub customers: u64,
    /// Customers without a row.
    pub missing: u64,
    /// Rows of a customer that has an earlier row.
    pub duplicated: u64,
    /// Rows that differ from what the Python job would have stored.
    pub differing: u64,
    /// Rows that belong to no customer of the store.
    pub unknown: u64,
    /// Rows whose time is outside the expected range.
    pub wrong_time: u64,
    /// Rows with columns other than `time` and `json_response`.
    pub extra_columns: u64,
    /// Numbers of the first few customers with a problem.
    pub examples: Vec<u64>,
}

const MAX_EXAMPLES: usize = 10;

impl Verification {
    /// Whether every customer is there exactly once, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.rows == self.customers
            && [
                self.missing,
                self.duplicated,
                self.differing,
                self.unknown,
                self.wrong_time,
                self.extra_columns,
            ] == [0; 6]
    }

    fn add_example(&mut self, index: u64) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(index);
        }
    }
}

/// Compares all rows with all customers.
pub(super) fn verify(
    mut rows: Rows,
    generator: &Generator,
    times: &RangeInclusive<i64>,
) -> Result<Verification, ReadBackError> {
    let customers = generator.customers();
    let mut seen = vec![0_u64; usize::try_from(customers.div_ceil(64)).unwrap_or(0)];
    let mut expected = Vec::with_capacity(2_048);
    let mut found = Verification { customers, ..Verification::default() };
    while rows
        .next_record(|record| compare_row(record, generator, times, &mut seen, &mut expected, &mut found))?
        .is_some()
    {}
    let present: u64 = seen.iter().map(|bits| u64::from(bits.count_ones())).sum();
    found.missing = customers - present;
    Ok(found)
}

fn compare_row(
    record: &[u8],
    generator: &Generator,
    times: &RangeInclusive<i64>,
    seen: &mut [u64],
    expected: &mut Vec<u8>,
    found: &mut Verification,
) {
    found.rows += 1;
    let mut time = None;
    let mut stored = None;
    let mut extra = false;
    for Field { key, value } in fields(record).into_iter().flatten().flatten() {
        match key {
            b"time" => time = integer(value),
            b"json_response" => stored = text(value),
            _ => extra = true,
        }
    }
    found.extra_columns += u64::from(extra);
    found.wrong_time += u64::from(!time.is_some_and(|time| times.contains(&time)));
    let stored = stored.unwrap_or_default();
    let Some(index) = generator.index_of(stored) else {
        found.unknown += 1;
        return;
    };
    expected.clear();
    generator.write_stored(index, expected);
    if expected.as_slice() != stored {
        found.differing += 1;
        found.add_example(index);
    }
    let bit = 1 << (index % 64);
    if let Some(bits) = usize::try_from(index / 64).ok().and_then(|at| seen.get_mut(at)) {
        if *bits & bit != 0 {
            found.duplicated += 1;
            found.add_example(index);
        }
        *bits |= bit;
    }
}
