//! What the sandbox imitates, where and how fast.

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

/// Has the shape of a real key, because official clients look at it.
pub(super) const API_KEY: &str = "1/5a6d0b0c8f3e4d1b9a7c2e6f4d8b1a3c5e7f9012";
pub(super) const DATABASE: &str = "yotpo";

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
