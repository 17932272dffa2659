//! The settings of commands that use only one of the two services: exports and dry runs read a store, loading an export needs
//! an account.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::endpoints::{treasure_data_endpoint, treasure_data_origin, yotpo_endpoint};
use super::keys::{
    API_KEY, DATABASE, FRESH, MAX_ERROR_RECORDS, MODE, QUARANTINE_DIR, REQUEST_TIMEOUT, RESUME_WITHIN,
    RUN_ID, RUN_LIFETIME, STORE_ID, TABLE, UPLOAD_WORKERS, WAIT_FOR_ACTIVE, WITHOUT_TABLE_IDS,
    YOTPO_ENDPOINT,
};
use super::layers::Layers;
use super::problem::SettingsError;
use super::proxy;
use super::read::{Reader, checked};
use super::settings::{
    AccountSettings, LoadOfStore, guards, polling, read_load_of_store, resume, summary, transfer_settings,
};
use super::store_settings::{StoreSettings, read_store, retry_policy};
use super::summary_format::SummaryFormat;
use crate::export::CompleteExport;
use crate::http::{ClientSettings, Reach};
use crate::identity::Target;
use crate::part::CompressionLevel;
use crate::run::{ExportSettings, LoadSettings, ResumePolicy, RowSource};
use crate::transfer::{PartSettings, TransferSettings};
use crate::treasure_data::TreasureDataSettings;
use crate::yotpo::LoyaltyCheck;

/// The settings of `sync --to`.
#[derive(Clone, Debug)]
pub struct SettingsToExport {
    /// Which store is read.
    pub store: StoreSettings,
    /// What is exported, and how.
    pub export: ExportSettings,
    /// How long to wait for another export to the same directory.
    pub wait_for_active: Duration,
    /// The summary on stdout.
    pub summary: SummaryFormat,
}

/// The settings of `sync --dry-run`.
#[derive(Clone, Debug)]
pub struct SettingsToDryRun {
    /// Which store is read.
    pub store: StoreSettings,
    /// What a run would load where.
    pub load: LoadSettings,
    /// The summary on stdout.
    pub summary: SummaryFormat,
}

/// The settings of `load`.
#[derive(Clone, Debug)]
pub struct SettingsToLoad {
    /// Which account is loaded.
    pub account: AccountSettings,
    /// What is loaded where.
    pub load: LoadSettings,
    /// How long to wait for another run of the same target on this machine.
    pub wait_for_active: Duration,
    /// The summary on stdout.
    pub summary: SummaryFormat,
}

impl SettingsToExport {
    /// Checks all values.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read_export(&mut reader);
        checked(settings, reader)
    }
}

impl SettingsToDryRun {
    /// Checks all values.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read_dry_run(&mut reader);
        checked(settings, reader)
    }
}

impl SettingsToLoad {
    /// Checks all values. Store and endpoint are those of the export; if the settings name others, that is an error.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers, export: Arc<CompleteExport>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read_load(&mut reader, export);
        checked(settings, reader)
    }
}

fn read_export(reader: &mut Reader) -> Option<SettingsToExport> {
    let endpoint = yotpo_endpoint(reader);
    let store = read_store(reader, endpoint.clone());
    let transfer = transfer_settings(reader);
    let quarantine_directory = reader.optional(&QUARANTINE_DIR);
    let within = reader.read(&RESUME_WITHIN);
    let fresh = reader.read(&FRESH);
    let run_id = reader.optional(&RUN_ID);
    let wait_for_active = reader.read(&WAIT_FOR_ACTIVE);
    let summary = summary(reader);
    proxy::check(reader, &[endpoint.as_ref()]);
    let store = store?;
    Some(SettingsToExport {
        export: ExportSettings {
            store: store.yotpo.store.clone(),
            yotpo_endpoint: store.yotpo.endpoint.to_string(),
            transfer: transfer?,
            quarantine_directory: quarantine_directory?,
            policy: if fresh? { ResumePolicy::Never } else { ResumePolicy::Within(within?) },
            run_id: run_id?,
        },
        store,
        wait_for_active: wait_for_active?,
        summary: summary?,
    })
}

