//! From settings to the clients of both services; nothing is sent.

use std::error::Error;
use std::sync::Arc;

use rustls::ClientConfig;
use url::Url;

use crate::clock::Clock;
use crate::config::{AccountSettings, Settings};
use crate::http::{ClientSettings, HttpClient, Redactor, Trust};
use crate::rate_limit::Gate;
use crate::retry::{Retrier, RetryPolicy};
use crate::run::Services;
use crate::treasure_data::{TreasureDataClient, TreasureDataSettings};
use crate::yotpo::YotpoClient;

/// Builds the clients of both services, which believe servers as `trust` says. `seed` makes the jitter of their retries.
///
/// # Errors
/// When TLS or the proxies of the environment cannot be set up, or the API key cannot be a header.
pub fn assemble(
    settings: &Settings,
    clock: &Clock,
    trust: &Trust,
    seed: u64,
) -> Result<Services, Box<dyn Error + Send + Sync>> {
    load_certificates_ahead(trust, &[&settings.yotpo.endpoint, &settings.treasure_data.endpoint]);
    let tls = trust.configuration()?;
    let redactor = Redactor::new();
    let gate = Arc::new(Gate::limited(settings.request_rate, clock.clone()));
    let retrier = Retrier::new("Yotpo", settings.retry, Arc::clone(&gate), clock.clone(), seed);
    let http =
        HttpClient::new(&settings.yotpo_connections, tls.clone(), clock.clone(), redactor.clone(), gate)?
            .to_server(&settings.yotpo.endpoint, &settings.origins.yotpo);
    let yotpo = Arc::new(YotpoClient::new(settings.yotpo.clone(), http, Arc::new(retrier)));

    let account = Account {
        treasure_data: &settings.treasure_data,
        connections: &settings.treasure_data_connections,
        origin: &settings.origins.treasure_data,
        retry: settings.retry,
    };
    let treasure_data = connect(&account, clock, tls, redactor, seed.rotate_left(1))?;
    Ok(Services { yotpo: Some(yotpo), treasure_data, clock: clock.clone() })
}

/// Builds the client of an account alone.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_account(
    settings: &AccountSettings,
    clock: &Clock,
    trust: &Trust,
    seed: u64,
) -> Result<Arc<TreasureDataClient>, Box<dyn Error + Send + Sync>> {
    let AccountSettings { treasure_data, connections, endpoint_origin, retry, .. } = settings;
    load_certificates_ahead(trust, &[&treasure_data.endpoint]);
    let account = Account { treasure_data, connections, origin: endpoint_origin, retry: *retry };
    connect(&account, clock, trust.configuration()?, Redactor::new(), seed)
}

/// Without a TLS connection none is needed.
fn load_certificates_ahead(trust: &Trust, endpoints: &[&Url]) {
    if endpoints.iter().any(|endpoint| endpoint.scheme() == "https") {
        trust.load_ahead();
    }
}

struct Account<'a> {
    treasure_data: &'a TreasureDataSettings,
    connections: &'a ClientSettings,
    origin: &'a str,
    retry: RetryPolicy,
}

fn connect(
    account: &Account<'_>,
    clock: &Clock,
    tls: ClientConfig,
    redactor: Redactor,
    seed: u64,
) -> Result<Arc<TreasureDataClient>, Box<dyn Error + Send + Sync>> {
    let gate = Arc::new(Gate::unlimited(clock.clone()));
    let retrier = Retrier::new("Treasure Data", account.retry, Arc::clone(&gate), clock.clone(), seed);
    let http = HttpClient::new(account.connections, tls, clock.clone(), redactor, gate)?
        .to_server(&account.treasure_data.endpoint, account.origin);
    Ok(Arc::new(TreasureDataClient::new(account.treasure_data.clone(), http, Arc::new(retrier))?))
}
