//! The checked settings of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::endpoints::{treasure_data_endpoint, treasure_data_origin, yotpo_endpoint};
use super::keys::{
    ALLOW_EMPTY, API_KEY, BATCH_SIZE, COMPRESSION_LEVEL, DATABASE, FRESH, LOYALTY_CHECK, MAX_ERROR_RECORDS,
    METRICS_FILE, METRICS_LISTEN, METRICS_PUSH, MIN_ROWS_RATIO, MODE, PAGE_SIZE, PART_SIZE, PERFORM_TIMEOUT,
    POLL_INTERVAL, QUARANTINE_DIR, REPORT, REQUEST_TIMEOUT, RESUME_WITHIN, RUN_ID, RUN_LIFETIME, STATE_DIR,
    STORE_ID, SUMMARY, SUMMARY_FILE, TABLE, UPLOAD_WORKERS, WAIT_FOR_ACTIVE, WITHOUT_TABLE_IDS,
};
use super::layers::Layers;
use super::log_settings::check_log_settings;
use super::problem::SettingsError;
use super::proxy;
use super::read::{Reader, checked};
use super::store_settings::{StoreSettings, read_store, retry_policy};
use super::summary_format::SummaryFormat;
use crate::http::{ClientSettings, Reach};
use crate::identity::{DatabaseName, Mode, RunId, Target};
use crate::part::CompressionLevel;
use crate::retry::RetryPolicy;
use crate::run::{LoadSettings, ReplaceGuards, ResumePolicy, ResumeSettings, RowSource};
use crate::transfer::{PartSettings, TransferSettings};
use crate::treasure_data::{Polling, TreasureDataSettings};
use crate::yotpo::LoyaltyCheck;

/// All settings of `sync`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which store is read.
    pub store: StoreSettings,
    /// Which account is loaded.
    pub treasure_data: TreasureDataSettings,
    /// What is loaded where, and how it is cut.
    pub load: LoadSettings,
    /// Connections to Treasure Data.
    pub treasure_data_connections: ClientSettings,
    /// Which setting its address is from, as a phrase such as `from TD_API_SERVER`.
    pub treasure_data_origin: String,
    /// How long to wait for another run of the same target on this machine.
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
    /// Host, port and variable of the proxy of the environment.
    pub proxy: Option<String>,
    /// How often and how long one request is tried.
    pub retry: RetryPolicy,
    /// How to wait for a commit in progress.
    pub polling: Polling,
    /// The database whose temporary tables are listed, if set.
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

