//! The summary of a successful run, on stdout.

use std::time::Duration;

use bytesize::ByteSize;

use super::failure::{Failure, json_line};

use crate::config::{Settings, SummaryFormat};
use crate::diagnosis::Diagnosis;
use crate::identity::{Mode, Target};
use crate::run::{Outcome, RunReport};
use crate::telemetry::{ProgressSnapshot, marked, peak_resident_bytes};
use crate::yotpo::EndedBy;

/// Lines of the text that name the table.
const NAMING_THE_TABLE: [&str; 2] = ["outcome", "verify with"];

/// Renders the summary.
pub(super) fn render(settings: &Settings, report: &RunReport) -> String {
    match settings.summary {
        SummaryFormat::Text => text(settings, report),
        SummaryFormat::Json => json(settings, report),
        SummaryFormat::None => String::new(),
    }
}

fn text(settings: &Settings, report: &RunReport) -> String {
    let RunReport { outcome, progress, yotpo, treasure_data, duration, .. } = report;
    let target = settings.load.target.label();
    let rows = report.rows.map_or_else(|| "all".to_owned(), |rows| rows.to_string());
    let result = match (outcome, settings.load.mode) {
        (Outcome::Committed, Mode::Append) => format!("committed {rows} rows to {target}"),
        (Outcome::Committed, Mode::Replace) => format!("replaced the rows of {target} with {rows} rows"),
        (Outcome::AlreadyCommitted, _) => format!("{target} already has the {rows} rows of this run"),
        (Outcome::Emptied, _) => format!("0 customers: {target} is empty now"),
        (Outcome::NothingToLoad, _) => format!("0 customers: nothing to load, {target} is untouched"),
    };
    let mut lines = vec![("outcome", result), ("store", settings.yotpo.store.to_string())];
    let how = match (report.joined, report.resumed) {
        (true, _) => " (joined: another attempt made the rows)",
        (false, true) => " (resumed)",
        (false, false) => "",
    };
    lines.push(("run", format!("{}{how}", report.run_id)));
    if let Some(session) = &report.session {
        lines.push(("session", session.to_string()));
        lines.push(("load job", report.job_id.clone().unwrap_or_else(|| "unknown".to_owned())));
    }
    if let Some(time) = report.ingestion_time {
        lines.push(("ingestion time", time.to_string()));
        let query = counting_query(&settings.load.target, time);
        lines.push(("verify with", format!("{query} -- expected: {rows}")));
    }
    if report.error_records > 0 {
        lines.push(("left out", format!("{} records that cannot be read", report.error_records)));
    }
    if progress.seen_twice > 0 {
        let about = if progress.is_estimate { "about " } else { "" };
        lines.push((
            "duplicates",
            format!(
                "{about}{} customers equal an earlier one; the store may have changed while it was read",
                progress.seen_twice
            ),
        ));
    }
    let with_loyalty_data = progress.customers_with_loyalty_data;
    lines.push(("customers", format!("{}, {with_loyalty_data} with loyalty data", progress.customers)));
    lines.push(("pages", progress.pages.to_string()));
    lines.push(("ended by", progress.ended_by.map_or("unknown", EndedBy::name).to_owned()));
    lines.push((
        "parts",
        format!(
            "{}, {} uploaded, {} of rows",
            progress.parts,
            ByteSize(progress.uploaded_bytes).display().iec(),
            ByteSize(progress.row_bytes).display().iec()
        ),
    ));
    lines.push((
        "requests",
        format!(
            "{} to Yotpo ({} retries, {} throttled), {} to Treasure Data ({} retries, {} throttled)",
            yotpo.requests,
            yotpo.retries,
            yotpo.throttled,
            treasure_data.requests,
            treasure_data.retries,
            treasure_data.throttled
        ),
    ));
    lines.push((
        "rate limit",
        format!(
            "{:.1} requests/s at the end, {} waits for others or the service ({})",
            report.rate.requests_per_second,
            report.rate.waits,
            human(report.rate.waited)
        ),
    ));
    lines.push((
        "duration",
        format!(
            "{} ({})",
            human(*duration),
            rate(progress.customers.saturating_sub(progress.customers_before), *duration)
        ),
    ));
    let peak = peak_resident_bytes().map(|bytes| ByteSize(bytes).display().iec().to_string());
    lines.push(("peak memory", peak.unwrap_or_else(|| "unknown".to_owned())));
    let mut text = String::new();
    for (name, value) in lines {
        let line = format!("{name:<15} {value}\n");
        text.push_str(&if NAMING_THE_TABLE.contains(&name) { marked(&line) } else { line });
    }
    text
}

