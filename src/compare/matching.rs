//! Matching: which rows of both sides are the same, which changed, and which only one side has.
//!
//! Owns the classes of rows. Both sides are multisets: a row that one side has twice and the other once is left over once.
//! What is left over of the same customer on both sides has changed. It works in the memory of the entries.

use super::canonical::Digest;
use super::side::{Entry, Time};

/// Changed rows whose fields are looked at.
pub(super) const MAX_PAIRS: usize = 10_000;

/// How many rows are in each class.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matching {
    /// Equal byte for byte.
    pub(super) identical: u64,
    /// Equal, but written differently.
    pub(super) written_differently: u64,
    /// The same customer with another value.
    pub(super) changed: u64,
    pub(super) only_in: [u64; 2],
    /// How many of them are further copies of a row that both sides have.
    pub(super) copies: [u64; 2],
    /// Time of the first side minus that of the second, of equal rows.
    pub(super) time_difference: Option<TimeDifference>,
    /// The values of changed rows on both sides, up to [`MAX_PAIRS`].
    pub(super) pairs: Vec<[Digest; 2]>,
}

/// Time in A minus time in B, of equal rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeDifference {
    /// Equal rows that have a time on both sides.
    pub rows: u64,
    /// The smallest difference, in seconds.
    pub min: i64,
    /// The largest difference, in seconds.
    pub max: i64,
}

/// Offsets from UTC are multiples of this.
const QUARTER_HOUR: i64 = 15 * 60;
/// The largest offset from UTC, in use in Kiribati.
const MAX_OFFSET: i64 = 14 * 60 * 60;
/// How much later one of two loads may have begun for a difference to look like an offset.
const TOLERANCE: i64 = 5 * 60;

impl TimeDifference {
    /// The offset from UTC, in seconds, that all differences come close to.
    pub fn utc_offset(&self) -> Option<i64> {
        let middle = self.min.midpoint(self.max);
        let away_from_zero = middle.saturating_add(middle.signum() * (QUARTER_HOUR / 2));
        let offset = away_from_zero / QUARTER_HOUR * QUARTER_HOUR;
        let is_close = |difference: i64| difference.abs_diff(offset) <= TOLERANCE.unsigned_abs();
        (offset != 0 && offset.abs() <= MAX_OFFSET && is_close(self.min) && is_close(self.max))
            .then_some(offset)
    }

    fn add(&mut self, difference: i64) {
        self.rows += 1;
        self.min = self.min.min(difference);
        self.max = self.max.max(difference);
    }
}

/// Matches the rows of both sides, which are sorted.
pub(super) fn matched(a: &mut Vec<Entry>, b: &mut Vec<Entry>) -> Matching {
    let mut matching = Matching::default();
    matching.match_equal(a, b);
    matching.match_customers(a, b);
    matching
}

impl Matching {
    /// Counts equal rows, and keeps the others.
    fn match_equal(&mut self, a: &mut Vec<Entry>, b: &mut Vec<Entry>) {
        let mut left = Leftovers::of(a);
        let mut right = Leftovers::of(b);
        while let Some(value) = smaller(left.peek(|entry| entry.value), right.peek(|entry| entry.value)) {
            let is_same = |entry: &Entry| entry.value == value;
            let (ours, theirs) = (left.group(is_same), right.group(is_same));
            let common = ours.len().min(theirs.len());
            self.count_equal(left.slice(&ours, common), right.slice(&theirs, common));
            for (side, (leftovers, group)) in
                [(&mut left, ours), (&mut right, theirs)].into_iter().enumerate()
            {
                if let Some(copies) = self.copies.get_mut(side).filter(|_| common > 0) {
                    *copies += number(group.len() - common);
                }
                leftovers.keep(group.start + common..group.end);
            }
        }
        left.finish();
        right.finish();
    }

    /// Counts rows with one value.
    fn count_equal(&mut self, ours: &[Entry], theirs: &[Entry]) {
        let identical = match (ours, theirs) {
            ([one], [other]) => usize::from(one.text == other.text),
            _ => common_texts(ours, theirs),
        };
        self.identical += number(identical);
        self.written_differently += number(ours.len() - identical);
        for (one, other) in ours.iter().zip(theirs) {
            if let (Some(one), Some(other)) = (one.time.map(Time::seconds), other.time.map(Time::seconds)) {
                let difference = one.saturating_sub(other);
                let none_yet = TimeDifference { rows: 0, min: difference, max: difference };
                self.time_difference.get_or_insert(none_yet).add(difference);
            }
        }
    }