/// The directory of state and lock.
///
/// # Errors
/// When none is set and the platform has none.
pub fn state_directory_from_layers(layers: Layers) -> Result<PathBuf, SettingsError> {
    let mut reader = Reader::new(layers);
    let directory = state_directory(&mut reader);
    checked(directory, reader)
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

fn read_account(reader: &mut Reader) -> Option<AccountSettings> {
    let api_key = reader.secret(&API_KEY);
    let endpoint = treasure_data_endpoint(reader);
    let retry = retry_policy(reader);
    let request_timeout = reader.read(&REQUEST_TIMEOUT);
    let polling = polling(reader);
    let database = reader.optional(&DATABASE);
    let run_lifetime = reader.read(&RUN_LIFETIME);
    let without_table_ids = reader.read(&WITHOUT_TABLE_IDS);
    proxy::check(reader, &[endpoint.as_ref()]);
    let endpoint = endpoint?;
    Some(AccountSettings {
        run_lifetime: run_lifetime?,
        without_table_ids: without_table_ids?,
        connections: ClientSettings { request_timeout: request_timeout?, reach: Reach::of(&endpoint) },
        endpoint_origin: treasure_data_origin(reader.layers()),
        proxy: proxy::name(reader.layers()),
        treasure_data: TreasureDataSettings { endpoint, api_key: api_key? },
        retry: retry?,
        polling: polling?,
        database: database?,
    })
}

fn read_named_run(reader: &mut Reader) -> Option<NamedRun> {
    let store = reader.read(&STORE_ID);
    let database = reader.read(&DATABASE);
    let table = reader.read(&TABLE);
    // The ballot of the other mode would be decided, and the run would load.
    let mode = reader.stated(&MODE);
    let run_id = reader.read(&RUN_ID);
    let treasure_data_endpoint = treasure_data_endpoint(reader);
    let yotpo_endpoint = yotpo_endpoint(reader);
    let target = Target {
        store: store?,
        yotpo_endpoint: yotpo_endpoint?.to_string(),
        treasure_data_endpoint: treasure_data_endpoint?.to_string(),
        database: database?,
        table: table?,
    };
    Some(NamedRun { target, mode: mode?, run_id: run_id? })
}

/// What is read of a store and loaded, and where Treasure Data is.
pub(super) struct LoadOfStore {
    pub(super) store: StoreSettings,
    pub(super) load: LoadSettings,
    pub(super) td_endpoint: Url,
    pub(super) summary: SummaryFormat,
}

/// Reads everything before it gives up, so that every problem is found.
fn read(reader: &mut Reader) -> Option<Settings> {
    let of_store = read_load_of_store(reader, true);
    let api_key = reader.secret(&API_KEY);
    let wait_for_active = reader.read(&WAIT_FOR_ACTIVE);
    let LoadOfStore { store, load, td_endpoint, summary } = of_store?;
    Some(Settings {
        treasure_data_connections: ClientSettings { reach: Reach::of(&td_endpoint), ..store.connections },
        treasure_data_origin: treasure_data_origin(reader.layers()),
        store,
        treasure_data: TreasureDataSettings { endpoint: td_endpoint, api_key: api_key? },
        load,
        wait_for_active: wait_for_active?,
        summary,
    })
}

/// Reads everything before it gives up. `contacts_account` is whether the proxy to Treasure Data matters.
pub(super) fn read_load_of_store(reader: &mut Reader, contacts_account: bool) -> Option<LoadOfStore> {
    let yotpo_endpoint = yotpo_endpoint(reader);
    let store = read_store(reader, yotpo_endpoint.clone());
    let database = reader.read(&DATABASE);
    let table = reader.read(&TABLE);
    let mode = reader.read(&MODE);
    let td_endpoint = treasure_data_endpoint(reader);
    let transfer = transfer_settings(reader);
    let polling = polling(reader);
    let guards = guards(reader);
    let quarantine_directory = reader.optional(&QUARANTINE_DIR);
    let resume = resume(reader);
    let run_lifetime = reader.read(&RUN_LIFETIME);
    let without_table_ids = reader.read(&WITHOUT_TABLE_IDS);
    let summary = summary(reader);
    let contacted = td_endpoint.as_ref().filter(|_| contacts_account);
    proxy::check(reader, &[yotpo_endpoint.as_ref(), contacted]);
    let (store, td_endpoint) = (store?, td_endpoint?);
    let target = Target {
        store: store.yotpo.store.clone(),
        yotpo_endpoint: store.yotpo.endpoint.to_string(),
        treasure_data_endpoint: td_endpoint.to_string(),
        database: database?,
        table: table?,
    };
    let load = LoadSettings {
        target,
        source: RowSource::Store,
        mode: mode?,
        transfer: transfer?,
        polling: polling?,
        guards: guards?,
        quarantine_directory: quarantine_directory?,
        resume: resume?,
        run_lifetime: run_lifetime?,
        without_table_ids: without_table_ids?,
    };
    Some(LoadOfStore { store, load, td_endpoint, summary: summary? })
}

/// The summary on stdout. The other settings of outputs are checked as well.
pub(super) fn summary(reader: &mut Reader) -> Option<SummaryFormat> {
    check_log_settings(reader);
    let summary = reader.read(&SUMMARY);
    // Read by `output_settings`, because a run that fails on its settings has a summary, too.
    let files = reader.optional(&SUMMARY_FILE).and(reader.optional(&METRICS_FILE));
    let files = files.and(reader.optional(&REPORT));
    let addresses = reader.optional(&METRICS_LISTEN).and(reader.optional(&METRICS_PUSH));
    files.and(addresses).and(summary)
}

pub(super) fn transfer_settings(reader: &mut Reader) -> Option<TransferSettings> {
    let page_size = reader.read(&PAGE_SIZE);
    let parts = part_settings(reader);
    let upload_workers = reader.read(&UPLOAD_WORKERS).and_then(NonZeroUsize::new);
    let loyalty_check = reader.read(&LOYALTY_CHECK);
    let max_error_records = reader.read(&MAX_ERROR_RECORDS);
    Some(TransferSettings {
        page_size: page_size?,
        parts: parts?,
        upload_workers: upload_workers?,
        loyalty_check: if loyalty_check? { LoyaltyCheck::On } else { LoyaltyCheck::Off },
        max_error_records: max_error_records?,
    })
}

fn part_settings(reader: &mut Reader) -> Option<PartSettings> {
    let max_rows = reader.read(&BATCH_SIZE).and_then(NonZeroUsize::new);
    let closing_size = reader.read(&PART_SIZE);
    let level = reader.read(&COMPRESSION_LEVEL).and_then(|level| CompressionLevel::new(level).ok());
    Some(PartSettings { max_rows: max_rows?, closing_size: closing_size?, level: level? })
}

pub(super) fn polling(reader: &mut Reader) -> Option<Polling> {
    let interval = reader.read(&POLL_INTERVAL);
    let timeout = reader.read(&PERFORM_TIMEOUT);
    Some(Polling { interval: interval?, timeout: timeout? })
}

pub(super) fn guards(reader: &mut Reader) -> Option<ReplaceGuards> {
    let allow_empty = reader.read(&ALLOW_EMPTY);
    let min_rows_ratio = reader.read(&MIN_ROWS_RATIO);
    Some(ReplaceGuards { allow_empty: allow_empty?, min_rows_ratio: min_rows_ratio? })
}

pub(super) fn resume(reader: &mut Reader) -> Option<ResumeSettings> {
    let state_directory = state_directory(reader);
    let within = reader.read(&RESUME_WITHIN);
    let fresh = reader.read(&FRESH);
    let run_id = reader.optional(&RUN_ID);
    let policy = if fresh? { ResumePolicy::Never } else { ResumePolicy::Within(within?) };
    Some(ResumeSettings { state_directory: state_directory?, policy, run_id: run_id? })
}

/// The platform's directory for state (XDG Base Directory Specification).
pub(super) fn platform_state_directory(layers: &Layers) -> Option<PathBuf> {
    let state = layers.path_variable("XDG_STATE_HOME").filter(|directory| directory.is_absolute());
    let home = || layers.path_variable("HOME").map(|home| home.join(".local/state"));
    state.or_else(home).map(|directory| directory.join("yotpo-td"))
}

/// The directory that is set, or the platform's.
pub(super) fn state_directory(reader: &mut Reader) -> Option<PathBuf> {
    let platform = platform_state_directory(reader.layers());
    match (reader.optional(&STATE_DIR)?, platform) {
        (Some(directory), _) | (None, Some(directory)) => Some(directory),
        (None, None) => {
            reader.report(STATE_DIR.label(), "missing, and neither XDG_STATE_HOME nor HOME is set");
            None
        }
    }
}

#[cfg(test)]
mod tests;
