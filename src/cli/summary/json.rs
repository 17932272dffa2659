//! The summary for programs: one JSON object on one line, described by docs/summary.schema.json.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::facts::{DryRunFacts, Facts};
use crate::cli::failure::{causes, json_line, timestamp};
use crate::retry::RequestCounts;
use crate::run::Resumption;
use crate::telemetry::peak_resident_bytes;

/// Changes when a field is removed or gets another meaning. Fields may be added without.
const SCHEMA_VERSION: u32 = 1;

pub(super) fn render(facts: &Facts<'_>) -> String {
    let Facts { progress, .. } = facts;
    let usage = &progress.usage;
    let mut summary = json!({
        "schema_version": SCHEMA_VERSION,
        "outcome": facts.outcome,
        "state": facts.state,
        "finished_at": timestamp(),
        "store_id": facts.store_id,
        "database": facts.database,
        "table": facts.table,
        "mode": facts.mode,
        "run_id": facts.run_id,
        "session": facts.session,
        "job_id": facts.job_id,
        "phase": facts.phase,
        "rows": facts.rows,
        "joined": facts.joined,
        "resumed": facts.resumed,
        "error_records": facts.error_records,
        "ingestion_time": facts.ingestion_time,
        "counting_query": facts.counting_query,
        "directory": facts.directory,
        "export_sha256": facts.export_sha256,
        "dry_run": facts.dry_run.as_ref().map(dry_run),
        "customers": progress.customers,
        "customers_with_loyalty_data": progress.customers_with_loyalty_data,
        "customers_seen_twice": progress.seen_twice,
        "customers_seen_twice_is_estimate": progress.is_estimate,
        "pages": progress.pages,
        "ended_by": progress.ended_by,
        "parts": progress.parts,
        "uploaded_bytes": progress.uploaded_bytes,
        "row_bytes": progress.row_bytes,
        "yotpo": requests(&usage.yotpo),
        "rate_limit": {
            "requests": usage.yotpo.requests,
            "requests_per_second": usage.rate.requests_per_second,
            "waits": usage.rate.waits,
            "waited_seconds": seconds(usage.rate.waited),
            "delayed_seconds": seconds(usage.rate.delayed),
            "delayed_share": facts.delayed_share(),
            "others_used_limit": usage.rate.others_seen,
            "others_requests_per_second": usage.rate.others_per_second,
        },
        "treasure_data": requests(&usage.treasure_data),
        "duration_seconds": seconds(facts.duration),
        "phase_seconds": object(facts.phases().map(|(phase, duration)| (phase.name(), seconds(duration).into()))),
        "peak_resident_bytes": peak_resident_bytes(),
        "memory_bound_bytes": facts.memory_bound,
    });
    if let Some(yotpo) = summary.get_mut("yotpo").and_then(Value::as_object_mut) {
        yotpo.insert("response_bytes".to_owned(), usage.yotpo_response_bytes.into());
    }
    if let Some(summary) = summary.as_object_mut() {
        summary.extend(ending(facts));
    }
    json_line(summary)
}

fn dry_run(found: &DryRunFacts) -> Value {
    let (resumption, stored, reason) = match &found.resumption {
        Resumption::Nothing => ("nothing_saved", None, None),
        Resumption::Resume(stored) => ("resume", Some(stored), None),
        Resumption::StartOver(stored) => ("start_over", Some(stored), None),
        Resumption::Abandon { stored, reason } => ("abandon", Some(stored), Some(reason)),
    };
    json!({
        "resumption": resumption,
        "reason": reason,
        "saved_pages": stored.map(|stored| stored.pages),
        "saved_rows": stored.map(|stored| stored.rows),
        "saved_parts": stored.map(|stored| stored.parts),
        "saved_at": stored.map(|stored| stored.saved_at),
        "another_run_is_active": found.is_active,
        "is_partial": found.is_partial,
        "expected_fetching_seconds": found.expected.map(seconds),
    })
}

/// Seconds with three decimals.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// What is said about a failure; of a success, that there was none.
fn ending(facts: &Facts<'_>) -> Map<String, Value> {
    let failure = facts.failure;
    let diagnosis = failure.map(|failure| &failure.diagnosis);
    let next = failure.and_then(|failure| failure.next.as_ref());
    object(
        [
            ("exit_code", diagnosis.map_or(0, |diagnosis| diagnosis.status.code()).into()),
            ("retryable", diagnosis.is_some_and(|diagnosis| diagnosis.code.is_retryable()).into()),
            ("code", diagnosis.map(|diagnosis| diagnosis.code.name()).into()),
            ("error", failure.map(|failure| failure.error.to_string()).into()),
            ("causes", failure.map(|failure| causes(failure.error.as_ref())).unwrap_or_default().into()),
            ("hint", diagnosis.and_then(|diagnosis| diagnosis.hint.clone()).into()),
            ("saved", failure.map(|failure| failure.saved.as_str()).into()),
            ("next_command", next.map(|next| next.command.as_str()).into()),
            ("next_step", next.map(|next| if next.step.resumes { "resume" } else { "retry" }).into()),
            ("after_correction", next.map(|next| next.step.after_correction).into()),
        ]
        .into_iter(),
    )
}

fn requests(counts: &RequestCounts) -> Value {
    let causes = counts.retries_by_cause.iter().map(|(kind, retries)| (kind.name(), retries.into()));
    json!({
        "requests": counts.requests,
        "retries": counts.retries,
        "throttled": counts.throttled,
        "retries_by_cause": object(causes),
    })
}

fn object(fields: impl Iterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}
