//! The stores behind the Yotpo address.
//!
//! Owns what tells one store from another. All stores share the behaviour and the rate of [`SandboxSettings`], but each
//! has its own customers, access tokens, cursors and rate limit.
//!
//! [`SandboxSettings`]: super::SandboxSettings

const CLIENT_SECRET: &str = "sandbox-client-secret";
const STORE_ID: &str = "sandbox-store";

/// A store behind the Yotpo address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// `YOTPO_STORE_ID`; every store has another.
    pub store_id: String,
    /// `YOTPO_CLIENT_SECRET`
    pub client_secret: String,
    /// How many customers there are.
    pub customers: u64,
    /// Customers are a function of this.
    pub seed: u64,
}

impl StoreSettings {
    /// The n-th store from 1: `sandbox-store`, `sandbox-store-2`, …, each with a secret of the same form.
    pub fn numbered(number: u64, customers: u64, seed: u64) -> Self {
        let name = |name: &str| if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        Self { store_id: name(STORE_ID), client_secret: name(CLIENT_SECRET), customers, seed }
    }
}
