//! The result of a comparison for programs. Names and meanings are in docs/compare.md and do not change.

use std::path::Path;

use serde_json::{Value, json};

use super::super::failure::json_line;
use crate::compare::{Comparison, SideFacts};
use crate::exit_status::ExitStatus;
use crate::telemetry::peak_resident_bytes;

/// One object in one line.
pub(super) fn json(paths: [&Path; 2], found: &Comparison) -> String {
    let [path_a, path_b] = paths;
    let [a, b] = &found.sides;
    let [only_in_a, only_in_b] = found.only_in;
    let [copies_a, copies_b] = found.copies;
    let fields: Vec<Value> =
        found.fields.iter().map(|(field, rows)| json!({ "field": field, "rows": rows })).collect();
    let time_difference = found.time_difference.map(|difference| {
        json!({
            "rows": difference.rows,
            "min_seconds": difference.min,
            "max_seconds": difference.max,
            "utc_offset_seconds": difference.utc_offset(),
        })
    });
    let status = found.diagnosis().map_or(ExitStatus::Success, |diagnosis| diagnosis.status);
    json_line(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "exit_code": status.code(),
        "equal": found.is_equal(),
        "a": side(path_a, a),
        "b": side(path_b, b),
        "identical": found.identical,
        "written_differently": found.written_differently,
        "changed": found.changed,
        "only_in_a": only_in_a,
        "only_in_b": only_in_b,
        "further_copies_in_a": copies_a,
        "further_copies_in_b": copies_b,
        "fields": fields,
        "rows_with_fields": found.rows_with_fields,
        "time_difference": time_difference,
        "peak_resident_bytes": peak_resident_bytes(),
    }))
}

fn side(path: &Path, facts: &SideFacts) -> Value {
    json!({
        "path": path.display().to_string(),
        "files": facts.files,
        "rows": facts.rows,
        "customers": facts.customers,
        "rows_without_id": facts.rows_without_id,
        "duplicate_rows": facts.duplicates,
        "distinct_times": facts.times,
        "has_more_times": facts.has_more_times,
        "first_time": facts.first_time,
        "last_time": facts.last_time,
        "rows_without_time": facts.rows_without_time,
    })
}
