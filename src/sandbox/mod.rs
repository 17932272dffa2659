//! Mock servers for Yotpo Core v3 and Treasure Data, in this process on loopback addresses.
//!
//! Owns everything that replaces the real services in tests, in demos and for third-party clients: generated customers
//! as a function of a seed, the rate limit, the state machine of bulk import, tables that can be read back, and
//! injected faults. It shares no encoder and no wire type with the clients of this program, so that errors cannot
//! cancel out. From the rest of the program it uses only [`Clock`](crate::clock::Clock), [`crate::free_space`] and
//! [`crate::failpoint`], and it waits only on that clock.
//!
//! Memory does not grow with the number of customers or rows: pages are generated on request, and loaded parts are
//! stored in a temporary directory that is removed with the [`Sandbox`].
//!
//! [`Control`] inspects it from the same process. Other programs can make the same calls on the address of Treasure
//! Data. They need no key, are exempt from faults and are not counted:
//!
//! | call | response |
//! |---|---|
//! | `GET /sandbox/tables` | `{"tables":[{"database","table","id","rows"}]}` |
//! | `GET /sandbox/tables/{db}/{table}/count` | `{"rows":N}`, without the lag of the reported count |
//! | `GET /sandbox/tables/{db}/{table}/rows?offset=0&limit=100` | `{"rows":[{"time","json_response",…}]}`, limit ≤ 1,000 |
//! | `GET /sandbox/tables/{db}/{table}/verify?from=&to=&store=` | the fields of [`Verification`] and `exact` |
//! | `GET /sandbox/sessions` | `{"sessions":[…]}` with the fields of [`SessionSummary`] |
//! | `GET /sandbox/requests` | `{"operations":{name:N},"connections":{…},"applied_faults":N,"max_requests_in_rolling_second":N}` |
//!
//! With `store=ID`, `verify` and `requests` refer to another store than the first.
//!
//! It is not a security boundary: credentials are fixed and public.

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
mod response;
mod server;
mod settings;
mod shared;
mod spool;
mod store;
#[cfg(test)]
mod tests;
mod treasure_data;
mod verification;
mod yotpo;

use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;

pub use self::control::{Control, ControlError};
pub use self::customer::{CustomerShapes, PageLayout};
pub use self::date_header::DateHeader;
pub use self::fault::{Fault, FaultKind, FaultPlan, FaultTarget, RetryDelay};
pub use self::operation::{Operation, Service};
pub use self::read_back::{ReadBackError, Row, Rows};
pub use self::request_log::LoggedRequest;
pub use self::settings::SandboxSettings;
pub use self::store::StoreSettings;
pub use self::treasure_data::{
    BrokenPromise, ClosedSession, InvalidSession, InvalidStatus, KeyKind, KilledJob, RenamedTable,
    RepeatedPerform, Retention, SessionSummary, TreasureDataBehaviour, WriteOnlyTableCreation,
};
pub use self::verification::Verification;
pub use self::yotpo::{
    CursorEncoding, CursorMemory, FiltersWithCursor, Glitch, GlitchKind, LastPage, RateHeaders,
    YotpoBehaviour,
};

use self::server::Listener;
use self::settings::API_KEY;
use self::shared::Shared;
use self::spool::{Spool, check_space};
use crate::free_space::NoSpace;

/// Both mock servers, running until this is dropped or shut down.
#[derive(Debug)]
pub struct Sandbox {
    control: Control,
    shared: Arc<Shared>,
    credentials: SandboxCredentials,
    stores: Vec<StoreSettings>,
    yotpo_address: SocketAddr,
    treasure_data_address: SocketAddr,
    /// Removed when dropped, with all loaded parts.
    _spool_directory: TempDir,
}

/// The credentials for the first store. They are always the same.
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
    /// The mock servers have public credentials and are for this machine only.
    #[error("{0} is not a loopback address; the sandbox listens only on loopback addresses")]
    NotLoopback(SocketAddr),
    /// The address is in use or not available.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Every store needs a different id.
    #[error("two stores have the id {0}")]
    DuplicateStore(String),
    /// There is not enough space for the loaded parts.
    #[error("{0}")]
    NoSpace(#[from] NoSpace),
    /// The directory for loaded parts could not be created.
    #[error("could not create the spool directory")]
    Spool(#[source] std::io::Error),
}

impl Sandbox {
    /// Starts both services; they run as tasks of the current Tokio runtime.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let first_store = StoreSettings::numbered(1, settings.customers, settings.seed);
        let stores = distinct_stores(first_store.clone(), &settings.additional_stores)?;
        let mut directory = tempfile::Builder::new();
        directory.prefix("yotpo-td-sandbox-");
        let spool_directory = match &settings.spool_directory {
            Some(parent) => directory.tempdir_in(parent),
            None => directory.tempdir(),
        };
        let spool_directory = spool_directory.map_err(SandboxError::Spool)?;
        let parent = spool_directory.path().parent().unwrap_or(spool_directory.path());
        check_space(parent, stores.iter().map(|store| store.customers).sum())?;
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
        let shared = Arc::new(Shared::new(settings, &first_store, Spool::new(spool_directory.path())));
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
            _spool_directory: spool_directory,
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

    /// The credentials for the first store.
    pub const fn credentials(&self) -> &SandboxCredentials {
        &self.credentials
    }

    /// All stores, starting with the first.
    pub fn stores(&self) -> &[StoreSettings] {
        &self.stores
    }

    /// Waits until the disk of the loaded parts is full.
    pub async fn disk_full(&self) {
        self.shared.treasure_data.spool().full().cancelled().await;
    }

    /// Inspects and controls the sandbox.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Closes all connections, waits until they are closed, and removes the loaded parts.
    pub async fn shutdown(self) {
        self.shared.stop();
        self.shared.connections.wait().await;
    }
}

/// The first store and the additional ones, which must all have different ids.
fn distinct_stores(
    first: StoreSettings,
    additional: &[StoreSettings],
) -> Result<Vec<StoreSettings>, SandboxError> {
    let mut stores = vec![first];
    for store in additional {
        if stores.iter().any(|known| known.store_id == store.store_id) {
            return Err(SandboxError::DuplicateStore(store.store_id.clone()));
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

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
