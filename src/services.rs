//! From settings to the clients of both services; nothing is sent.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::clock::Clock;
use crate::config::{AccountSettings, Settings, StoreSettings};
use crate::http::{ClientSettings, HttpClient, Redactor, TlsError, tls_configuration};
use crate::rate_limit::RateLimiter;
use crate::retry::{Retrier, RetryPolicy};
use crate::run::Services;
use crate::treasure_data::{TreasureDataClient, TreasureDataSettings};
use crate::yotpo::YotpoClient;

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxies of the environment cannot be used.
    #[error("the HTTP client could not be set up")]
    Client(#[from] reqwest::Error),
    /// The API key cannot be a header.
    #[error("the API key cannot be sent in a header")]
    ApiKey(#[from] http::header::InvalidHeaderValue),
}

/// Makes the clients of both services. `seed` makes the jitter of their retries.
///
/// # Errors
/// When TLS or the proxies of the environment cannot be set up, or the API key cannot be a header.
pub fn assemble(settings: &Settings, clock: &Clock, seed: u64) -> Result<Services, ServicesError> {
    let endpoints = [&settings.store.yotpo.endpoint, &settings.treasure_data.endpoint];
    let tls = tls_configuration(endpoints.iter().any(|endpoint| endpoint.scheme() == "https"))?;
    let redactor = Redactor::new();
    let yotpo = store_client(&settings.store, clock, tls.clone(), redactor.clone(), seed)?;
    let account = Account {
        treasure_data: &settings.treasure_data,
        connections: &settings.treasure_data_connections,
        origin: &settings.treasure_data_origin,
        proxy: settings.store.proxy.as_deref(),
        retry: settings.store.retry,
    };
    let treasure_data = account.client(clock, tls, redactor, seed.rotate_left(1))?;
    Ok(Services { yotpo: Some(yotpo), treasure_data, clock: clock.clone() })
}

/// Makes the client of a store alone.
///
/// # Errors
/// When TLS or the proxies of the environment cannot be set up.
pub fn assemble_store(
    settings: &StoreSettings,
    clock: &Clock,
    seed: u64,
) -> Result<Arc<YotpoClient>, ServicesError> {
    let tls = tls_configuration(settings.yotpo.endpoint.scheme() == "https")?;
    store_client(settings, clock, tls, Redactor::new(), seed)
}

fn store_client(
    settings: &StoreSettings,
    clock: &Clock,
    tls: ClientConfig,
    redactor: Redactor,
    seed: u64,
) -> Result<Arc<YotpoClient>, ServicesError> {
    let StoreSettings { yotpo, request_rate, connections, endpoint_origin, proxy, retry } = settings;
    let rate_limiter = Arc::new(RateLimiter::with_rate(*request_rate, clock.clone()));
    let retrier = Retrier::new("Yotpo", *retry, Arc::clone(&rate_limiter), clock.clone(), seed);
    let http = HttpClient::new(connections, tls, clock.clone(), redactor, rate_limiter)?
        .for_server(&yotpo.endpoint, endpoint_origin)
        .with_proxy_named(proxy.as_deref());
    Ok(Arc::new(YotpoClient::new(yotpo.clone(), http, Arc::new(retrier))))
}

/// Makes the client of an account alone.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_account(
    settings: &AccountSettings,
    clock: &Clock,
    seed: u64,
) -> Result<Arc<TreasureDataClient>, ServicesError> {
    let AccountSettings { treasure_data, connections, endpoint_origin, proxy, retry, .. } = settings;
    let tls = tls_configuration(treasure_data.endpoint.scheme() == "https")?;
    let account = Account {
        treasure_data,
        connections,
        origin: endpoint_origin,
        proxy: proxy.as_deref(),
        retry: *retry,
    };
    account.client(clock, tls, Redactor::new(), seed)
}

struct Account<'a> {
    treasure_data: &'a TreasureDataSettings,
    connections: &'a ClientSettings,
    origin: &'a str,
    proxy: Option<&'a str>,
    retry: RetryPolicy,
}

impl Account<'_> {
    fn client(
        &self,
        clock: &Clock,
        tls: ClientConfig,
        redactor: Redactor,
        seed: u64,
    ) -> Result<Arc<TreasureDataClient>, ServicesError> {
        let rate_limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
        let retrier =
            Retrier::new("Treasure Data", self.retry, Arc::clone(&rate_limiter), clock.clone(), seed);
        let http = HttpClient::new(self.connections, tls, clock.clone(), redactor, rate_limiter)?
            .for_server(&self.treasure_data.endpoint, self.origin)
            .with_proxy_named(self.proxy);
        Ok(Arc::new(TreasureDataClient::new(self.treasure_data.clone(), http, Arc::new(retrier))?))
    }
}
