//! The metrics: their names, types, labels and meaning. `docs/metrics.md` lists them from here.
//!
//! Owns the table alone; [`super::samples`] fills it. Names are public: renaming one follows the rules for releases.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows while the process runs, and starts at 0 in the next one.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl FamilyKind {
    /// Its name in the exposition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric. Every sample also has the labels of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its full name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: FamilyKind,
    /// What it is, with the unit, without a full stop.
    pub help: &'static str,
    /// Its own labels.
    pub labels: &'static [&'static str],
    /// When it is missing; empty if never.
    pub missing: &'static str,
}

use FamilyKind::{Counter, Gauge, Histogram};

const fn family(name: &'static str, kind: FamilyKind, help: &'static str) -> Family {
    Family { name, kind, help, labels: &[], missing: "" }
}

impl Family {
    const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    const fn missing(self, missing: &'static str) -> Self {
        Self { missing, ..self }
    }
}

const NOT_SENT: &str = "before the first request";
const UNKNOWN: &str = "if no run of the target has succeeded, as far as this machine knows";

pub(super) const BUILD_INFO: Family =
    family("yotpo_td_build_info", Gauge, "The program that writes these metrics; always 1").by(&["version"]);
pub(super) const LAST_SUCCESS_TIMESTAMP: Family = family(
    "yotpo_td_last_success_timestamp_seconds",
    Gauge,
    "When the last successful run of the target ended, in seconds since the Unix epoch",
)
.missing(UNKNOWN);
pub(super) const LAST_SUCCESS_ROWS: Family =
    family("yotpo_td_last_success_rows", Gauge, "Rows of the last successful run of the target")
        .missing(UNKNOWN);
pub(super) const RUNNING: Family = family("yotpo_td_running", Gauge, "Whether the run is working: 1 or 0");
pub(super) const RUN_START: Family = family(
    "yotpo_td_run_start_timestamp_seconds",
    Gauge,
    "When the process started, in seconds since the Unix epoch",
);
pub(super) const RUN_END: Family = family(
    "yotpo_td_run_end_timestamp_seconds",
    Gauge,
    "When the run ended, in seconds since the Unix epoch",
)
.missing("while the run works");
pub(super) const RUN_DURATION: Family =
    family("yotpo_td_run_duration_seconds", Gauge, "Time since the first phase, or of the whole run");
pub(super) const EXIT_CODE: Family =
    family("yotpo_td_exit_code", Gauge, "Exit code of the run").missing("while the run works");
pub(super) const FAILURE: Family = family(
    "yotpo_td_failure",
    Gauge,
    "Why the run failed: 1 with the error code; 0 with the code none if it succeeded",
)
.by(&["code"])
.missing("while the run works");
pub(super) const INTERRUPTED_RUN_EXPIRY: Family = family(
    "yotpo_td_interrupted_run_expiry_timestamp_seconds",
    Gauge,
    "Until when the interrupted run can be resumed, in seconds since the Unix epoch; 0 if there is none",
)
.missing("while the run works");
pub(super) const PHASE: Family =
    family("yotpo_td_phase", Gauge, "The phase of the run: 1 for the current one, 0 for the others")
        .by(&["phase"]);
pub(super) const PHASE_DURATION: Family =
    family("yotpo_td_phase_duration_seconds", Gauge, "How long each phase has lasted in all").by(&["phase"]);
pub(super) const PAGES: Family =
    family("yotpo_td_pages_total", Counter, "Pages fetched, also by interrupted processes of the run");
pub(super) const CUSTOMERS: Family = family(
    "yotpo_td_customers_total",
    Counter,
    "Customers fetched, also by interrupted processes of the run",
);
pub(super) const CUSTOMERS_WITH_LOYALTY_DATA: Family =
    family("yotpo_td_customers_with_loyalty_data_total", Counter, "Customers with loyalty data among them");
pub(super) const EXPECTED_CUSTOMERS: Family =
    family("yotpo_td_expected_customers", Gauge, "Customers that the last run fetched on this machine")
        .missing("if it is not known");
pub(super) const PARTS: Family =
    family("yotpo_td_parts", Gauge, "Parts by state: queued (complete, not stored yet) or stored")
        .by(&["state"]);
pub(super) const QUEUED_BATCHES: Family =
    family("yotpo_td_queued_batches", Gauge, "Batches of rows that are being compressed, or wait for a part");
pub(super) const ROW_BYTES: Family =
    family("yotpo_td_row_bytes_total", Counter, "Bytes of the rows in stored parts, before compression");
pub(super) const PART_BYTES: Family =
    family("yotpo_td_part_bytes_total", Counter, "Bytes of stored parts, after compression");
