//! `yotpo-td sandbox`, and the sandbox inside `sync --sandbox`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use clap::ArgMatches;
use tempfile::TempDir;

use super::closing::{Closing, NextCommand};
use super::runtime::serving_runtime;
use super::{Invocation, local_code};
use crate::clock::Clock;
use crate::config::{Layers, Settings, Source, log_settings};
use crate::diagnosis::{Code, Diagnosis};
use crate::exit_status::ExitStatus;
use crate::sandbox::{PageLayout, Sandbox, SandboxError, SandboxSettings, StoreSettings, YotpoBehaviour};
use crate::shutdown;
use crate::telemetry::{LogFormat, ProgressBar, SANDBOX_PREFIX, init_logs, mark_sandbox, write_stdout};

/// Rows that `sync --sandbox` shows.
const SAMPLE_ROWS: usize = 3;
/// Characters of a row that are shown.
const SAMPLE_WIDTH: usize = 160;
/// A rate that is no limit on this machine.
const UNLIMITED_RATE: &str = "1000000";
/// Yotpo's limit; a faster client is only right with a sandbox that has none.
const YOTPO_LIMIT: f64 = 5.0;

/// The sandbox of `sync --sandbox`, with a state folder of its own.
#[derive(Debug)]
pub(super) struct EmbeddedSandbox {
    sandbox: Sandbox,
    _state_folder: TempDir,
}