    /// Matches what is left over by customer.
    fn match_customers(&mut self, a: &mut [Entry], b: &mut [Entry]) {
        let order = |entry: &Entry| (entry.customer, entry.value);
        a.sort_unstable_by_key(order);
        b.sort_unstable_by_key(order);
        let mut ours = a.chunk_by(|one, other| one.customer == other.customer).peekable();
        let mut theirs = b.chunk_by(|one, other| one.customer == other.customer).peekable();
        loop {
            let customer = |group: &&[Entry]| group.first().map(|entry| entry.customer);
            let next = smaller(ours.peek().and_then(customer), theirs.peek().and_then(customer));
            let Some(next) = next else { break };
            let one = ours.next_if(|group| customer(group) == Some(next)).unwrap_or_default();
            let other = theirs.next_if(|group| customer(group) == Some(next)).unwrap_or_default();
            let changed = if next == Digest::NONE { 0 } else { one.len().min(other.len()) };
            self.changed += number(changed);
            self.only_in[0] += number(one.len() - changed);
            self.only_in[1] += number(other.len() - changed);
            let room = MAX_PAIRS.saturating_sub(self.pairs.len());
            let pairs = one.iter().zip(other).map(|(one, other)| [one.value, other.value]);
            self.pairs.extend(pairs.take(changed.min(room)));
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The smaller one, if there is any.
fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How many rows can be paired with one of the same bytes.
fn common_texts(ours: &[Entry], theirs: &[Entry]) -> usize {
    let sorted = |entries: &[Entry]| {
        let mut texts: Vec<u64> = entries.iter().map(|entry| entry.text).collect();
        texts.sort_unstable();
        texts
    };
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    let mut others = theirs.iter().peekable();
    let is_common = |text: &&u64| {
        while others.next_if(|other| other < text).is_some() {}
        others.next_if_eq(text).is_some()
    };
    ours.iter().filter(is_common).count()
}

/// Entries that are walked group by group; what is kept moves to the front.
struct Leftovers<'a> {
    entries: &'a mut Vec<Entry>,
    at: usize,
    kept: usize,
}

impl<'a> Leftovers<'a> {
    fn of(entries: &'a mut Vec<Entry>) -> Self {
        Self { entries, at: 0, kept: 0 }
    }

    /// A property of the next entry.
    fn peek<T>(&self, property: impl Fn(&Entry) -> T) -> Option<T> {
        self.entries.get(self.at).map(property)
    }

    /// Takes the next entries as long as they belong to a group.
    fn group(&mut self, belongs: impl Fn(&Entry) -> bool) -> std::ops::Range<usize> {
        let rest = self.entries.get(self.at..).unwrap_or_default();
        let start = self.at;
        self.at += rest.iter().take_while(|entry| belongs(entry)).count();
        start..self.at
    }

    /// The first entries of a group.
    fn slice(&self, group: &std::ops::Range<usize>, count: usize) -> &[Entry] {
        self.entries.get(group.start..group.start + count).unwrap_or_default()
    }

    fn keep(&mut self, entries: std::ops::Range<usize>) {
        let count = entries.len();
        self.entries.copy_within(entries, self.kept);
        self.kept += count;
    }

    fn finish(self) {
        self.entries.truncate(self.kept);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::canonical::Digester;

    /// A row with this customer (0 for none), value, spelling and time.
    type TestRow = (u8, u8, u8, i64);

    fn entries(rows: &[TestRow]) -> Vec<Entry> {
        let entry = |&(customer, value, text, time): &TestRow| {
            let id = if customer == 0 { String::new() } else { customer.to_string() };
            let json = format!(r#"{{"external_id":"{id}","value":{value}}}"#);
            let digests = Digester::default().digests(json.as_bytes()).unwrap();
            Entry {
                value: digests.value,
                customer: digests.customer,
                time: Time::new(time),
                text: text.into(),
            }
        };
        let mut entries: Vec<_> = rows.iter().map(entry).collect();
        entries.sort_unstable();
        entries
    }

    fn of(a: &[TestRow], b: &[TestRow]) -> Matching {
        matched(&mut entries(a), &mut entries(b))
    }

    /// Identical, written differently, changed, only in A, only in B.
    fn classes(matching: &Matching) -> [u64; 5] {
        let [only_a, only_b] = matching.only_in;
        [matching.identical, matching.written_differently, matching.changed, only_a, only_b]
    }

    #[test]
    fn each_row_is_in_one_class() {
        let a = [(1, 1, 1, 0), (2, 1, 1, 0), (3, 1, 1, 0), (4, 1, 1, 0), (0, 1, 1, 0), (0, 2, 1, 0)];
        let b = [(1, 1, 1, 0), (2, 1, 2, 0), (3, 2, 1, 0), (5, 1, 1, 0), (0, 1, 1, 0), (0, 3, 1, 0)];
        let found = of(&a, &b);
        assert_eq!(classes(&found), [2, 1, 1, 2, 2]);
        assert_eq!((found.copies, found.pairs.len()), ([0, 0], 1));
    }

    #[test]
    fn further_copies_are_left_over() {
        let found = of(&[(1, 1, 1, 0); 3], &[(1, 1, 1, 0), (2, 1, 1, 0), (2, 1, 1, 0)]);
        assert_eq!((classes(&found), found.copies), ([1, 0, 0, 2, 2], [2, 0]));
        // The spelling of copies is matched, too.
        let found =
            of(&[(1, 1, 1, 0), (1, 1, 2, 0), (1, 1, 2, 0)], &[(1, 1, 2, 0), (1, 1, 3, 0), (1, 1, 1, 0)]);
        assert_eq!(classes(&found), [2, 1, 0, 0, 0]);
        let found = of(&[(1, 1, 2, 0), (1, 1, 3, 0)], &[(1, 1, 1, 0), (1, 1, 3, 0)]);
        assert_eq!(classes(&found), [1, 1, 0, 0, 0]);
    }

    #[test]
    fn times_of_equal_rows_are_compared() {
        let found =
            of(&[(1, 1, 1, 100), (2, 1, 1, 107), (3, 1, 1, 5)], &[(1, 1, 2, 18_100), (2, 1, 1, 18_101)]);
        let expected = TimeDifference { rows: 2, min: -18_000, max: -17_994 };
        assert_eq!(found.time_difference, Some(expected));
        assert_eq!(of(&[(1, 1, 1, -1)], &[(1, 1, 1, 0)]).time_difference, None, "no time");
    }

    #[test]
    fn differences_close_to_one_quarter_of_an_hour_look_like_an_offset() {
        let offset = |min, max| TimeDifference { rows: 2, min, max }.utc_offset();
        assert_eq!(offset(-18_000, -18_000), Some(-18_000));
        assert_eq!(offset(-18_007, -17_750), Some(-18_000));
        assert_eq!(offset(20_700, 20_700), Some(20_700), "Nepal");
        assert_eq!(offset(50_400, 50_400), Some(50_400));
        for (min, max) in [
            (0, 0),
            (-200, 300),
            (-18_301, -18_000),
            (-18_000, -17_699),
            (-18_000, 0),
            (51_300, 51_300),
            (i64::MIN, i64::MAX),
            (i64::MAX, i64::MAX),
            (i64::MIN, i64::MIN),
        ] {
            assert_eq!(offset(min, max), None, "{min} to {max}");
        }
    }

    #[test]
    fn pairs_are_limited() {
        let pairs = MAX_PAIRS + 1;
        let side = |value: u8| -> Vec<Entry> {
            let json = |customer| format!(r#"{{"external_id":{customer},"value":{value}}}"#);
            let entry = |customer: usize| {
                let digests = Digester::default().digests(json(customer).as_bytes()).unwrap();
                Entry { value: digests.value, customer: digests.customer, time: None, text: 0 }
            };
            let mut entries: Vec<_> = (1..=pairs).map(entry).collect();
            entries.sort_unstable();
            entries
        };
        let found = matched(&mut side(1), &mut side(2));
        assert_eq!((found.changed, found.pairs.len()), (number(pairs), MAX_PAIRS));
    }

    fn rows() -> impl Strategy<Value = Vec<TestRow>> {
        prop::collection::vec((0..4_u8, 0..3_u8, 0..3_u8, 0..3_i64), 0..12)
    }

    proptest! {
        #[test]
        fn classes_add_up_and_do_not_depend_on_sides_or_order(a in rows(), b in rows()) {
            let found = of(&a, &b);
            let [identical, differently, changed, only_a, only_b] = classes(&found);
            let total = |rows: &[TestRow]| number(rows.len());
            prop_assert_eq!(identical + differently + changed + only_a, total(&a));
            prop_assert_eq!(identical + differently + changed + only_b, total(&b));
            prop_assert_eq!(classes(&of(&b, &a)), [identical, differently, changed, only_b, only_a]);
            let reversed: Vec<_> = a.iter().rev().copied().collect();
            prop_assert_eq!(of(&reversed, &b), found);
            prop_assert_eq!(classes(&of(&a, &a)), [total(&a), 0, 0, 0, 0]);
        }
    }
}
