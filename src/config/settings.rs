//! The checked settings of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

use super::endpoints::{EndpointOrigins, origin_of, treasure_data_endpoint, treasure_data_origin};
use super::layers::Layers;
use super::problem::SettingsError;
use super::proxy;
use super::read::{Reader, reach};
use super::setting::{API_KEY, CLIENT_SECRET};
use crate::http::ClientSettings;
use crate::identity::{DatabaseName, Mode, RunId, StoreId, TableName, Target};
use crate::part::CompressionLevel;
use crate::rate_limit::RequestRate;
use crate::retry::RetryPolicy;
use crate::run::{LoadSettings, ReplaceGuards, ResumePolicy, ResumeSettings};
use crate::telemetry::{LogFormat, is_filter};
use crate::transfer::{PartSettings, TransferSettings};
use crate::treasure_data::{Polling, TreasureDataSettings};
use crate::yotpo::{LoyaltyCheck, YotpoSettings};

const MEBIBYTE: u64 = 1024 * 1024;

/// How the summary on stdout looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryFormat {
    /// For people.
    Text,
    /// One JSON object on one line.
    Json,
    /// No summary.
    None,
}

/// All settings of `sync`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which store is read.
    pub yotpo: YotpoSettings,
    /// How fast the store is read.
    pub request_rate: RequestRate,
    /// Which account is loaded.
    pub treasure_data: TreasureDataSettings,
    /// What is loaded where, and how it is cut.
    pub load: LoadSettings,
    /// How often and how long one request is tried.
    pub retry: RetryPolicy,
    /// Connections to Yotpo.
    pub yotpo_connections: ClientSettings,
    /// Connections to Treasure Data.
    pub treasure_data_connections: ClientSettings,
    /// Which settings both addresses are from.
    pub origins: EndpointOrigins,
    /// How long another run of the same target on this machine is waited for.
    pub wait_for_active: Duration,
    /// The summary on stdout.
    pub summary: SummaryFormat,
}

/// The settings of `runs`: an account, without a store or a table.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// Which account.
    pub treasure_data: TreasureDataSettings,
    /// Connections to it.
    pub connections: ClientSettings,
    /// Which setting its address is from.
    pub endpoint_origin: String,
    /// How often and how long one request is tried.
    pub retry: RetryPolicy,
    /// How a commit that is under way is waited for.
    pub polling: Polling,
    /// The database whose temporary tables are looked at, when one is set.
    pub database: Option<DatabaseName>,
    /// For how long a run may be attempted, counted from its first attempt.
    pub run_lifetime: Duration,
    /// Whether `replace` goes on where the ids of tables cannot be read.
    pub without_table_ids: bool,
}

/// A run that is named by its settings, for want of a state file.
#[derive(Clone, Debug)]
pub struct NamedRun {
    /// Where it leads.
    pub target: Target,
    /// How rows reach the table.
    pub mode: Mode,
    /// Its id.
    pub run_id: RunId,
}

impl NamedRun {
    /// Checks the values that a run's names follow from.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let run = read_named_run(&mut reader);
        checked(run, reader)
    }
}

impl AccountSettings {
    /// Checks the values that are needed to talk to Treasure Data.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read_account(&mut reader);
        checked(settings, reader)
    }
}

/// The folder of state and lock.
///
/// # Errors
/// When none is set and the platform has none.
pub fn state_folder_from_layers(layers: Layers) -> Result<PathBuf, SettingsError> {
    let mut reader = Reader::new(layers);
    let folder = state_folder(&mut reader);
    checked(folder, reader)
}

impl Settings {
    /// Checks all values.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read(&mut reader);
        checked(settings, reader)
    }
}

fn checked<T>(value: Option<T>, reader: Reader) -> Result<T, SettingsError> {
    let problems = reader.into_problems();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(SettingsError::new(problems)),
    }
}

