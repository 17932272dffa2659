//! The list of all settings: the one place that names them. Flags, `--help` and the checks come from here, and a test
//! holds the README against it.

/// A setting that is no secret.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name of the flag without dashes, and key in the settings file.
    pub key: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Value when nobody sets it, as a text; `None` when there is none.
    pub default: Option<&'static str>,
    /// Placeholder in `--help`.
    pub value_name: &'static str,
    /// What it is, for `--help`.
    pub help: &'static str,
    /// What a right value looks like, for error messages.
    pub expected: &'static str,
    /// Whether the flag takes a value.
    pub form: FlagForm,
}

/// What a flag looks like on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagForm {
    /// `--flag VALUE`.
    Value,
    /// `--flag`, which sets it to `on`, or `--flag=off`.
    Switch,
}

/// A secret: only in the environment, or in a file that the environment names.
#[derive(Clone, Copy, Debug)]
pub struct SecretSetting {
    /// Environment variable that holds it; with `_FILE` behind it, one that names a file that holds it.
    pub variable: &'static str,
    /// What it is.
    pub help: &'static str,
}

/// Yotpo's.
pub(super) const CLIENT_SECRET: SecretSetting =
    SecretSetting { variable: "YOTPO_CLIENT_SECRET", help: "the Yotpo app's client secret" };
/// Treasure Data's.
pub(super) const API_KEY: SecretSetting =
    SecretSetting { variable: "TD_API_KEY", help: "a Treasure Data API key; a write-only key is enough" };
/// All secrets.
pub const SECRETS: &[SecretSetting] = &[CLIENT_SECRET, API_KEY];

const NAME: &str = "3 to 128 lower-case letters, digits or _";
const DURATION: &str = "a duration above zero such as 500ms, 30s or 10m";
const SWITCH: &str = "on or off (true, false, 1, 0)";
const ADDRESS: &str = "an https address (http only on loopback) without user, query or fragment";