fn read_dry_run(reader: &mut Reader) -> Option<SettingsToDryRun> {
    let LoadOfStore { store, load, summary, .. } = read_load_of_store(reader, false)?;
    Some(SettingsToDryRun { store, load, summary })
}

fn read_load(reader: &mut Reader, export: Arc<CompleteExport>) -> Option<SettingsToLoad> {
    let api_key = reader.secret(&API_KEY);
    let endpoint = treasure_data_endpoint(reader);
    let retry = retry_policy(reader);
    let request_timeout = reader.read(&REQUEST_TIMEOUT);
    let database = reader.read(&DATABASE);
    let table = reader.read(&TABLE);
    let mode = reader.read(&MODE);
    let upload_workers = reader.read(&UPLOAD_WORKERS).and_then(NonZeroUsize::new);
    let max_error_records = reader.read(&MAX_ERROR_RECORDS);
    let polling = polling(reader);
    let guards = guards(reader);
    let quarantine_directory = reader.optional(&QUARANTINE_DIR);
    let resume = resume(reader);
    let run_lifetime = reader.read(&RUN_LIFETIME);
    let without_table_ids = reader.read(&WITHOUT_TABLE_IDS);
    let wait_for_active = reader.read(&WAIT_FOR_ACTIVE);
    let summary = summary(reader);
    check_origin(reader, &export);
    proxy::check(reader, &[endpoint.as_ref()]);
    let (endpoint, database, polling) = (endpoint?, database?, polling?);
    let (run_lifetime, without_table_ids, mut resume) = (run_lifetime?, without_table_ids?, resume?);
    if resume.run_id.is_none() {
        resume.run_id = Some(export.load_run_id());
    }
    let target = Target {
        store: export.manifest.store_id.clone(),
        yotpo_endpoint: export.manifest.yotpo_endpoint.clone(),
        treasure_data_endpoint: endpoint.to_string(),
        database: database.clone(),
        table: table?,
    };
    // A part of the export is one of the upload, whatever the settings say about the size of parts.
    let transfer = TransferSettings {
        page_size: export.manifest.page_size,
        parts: PartSettings {
            max_rows: NonZeroUsize::MAX,
            closing_size: export.largest_part(),
            level: CompressionLevel::DEFAULT,
        },
        upload_workers: upload_workers?,
        loyalty_check: LoyaltyCheck::Off,
        max_error_records: max_error_records?,
    };
    Some(SettingsToLoad {
        account: AccountSettings {
            connections: ClientSettings { request_timeout: request_timeout?, reach: Reach::of(&endpoint) },
            endpoint_origin: treasure_data_origin(reader.layers()),
            proxy: proxy::name(reader.layers()),
            treasure_data: TreasureDataSettings { endpoint, api_key: api_key? },
            retry: retry?,
            polling,
            database: Some(database),
            run_lifetime,
            without_table_ids,
        },
        load: LoadSettings {
            target,
            source: RowSource::Export(export),
            mode: mode?,
            transfer,
            polling,
            guards: guards?,
            quarantine_directory: quarantine_directory?,
            resume,
            run_lifetime,
            without_table_ids,
        },
        wait_for_active: wait_for_active?,
        summary: summary?,
    })
}

/// The rows of another store, or of a sandbox, do not belong into the table.
fn check_origin(reader: &mut Reader, export: &CompleteExport) {
    let store = reader.optional(&STORE_ID).flatten();
    let manifest = &export.manifest;
    if let Some(store) = store.filter(|store| *store != manifest.store_id) {
        let what = format!("the export is of store {}, and this names {store}", manifest.store_id);
        reader.report(STORE_ID.label(), what);
    }
    let endpoint = yotpo_endpoint(reader);
    if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.as_str() != manifest.yotpo_endpoint) {
        let what = format!(
            "the export was read from {}, and this names {endpoint}; to load it, set it to that address, which is not contacted",
            manifest.yotpo_endpoint
        );
        reader.report(YOTPO_ENDPOINT.label(), what);
    }
}
