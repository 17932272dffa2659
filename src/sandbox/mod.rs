//! Look-alikes of both services, Yotpo Core v3 and Treasure Data, in this process on loopback addresses.
//!
//! Owns everything that stands in for the real services in tests, demos and under other people's clients: made-up
//! customers as a function of a seed, the rate limit, the state machine of bulk import, tables that can be read back,
//! and faults on purpose. It shares no encoder and no wire type with the clients of this program, so that a mistake
//! cannot cancel out; of the rest of the program it uses [`Clock`] only. Everything that waits, waits on that clock.
//!
//! Memory does not grow with the number of customers or rows: pages are generated when asked for, loaded parts lie in
//! a temporary folder that goes away with the [`Sandbox`].
//!
//! [`Control`] looks inside from the same process. For other programs the same is on the address of Treasure Data,
//! without a key, never hit by faults and not counted:
//!
//! | call | answer |
//! |---|---|
//! | `GET /sandbox/tables` | `{"tables":[{"database","table","id","rows"}]}` |
//! | `GET /sandbox/tables/{db}/{table}/count` | `{"rows":N}`, without the lag of the reported count |
//! | `GET /sandbox/tables/{db}/{table}/rows?offset=0&limit=100` | `{"rows":[{"time","json_response",…}]}`, limit ≤ 1,000 |
//! | `GET /sandbox/tables/{db}/{table}/verify?from=&to=&store=` | the fields of [`Verification`] and `exact` |
//! | `GET /sandbox/sessions` | `{"sessions":[…]}` with the fields of [`SessionSummary`] |
//! | `GET /sandbox/requests` | `{"operations":{name:N},"connections":{…},"applied_faults":N,"max_requests_in_rolling_second":N}` |
//!
//! `store=ID` beside `verify` or `requests` asks about another store than the first.
//!
//! It is not a security boundary: credentials are fixed and public.

mod answer;
mod connection;
mod control;
mod control_http;
mod customer;
mod date_header;
mod decode;
mod fault;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod operation;
mod read_back;
mod reply;
mod request_log;
mod server;
mod spool;
mod store;
#[cfg(test)]
mod tests;
mod treasure_data;
mod verification;
mod yotpo;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::control::{Control, ControlError};
pub use self::customer::{CustomerShapes, PageLayout};
pub use self::date_header::DateHeader;
pub use self::fault::{Fault, FaultKind, FaultPlan, FaultTarget, RetryDelay};
pub use self::operation::{Operation, Service};
pub use self::read_back::{ReadBackError, Row, Rows};
pub use self::request_log::LoggedRequest;
pub use self::store::StoreSettings;
pub use self::treasure_data::{
    ClosedSession, InvalidSession, InvalidStatus, KeyKind, KilledJob, RenamedTable, RepeatedPerform,
    Retention, SessionSummary, TreasureDataBehaviour, WriteOnlyTableCreation,
};
pub use self::verification::Verification;
pub use self::yotpo::{
    CursorEncoding, CursorMemory, FiltersBesideCursor, Glitch, GlitchKind, LastPage, RateHeaders,
    YotpoBehaviour,
};

use self::fault::FaultInjector;
use self::request_log::RequestLog;
use self::server::Listener;
use self::spool::Spool;
use self::treasure_data::{Durations, TreasureData};
use self::yotpo::Stores;
use crate::clock::Clock;

/// Has the shape of a real key, because official clients look at it.
const API_KEY: &str = "1/5a6d0b0c8f3e4d1b9a7c2e6f4d8b1a3c5e7f9012";
const DATABASE: &str = "yotpo";

/// What is imitated, where and how fast.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Customers of the first store.
    pub customers: u64,
    /// The first store's customers are a function of this.
    pub seed: u64,
    /// Stores beside the first, behind the same address.
    pub further_stores: Vec<StoreSettings>,
    /// Where Yotpo listens; port 0 takes a free one.
    pub yotpo_address: SocketAddr,
    /// Where Treasure Data listens; port 0 takes a free one.
    pub treasure_data_address: SocketAddr,
    /// Yotpo's limit for each store; none turns it off.
    pub requests_per_second: Option<NonZeroU32>,
    /// How long Yotpo takes for an answer, on the clock.
    pub answer_duration: Duration,
    /// Yotpo where its documentation leaves it open.
    pub yotpo: YotpoBehaviour,
    /// Treasure Data where its documentation leaves it open.
    pub treasure_data: TreasureDataBehaviour,
    /// How long an import takes at least, on the clock.
    pub import_duration: Duration,
    /// How long a commit takes, on the clock.
    pub commit_duration: Duration,
    /// How long the reported row count of a table stays behind, on the clock.
    pub row_count_lag: Duration,
    /// Databases that exist from the start.
    pub databases: Vec<String>,
    /// What the API key may do.
    pub key_kind: KeyKind,
    /// Whether answers are compressed for clients that accept it.
    pub compress_answers: bool,
    /// What the `Date` header of every response says.
    pub date_header: DateHeader,
    /// What goes wrong on purpose.
    pub faults: FaultPlan,
    /// All time.
    pub clock: Clock,
    /// Where the folder for loaded parts is made; the system's temporary folder if none.
    pub spool_directory: Option<PathBuf>,
}

/// Both look-alikes, serving until this is dropped or shut down.
#[derive(Debug)]
pub struct Sandbox {
    control: Control,
    shared: Arc<Shared>,
    credentials: SandboxCredentials,
    stores: Vec<StoreSettings>,
    yotpo_address: SocketAddr,
    treasure_data_address: SocketAddr,
    /// Removed when dropped, with all loaded parts.
    _spool_folder: TempDir,
}