fn read_account(reader: &mut Reader) -> Option<AccountSettings> {
    let api_key = reader.secret(&API_KEY);
    let endpoint = treasure_data_endpoint(reader);
    let retry = retry_policy(reader);
    let request_timeout = reader.duration("request-timeout");
    let polling = polling(reader);
    let database = match reader.layers().get("database") {
        None => Some(None),
        Some(_) => reader.parsed("database").map(Some),
    };
    let run_lifetime = run_lifetime(reader);
    let without_table_ids = switch(reader, "without-table-ids");
    proxy::check(reader, &[endpoint.as_ref()]);
    let endpoint = endpoint?;
    Some(AccountSettings {
        run_lifetime: run_lifetime?,
        without_table_ids: without_table_ids?,
        connections: ClientSettings { request_timeout: request_timeout?, reach: reach(&endpoint) },
        endpoint_origin: treasure_data_origin(reader.layers()),
        treasure_data: TreasureDataSettings { endpoint, api_key: api_key? },
        retry: retry?,
        polling: polling?,
        database: database?,
    })
}

fn read_named_run(reader: &mut Reader) -> Option<NamedRun> {
    let store = reader.parsed("store-id");
    let database = reader.parsed("database");
    let table = reader.parsed("table");
    let mode = reader.parsed("mode");
    let run_id = reader.parsed("run-id");
    let treasure_data_endpoint = treasure_data_endpoint(reader);
    let yotpo_endpoint = reader.endpoint("yotpo-endpoint");
    let target = Target {
        store: store?,
        yotpo_endpoint: yotpo_endpoint?.to_string(),
        treasure_data_endpoint: treasure_data_endpoint?.to_string(),
        database: database?,
        table: table?,
    };
    Some(NamedRun { target, mode: mode?, run_id: run_id? })
}

/// Reads everything before it gives up, so that every problem is found.
fn read(reader: &mut Reader) -> Option<Settings> {
    let (client_secret, api_key) = (reader.secret(&CLIENT_SECRET), reader.secret(&API_KEY));
    let store = reader.parsed("store-id");
    let database = reader.parsed("database");
    let table = reader.parsed("table");
    let mode = reader.parsed("mode");
    let td_endpoint = treasure_data_endpoint(reader);
    let yotpo_endpoint = reader.endpoint("yotpo-endpoint");
    let request_rate = reader.required("requests-per-second", |text| RequestRate::new(text.parse().ok()?));
    let page_size = reader.whole("page-size", 1..=100);
    let parts = part_settings(reader);
    let upload_workers = reader.whole("upload-workers", 1..=8_usize).and_then(NonZeroUsize::new);
    let retry = retry_policy(reader);
    let request_timeout = reader.duration("request-timeout");
    let polling = polling(reader);
    let loyalty_check = switch(reader, "loyalty-check");
    let guards = guards(reader);
    let max_error_records = reader.whole("max-error-records", 0..=u64::MAX);
    let quarantine_folder = quarantine_folder(reader);
    let resume = resume(reader);
    let run_lifetime = run_lifetime(reader);
    let without_table_ids = switch(reader, "without-table-ids");
    let wait_for_active = reader.wait("wait-for-active");
    let summary = reader.parsed("summary");
    // Read by `telemetry` before everything else; checked here with the others.
    let _: Option<LogFormat> = reader.parsed("log-format");
    let _ = reader.required("log-level", |text| is_filter(text).then_some(()));

    proxy::check(reader, &[yotpo_endpoint.as_ref(), td_endpoint.as_ref()]);
    let (yotpo_endpoint, td_endpoint, request_timeout) = (yotpo_endpoint?, td_endpoint?, request_timeout?);
    let (store, database, table, page_size): (StoreId, DatabaseName, TableName, u8) =
        (store?, database?, table?, page_size?);
    let connections = |endpoint: &Url| ClientSettings { request_timeout, reach: reach(endpoint) };
    let target = Target {
        store: store.clone(),
        yotpo_endpoint: yotpo_endpoint.to_string(),
        treasure_data_endpoint: td_endpoint.to_string(),
        database,
        table,
    };
    Some(Settings {
        yotpo_connections: connections(&yotpo_endpoint),
        treasure_data_connections: connections(&td_endpoint),
        origins: EndpointOrigins {
            yotpo: origin_of("yotpo-endpoint", reader.layers()),
            treasure_data: treasure_data_origin(reader.layers()),
        },
        yotpo: YotpoSettings { endpoint: yotpo_endpoint, store, client_secret: client_secret? },
        request_rate: request_rate?,
        treasure_data: TreasureDataSettings { endpoint: td_endpoint, api_key: api_key? },
        load: LoadSettings {
            target,
            mode: mode?,
            transfer: TransferSettings {
                page_size,
                parts: parts?,
                upload_workers: upload_workers?,
                loyalty_check: if loyalty_check? { LoyaltyCheck::On } else { LoyaltyCheck::Off },
                max_error_records: max_error_records?,
            },
            polling: polling?,
            guards: guards?,
            quarantine_folder: quarantine_folder?,
            resume: resume?,
            run_lifetime: run_lifetime?,
            without_table_ids: without_table_ids?,
        },
        retry: retry?,
        wait_for_active: wait_for_active?,
        summary: summary?,
    })
}

