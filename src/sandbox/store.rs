//! The stores at the Yotpo address.
//!
//! Owns what distinguishes stores. All stores share the behaviour and the rate of [`SandboxSettings`], but each has its
//! own customers, access tokens, cursors and rate limit.
//!
//! [`SandboxSettings`]: super::SandboxSettings

const CLIENT_SECRET: &str = "sandbox-client-secret";
const STORE_ID: &str = "sandbox-store";

/// A store at the Yotpo address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// `YOTPO_STORE_ID`, which must be unique.
    pub store_id: String,
    /// `YOTPO_CLIENT_SECRET`
    pub client_secret: String,
    /// Number of customers.
    pub customers: u64,
    /// Seed from which the customers are generated.
    pub seed: u64,
}

impl StoreSettings {
    /// The n-th store from 1: `sandbox-store`, `sandbox-store-2`, …, each with a secret of the same form.
    pub fn numbered(number: u64, customers: u64, seed: u64) -> Self {
        let name = |name: &str| if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        Self { store_id: name(STORE_ID), client_secret: name(CLIENT_SECRET), customers, seed }
    }
}