/// What a client of the first store needs to be let in; made up and the same every time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxCredentials {
    /// `YOTPO_CLIENT_SECRET`
    pub client_secret: String,
    /// `YOTPO_STORE_ID`
    pub store_id: String,
    /// `TD_API_KEY`
    pub api_key: String,
    /// `TD_DATABASE`: the first database that exists from the start.
    pub database: String,
}

/// The sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The look-alikes have public credentials and are for this machine only.
    #[error("{0} is not a loopback address, and the sandbox listens on no other")]
    NotLoopback(SocketAddr),
    /// The address is taken or not to be had.
    #[error("listening on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Stores are told apart by their ids.
    #[error("there are two stores with the id {0:?}")]
    RepeatedStore(String),
    /// The folder for loaded parts could not be made.
    #[error("making the spool folder")]
    Spool(#[source] std::io::Error),
}

/// What both services, their connections and the control share.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    compress_answers: bool,
    date_header: DateHeader,
    answer_duration: Duration,
    log: RequestLog,
    faults: FaultInjector,
    yotpo: Stores,
    treasure_data: Arc<TreasureData>,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Sandbox {
    /// Starts both services; they run as tasks of the current Tokio runtime.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let first_store = StoreSettings::numbered(1, settings.customers, settings.seed);
        let stores = distinct_stores(first_store.clone(), &settings.further_stores)?;
        let mut folder = tempfile::Builder::new();
        folder.prefix("yotpo-td-sandbox-");
        let spool_folder = match &settings.spool_directory {
            Some(parent) => folder.tempdir_in(parent),
            None => folder.tempdir(),
        };
        let spool_folder = spool_folder.map_err(SandboxError::Spool)?;
        let yotpo_listener = listen(settings.yotpo_address).await?;
        let treasure_data_listener = listen(settings.treasure_data_address).await?;
        let yotpo_address = local_address(&yotpo_listener, settings.yotpo_address)?;
        let treasure_data_address = local_address(&treasure_data_listener, settings.treasure_data_address)?;
        let credentials = SandboxCredentials {
            client_secret: first_store.client_secret.clone(),
            store_id: first_store.store_id.clone(),
            api_key: API_KEY.to_owned(),
            database: settings.databases.first().cloned().unwrap_or_default(),
        };
        let shared = Arc::new(Shared::new(settings, &first_store, Spool::new(spool_folder.path())));
        for (service, listener) in
            [(Service::Yotpo, yotpo_listener), (Service::TreasureData, treasure_data_listener)]
        {
            shared.connections.spawn(Listener::new(Arc::clone(&shared), service).run(listener));
        }
        Ok(Self {
            control: Control::new(Arc::clone(&shared)),
            shared,
            credentials,
            stores,
            yotpo_address,
            treasure_data_address,
            _spool_folder: spool_folder,
        })
    }

    /// `http://127.0.0.1:<port>` of Yotpo.
    pub fn yotpo_endpoint(&self) -> String {
        format!("http://{}", self.yotpo_address)
    }

    /// `http://127.0.0.1:<port>` of Treasure Data.
    pub fn treasure_data_endpoint(&self) -> String {
        format!("http://{}", self.treasure_data_address)
    }

    /// What lets clients in.
    pub const fn credentials(&self) -> &SandboxCredentials {
        &self.credentials
    }

    /// All stores, the first one first.
    pub fn stores(&self) -> &[StoreSettings] {
        &self.stores
    }

    /// The view of what happens inside.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Ends all connections, waits until they are gone, and removes the loaded parts.
    pub async fn shutdown(self) {
        self.shared.stop();
        self.shared.connections.wait().await;
    }
}

impl Shared {
    fn new(settings: SandboxSettings, first_store: &StoreSettings, spool: Spool) -> Self {
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
            compress_answers: settings.compress_answers,
            date_header: settings.date_header,
            answer_duration: settings.answer_duration,
            log: RequestLog::default(),
            faults: FaultInjector::new(settings.faults),
            yotpo: Stores::new(
                first_store,
                &settings.further_stores,
                &settings.yotpo,
                settings.requests_per_second,
            ),
            treasure_data: Arc::new(treasure_data),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    fn stop(&self) {
        self.stop.cancel();
        self.connections.close();
        self.treasure_data.stop();
    }
}

/// The first store and the further ones, which must all have different ids.
fn distinct_stores(
    first: StoreSettings,
    further: &[StoreSettings],
) -> Result<Vec<StoreSettings>, SandboxError> {
    let mut stores = vec![first];
    for store in further {
        if stores.iter().any(|known| known.store_id == store.store_id) {
            return Err(SandboxError::RepeatedStore(store.store_id.clone()));
        }
        stores.push(store.clone());
    }
    Ok(stores)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, SandboxError> {
    if !address.ip().is_loopback() {
        return Err(SandboxError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| SandboxError::Listen { address, source })
}

fn local_address(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, SandboxError> {
    listener.local_addr().map_err(|source| SandboxError::Listen { address, source })
}

impl Default for SandboxSettings {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            customers: 10_000,
            seed: 1,
            further_stores: Vec::new(),
            yotpo_address: any_port,
            treasure_data_address: any_port,
            requests_per_second: NonZeroU32::new(5),
            answer_duration: Duration::ZERO,
            yotpo: YotpoBehaviour::default(),
            treasure_data: TreasureDataBehaviour::default(),
            import_duration: Duration::ZERO,
            commit_duration: Duration::ZERO,
            row_count_lag: Duration::ZERO,
            databases: vec![DATABASE.to_owned()],
            key_kind: KeyKind::Master,
            compress_answers: true,
            date_header: DateHeader::default(),
            faults: FaultPlan::none(),
            clock: Clock::machine(),
            spool_directory: None,
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