pub(super) const LOAD_JOB: Family = family(
    "yotpo_td_load_job",
    Gauge,
    "The load job by state, when it was last polled: 1 for the current state",
)
.by(&["state"]);
pub(super) const REQUESTS: Family = family(
    "yotpo_td_requests_total",
    Counter,
    "Requests that ended, by class of the response status: 2xx, 3xx, 4xx, 5xx, or none without a complete response",
)
.by(&["service", "operation", "status"])
.missing(NOT_SENT);
pub(super) const REQUEST_DURATION: Family = family(
    "yotpo_td_request_duration_seconds",
    Histogram,
    "From sending a request until its response is complete, without the wait for the rate limit",
)
.by(&["service", "operation"])
.missing(NOT_SENT);
pub(super) const SENT_BYTES: Family =
    family("yotpo_td_sent_bytes_total", Counter, "Bytes of request bodies").by(&["service"]);
pub(super) const RECEIVED_BYTES: Family =
    family("yotpo_td_received_bytes_total", Counter, "Bytes of response bodies, as received")
        .by(&["service"]);
pub(super) const RETRIES: Family =
    family("yotpo_td_retries_total", Counter, "Requests that were sent again, by what failed before")
        .by(&["service", "cause"]);
pub(super) const THROTTLED: Family =
    family("yotpo_td_throttled_total", Counter, "Responses with 429 Too Many Requests").by(&["service"]);
pub(super) const RETRY_BUDGET: Family =
    family("yotpo_td_retry_budget_ratio", Gauge, "What is left of the retry budget, from 0 to 1")
        .by(&["service"]);
pub(super) const RATE_CONFIGURED: Family = family(
    "yotpo_td_rate_limit_configured_requests_per_second",
    Gauge,
    "Requests to Yotpo per second that the settings allow",
)
.missing("without a store");
pub(super) const RATE_IN_FORCE: Family = family(
    "yotpo_td_rate_limit_requests_per_second",
    Gauge,
    "Requests to Yotpo per second in force: the configured rate, or what other clients leave",
)
.missing("without a store");
pub(super) const RATE_OTHERS: Family = family(
    "yotpo_td_rate_limit_other_clients_requests_per_second",
    Gauge,
    "Requests per second of other clients of the store, as estimated",
)
.missing("without a store");
pub(super) const RATE_DELAYED: Family = family(
    "yotpo_td_rate_limit_wait_seconds_total",
    Counter,
    "How long requests to Yotpo waited for the rate limit, for our own rate too",
)
.missing("without a store");
pub(super) const RATE_PAUSES: Family = family(
    "yotpo_td_rate_limit_pauses_total",
    Counter,
    "Pauses for other clients of the store, or because Yotpo requested a delay",
)
.missing("without a store");
pub(super) const RATE_PAUSED: Family =
    family("yotpo_td_rate_limit_pause_seconds_total", Counter, "How long these pauses lasted")
        .missing("without a store");
pub(super) const RATE_HEADER_LIMIT: Family = family(
    "yotpo_td_rate_limit_header_limit",
    Gauge,
    "RateLimit-Limit of the last response of Yotpo that reported how many requests remain",
)
.missing("before Yotpo has sent it");
pub(super) const RATE_HEADER_REMAINING: Family =
    family("yotpo_td_rate_limit_header_remaining", Gauge, "RateLimit-Remaining of that response")
        .missing("before Yotpo has sent it");
pub(super) const RESIDENT_MEMORY: Family =
    family("yotpo_td_resident_memory_bytes", Gauge, "Resident memory of the process")
        .missing("if the system does not report it");
pub(super) const PEAK_RESIDENT_MEMORY: Family =
    family("yotpo_td_resident_memory_peak_bytes", Gauge, "Peak resident memory of the process")
        .missing("if the system does not report it");

/// Every metric, in the order of the exposition.
pub const FAMILIES: [Family; 38] = [
    BUILD_INFO,
    LAST_SUCCESS_TIMESTAMP,
    LAST_SUCCESS_ROWS,
    RUNNING,
    RUN_START,
    RUN_END,
    RUN_DURATION,
    EXIT_CODE,
    FAILURE,
    INTERRUPTED_RUN_EXPIRY,
    PHASE,
    PHASE_DURATION,
    PAGES,
    CUSTOMERS,
    CUSTOMERS_WITH_LOYALTY_DATA,
    EXPECTED_CUSTOMERS,
    PARTS,
    QUEUED_BATCHES,
    ROW_BYTES,
    PART_BYTES,
    LOAD_JOB,
    REQUESTS,
    REQUEST_DURATION,
    SENT_BYTES,
    RECEIVED_BYTES,
    RETRIES,
    THROTTLED,
    RETRY_BUDGET,
    RATE_CONFIGURED,
    RATE_IN_FORCE,
    RATE_OTHERS,
    RATE_DELAYED,
    RATE_PAUSES,
    RATE_PAUSED,
    RATE_HEADER_LIMIT,
    RATE_HEADER_REMAINING,
    RESIDENT_MEMORY,
    PEAK_RESIDENT_MEMORY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_keeps_what_it_is_given() {
        let labels: &[&str] = &["service"];
        let made = family("name", Gauge, "help").by(labels).missing("before");
        assert_eq!(made, Family { name: "name", kind: Gauge, help: "help", labels, missing: "before" });
    }
}
