//! The table of settings: one constant per setting, and the list of them in the order of `--help`.
//!
//! Owns names, defaults, bounds and help texts. Flags, `--help`, the checks and docs/settings.md come from here. Code names a
//! setting by its constant, so that a typo does not compile.

mod monitoring;
mod runs;
mod services;

pub use monitoring::*;
pub use runs::*;
pub use services::*;

use super::setting::{SecretSetting, Setting};

/// Yotpo's secret.
pub const CLIENT_SECRET: SecretSetting =
    SecretSetting { variable: "YOTPO_CLIENT_SECRET", help: "the Yotpo app's client secret" };
/// Treasure Data's secret.
pub const API_KEY: SecretSetting = SecretSetting {
    variable: "TD_API_KEY",
    help: "a Treasure Data API key; a write-only key can append to a table that exists",
};
/// All secrets.
pub const SECRETS: &[SecretSetting] = &[CLIENT_SECRET, API_KEY];

/// All settings of `sync`, by group. `--config` and the flags of the sandbox belong to the command line alone.
pub const SETTINGS: &[Setting] = &[
    STORE_ID.setting,
    YOTPO_ENDPOINT.setting,
    PAGE_SIZE.setting,
    DATABASE.setting,
    TABLE.setting,
    MODE.setting,
    SITE.setting,
    TD_ENDPOINT.setting,
    TD_CONF.setting,
    REQUESTS_PER_SECOND.setting,
    MAX_RETRIES.setting,
    RETRY_BASE_DELAY.setting,
    RETRY_TIMEOUT.setting,
    REQUEST_TIMEOUT.setting,
    BATCH_SIZE.setting,
    PART_SIZE.setting,
    COMPRESSION_LEVEL.setting,
    UPLOAD_WORKERS.setting,
    POLL_INTERVAL.setting,
    PERFORM_TIMEOUT.setting,
    LOYALTY_CHECK.setting,
    MIN_ROWS_RATIO.setting,
    ALLOW_EMPTY.setting,
    MAX_ERROR_RECORDS.setting,
    QUARANTINE_DIR.setting,
    WITHOUT_TABLE_IDS.setting,
    RUN_ID.setting,
    RUN_LIFETIME.setting,
    RESUME_WITHIN.setting,
    FRESH.setting,
    WAIT_FOR_ACTIVE.setting,
    STATE_DIR.setting,
    SUMMARY.setting,
    SUMMARY_FILE.setting,
    LOG_FORMAT.setting,
    LOG_LEVEL.setting,
    COLOR.setting,
    METRICS_FILE.setting,
    METRICS_LISTEN.setting,
    METRICS_PUSH.setting,
    REPORT.setting,
];

/// The setting that a user calls `key`.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::kind::Kind;

    /// Names that the ecosystem already has; all others follow from the flag.
    const ECOSYSTEM: [&str; 4] = ["YOTPO_STORE_ID", "TD_API_SERVER", "TD_DATABASE", "TD_TABLE"];

    #[test]
    fn variables_follow_from_the_flags() {
        for setting in SETTINGS {
            let derived = format!("YOTPO_TD_{}", setting.key.to_uppercase().replace('-', "_"));
            assert!(setting.variable == derived || ECOSYSTEM.contains(&setting.variable), "{}", setting.key);
        }
    }

    #[test]
    fn every_constant_is_in_the_list_once_and_named_after_its_key() {
        let sources =
            [include_str!("services.rs"), include_str!("runs.rs"), include_str!("monitoring.rs")].concat();
        let constants: BTreeSet<String> = sources
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": Key<"))
            .map(|(name, _)| name.to_lowercase().replace('_', "-"))
            .collect();
        let listed: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(listed.len(), constants.len());
        assert_eq!(listed.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>(), constants);
    }

    #[test]
    fn the_list_is_sorted_by_group_and_texts_are_of_one_form() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.group));
        for Setting { key, help, details, .. } in SETTINGS {
            assert!(!help.ends_with('.') && (details.is_empty() || details.ends_with('.')), "{key}");
        }
    }

    #[test]
    fn every_default_and_every_possible_value_is_valid() {
        for setting in SETTINGS {
            for value in setting.default().iter().chain(setting.kind.possible_values()) {
                let kind = &setting.kind;
                let is_valid = match kind {
                    Kind::Integer { .. } => kind.integer(value).is_some(),
                    Kind::Number { .. } => kind.number(value).is_some(),
                    Kind::Duration { .. } => kind.duration(value).is_some(),
                    Kind::Size { .. } => kind.size(value).is_some(),
                    Kind::Choice { .. } | Kind::Name { .. } => kind.is_text(value),
                    Kind::Switch => kind.switch(value).is_some(),
                    Kind::Directory { .. } => kind.directory(value).is_some(),
                    Kind::OutputFile => kind.output_file(value).is_some(),
                    Kind::LogFilter => kind.log_filter(value).is_some(),
                    Kind::ListenAddress => kind.listen_address(value).is_some(),
                    Kind::PushUrl => kind.push_url(value).is_some(),
                    Kind::File => false,
                    Kind::Url => value.starts_with("https://"),
                };
                assert!(is_valid, "{}: {value}", setting.key);
            }
        }
    }
}
