//! From settings to the services of a run; nothing is sent.

use std::error::Error;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Settings;
use crate::http::{HttpClient, Redactor};
use crate::pipeline::Services;
use crate::rate_limit::Gate;
use crate::retry::Retrier;
use crate::treasure_data::TreasureDataClient;
use crate::yotpo::YotpoClient;

/// Builds the clients of both services. `seed` makes the jitter of their retries.
///
/// # Errors
/// When TLS or the proxies of the environment cannot be set up, or the API key cannot be a header.
pub fn assemble(
    settings: &Settings,
    clock: &Clock,
    seed: u64,
) -> Result<Services, Box<dyn Error + Send + Sync>> {
    let redactor = Redactor::new();
    let gate = Arc::new(Gate::limited(settings.request_rate, clock.clone()));
    let retrier = Retrier::new("Yotpo", settings.retry, gate, clock.clone(), seed);
    let http = HttpClient::new(&settings.yotpo_connections, clock.clone(), redactor.clone())?;
    let yotpo = YotpoClient::new(settings.yotpo.clone(), http, Arc::new(retrier));

    let gate = Arc::new(Gate::unlimited(clock.clone()));
    let retrier = Retrier::new("Treasure Data", settings.retry, gate, clock.clone(), seed.rotate_left(1));
    let http = HttpClient::new(&settings.treasure_data_connections, clock.clone(), redactor)?;
    let treasure_data = TreasureDataClient::new(settings.treasure_data.clone(), http, Arc::new(retrier))?;
    Ok(Services { yotpo, treasure_data: Arc::new(treasure_data), clock: clock.clone() })
}
