//! The spans of a run: their names and fields, in one place.
//!
//! Owns what a span is called and what it says; `docs/logs.md` lists them. A line that is logged inside a span has the
//! span's fields, and a trace shows the spans as they nest. It knows nothing of what is done in a span. Fields with a dot in
//! their names are for traces: a line does not have them.
//!
//! ```text
//! run ─┬─ phase ─┬─ page ── token
//!      │         ├─ part ── upload
//!      │         └─ perform, commit, publish
//!      └─ abandon ── phase
//! ```

use std::time::Duration;

use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, event, info_span};

use crate::identity::{Mode, RunId, SessionName, StoreId, TableName, Target};

/// Target of all spans and trace events here, by which a filter recognizes them.
pub const TARGET: &str = module_path!();

/// Level of all spans here.
pub const LEVEL: LevelFilter = LevelFilter::INFO;

/// Name of the span of a run, which is the root of its trace.
pub const RUN: &str = "run";

/// Name of the span of an attempt, which gives lines its number. A trace has an event instead.
pub const ATTEMPT: &str = "attempt";

const RUN_ID: &str = "run_id";

/// A span whose failure a trace shows: see [`record_failure`].
macro_rules! failable_span {
    (parent: $parent:expr, $name:expr $(, $($fields:tt)*)?) => {
        info_span!(parent: $parent, $name, $($($fields)*,)? "otel.status_description" = Empty, "error.type" = Empty)
    };
    ($name:expr $(, $($fields:tt)*)?) => {
        info_span!($name, $($($fields)*,)? "otel.status_description" = Empty, "error.type" = Empty)
    };
}

/// A run of this process. Its id is not known before the lock is held: see [`record_run_id`].
pub fn run(target: &Target, mode: Mode) -> Span {
    let Target { store, database, table, .. } = target;
    failable_span!(RUN, run_id = Empty, store_id = %store, %database, %table, %mode)
}

/// An export of this process; it has no target. Its id is that of the manifest.
pub fn export(store: &StoreId) -> Span {
    failable_span!(RUN, run_id = Empty, store_id = %store)
}

/// Says which run the current span is about. Does nothing in a span that has a run id or cannot have one.
pub fn record_run_id(run_id: &RunId) {
    Span::current().record(RUN_ID, display(run_id));
}

/// The abandonment of an interrupted run by another one; its lines name the run that is abandoned.
pub fn abandon(run_id: &RunId) -> Span {
    info_span!("abandon", %run_id)
}

/// What a run does for a while. `run` is the span that it is a part of.
pub fn phase(run: &Span, name: &'static str) -> Span {
    failable_span!(parent: run, "phase", phase = name, "otel.name" = format_args!("phase {name}"))
}

/// A page, from its request until its rows are read. It is not a part of the page before it, which may request it ahead:
/// `around` is the span that both are parts of.
pub fn page(around: &Span, number: u64) -> Span {
    failable_span!(parent: around, "page", page = number)
}

/// A part, from the moment it is complete until it is stored.
pub fn part(position: u64) -> Span {
    info_span!("part", part = position)
}

/// The upload of a part to a bulk import session, with all its requests.
pub fn upload(session: &SessionName, bytes: usize) -> Span {
    failable_span!("upload", %session, bytes)
}

/// The request for an access token, with all its attempts.
pub fn token() -> Span {
    failable_span!("token")
}

/// The request that starts the load job of a session, with all its attempts.
pub fn perform(session: &SessionName) -> Span {
    failable_span!("perform", %session)
}

/// The request that commits a session, with all its attempts.
pub fn commit(session: &SessionName) -> Span {
    failable_span!("commit", %session)
}

/// The request by which the new table replaces the old one, with all its attempts.
pub fn publish(temporary_table: &TableName) -> Span {
    failable_span!("publish", %temporary_table)
}

/// An attempt of a request, from 1.
pub fn attempt(number: u32) -> Span {
    info_span!(ATTEMPT, attempt = number)
}

/// How an attempt of a request ended, for the trace.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnd<'a> {
    /// What the request does.
    pub operation: &'static str,
    /// Its number, from 1.
    pub attempt: u32,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed; `None` if it succeeded.
    pub failure: Option<AttemptFailure<'a>>,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFailure<'a> {
    /// What the server may have done.
    pub class: &'static str,
    /// The status, or what kind of failure it is.
    pub error_type: &'a str,
    /// The status, if there was a response.
    pub status: Option<u16>,
    /// The delay before the next attempt; `None` if it was the last.
    pub delay: Option<Duration>,
}

/// Adds an attempt to the trace, as an event of the span around it. It is not logged.
pub fn record_attempt(end: &AttemptEnd<'_>) {
    let AttemptEnd { operation, attempt, duration, failure } = *end;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    event!(
        name: "attempt",
        Level::INFO,
        operation,
        attempt,
        duration_ms = millis(duration),
        class = failure.map(|failure| failure.class),
        "error.type" = failure.map(|failure| failure.error_type),
        "http.response.status_code" = failure.and_then(|failure| failure.status),
        delay_ms = failure.and_then(|failure| failure.delay).map(millis),
    );
}

/// Marks a span as failed in the trace. `error_type` is a status, a kind of failure, or the code of an error.
pub fn record_failure(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    // This sets the status to `Error`, too.
    span.record("otel.status_description", error_type);
}

/// Adds to the trace why a run failed: the code of the error, and the message that the user reads.
pub fn record_run_failure(run: &Span, code: &str, message: &str) {
    record_failure(run, code);
    event!(
        name: "exception",
        parent: run,
        Level::INFO,
        "exception.type" = code,
        "exception.message" = message,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;

    #[test]
    fn each_attempt_is_an_event_that_says_how_it_ended() {
        let log = CapturedLog::start(Level::INFO);
        let succeeded = AttemptEnd {
            operation: "upload a part",
            attempt: 2,
            duration: Duration::from_millis(1_234),
            failure: None,
        };
        record_attempt(&succeeded);
        let failure = AttemptFailure {
            class: "transient",
            error_type: "503",
            status: Some(503),
            delay: Some(Duration::from_secs(4)),
        };
        record_attempt(&AttemptEnd { attempt: 1, failure: Some(failure), ..succeeded });
        let lines = log.lines("operation=\"upload a part\"");
        let fields = |line: &str| line.split_once("attempt=").map(|(_, fields)| fields.to_owned());
        let found: Vec<_> = lines.iter().filter_map(|line| fields(line)).collect();
        let failed = "1 duration_ms=1234 class=\"transient\" error.type=\"503\" http.response.status_code=503 delay_ms=4000";
        assert_eq!(found, ["2 duration_ms=1234", failed]);
    }
}
