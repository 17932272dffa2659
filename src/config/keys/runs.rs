//! Settings about runs: how rows are loaded, what is refused, what is kept between attempts, what is printed.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::kind::{ABOVE_ZERO, Kind};
use crate::config::setting::{Group, Key, Presence, Setting};
use crate::config::summary_format::SummaryFormat;
use crate::identity::RunId;
use crate::part::CompressionLevel;
use crate::telemetry::{ColorChoice, LogFormat};

const MEBIBYTE: u64 = 1024 * 1024;

/// Rows per part.
pub const BATCH_SIZE: Key<usize> = Key::new(Setting {
    key: "batch-size",
    variable: "YOTPO_TD_BATCH_SIZE",
    presence: Presence::Default("100000"),
    kind: Kind::Integer { min: 1, max: 100_000 },
    group: Group::Load,
    help: "Maximum rows in a part",
    details: "",
});
/// Compressed bytes per part.
pub const PART_SIZE: Key<usize> = Key::new(Setting {
    key: "part-size",
    variable: "YOTPO_TD_PART_SIZE",
    presence: Presence::Default("4MiB"),
    kind: Kind::Size { min: MEBIBYTE, max: 64 * MEBIBYTE },
    group: Group::Load,
    help: "Compressed size at which a part is closed",
    details: "",
});
/// How hard parts are compressed.
pub const COMPRESSION_LEVEL: Key<u8> = Key::new(Setting {
    key: "compression-level",
    variable: "YOTPO_TD_COMPRESSION_LEVEL",
    presence: Presence::Default("2"),
    kind: Kind::Integer {
        min: CompressionLevel::FASTEST.get() as u64,
        max: CompressionLevel::SMALLEST.get() as u64,
    },
    group: Group::Load,
    help: "Compression level of the parts (gzip)",
    details: "",
});
/// Concurrent uploads.
pub const UPLOAD_WORKERS: Key<usize> = Key::new(Setting {
    key: "upload-workers",
    variable: "YOTPO_TD_UPLOAD_WORKERS",
    presence: Presence::Default("2"),
    kind: Kind::Integer { min: 1, max: 8 },
    group: Group::Load,
    help: "Parts uploaded concurrently",
    details: "",
});
/// How often Treasure Data is polled.
pub const POLL_INTERVAL: Key<Duration> = Key::new(Setting {
    key: "poll-interval",
    variable: "YOTPO_TD_POLL_INTERVAL",
    presence: Presence::Default("2s"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::Load,
    help: "How often to poll the load job and the commit",
    details: "",
});
/// How long Treasure Data may take.
pub const PERFORM_TIMEOUT: Key<Duration> = Key::new(Setting {
    key: "perform-timeout",
    variable: "YOTPO_TD_PERFORM_TIMEOUT",
    presence: Presence::Default("6h"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::Load,
    help: "Maximum wait for the load job and for the commit",
    details: "",
});
/// Whether missing loyalty data ends a run.
pub const LOYALTY_CHECK: Key<bool> = Key::new(Setting {
    key: "loyalty-check",
    variable: "YOTPO_TD_LOYALTY_CHECK",
    presence: Presence::Default("on"),
    kind: Kind::Switch,
    group: Group::Guards,
    help: "Fail when loyalty data goes missing",
    details: "A run fails when loyalty data is missing after the first page and chance cannot explain it. `off` loads the \
              rows anyway.",
});
/// How much smaller a table may become.
pub const MIN_ROWS_RATIO: Key<f64> = Key::new(Setting {
    key: "min-rows-ratio",
    variable: "YOTPO_TD_MIN_ROWS_RATIO",
    presence: Presence::Default("0.5"),
    kind: Kind::Number { min: 0.0, max: 1.0 },
    group: Group::Guards,
    help: "Minimum ratio of new to old rows for `replace`",
    details: "",
});
/// Whether a table may become empty.
pub const ALLOW_EMPTY: Key<bool> = Key::new(Setting {
    key: "allow-empty",
    variable: "YOTPO_TD_ALLOW_EMPTY",
    presence: Presence::Default("off"),
    kind: Kind::Switch,
    group: Group::Guards,
    help: "Let `replace` empty the table when the store has no customers",
    details: "",
});
/// How many records may be left out.
pub const MAX_ERROR_RECORDS: Key<u64> = Key::new(Setting {
    key: "max-error-records",
    variable: "YOTPO_TD_MAX_ERROR_RECORDS",
    presence: Presence::Default("0"),
    kind: Kind::Integer { min: 0, max: u64::MAX },
    group: Group::Guards,
    help: "Maximum unreadable records that may be left out",
    details: "",
});
/// Where records that are left out are written.
pub const QUARANTINE_DIR: Key<PathBuf> = Key::new(Setting {
    key: "quarantine-dir",
    variable: "YOTPO_TD_QUARANTINE_DIR",
    presence: Presence::Optional,
    kind: Kind::Directory { must_exist: true },
    group: Group::Guards,
    help: "Directory for records that cannot be read (customer data)",
    details: "They are not written anywhere when this is unset.",
});
/// Whether `replace` may run without the ids of tables.
pub const WITHOUT_TABLE_IDS: Key<bool> = Key::new(Setting {
    key: "without-table-ids",
    variable: "YOTPO_TD_WITHOUT_TABLE_IDS",
    presence: Presence::Default("off"),
    kind: Kind::Switch,
    group: Group::Guards,
    help: "Let `replace` run with a key that may not read table ids",
    details: "A recreated table then goes unnoticed.",
});
/// The name of the run.
pub const RUN_ID: Key<RunId> = Key::new(Setting {
    key: "run-id",
    variable: "YOTPO_TD_RUN_ID",
    presence: Presence::Optional,
    kind: Kind::Name { value_name: "ID", rule: RunId::RULE },
    group: Group::StateAndResume,
    help: "Name of the run, shared by its retries on any machine",
    details: "A run id loads only once, so that a retry on another machine never loads twice. With Digdag, use \
              `session_date_compact`.",
});
/// How long attempts of a run may load.
pub const RUN_LIFETIME: Key<Duration> = Key::new(Setting {
    key: "run-lifetime",
    variable: "YOTPO_TD_RUN_LIFETIME",
    presence: Presence::Default("5d"),
    // At least an hour: attempts that are retried must still know the run. At most what Treasure Data keeps.
    kind: Kind::Duration { min: Duration::from_secs(3_600), max: Duration::from_secs(5 * 86_400) },
    group: Group::StateAndResume,
    help: "How long a run id may be attempted",
    details: "Counted from its first attempt.",
});
/// How old a run may be that is resumed.
pub const RESUME_WITHIN: Key<Duration> = Key::new(Setting {
    key: "resume-within",
    variable: "YOTPO_TD_RESUME_WITHIN",
    presence: Presence::Default("6h"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::StateAndResume,
    help: "Resume an interrupted run younger than this",
    details: "",
});
/// Whether nothing is resumed.
pub const FRESH: Key<bool> = Key::new(Setting {
    key: "fresh",
    variable: "YOTPO_TD_FRESH",
    presence: Presence::Default("off"),
    kind: Kind::Switch,
    group: Group::StateAndResume,
    help: "Never resume an interrupted run",
    details: "",
});
/// How long another run is waited for.
pub const WAIT_FOR_ACTIVE: Key<Duration> = Key::new(Setting {
    key: "wait-for-active",
    variable: "YOTPO_TD_WAIT_FOR_ACTIVE",
    presence: Presence::Default("0s"),
    kind: Kind::Duration { min: Duration::ZERO, max: Duration::MAX },
    group: Group::StateAndResume,
    help: "How long to wait for an active run of the target",
    details: "If another run of the same target on this machine is still active then, the program exits with 8.",
});
/// Where state and locks are.
pub const STATE_DIR: Key<PathBuf> = Key::new(Setting {
    key: "state-dir",
    variable: "YOTPO_TD_STATE_DIR",
    presence: Presence::Optional,
    kind: Kind::Directory { must_exist: false },
    group: Group::StateAndResume,
    help: "Directory for state and lock files",
    details: "Defaults to `$XDG_STATE_HOME/yotpo-td` or `~/.local/state/yotpo-td`.",
});
/// The format of the summary.
pub const SUMMARY: Key<SummaryFormat> = Key::new(Setting {
    key: "summary",
    variable: "YOTPO_TD_SUMMARY",
    presence: Presence::Default(SummaryFormat::Text.as_str()),
    kind: Kind::Choice {
        value_name: "FORMAT",
        words: &[SummaryFormat::Text.as_str(), SummaryFormat::Json.as_str(), SummaryFormat::None.as_str()],
    },
    group: Group::Output,
    help: "Summary on stdout",
    details: "",
});
/// Where else the JSON summary is written.
pub const SUMMARY_FILE: Key<PathBuf> = Key::new(Setting {
    key: "summary-file",
    variable: "YOTPO_TD_SUMMARY_FILE",
    presence: Presence::Optional,
    kind: Kind::OutputFile,
    group: Group::Output,
    help: "File for the JSON summary",
    details: "It is replaced in one step when the run ends, also when it fails.",
});
/// The format of the log.
pub const LOG_FORMAT: Key<LogFormat> = Key::new(Setting {
    key: "log-format",
    variable: "YOTPO_TD_LOG_FORMAT",
    presence: Presence::Default(LogFormat::Text.as_str()),
    kind: Kind::Choice { value_name: "FORMAT", words: &[LogFormat::Text.as_str(), LogFormat::Json.as_str()] },
    group: Group::Output,
    help: "Log lines on stderr",
    details: "",
});
/// Which log lines there are.
pub const LOG_LEVEL: Key<String> = Key::new(Setting {
    key: "log-level",
    variable: "YOTPO_TD_LOG_LEVEL",
    presence: Presence::Default("info"),
    kind: Kind::LogFilter,
    group: Group::Output,
    help: "Log level or filter",
    details: "`RUST_LOG` is used when this is unset. A level alone is for yotpo-td: libraries log warnings.",
});
/// Whether there are colors.
pub const COLOR: Key<ColorChoice> = Key::new(Setting {
    key: "color",
    variable: "YOTPO_TD_COLOR",
    presence: Presence::Default(ColorChoice::Auto.as_str()),
    kind: Kind::Choice {
        value_name: "WHEN",
        words: &[ColorChoice::Auto.as_str(), ColorChoice::Always.as_str(), ColorChoice::Never.as_str()],
    },
    group: Group::Output,
    help: "Colors in help and log lines",
    details: "`auto` means on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.",
});
