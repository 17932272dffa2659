//! The sandbox inside `sync --sandbox`: both services in this process, and settings that lead there.

use std::fmt::Write as _;

use clap::ArgMatches;
use tempfile::TempDir;

use crate::clock::Clock;
use crate::config::keys::{
    API_KEY, CLIENT_SECRET, DATABASE, METRICS_FILE, METRICS_LISTEN, METRICS_PUSH, POLL_INTERVAL,
    QUARANTINE_DIR, REPORT, REQUESTS_PER_SECOND, SITE, STATE_DIR, STORE_ID, SUMMARY_FILE, TABLE, TD_ENDPOINT,
    YOTPO_ENDPOINT,
};
use crate::config::{Layers, Source};
use crate::identity::Target;
use crate::sandbox::{Sandbox, SandboxError, SandboxSettings};
use crate::telemetry::mark_sandbox;

/// How the names of databases and tables begin that only exist in the embedded sandbox.
const SANDBOX_PREFIX: &str = "sandbox_td_";
/// Rows that `sync --sandbox` shows.
const SAMPLE_ROWS: usize = 3;
/// Characters of a row that are shown.
const SAMPLE_WIDTH: usize = 160;
/// A rate that is no limit on this machine.
const UNLIMITED_RATE: &str = "1000000";
/// Yotpo's limit.
const YOTPO_LIMIT: f64 = 5.0;

/// The sandbox of `sync --sandbox`, with its own state directory.
#[derive(Debug)]
pub(super) struct EmbeddedSandbox {
    sandbox: Sandbox,
    _state_directory: TempDir,
}

