//! The settings of the sandbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::date_header::DateHeader;
use super::fault::FaultPlan;
use super::store::StoreSettings;
use super::treasure_data::{KeyKind, TreasureDataBehaviour};
use super::yotpo::YotpoBehaviour;
use crate::clock::Clock;

/// Has the format of a real key, because official clients check it.
pub(super) const API_KEY: &str = "1/5a6d0b0c8f3e4d1b9a7c2e6f4d8b1a3c5e7f9012";
pub(super) const DATABASE: &str = "yotpo";

/// The settings of a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Number of customers of the first store.
    pub customers: u64,
    /// Seed from which the customers of the first store are generated.
    pub seed: u64,
    /// Stores in addition to the first, at the same address.
    pub additional_stores: Vec<StoreSettings>,
    /// Address of the Yotpo server; port 0 selects a free port.
    pub yotpo_address: SocketAddr,
    /// Address of the Treasure Data server; port 0 selects a free port.
    pub treasure_data_address: SocketAddr,
    /// Yotpo's limit for each store; `None` disables it.
    pub requests_per_second: Option<NonZeroU32>,
    /// How long Yotpo takes to respond, on the clock.
    pub response_delay: Duration,
    /// Behaviour of Yotpo that its documentation leaves open.
    pub yotpo: YotpoBehaviour,
    /// Behaviour of Treasure Data that its documentation leaves open.
    pub treasure_data: TreasureDataBehaviour,
    /// Minimum duration of an import, on the clock.
    pub import_duration: Duration,
    /// Duration of a commit, on the clock.
    pub commit_duration: Duration,
    /// How long the reported row count of a table lags behind, on the clock.
    pub row_count_lag: Duration,
    /// Databases that exist at the start.
    pub databases: Vec<String>,
    /// What the API key may do.
    pub key_kind: KeyKind,
    /// Whether responses are compressed for clients that accept it.
    pub compress_responses: bool,
    /// The `Date` header of every response.
    pub date_header: DateHeader,
    /// Faults to inject.
    pub faults: FaultPlan,
    /// The clock for everything.
    pub clock: Clock,
    /// Where the directory for loaded parts is created; the system's temporary directory if `None`.
    pub spool_directory: Option<PathBuf>,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            customers: 10_000,
            seed: 1,
            additional_stores: Vec::new(),
            yotpo_address: any_port,
            treasure_data_address: any_port,
            requests_per_second: NonZeroU32::new(5),
            response_delay: Duration::ZERO,
            yotpo: YotpoBehaviour::default(),
            treasure_data: TreasureDataBehaviour::default(),
            import_duration: Duration::ZERO,
            commit_duration: Duration::ZERO,
            row_count_lag: Duration::ZERO,
            databases: vec![DATABASE.to_owned()],
            key_kind: KeyKind::Master,
            compress_responses: true,
            date_header: DateHeader::default(),
            faults: FaultPlan::none(),
            clock: Clock::machine(),
            spool_directory: None,
        }
    }
}