/// All settings of `sync`, in the order of `--help`. `--config` and the sandbox's flags are the command line's own.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "store-id",
        variable: "YOTPO_STORE_ID",
        default: None,
        value_name: "ID",
        help: "Yotpo store to read (its app key)",
        expected: "1 to 128 letters, digits, - or _",
        form: FlagForm::Value,
    },
    Setting {
        key: "database",
        variable: "TD_DATABASE",
        default: None,
        value_name: "NAME",
        help: "Treasure Data database; it must exist",
        expected: NAME,
        form: FlagForm::Value,
    },
    Setting {
        key: "table",
        variable: "TD_TABLE",
        default: Some("yotpo_customers"),
        value_name: "NAME",
        help: "table to load; created if missing",
        expected: NAME,
        form: FlagForm::Value,
    },
    Setting {
        key: "mode",
        variable: "YOTPO_TD_MODE",
        default: Some("append"),
        value_name: "MODE",
        help: "append to the table, or replace its rows in one step",
        expected: "append or replace",
        form: FlagForm::Value,
    },
    Setting {
        key: "site",
        variable: "YOTPO_TD_SITE",
        default: None,
        value_name: "SITE",
        help: "Treasure Data region: us01, ap01, eu01, ap02 or ap03",
        expected: "us01, ap01, eu01, ap02 or ap03",
        form: FlagForm::Value,
    },
    Setting {
        key: "td-endpoint",
        variable: "TD_API_SERVER",
        default: Some("https://api.treasuredata.com"),
        value_name: "URL",
        help: "Treasure Data API address, instead of --site",
        expected: ADDRESS,
        form: FlagForm::Value,
    },
    Setting {
        key: "yotpo-endpoint",
        variable: "YOTPO_TD_YOTPO_ENDPOINT",
        default: Some("https://api.yotpo.com"),
        value_name: "URL",
        help: "Yotpo API address",
        expected: ADDRESS,
        form: FlagForm::Value,
    },
    Setting {
        key: "requests-per-second",
        variable: "YOTPO_TD_REQUESTS_PER_SECOND",
        default: Some("4.5"),
        value_name: "RATE",
        help: "requests a second to Yotpo, retries included; the store's limit of 5 is shared with others",
        expected: "a number above 0 and up to 1000000",
        form: FlagForm::Value,
    },
    Setting {
        key: "page-size",
        variable: "YOTPO_TD_PAGE_SIZE",
        default: Some("100"),
        value_name: "COUNT",
        help: "customers on a page",
        expected: "a whole number from 1 to 100",
        form: FlagForm::Value,
    },
    Setting {
        key: "batch-size",
        variable: "YOTPO_TD_BATCH_SIZE",
        default: Some("100000"),
        value_name: "ROWS",
        help: "most rows in a part",
        expected: "a whole number from 1 to 100000",
        form: FlagForm::Value,
    },
    Setting {
        key: "part-size",
        variable: "YOTPO_TD_PART_SIZE",
        default: Some("4MiB"),
        value_name: "SIZE",
        help: "compressed size at which a part is closed",
        expected: "a size from 1MiB to 64MiB",
        form: FlagForm::Value,
    },
    Setting {
        key: "compression-level",
        variable: "YOTPO_TD_COMPRESSION_LEVEL",
        default: Some("2"),
        value_name: "LEVEL",
        help: "gzip level of the parts",
        expected: "a whole number from 1 to 9",
        form: FlagForm::Value,
    },
    Setting {
        key: "upload-workers",
        variable: "YOTPO_TD_UPLOAD_WORKERS",
        default: Some("2"),
        value_name: "COUNT",
        help: "parts uploaded at once",
        expected: "a whole number from 1 to 8",
        form: FlagForm::Value,
    },
    Setting {
        key: "max-retries",
        variable: "YOTPO_TD_MAX_RETRIES",
        default: Some("8"),
        value_name: "COUNT",
        help: "attempts of a request after its first",
        expected: "a whole number from 0 to 1000",
        form: FlagForm::Value,
    },
    Setting {
        key: "retry-base-delay",
        variable: "YOTPO_TD_RETRY_BASE_DELAY",
        default: Some("1s"),
        value_name: "TIME",
        help: "ceiling of the first delay; doubles up to a minute, drawn with full jitter",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "retry-timeout",
        variable: "YOTPO_TD_RETRY_TIMEOUT",
        default: Some("10m"),
        value_name: "TIME",
        help: "longest retrying of one request",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "request-timeout",
        variable: "YOTPO_TD_REQUEST_TIMEOUT",
        default: Some("30s"),
        value_name: "TIME",
        help: "longest single attempt; uploads get a second more for every 256 KiB",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "poll-interval",
        variable: "YOTPO_TD_POLL_INTERVAL",
        default: Some("2s"),
        value_name: "TIME",
        help: "time between two looks at the load job and the commit",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "perform-timeout",
        variable: "YOTPO_TD_PERFORM_TIMEOUT",
        default: Some("6h"),
        value_name: "TIME",
        help: "longest wait for the load job, and for the commit",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "loyalty-check",
        variable: "YOTPO_TD_LOYALTY_CHECK",
        default: Some("on"),
        value_name: "ON|OFF",
        help: "fail when loyalty data is missing behind the first page and chance cannot explain it; off loads the rows as they are",
        expected: SWITCH,
        form: FlagForm::Value,
    },
    Setting {
        key: "min-rows-ratio",
        variable: "YOTPO_TD_MIN_ROWS_RATIO",
        default: Some("0.5"),
        value_name: "SHARE",
        help: "replace only when there are at least this share of the rows that were there before",
        expected: "a number from 0 to 1",
        form: FlagForm::Value,
    },
    Setting {
        key: "allow-empty",
        variable: "YOTPO_TD_ALLOW_EMPTY",
        default: Some("off"),
        value_name: "ON|OFF",
        help: "let replace empty the table when the store has no customers",
        expected: SWITCH,
        form: FlagForm::Switch,
    },
    Setting {
        key: "max-error-records",
        variable: "YOTPO_TD_MAX_ERROR_RECORDS",
        default: Some("0"),
        value_name: "COUNT",
        help: "most records that may be left out because they cannot be read",
        expected: "a whole number",
        form: FlagForm::Value,
    },
    Setting {
        key: "quarantine-dir",
        variable: "YOTPO_TD_QUARANTINE_DIR",
        default: None,
        value_name: "FOLDER",
        help: "where records that cannot be read are written to (customer data); nowhere when not set",
        expected: "a folder that exists",
        form: FlagForm::Value,
    },
    Setting {
        key: "state-dir",
        variable: "YOTPO_TD_STATE_DIR",
        default: None,
        value_name: "FOLDER",
        help: "folder of state and lock, default: $XDG_STATE_HOME/yotpo-td or ~/.local/state/yotpo-td",
        expected: "a folder (neither XDG_STATE_HOME nor HOME is set)",
        form: FlagForm::Value,
    },
    Setting {
        key: "wait-for-active",
        variable: "YOTPO_TD_WAIT_FOR_ACTIVE",
        default: Some("0s"),
        value_name: "DURATION",
        help: "how long to wait for another run of the same target on this machine, instead of exiting with 8 at once",
        expected: "a duration such as 0s, 30s or 10m",
        form: FlagForm::Value,
    },
    Setting {
        key: "resume-within",
        variable: "YOTPO_TD_RESUME_WITHIN",
        default: Some("6h"),
        value_name: "TIME",
        help: "go on with an interrupted run that is younger than this",
        expected: DURATION,
        form: FlagForm::Value,
    },
    Setting {
        key: "fresh",
        variable: "YOTPO_TD_FRESH",
        default: Some("off"),
        value_name: "ON|OFF",
        help: "never go on with an interrupted run",
        expected: SWITCH,
        form: FlagForm::Switch,
    },
    Setting {
        key: "run-lifetime",
        variable: "YOTPO_TD_RUN_LIFETIME",
        default: Some("5d"),
        value_name: "DURATION",
        help: "for how long a run id may be attempted, counted from its first attempt (1h to 5d)",
        expected: "a duration from 1h to 5d",
        form: FlagForm::Value,
    },
    Setting {
        key: "without-table-ids",
        variable: "YOTPO_TD_WITHOUT_TABLE_IDS",
        default: Some("off"),
        value_name: "ON|OFF",
        help: "let replace run with a key that may not read table ids: a recreated table is not noticed then",
        expected: SWITCH,
        form: FlagForm::Switch,
    },
    Setting {
        key: "run-id",
        variable: "YOTPO_TD_RUN_ID",
        default: None,
        value_name: "ID",
        help: "a name for the run, so that a retry on another machine never loads twice, such as Digdag's session_date_compact",
        expected: "1 to 64 letters, digits, - or _",
        form: FlagForm::Value,
    },
    Setting {
        key: "log-format",
        variable: "YOTPO_TD_LOG_FORMAT",
        default: Some("text"),
        value_name: "FORMAT",
        help: "log lines on stderr as text or json",
        expected: "text or json",
        form: FlagForm::Value,
    },
    Setting {
        key: "log-level",
        variable: "YOTPO_TD_LOG_LEVEL",
        default: Some("info"),
        value_name: "FILTER",
        help: "log filter; RUST_LOG is read when neither is set",
        expected: "off, error, warn, info, debug, trace or a filter such as yotpo_td::retry=debug",
        form: FlagForm::Value,
    },
    Setting {
        key: "summary",
        variable: "YOTPO_TD_SUMMARY",
        default: Some("text"),
        value_name: "FORMAT",
        help: "summary on stdout as text, json or none",
        expected: "text, json or none",
        form: FlagForm::Value,
    },
];

impl Setting {
    /// How the setting is named to a user.
    pub fn label(&self) -> String {
        format!("--{} ({})", self.key, self.variable)
    }

    /// The setting with this key.
    pub fn of(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that the ecosystem already has; all others follow from the flag.
    const ECOSYSTEM: [&str; 4] = ["YOTPO_STORE_ID", "TD_API_SERVER", "TD_DATABASE", "TD_TABLE"];

    #[test]
    fn variables_follow_from_the_flags() {
        for setting in SETTINGS {
            let derived = format!("YOTPO_TD_{}", setting.key.to_uppercase().replace('-', "_"));
            assert!(setting.variable == derived || ECOSYSTEM.contains(&setting.variable), "{}", setting.key);
        }
    }
}