/// The embedded sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmbeddedSandboxError {
    #[error("the embedded sandbox could not be started")]
    Start(#[from] SandboxError),
    #[error("the embedded sandbox needs a temporary directory")]
    TemporaryDirectory(#[source] std::io::Error),
}

/// Whether `--sandbox` is given.
pub(super) fn is_wanted(matches: &ArgMatches) -> bool {
    matches.get_flag("sandbox")
}

/// Starts it if `--sandbox` is given, and lets the settings lead there.
pub(super) async fn start_if_wanted(
    matches: &ArgMatches,
    layers: &mut Layers,
    clock: &Clock,
) -> Result<Option<EmbeddedSandbox>, EmbeddedSandboxError> {
    if is_wanted(matches) {
        EmbeddedSandbox::start(matches, layers, clock.clone()).await.map(Some)
    } else {
        Ok(None)
    }
}

impl EmbeddedSandbox {
    /// Starts it, and lets the settings lead there. Endpoints and secrets of the environment are not used: nothing of
    /// a real account may reach the sandbox, nor the other way round.
    pub(super) async fn start(
        matches: &ArgMatches,
        layers: &mut Layers,
        clock: Clock,
    ) -> Result<Self, EmbeddedSandboxError> {
        let state_directory = tempfile::Builder::new()
            .prefix("yotpo-td-sandbox-state-")
            .tempdir()
            .map_err(EmbeddedSandboxError::TemporaryDirectory)?;
        if matches!(layers.get(&REQUESTS_PER_SECOND), Some((Source::Default, _)) | None) {
            layers.set_flag(&REQUESTS_PER_SECOND, UNLIMITED_RATE);
        }
        let mut settings = SandboxSettings {
            customers: *matches.get_one("sandbox-customers").unwrap_or(&10_000),
            seed: *matches.get_one("sandbox-seed").unwrap_or(&1),
            clock,
            ..SandboxSettings::default()
        };
        let rate = layers.get(&REQUESTS_PER_SECOND).and_then(|(_, text)| text.parse::<f64>().ok());
        if rate.is_some_and(exceeds_limit) {
            settings.requests_per_second = None;
        }
        mark_sandbox();
        for setting in [&DATABASE.setting, &TABLE.setting] {
            let name = own_name(layers.get(setting).map_or("yotpo", |(_, name)| name));
            layers.set_flag(setting, &name);
        }
        if let Some((_, database)) = layers.get(&DATABASE) {
            settings.databases = vec![database.to_owned()];
        }
        // Only what is asked for here and now is written to a directory that stays.
        for setting in [
            &QUARANTINE_DIR.setting,
            &SUMMARY_FILE.setting,
            &METRICS_FILE.setting,
            &METRICS_LISTEN.setting,
            &METRICS_PUSH.setting,
            &REPORT.setting,
        ] {
            if matches!(layers.get(setting), Some((source, _)) if source != Source::Flag) {
                layers.unset(setting);
            }
        }
        let sandbox = Sandbox::start(settings).await?;
        let credentials = sandbox.credentials();
        for (setting, value) in [
            (&YOTPO_ENDPOINT.setting, sandbox.yotpo_endpoint().as_str()),
            (&TD_ENDPOINT.setting, sandbox.treasure_data_endpoint().as_str()),
            (&STORE_ID.setting, &credentials.store_id),
            (&DATABASE.setting, &credentials.database),
            // The sandbox lives in this process: there is nothing to wait for.
            (&STATE_DIR.setting, &state_directory.path().to_string_lossy()),
        ] {
            layers.set_flag(setting, value);
        }
        layers.unset(&SITE);
        if matches!(layers.get(&POLL_INTERVAL), Some((Source::Default, _))) {
            layers.set_flag(&POLL_INTERVAL, "20ms");
        }
        for (secret, value) in [(CLIENT_SECRET, &credentials.client_secret), (API_KEY, &credentials.api_key)]
        {
            layers.set_variable(secret.variable, value);
            layers.set_variable(&secret.file_variable(), "");
        }
        Ok(Self { sandbox, _state_directory: state_directory })
    }

    /// The first rows of the loaded table, for people.
    pub(super) fn sample_rows(&self, target: &Target) -> String {
        let (database, table) = (target.database.as_str(), target.table.as_str());
        let mut text = String::new();
        let Ok(rows) = self.sandbox.control().rows(database, table) else { return text };
        for row in rows.filter_map(Result::ok).take(SAMPLE_ROWS) {
            let json = shortened(&row.json_response.unwrap_or_default());
            // A String takes everything.
            let _ = writeln!(text, "row             time={} json_response={json}", row.time);
        }
        text
    }

    /// Ends when the disk of the loaded parts was full.
    pub(super) async fn disk_full(&self) {
        self.sandbox.disk_full().await;
    }

    /// Stops serving and removes what was spooled.
    pub(super) async fn shutdown(self) {
        self.sandbox.shutdown().await;
    }
}

/// Whether a client with this rate is only right with a sandbox that has no limit.
fn exceeds_limit(rate: f64) -> bool {
    rate > YOTPO_LIMIT
}

/// The beginning of a row, which ends with `…` if there is more.
fn shortened(json: &str) -> String {
    match json.char_indices().nth(SAMPLE_WIDTH) {
        None => json.to_owned(),
        Some(_) => json.chars().take(SAMPLE_WIDTH).chain(['…']).collect(),
    }
}

/// A name that no real table has by chance; a name that is wrong stays wrong.
fn own_name(name: &str) -> String {
    let name = name.trim();
    if name.starts_with(SANDBOX_PREFIX) { name.to_owned() } else { format!("{SANDBOX_PREFIX}{name}") }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::free_space::is_lack_of_space;

    #[test]
    fn only_a_client_that_is_faster_than_the_limit_has_a_sandbox_without_one() {
        assert_eq!([0.5, 5.0, 5.1, 1_000_000.0].map(exceeds_limit), [false, false, true, true]);
    }

    #[test]
    fn only_a_row_that_is_cut_ends_with_an_ellipsis() {
        let (fits, longer) = ("ü".repeat(160), "ü".repeat(161));
        assert_eq!(shortened("{}"), "{}");
        assert_eq!(shortened(&fits), fits);
        assert_eq!(shortened(&longer), format!("{fits}…"));
    }

    #[test]
    fn a_full_spool_is_a_full_disk() {
        let full = SandboxError::Spool(Error::from(ErrorKind::StorageFull));
        assert!(is_lack_of_space(&EmbeddedSandboxError::from(full)));
        let repeated = SandboxError::DuplicateStore("x".to_owned());
        assert!(!is_lack_of_space(&EmbeddedSandboxError::from(repeated)));
    }
}
