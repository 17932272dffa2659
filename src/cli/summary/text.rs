//! The summary for people: one fact on each line, aligned.

use std::time::Duration;

use bytesize::ByteSize;

use super::facts::{DryRunFacts, Facts, Success};
use crate::http::FailureKind;
use crate::identity::Mode;
use crate::paths::printable;
use crate::retry::RequestCounts;
use crate::run::{Outcome, Resumption, Stored};
use crate::telemetry::words::{self, count, decimal, number};
use crate::telemetry::{marked, peak_resident_bytes};
use crate::yotpo::EndedBy;

/// Lines that name the table.
const NAMING_THE_TABLE: [&str; 3] = ["outcome", "saved", "verify with"];

pub(super) fn render(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    for (name, value) in lines(facts) {
        let line = format!("{name:<15} {value}\n");
        text.push_str(&if NAMING_THE_TABLE.contains(&name) { marked(&line) } else { line });
    }
    text
}

/// Each fact with its name.
pub(super) fn lines(facts: &Facts<'_>) -> Lines {
    [ending(facts), data(facts), work(facts)].concat()
}

pub(super) type Lines = Vec<(&'static str, String)>;

/// How it ended, and of which run this is the summary.
fn ending(facts: &Facts<'_>) -> Lines {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut lines = vec![("outcome", outcome(facts))];
    lines.extend(facts.failure.map(|failure| ("saved", failure.saved.clone())));
    lines.push(("store", name(&facts.store_id)));
    let how = match (facts.joined, facts.resumed) {
        (true, _) => " (joined: another attempt made the rows)",
        (false, true) => " (resumed)",
        (false, false) => "",
    };
    if facts.success != Some(Success::DryRun) {
        lines.push(("run", format!("{}{how}", name(&facts.run_id))));
    }
    lines
        .extend(facts.directory.as_deref().map(|directory| ("directory", printable(directory).into_owned())));
    lines.extend(facts.export_sha256.clone().map(|sha256| ("export", sha256)));
    lines.extend(facts.dry_run.as_ref().map(dry_run).unwrap_or_default());
    if let Some(session) = &facts.session {
        lines.push(("session", session.clone()));
        lines.push(("load job", name(&facts.job_id)));
    }
    lines.extend(facts.ingestion_time.map(|time| ("ingestion time", time.to_string())));
    if let Some(query) = &facts.counting_query {
        let expected = facts.rows.map_or_else(|| "all".to_owned(), number);
        lines.push(("verify with", format!("{query} -- expected: {expected}")));
    }
    lines
}

/// How it ended, as a sentence.
pub(super) fn outcome(facts: &Facts<'_>) -> String {
    let target = [&facts.database, &facts.table].map(|name| name.as_deref().unwrap_or("unknown")).join(".");
    let rows = facts.rows.map_or_else(|| "all rows".to_owned(), |rows| count(rows, "row", "rows"));
    match (facts.success, facts.mode) {
        (Some(Success::Run(Outcome::Committed)), Some(Mode::Replace)) => {
            format!("replaced the rows of {target} with {rows}")
        }
        (Some(Success::Run(Outcome::Committed)), _) => format!("committed {rows} to {target}"),
        (Some(Success::Run(Outcome::AlreadyCommitted)), _) => {
            format!("{target} already has the {rows} of this run")
        }
        (Some(Success::Run(Outcome::Emptied)), _) => format!("0 customers: {target} is empty now"),
        (Some(Success::Run(Outcome::NothingToLoad)), _) => {
            format!("0 customers: nothing to load, {target} is unchanged")
        }
        (Some(Success::Exported), _) => format!("exported {rows}"),
        (Some(Success::AlreadyExported), _) => {
            format!("the directory already holds a complete export of {rows}; nothing was fetched")
        }
        (Some(Success::DryRun), mode) => {
            let verb = if mode == Some(Mode::Replace) { "replace the rows of" } else { "append to" };
            format!("dry run: a run would {verb} {target}; nothing was loaded")
        }
        (None, _) => {
            let phase = facts.phase.unwrap_or("starting").replace('_', " ");
            let code = facts.failure.map(|failure| failure.diagnosis.code.name()).unwrap_or_default();
            format!("failed while {phase}: {code}")
        }
    }
}

/// What a run would do with what is saved, and how long it would take.
fn dry_run(found: &DryRunFacts) -> Lines {
    let saved = |stored: &Stored| {
        let (rows, pages) = (count(stored.rows, "row", "rows"), count(stored.pages, "page", "pages"));
        let parts = count(stored.parts, "part", "parts");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(stored.saved_at);
        format!("{rows} of {pages} in {parts}, saved {}", humantime::format_rfc3339_seconds(time))
    };
    let resumption = match &found.resumption {
        Resumption::Nothing => "no run is saved: a run fetches everything".to_owned(),
        Resumption::Resume(stored) => format!(
            "a run resumes after {}, unless it was abandoned elsewhere; it does not see what changed on these pages since",
            saved(stored)
        ),
        Resumption::StartOver(_) => "a run is saved, and starts over: nothing stored can be used".to_owned(),
        Resumption::Abandon { stored, reason } => {
            format!("a run abandons what is saved, because {reason}; it loses {}", saved(stored))
        }
    };
    let mut lines = vec![("resume", resumption)];
    if found.is_active {
        lines.push(("active", "another run of this table is active on this machine".to_owned()));
    }
    let expected = match (found.expected, found.is_partial) {
        (None, _) => "unknown: no finished run says how many customers there are".to_owned(),
        (Some(time), false) => format!("fetching took {}, not including the load job", words::duration(time)),
        (Some(time), true) => format!(
            "fetching takes about {} for as many customers as the last run, not including the load job",
            words::duration(time)
        ),
    };
    lines.push(("expected", expected));
    lines
}

/// What was read and loaded.
fn data(facts: &Facts<'_>) -> Lines {
    let progress = &facts.progress;
    let mut lines = Vec::new();
    let left_out = facts.error_records.filter(|records| *records > 0);
    lines.extend(
        left_out.map(|records| {
            ("left out", format!("{} that cannot be read", count(records, "record", "records")))
        }),
    );
    if progress.seen_twice > 0 {
        let about = if progress.is_estimate { "about " } else { "" };
        let customers = count(progress.seen_twice, "customer equals", "customers equal");
        let text = format!("{about}{customers} an earlier one; the store may have changed while it was read");
        lines.push(("duplicates", text));
    }
    let is_done_before =
        matches!(facts.success, Some(Success::Run(Outcome::AlreadyCommitted) | Success::AlreadyExported));
    if is_done_before && progress.pages == 0 {
        // An earlier run read the customers, and zeros would look like a problem.
        return lines;
    }
    let with_loyalty_data = number(progress.customers_with_loyalty_data);
    lines.push((
        "customers",
        format!("{}, {with_loyalty_data} with loyalty data", number(progress.customers)),
    ));
    let stored = match facts.success {
        Some(Success::DryRun) => "compressed",
        _ if facts.directory.is_some() && facts.table.is_none() => "written",
        _ => "uploaded",
    };
    lines.push(("pages", number(progress.pages)));
    lines.push(("ended by", progress.ended_by.map_or("unknown", EndedBy::name).to_owned()));
    lines.push((
        "parts",
        format!(
            "{}, {} {}, {} of rows",
            number(progress.parts),
            bytes(progress.uploaded_bytes),
            stored,
            bytes(progress.row_bytes)
        ),
    ));
    lines
}

/// What it took.
fn work(facts: &Facts<'_>) -> Lines {
    let usage = &facts.progress.usage;
    let service = |counts: &RequestCounts, name| {
        format!(
            "{} to {name} ({}, {} throttled)",
            number(counts.requests),
            count(counts.retries, "retry", "retries"),
            number(counts.throttled)
        )
    };
    let requests =
        [service(&usage.yotpo, "Yotpo"), service(&usage.treasure_data, "Treasure Data")].join(", ");
    let mut lines = vec![("requests", requests)];
    if usage.retries() > 0 {
        lines.push(("retried after", retry_causes([&usage.yotpo, &usage.treasure_data])));
    }
    if usage.yotpo.requests > 0 {
        lines.push(("received", format!("{} from Yotpo", bytes(usage.yotpo_response_bytes))));
        lines.push(("rate limit", rate_limit(facts)));
    }
    lines.push(("phases", phases(facts)));
    let fetched = facts.progress.customers.saturating_sub(facts.progress.customers_before);
    let speed = if fetched > 0 { format!(" ({})", rate(fetched, facts.duration)) } else { String::new() };
    lines.push(("duration", format!("{}{speed}", human(facts.duration))));
    lines.push(("peak memory", peak_resident_bytes().map_or_else(|| "unknown".to_owned(), bytes)));
    lines
}

fn retry_causes(services: [&RequestCounts; 2]) -> String {
    let sum = |kind| {
        let of = |counts: &RequestCounts| {
            counts.retries_by_cause.iter().filter(|(found, _)| *found == kind).collect::<Vec<_>>()
        };
        services.iter().flat_map(|counts| of(counts)).map(|(_, retries)| retries).sum::<u64>()
    };
    let causes = FailureKind::ALL.into_iter().filter_map(|kind| {
        let (one, many) = match kind {
            FailureKind::Timeout => ("timeout", "timeouts"),
            FailureKind::Connection => ("lost or failed connection", "lost or failed connections"),
            FailureKind::Throttled => ("throttled request", "throttled requests"),
            FailureKind::ServerError => ("server error", "server errors"),
            FailureKind::UnexpectedBody => ("unexpected response", "unexpected responses"),
            FailureKind::OtherStatus => ("other status", "other statuses"),
        };
        Some(sum(kind)).filter(|retries| *retries > 0).map(|retries| count(retries, one, many))
    });
    causes.collect::<Vec<_>>().join(", ")
}

fn rate_limit(facts: &Facts<'_>) -> String {
    let rate = &facts.progress.usage.rate;
    let share = facts.delayed_share().map_or_else(String::new, |share| {
        format!("{:.0} % of the fetching time spent waiting, ", share * 100.0)
    });
    let others = if rate.others_seen { ", other clients used it" } else { "" };
    format!(
        "{} requests/s at the end, {share}{} for others or the service ({}){others}",
        decimal(rate.requests_per_second),
        count(rate.waits, "wait", "waits"),
        human(rate.waited)
    )
}

fn phases(facts: &Facts<'_>) -> String {
    let phases = facts.phases().filter(|(_, duration)| duration.as_millis() > 0).map(|(phase, duration)| {
        let time =
            if duration < Duration::from_secs(1) { human(duration) } else { words::duration(duration) };
        format!("{} {time}", phase.name().replace('_', " "))
    });
    phases.collect::<Vec<_>>().join(", ")
}

fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// To the millisecond; more would only be noise.
fn human(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate to show; never negative"
)]
fn rate(customers: u64, duration: Duration) -> String {
    if duration.is_zero() {
        return "no time at all".to_owned();
    }
    let per_second = (customers as f64 / duration.as_secs_f64()).round() as u64;
    format!("{} per second", count(per_second, "customer", "customers"))
}
