//! State shared by both services, their connections and the control.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::date_header::DateHeader;
use super::fault::FaultInjector;
use super::request_log::RequestLog;
use super::settings::{API_KEY, SandboxSettings};
use super::spool::Spool;
use super::store::StoreSettings;
use super::treasure_data::{Durations, TreasureData};
use super::yotpo::Stores;
use crate::clock::Clock;

/// State shared by both services, their connections and the control.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) compress_responses: bool,
    pub(super) date_header: DateHeader,
    pub(super) response_delay: Duration,
    pub(super) log: RequestLog,
    pub(super) faults: FaultInjector,
    pub(super) yotpo: Stores,
    pub(super) treasure_data: Arc<TreasureData>,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

impl Shared {
    pub(super) fn new(settings: SandboxSettings, first_store: &StoreSettings, spool: Spool) -> Self {
        let durations = Durations {
            import: settings.import_duration,
            commit: settings.commit_duration,
            row_count_lag: settings.row_count_lag,
        };
        let treasure_data = TreasureData::new(
            settings.clock.clone(),
            spool,
            API_KEY,
            settings.key_kind,
            settings.treasure_data,
            durations,
        );
        for database in &settings.databases {
            treasure_data.add_database(database);
        }
        Self {
            clock: settings.clock,
            compress_responses: settings.compress_responses,
            date_header: settings.date_header,
            response_delay: settings.response_delay,
            log: RequestLog::default(),
            faults: FaultInjector::new(settings.faults),
            yotpo: Stores::new(
                first_store,
                &settings.additional_stores,
                &settings.yotpo,
                settings.requests_per_second,
            ),
            treasure_data: Arc::new(treasure_data),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.connections.close();
        self.treasure_data.stop();
    }
}