/// The embedded sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmbeddedSandboxError {
    #[error("the embedded sandbox could not be started")]
    Start(#[from] SandboxError),
    #[error("the embedded sandbox needs a temporary folder")]
    TemporaryFolder(#[source] std::io::Error),
}

impl EmbeddedSandbox {
    /// Starts it, and lets the settings lead there. Endpoints and secrets of the environment are not used: nothing of
    /// a real account may reach the sandbox, nor the other way round.
    pub(super) async fn start(
        matches: &ArgMatches,
        layers: &mut Layers,
        clock: Clock,
    ) -> Result<Self, EmbeddedSandboxError> {
        let state_folder = tempfile::Builder::new()
            .prefix("yotpo-td-sandbox-state-")
            .tempdir()
            .map_err(EmbeddedSandboxError::TemporaryFolder)?;
        if matches!(layers.get("requests-per-second"), Some((Source::Default, _)) | None) {
            layers.set_flag("requests-per-second", UNLIMITED_RATE);
        }
        let mut settings = SandboxSettings {
            customers: *matches.get_one("sandbox-customers").unwrap_or(&10_000),
            seed: *matches.get_one("sandbox-seed").unwrap_or(&1),
            clock,
            ..SandboxSettings::default()
        };
        let rate = layers.get("requests-per-second").and_then(|(_, text)| text.parse::<f64>().ok());
        if rate.is_some_and(|rate| rate > YOTPO_LIMIT) {
            settings.requests_per_second = None;
        }
        mark_sandbox();
        for key in ["database", "table"] {
            let name = own_name(layers.get(key).map_or("yotpo", |(_, name)| name));
            layers.set_flag(key, &name);
        }
        if let Some((_, database)) = layers.get("database") {
            settings.databases = vec![database.to_owned()];
        }
        // Only what is asked for here and now is written to a folder that stays.
        if matches!(layers.get("quarantine-dir"), Some((source, _)) if source != Source::Flag) {
            layers.unset("quarantine-dir");
        }
        let sandbox = Sandbox::start(settings).await?;
        let credentials = sandbox.credentials();
        for (key, value) in [
            ("yotpo-endpoint", sandbox.yotpo_endpoint().as_str()),
            ("td-endpoint", sandbox.treasure_data_endpoint().as_str()),
            ("store-id", &credentials.store_id),
            ("database", &credentials.database),
            // The sandbox lives in this process: there is nothing to wait for.
            ("state-dir", &state_folder.path().to_string_lossy()),
        ] {
            layers.set_flag(key, value);
        }
        layers.unset("site");
        if matches!(layers.get("poll-interval"), Some((Source::Default, _))) {
            layers.set_flag("poll-interval", "20ms");
        }
        for (name, value) in
            [("YOTPO_CLIENT_SECRET", &credentials.client_secret), ("TD_API_KEY", &credentials.api_key)]
        {
            layers.set_variable(name, value);
            layers.set_variable(&format!("{name}_FILE"), "");
        }
        Ok(Self { sandbox, _state_folder: state_folder })
    }

    /// The first rows of the loaded table, for people.
    pub(super) fn sample_rows(&self, settings: &Settings) -> String {
        let (database, table) = (settings.load.target.database.as_str(), settings.load.target.table.as_str());
        let mut text = String::new();
        let Ok(rows) = self.sandbox.control().rows(database, table) else { return text };
        for row in rows.filter_map(Result::ok).take(SAMPLE_ROWS) {
            let json = row.json_response.unwrap_or_default();
            let shown: String = json.chars().take(SAMPLE_WIDTH).collect();
            let cut = if shown.len() < json.len() { "…" } else { "" };
            // A String takes everything.
            let _ = writeln!(text, "row             time={} json_response={shown}{cut}", row.time);
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

/// A name that no real table has by chance; a name that is wrong stays wrong.
fn own_name(name: &str) -> String {
    let name = name.trim();
    if name.starts_with(SANDBOX_PREFIX) { name.to_owned() } else { format!("{SANDBOX_PREFIX}{name}") }
}

/// Runs `yotpo-td sandbox`.
pub(super) fn serve(invocation: &Invocation, matches: &ArgMatches) -> ExitStatus {
    let layers = Layers::new(&std::collections::BTreeMap::new(), invocation.environment.clone(), None);
    let logs = log_settings(&layers);
    init_logs(&logs, &ProgressBar::hidden());
    let failed = |error: &(dyn std::error::Error + 'static), code: Code| {
        let (code, hint) = local_code(error, code);
        let saved = "nothing was started".to_owned();
        let next = NextCommand::again(code, || invocation.command_line());
        let diagnosis = Diagnosis::new(code, hint);
        Closing { error, diagnosis, saved, next, run: None }.write(logs.format);
        code.status()
    };
    let settings = match settings(matches) {
        Ok(settings) => settings,
        Err(error) => return failed(&error, Code::SettingsInvalid),
    };
    let runtime = match serving_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, Code::MachineDenied),
    };
    let status = runtime.block_on(async {
        let stop = match shutdown::listen(Clock::machine()) {
            Ok(stop) => stop,
            Err(error) => return failed(&error, Code::MachineDenied),
        };
        let sandbox = match Sandbox::start(settings).await {
            Ok(sandbox) => sandbox,
            Err(error @ SandboxError::NotLoopback(_)) => return failed(&error, Code::SettingsInvalid),
            Err(error) => return failed(&error, Code::MachineDenied),
        };
        write_stdout(&exports(&sandbox));
        if logs.format == LogFormat::Text {
            tracing::info!("serving until stopped (Ctrl-C)");
        }
        // To be stopped is how this ends well.
        stop.graceful().await;
        sandbox.shutdown().await;
        ExitStatus::Success
    });
    runtime.shutdown_background();
    status
}

/// A flag that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: {value:?} is not {expected}")]
struct WrongFlag {
    flag: &'static str,
    value: String,
    expected: &'static str,
}

fn settings(matches: &ArgMatches) -> Result<SandboxSettings, WrongFlag> {
    let text = |flag: &'static str| matches.get_one::<String>(flag).cloned().unwrap_or_default();
    let address = |flag: &'static str| {
        let value = text(flag);
        let expected = "a loopback address such as 127.0.0.1:8080";
        value.parse::<SocketAddr>().map_err(|_| WrongFlag { flag, value, expected })
    };
    let rate = text("requests-per-second");
    let requests_per_second = match rate.as_str() {
        "off" => None,
        number => Some(number.parse::<NonZeroU32>().map_err(|_| WrongFlag {
            flag: "requests-per-second",
            value: rate.clone(),
            expected: "a whole number above 0, or off",
        })?),
    };
    let page_layout = match text("page-layout").as_str() {
        "compact" => PageLayout::Compact,
        "spaced" => PageLayout::Spaced,
        "pretty" => PageLayout::Pretty,
        _ => PageLayout::Mixed,
    };
    let import_time = text("import-time");
    let import_duration = humantime::parse_duration(&import_time).map_err(|_| WrongFlag {
        flag: "import-time",
        value: import_time.clone(),
        expected: "a time such as 10s",
    })?;
    let customers: u64 = *matches.get_one("customers").unwrap_or(&10_000);
    let seed: u64 = *matches.get_one("seed").unwrap_or(&1);
    let stores: u64 = *matches.get_one("stores").unwrap_or(&1);
    let further_store =
        |number: u64| StoreSettings::numbered(number, customers, seed.wrapping_add(number - 1));
    Ok(SandboxSettings {
        customers,
        seed,
        further_stores: (2..=stores).map(further_store).collect(),
        yotpo_address: address("yotpo-listen")?,
        treasure_data_address: address("td-listen")?,
        requests_per_second,
        import_duration,
        yotpo: YotpoBehaviour { page_layout, ..YotpoBehaviour::default() },
        ..SandboxSettings::default()
    })
}

/// What to type so that a client in the same shell talks to the sandbox. Further stores are comments, so that the lines
/// as a whole still mean the first one.
fn exports(sandbox: &Sandbox) -> String {
    let credentials = sandbox.credentials();
    let mut text = String::new();
    for (name, value) in [
        ("YOTPO_TD_YOTPO_ENDPOINT", sandbox.yotpo_endpoint().as_str()),
        ("TD_API_SERVER", sandbox.treasure_data_endpoint().as_str()),
        ("YOTPO_CLIENT_SECRET", &credentials.client_secret),
        ("YOTPO_STORE_ID", &credentials.store_id),
        ("TD_API_KEY", &credentials.api_key),
        ("TD_DATABASE", &credentials.database),
    ] {
        // A String takes everything.
        let _ = writeln!(text, "export {name}={value}");
    }
    for store in sandbox.stores().iter().skip(1) {
        let _ = writeln!(
            text,
            "# export YOTPO_STORE_ID={} YOTPO_CLIENT_SECRET={}",
            store.store_id, store.client_secret
        );
    }
    text
}
