//! The result of a comparison for people.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::compare::{Comparison, SideFacts, TimeDifference};
use crate::telemetry::words::{count, number};

/// Fields that are listed; the JSON output has all of them.
const MAX_FIELDS: usize = 40;

/// Two columns of facts, the classes of rows with what they mean, the fields that differ, and the result.
pub(super) fn table(paths: [&Path; 2], found: &Comparison) -> String {
    let [a, b] = paths.map(Path::display);
    let mut text = format!("A  {a}\nB  {b}\n\n");
    add_facts(&mut text, &found.sides);
    text.push('\n');
    add_classes(&mut text, found);
    add_fields(&mut text, found);
    if let Some(difference) = &found.time_difference {
        add_time_difference(&mut text, difference);
    }
    text.push_str(if found.is_equal() {
        "\nThe rows are equal: the same customers with the same values.\n"
    } else {
        "\nThe rows differ.\n"
    });
    text
}

fn add_facts(text: &mut String, sides: &[SideFacts; 2]) {
    let of_both = |fact: fn(&SideFacts) -> String| sides.each_ref().map(fact);
    let mut lines = vec![
        ("files", of_both(|side| number(side.files))),
        ("rows", of_both(|side| number(side.rows))),
        ("customers", of_both(|side| number(side.customers))),
        ("duplicate rows", of_both(|side| number(side.duplicates))),
        ("distinct times", of_both(times)),
        ("first time", of_both(|side| time(side.first_time))),
        ("last time", of_both(|side| time(side.last_time))),
    ];
    for (name, fact) in [
        ("rows without id", (|side| side.rows_without_id) as fn(&SideFacts) -> u64),
        ("rows without time", |side| side.rows_without_time),
    ] {
        let facts = sides.each_ref().map(fact);
        if facts != [0, 0] {
            lines.push((name, facts.map(number)));
        }
    }
    let width = |values: &[&str]| values.iter().map(|value| value.len()).max().unwrap_or_default();
    let name_width = width(&lines.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let widths = [0, 1].map(|side: usize| {
        width(&lines.iter().filter_map(|(_, facts)| facts.get(side)).map(String::as_str).collect::<Vec<_>>())
    });
    let [width_a, width_b] = widths;
    // A String takes everything.
    let _ = writeln!(text, "{:name_width$}  {:>width_a$}  {:>width_b$}", "", "A", "B");
    for (name, [a, b]) in lines {
        let _ = writeln!(text, "{name:name_width$}  {a:>width_a$}  {b:>width_b$}");
    }
}

fn times(side: &SideFacts) -> String {
    let more = if side.has_more_times { "more than " } else { "" };
    format!("{more}{}", number(side.times))
}

fn time(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let time = u64::try_from(seconds).ok().filter(|seconds| *seconds < 253_402_300_800);
    time.map_or_else(
        || seconds.to_string(),
        |time| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time)).to_string(),
    )
}

fn add_classes(text: &mut String, found: &Comparison) {
    let [only_a, only_b] = found.only_in;
    let [copies_a, copies_b] = found.copies.map(|copies| match copies {
        0 => String::new(),
        copies => count(copies, "further copy of a row in both", "further copies of rows in both"),
    });
    let lines = [
        ("identical", found.identical, "byte for byte".to_owned()),
        (
            "written differently",
            found.written_differently,
            "equal values, in another spelling or order".to_owned(),
        ),
        ("changed", found.changed, "the same customer with other values".to_owned()),
        ("only in A", only_a, copies_a),
        ("only in B", only_b, copies_b),
    ];
    let width = lines.iter().map(|(_, rows, _)| number(*rows).len()).max().unwrap_or_default();
    for (name, rows, meaning) in lines {
        let line = format!("{name:19}  {:>width$}  {meaning}", number(rows));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn add_fields(text: &mut String, found: &Comparison) {
    if found.fields.is_empty() {
        return;
    }
    let rows = count(found.rows_with_fields, "row", "rows");
    let of_all = if found.rows_with_fields < found.changed {
        format!(" (of {} changed rows, the limit)", number(found.changed))
    } else {
        String::new()
    };
    let _ = writeln!(text, "\nFields that differ in {rows}{of_all}:");
    let shown = found.fields.iter().take(MAX_FIELDS);
    let width = shown.clone().map(|(_, rows)| number(*rows).len()).max().unwrap_or_default();
    for (field, rows) in shown {
        let _ = writeln!(text, "  {:>width$}  {field}", number(*rows));
    }
    if let Some(more) = found.fields.len().checked_sub(MAX_FIELDS).filter(|more| *more > 0) {
        let more = count(u64::try_from(more).unwrap_or(u64::MAX), "further field", "further fields");
        let _ = writeln!(text, "  and {more}: --output json lists them");
    }
}

fn add_time_difference(text: &mut String, difference: &TimeDifference) {
    let TimeDifference { rows, min, max } = *difference;
    let seconds = if min == max { signed(min) } else { format!("{} to {}", signed(min), signed(max)) };
    let rows = count(rows, "equal row", "equal rows");
    let _ = writeln!(text, "\nTime in A minus time in B: {seconds} seconds ({rows})");
    if let Some(offset) = difference.utc_offset() {
        let _ = writeln!(
            text,
            "hint: this is close to a UTC offset: {} in A, or {} in B; the Python job added the offset of its machine",
            offset_text(offset),
            offset_text(-offset)
        );
    }
}

fn signed(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}", number(seconds.unsigned_abs()))
}

/// An offset as it is written in times: `-05:00`.
fn offset_text(seconds: i64) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_are_written_as_usual() {
        assert_eq!([-18_000, 0, 20_700, 50_400].map(offset_text), ["-05:00", "+00:00", "+05:45", "+14:00"]);
        assert_eq!([-1_234, 0, 7].map(signed), ["-1,234", "0", "7"]);
        assert_eq!(time(Some(253_402_300_799)), "9999-12-31T23:59:59Z");
        let none = [Some(-5), Some(253_402_300_800), Some(i64::MAX), None].map(time);
        assert_eq!(none, ["-5", "253402300800", "9223372036854775807", "-"]);
    }

    #[test]
    fn long_lists_of_fields_are_cut() {
        let fields = (0..=MAX_FIELDS).map(|field| (format!("field_{field}"), 1_000)).collect();
        let found = Comparison { changed: 20_000, rows_with_fields: 10_000, fields, ..Comparison::default() };
        let mut text = String::new();
        add_fields(&mut text, &found);
        assert!(
            text.starts_with("\nFields that differ in 10,000 rows (of 20,000 changed rows, the limit):\n"),
            "{text}"
        );
        assert!(
            text.ends_with("  1,000  field_39\n  and 1 further field: --output json lists them\n"),
            "{text}"
        );
        let mut text = String::new();
        add_fields(&mut text, &Comparison { changed: 10_000, ..found });
        assert!(text.starts_with("\nFields that differ in 10,000 rows:\n"), "{text}");
        let fields = (0..MAX_FIELDS).map(|field| (format!("field_{field}"), 1_000)).collect();
        let mut text = String::new();
        add_fields(&mut text, &Comparison { fields, ..Comparison::default() });
        assert!(text.ends_with("  1,000  field_39\n"), "all are listed: {text}");
    }
}