/// The summary of a run that failed, as JSON.
pub(super) fn of_failure(failure: &Failure, progress: &ProgressSnapshot) -> String {
    let Diagnosis { code, status, .. } = &failure.diagnosis;
    let mut summary = serde_json::json!({
        "outcome": "failed",
        "code": code.name(),
        "exit_code": status.code(),
        "retryable": code.is_retryable(),
        "error": failure.error.to_string(),
        "saved": failure.saved,
        "customers": progress.customers,
        "pages": progress.pages,
        "parts": progress.parts,
    });
    failure.add_common_fields(&mut summary);
    json_line(summary)
}

/// Counts the rows of one run, in Treasure Data's Trino.
pub(super) fn counting_query(target: &Target, time: u64) -> String {
    let Target { database, table, .. } = target;
    format!("SELECT COUNT(1) FROM {database}.{table} WHERE time = {time}")
}

fn json(settings: &Settings, report: &RunReport) -> String {
    let RunReport { outcome, progress, yotpo, treasure_data, duration, .. } = report;
    let name = match outcome {
        Outcome::Committed => "committed",
        Outcome::AlreadyCommitted => "already_committed",
        Outcome::Emptied => "emptied",
        Outcome::NothingToLoad => "nothing_to_load",
    };
    let rows = match outcome {
        Outcome::NothingToLoad => Some(0),
        Outcome::Committed | Outcome::AlreadyCommitted | Outcome::Emptied => report.rows,
    };
    let requests = |counts: &crate::retry::RequestCounts| {
        serde_json::json!({
            "requests": counts.requests, "retries": counts.retries, "throttled": counts.throttled,
        })
    };
    let summary = serde_json::json!({
        "outcome": name,
        "rows": rows,
        "mode": settings.load.mode,
        "resumed": report.resumed,
        "error_records": report.error_records,
        "store_id": settings.yotpo.store.as_str(),
        "database": settings.load.target.database,
        "table": settings.load.target.table,
        "joined": report.joined,
        "run_id": report.run_id,
        "session": report.session,
        "job_id": report.job_id,
        "ingestion_time": report.ingestion_time,
        "counting_query": report.ingestion_time.map(|time| counting_query(&settings.load.target, time)),
        "customers": progress.customers,
        "customers_with_loyalty_data": progress.customers_with_loyalty_data,
        "customers_seen_twice": progress.seen_twice,
        "customers_seen_twice_is_estimate": progress.is_estimate,
        "pages": progress.pages,
        "ended_by": progress.ended_by,
        "parts": progress.parts,
        "uploaded_bytes": progress.uploaded_bytes,
        "row_bytes": progress.row_bytes,
        "yotpo": requests(yotpo),
        "rate_limit": {
            "requests_per_second": report.rate.requests_per_second,
            "waits": report.rate.waits,
            "waited_seconds": report.rate.waited.as_secs_f64(),
        },
        "treasure_data": requests(treasure_data),
        "duration_seconds": duration.as_secs_f64(),
        "peak_resident_bytes": peak_resident_bytes(),
        "memory_bound_bytes": settings.load.transfer.memory_bound(),
    });
    json_line(summary)
}

/// To the millisecond; more would only be noise.
fn human(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a rate to show")]
fn rate(customers: u64, duration: Duration) -> String {
    if duration.is_zero() {
        return "no time at all".to_owned();
    }
    format!("{:.0} customers/s", customers as f64 / duration.as_secs_f64())
}
