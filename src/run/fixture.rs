//! A run for unit tests: its clients reach nothing, or a server that returns what a test says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use url::Url;

use super::context::{Run, Services};
use super::settings::{AbandonSettings, LoadSettings, RowSource};
use crate::checkpoint::{RunState, SavedSet, StateStore};
use crate::clock::Clock;
use crate::export::{CompleteExport, ExportDirectory, Manifest};
use crate::http::scripted::{ScriptedServer, response};
use crate::http::{ClientSettings, HttpClient, Reach, Redactor, tls_configuration};
use crate::identity::{Mode, Nonce, Sha256Sum, TableId, TableSuffix, example_target};
use crate::rate_limit::{RateLimiter, RequestRate};
use crate::retry::{Retrier, RetryPolicy};
use crate::secret::Secret;
use crate::telemetry::Progress;
use crate::treasure_data::{Polling, TreasureDataClient, TreasureDataSettings};
use crate::yotpo::{EndedBy, LoyaltyCounts, Position, YotpoClient, YotpoSettings};

/// When the run began, Unix seconds.
pub(super) const STARTED: u64 = 1_795_406_400;

/// What a run needs.
pub(super) struct Fixture {
    pub(super) services: Services,
    pub(super) settings: LoadSettings,
    pub(super) store: Arc<StateStore>,
    pub(super) progress: Arc<Progress>,
    account: Option<ScriptedServer>,
    _directory: TempDir,
}

impl Fixture {
    pub(super) fn new(mode: Mode, source: RowSource) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = LoadSettings { source, ..unreachable_settings(mode, directory.path().to_path_buf()) };
        let store = Arc::new(StateStore::open(directory.path(), &settings.target).unwrap());
        // The port of a service that nobody runs any more.
        let nowhere = Url::parse("http://127.0.0.1:9/").unwrap();
        let services = services(&nowhere, &Clock::virtual_at(Duration::from_secs(STARTED)), 0);
        Self { services, settings, store, progress: Arc::default(), account: None, _directory: directory }
    }

    /// As [`Self::new`], with an account that returns these statuses and bodies, in order.
    pub(super) fn with_account(mode: Mode, responses: &[(&str, &str)]) -> Self {
        Self::with_retried_account(mode, responses, 0)
    }

    /// The same, with clients that retry each request so often.
    pub(super) fn with_retried_account(mode: Mode, responses: &[(&str, &str)], max_retries: u32) -> Self {
        let responses = responses.iter().map(|(status, body)| response(status, body)).collect();
        let server = ScriptedServer::start(responses);
        let services = services(&server.url, &Clock::machine(), max_retries);
        Self { services, account: Some(server), ..Self::new(mode, RowSource::Store) }
    }

    /// What that account has been asked for since the last call, as `METHOD PATH`.
    pub(super) fn requests(&self) -> Vec<String> {
        let line = |request: String| request.split_once(" HTTP/1.1\r\n").unwrap().0.to_owned();
        self.account.as_ref().unwrap().requests().into_iter().map(line).collect()
    }

    /// The state of a run that has begun a set of these settings.
    pub(super) fn state(&self) -> RunState {
        let LoadSettings { target, mode, .. } = &self.settings;
        let mut state = RunState::new("nightly".parse().unwrap(), false, target.clone(), *mode, 100, STARTED);
        state.set = Some(SavedSet {
            nonce: Nonce::new(STARTED, 6).unwrap(),
            target_id: TableId::from_api("5"),
            table_id: (*mode == Mode::Replace).then(|| TableId::from_api("6")),
            content: TableSuffix::Rows,
            proposed: false,
            totals: None,
        });
        state
    }

    pub(super) fn run(&self, state: RunState) -> Run<'_> {
        Run::new(&self.services, &self.settings, &self.store, &self.progress, state, None, false)
    }

    /// As [`Self::run`], with a state that was saved.
    pub(super) fn saved_run(&self, state: RunState) -> Run<'_> {
        self.store.save_run(&state).unwrap();
        let saved = Some(state.clone());
        Run::new(&self.services, &self.settings, &self.store, &self.progress, state, saved, false)
    }
}

/// The settings of a run, whose state is in `directory`.
pub(super) fn unreachable_settings(mode: Mode, directory: PathBuf) -> LoadSettings {
    let account = AbandonSettings {
        state_directory: directory,
        polling: Polling { interval: Duration::ZERO, timeout: Duration::ZERO },
        run_lifetime: Duration::from_secs(5 * 24 * 3_600),
        without_table_ids: false,
    };
    LoadSettings::to_abandon(example_target("customers"), mode, None, account)
}

/// An export of ten rows.
pub(super) fn export() -> CompleteExport {
    let manifest = Manifest {
        run_id: "monday".parse().unwrap(),
        store_id: "store".parse().unwrap(),
        yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
        time: STARTED - 3_600,
        is_complete: true,
        started_at: STARTED - 3_600,
        updated_at: STARTED - 3_600,
        page_size: 100,
        position: Position::End { page: 1, ended_by: EndedBy::LastPage },
        loyalty: LoyaltyCounts::default(),
        rows: 10,
        rejected_customers: 0,
        parts: Vec::new(),
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = ExportDirectory::create(directory.path()).unwrap();
    CompleteExport { directory, manifest, sha256: Sha256Sum::of(b"manifest") }
}

/// Clients that wait for nothing between the tries of a request.
fn services(endpoint: &Url, clock: &Clock, max_retries: u32) -> Services {
    let secret = || Secret::new("secret").unwrap();
    let client = |service, rate_limiter: RateLimiter| {
        let settings = ClientSettings { request_timeout: Duration::from_secs(60), reach: Reach::Loopback };
        let policy =
            RetryPolicy { max_retries, base_delay: Duration::ZERO, timeout: Duration::from_secs(60) };
        let rate_limiter = Arc::new(rate_limiter);
        let retrier = Retrier::new(service, policy, Arc::clone(&rate_limiter), clock.clone(), 7);
        let tls = tls_configuration(false).unwrap();
        let http = HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), rate_limiter).unwrap();
        (http, Arc::new(retrier))
    };
    let rate = RequestRate::new(5.0).unwrap();
    let (http, retrier) = client("Yotpo", RateLimiter::with_rate(rate, clock.clone()));
    let store = YotpoSettings {
        endpoint: endpoint.clone(),
        store: "store".parse().unwrap(),
        client_secret: secret(),
    };
    let yotpo = YotpoClient::new(store, http, retrier);
    let (http, retrier) = client("Treasure Data", RateLimiter::unlimited(clock.clone()));
    let account = TreasureDataSettings { endpoint: endpoint.clone(), api_key: secret() };
    let treasure_data = TreasureDataClient::new(account, http, retrier).unwrap();
    Services { yotpo: Some(Arc::new(yotpo)), treasure_data: Arc::new(treasure_data), clock: clock.clone() }
}
