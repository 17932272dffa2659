//! Sends spans over HTTP: the program's own client as that of the OTLP exporter.
//!
//! Owns the runtime of these requests. They are made on the exporter's thread, where nothing is logged or traced, so that an
//! export never causes another one. The client is created by the first export, so that it does not delay the start of a run.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::{Builder, Runtime};
use tracing::dispatcher::{Dispatch, with_default};
use url::Url;

use crate::clock::Clock;
use crate::http::{PlainClient, PlainError};

/// A collector's response says how many spans it rejected, in a few bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Why the last export failed, in words that contain neither an address nor a header.
pub(super) type LastFailure = Arc<Mutex<Option<String>>>;

/// The HTTP client of the exporter.
pub(super) struct Transport {
    endpoint: Url,
    timeout: Duration,
    connection: OnceLock<(Mutex<Runtime>, PlainClient)>,
    last_failure: LastFailure,
}

impl Transport {
    /// Sends nothing yet.
    pub(super) fn new(endpoint: &Url, timeout: Duration, last_failure: &LastFailure) -> Self {
        let (endpoint, last_failure) = (endpoint.clone(), Arc::clone(last_failure));
        Self { endpoint, timeout, connection: OnceLock::new(), last_failure }
    }

    fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (runtime, client) = match self.connection.get() {
            Some(connection) => connection,
            None => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let client =
                    PlainClient::new(&self.endpoint, self.timeout, MAX_RESPONSE_BYTES, Clock::machine())?;
                self.connection.get_or_init(|| (Mutex::new(runtime), client))
            }
        };
        let runtime = runtime.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(runtime.block_on(client.send(request))?)
    }
}

#[async_trait]
impl HttpClient for Transport {
    /// Blocks the exporter's thread, which does nothing else.
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let result = with_default(&Dispatch::none(), || self.send(request));
        let failure = match &result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the collector returned {}", response.status())),
            Err(error) => Some(match error.downcast_ref::<PlainError>() {
                // The errors below may quote what was sent.
                Some(error) => error.to_string(),
                None => "the machine denies what the exporter needs".to_owned(),
            }),
        };
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        result
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.connection.take() {
            // A name that is still being resolved would be waited for.
            runtime.into_inner().unwrap_or_else(PoisonError::into_inner).shutdown_background();
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transport").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::http::scripted::{ScriptedServer, response};

    #[test]
    fn only_an_export_that_the_collector_does_not_accept_is_a_failure() {
        let collector = ScriptedServer::start(
            ["503 Service Unavailable", "200 OK"].map(|head| response(head, "")).into(),
        );
        let failure = LastFailure::default();
        let transport = Transport::new(&collector.url, Duration::from_secs(60), &failure);
        let export = || {
            let request = http::Request::post(collector.url.as_str()).body(Bytes::from("spans")).unwrap();
            let response = transport.send_bytes(request).now_or_never().unwrap().unwrap();
            (response.status().as_u16(), failure.lock().unwrap().clone())
        };
        let rejected = "the collector returned 503 Service Unavailable".to_owned();
        assert_eq!(export(), (503, Some(rejected)));
        assert_eq!(export(), (200, None));
        let requests = collector.requests();
        assert_eq!(requests.len(), 2);
        assert!(
            requests.iter().all(|sent| sent.starts_with("POST / ") && sent.ends_with("spans")),
            "{requests:?}"
        );
    }

    #[test]
    fn an_address_with_a_password_is_not_shown() {
        let endpoint = Url::parse("https://user:hunter2@collector.example/v1/traces").unwrap();
        let transport = Transport::new(&endpoint, Duration::from_secs(1), &LastFailure::default());
        assert_eq!(format!("{transport:?}"), "Transport { .. }");
    }
}