fn part_settings(reader: &mut Reader) -> Option<PartSettings> {
    let max_rows = reader.whole("batch-size", 1..=100_000_usize).and_then(NonZeroUsize::new);
    let closing_size = reader.required("part-size", |text| {
        let size = text.parse::<ByteSize>().ok()?.as_u64();
        usize::try_from(size).ok().filter(|_| (MEBIBYTE..=64 * MEBIBYTE).contains(&size))
    });
    let level = reader.required("compression-level", |text| CompressionLevel::new(text.parse().ok()?).ok());
    Some(PartSettings { max_rows: max_rows?, closing_size: closing_size?, level: level? })
}

fn retry_policy(reader: &mut Reader) -> Option<RetryPolicy> {
    let max_retries = reader.whole("max-retries", 0..=1_000);
    let base_delay = reader.duration("retry-base-delay");
    let timeout = reader.duration("retry-timeout");
    Some(RetryPolicy { max_retries: max_retries?, base_delay: base_delay?, timeout: timeout? })
}

fn polling(reader: &mut Reader) -> Option<Polling> {
    let interval = reader.duration("poll-interval");
    let timeout = reader.duration("perform-timeout");
    Some(Polling { interval: interval?, timeout: timeout? })
}

fn guards(reader: &mut Reader) -> Option<ReplaceGuards> {
    let allow_empty = switch(reader, "allow-empty");
    let min_rows_ratio = reader.required("min-rows-ratio", |text| {
        text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
    });
    Some(ReplaceGuards { allow_empty: allow_empty?, min_rows_ratio: min_rows_ratio? })
}

/// The outer `None` means wrong, the inner that none is wanted.
#[expect(
    clippy::option_option,
    reason = "wrong, absent and right are three things, as for every other setting"
)]
fn quarantine_folder(reader: &mut Reader) -> Option<Option<PathBuf>> {
    match reader.layers().get("quarantine-dir") {
        None => Some(None),
        Some(_) => reader
            .required("quarantine-dir", |text| Some(PathBuf::from(text)).filter(|folder| folder.is_dir()))
            .map(Some),
    }
}

fn resume(reader: &mut Reader) -> Option<ResumeSettings> {
    let state_folder = state_folder(reader);
    let within = reader.duration("resume-within");
    let fresh = switch(reader, "fresh");
    // `Some(None)` when none is given.
    let run_id = match reader.layers().get("run-id") {
        None => Some(None),
        Some(_) => reader.parsed("run-id").map(Some),
    };
    let policy = if fresh? { ResumePolicy::Never } else { ResumePolicy::Within(within?) };
    Some(ResumeSettings { state_folder: state_folder?, policy, run_id: run_id? })
}

/// At least an hour: attempts that are retried must still know the run. At most what Treasure Data keeps.
fn run_lifetime(reader: &mut Reader) -> Option<Duration> {
    reader.required("run-lifetime", |text| {
        let lifetime = humantime::parse_duration(text).ok()?;
        (Duration::from_secs(3_600)..=Duration::from_secs(5 * 86_400)).contains(&lifetime).then_some(lifetime)
    })
}

/// The folder that is set, or the platform's (XDG Base Directory Specification, "state").
fn state_folder(reader: &mut Reader) -> Option<PathBuf> {
    let layers = reader.layers();
    let platform = || {
        let state = layers.path_variable("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
        let home = || layers.path_variable("HOME").map(|home| home.join(".local/state"));
        state.or_else(home).map(|folder| folder.join("yotpo-td"))
    };
    match layers.get("state-dir") {
        Some(_) => {
            reader.required("state-dir", |text| Some(PathBuf::from(text)).filter(|_| !text.is_empty()))
        }
        None => match platform() {
            Some(folder) => Some(folder),
            None => reader.required("state-dir", |_| None),
        },
    }
}

fn switch(reader: &mut Reader, key: &str) -> Option<bool> {
    reader.required(key, |text| match text {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    })
}

impl FromStr for SummaryFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
