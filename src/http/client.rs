//! One attempt of a request: send it, then read and decompress the whole response within a time and a size limit.

mod classify;
mod download;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, StatusCode};
use rustls::ClientConfig;
use url::Url;

pub(super) use self::classify::classify;
pub use self::download::{BodySink, RestartableSink};
use super::body::decompress;
use super::connection::{ClientSettings, Reach, client_builder};
use super::delay::delay_hint;
use super::error::{BodyProblem, CallError, TransportError, is_redirect};
use super::exchanges::{Exchanges, OperationUse};
use super::message::{Request, Response};
use super::redaction::Redactor;
use crate::clock::{Clock, FLIGHT_HEADER};
use crate::rate_limit::{Permit, RateLimiter};

/// A connection pool for one service.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    clock: Clock,
    request_timeout: Duration,
    reach: Reach,
    redactor: Redactor,
    rate_limiter: Arc<RateLimiter>,
    /// Host, port and origin of the address, for error messages.
    server: Option<Arc<str>>,
    /// Host, port and variable of the proxy of the environment, for error messages.
    proxy: Option<Arc<str>>,
    /// Whether the server has ever responded.
    has_responded: Arc<AtomicBool>,
    exchanges: Arc<Exchanges>,
}

impl HttpClient {
    /// Creates the pool without sending anything. `tls` comes from [`tls_configuration`](super::tls_configuration). Every
    /// request acquires `rate_limiter`. Fails when the proxies from the environment are invalid.
    pub fn new(
        settings: &ClientSettings,
        tls: ClientConfig,
        clock: Clock,
        redactor: Redactor,
        rate_limiter: Arc<RateLimiter>,
    ) -> Result<Self, reqwest::Error> {
        let ClientSettings { request_timeout, reach } = *settings;
        let client = client_builder(settings, tls).build()?;
        Ok(Self {
            client,
            clock,
            request_timeout,
            reach,
            redactor,
            rate_limiter,
            server: None,
            proxy: None,
            has_responded: Arc::default(),
            exchanges: Arc::default(),
        })
    }

    /// Names the server in all errors. `origin` names the setting that contains the address.
    #[must_use]
    pub fn for_server(mut self, endpoint: &Url, origin: &str) -> Self {
        self.server = Some(describe_server(endpoint, origin).into());
        self
    }

    /// Names the proxy of the environment in errors about it.
    #[must_use]
    pub fn with_proxy_named(mut self, proxy: Option<&str>) -> Self {
        self.proxy = proxy.map(Into::into);
        self
    }

    /// Adds the name of the proxy to an error about it.
    fn named(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::ProxyNotReached { source, .. } => {
                TransportError::ProxyNotReached { proxy: self.proxy.clone(), source }
            }
            error => error,
        }
    }

    /// The clock that measures deadlines and dates.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Bytes of complete response bodies so far, as received: before they are decompressed.
    pub fn received_bytes(&self) -> u64 {
        self.exchanges.received_bytes()
    }

    /// The exchanges so far, by operation.
    pub fn operations(&self) -> Vec<(&'static str, OperationUse)> {
        self.exchanges.by_operation()
    }

    /// Redacts secrets and personal data in server messages.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Sends `request` once, as soon as the rate limiter permits, and reads the whole response whatever its status.
    ///
    /// # Errors
    /// A classified [`CallError`] when no complete response arrives within the time and size limits.
    pub async fn send(&self, request: &Request) -> Result<Response, CallError> {
        let Request { operation, effect, .. } = *request;
        let sent_bytes = request.body.as_ref().map_or(0, Bytes::len);
        let limit = self.request_timeout + upload_allowance(sent_bytes);
        let permit = self.rate_limiter.acquire().await;
        let sent = self.clock.now();
        let flight = self.clock.flight().await;
        let exchange = async move {
            let outcome = self.exchange(request, permit, flight.header()).await;
            flight.finish().await;
            outcome
        };
        let outcome = self.clock.deadline(limit, exchange).await;
        let status = outcome.as_ref().ok().and_then(|outcome| Some(outcome.as_ref().ok()?.status));
        self.exchanges.ended(operation, status, self.clock.now().saturating_sub(sent), sent_bytes);
        let error = match outcome {
            Err(elapsed) => CallError::transport(operation, effect, TransportError::TimedOut(elapsed)),
            Ok(Err(ExchangeError::Transport(error))) => {
                CallError::transport(operation, effect, self.named(error))
            }
            Ok(Err(ExchangeError::Body(problem))) => CallError::body(operation, effect, problem),
            Ok(Ok(response)) => {
                self.has_responded.store(true, Ordering::Relaxed);
                self.log(request, sent, Ok(&response));
                return Ok(response);
            }
        };
        self.log(request, sent, Err(&error));
        // A server that responded before is the right one, so the error is likely temporary.
        let max_attempts = error.max_attempts_if_misconfigured();
        Err(self.with_server(match max_attempts.filter(|_| !self.has_responded.load(Ordering::Relaxed)) {
            Some(max) => error.with_max_attempts(max),
            None => error,
        }))
    }

    /// Logs what a request came to. Without the query, which contains cursors.
    fn log(&self, request: &Request, sent: Duration, result: Result<&Response, &CallError>) {
        let duration = self.clock.now().saturating_sub(sent);
        tracing::debug!(
            operation = request.operation,
            method = %request.method,
            path = request.url.path(),
            status = result.ok().map(|response| response.status.as_u16()),
            cause = result.err().map(|error| display(error.cause())),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "request sent"
        );
    }

    /// Adds the server to an error.
    pub fn with_server(&self, error: CallError) -> CallError {
        match &self.server {
            Some(server) => error.with_server(server),
            None => error,
        }
    }

    /// Sends `request` once. A response other than 2xx becomes an error.
    ///
    /// # Errors
    /// As [`Self::send`], and for every status other than 2xx.
    pub async fn send_for_success(&self, request: &Request) -> Result<Response, CallError> {
        let response = self.send(request).await?;
        if response.status.is_success() { Ok(response) } else { Err(self.failure(request, &response)) }
    }

    /// The error for a failed response, with the server's redacted message.
    pub fn failure(&self, request: &Request, response: &Response) -> CallError {
        self.with_server(failure(request, response, self.redactor.server_message(&response.body)))
    }

    /// The error for a failed response, without the server's message.
    pub fn failure_without_message(&self, request: &Request, response: &Response) -> CallError {
        self.with_server(failure(request, response, None))
    }

    async fn exchange(
        &self,
        request: &Request,
        permit: Permit,
        flight: Option<u64>,
    ) -> Result<Response, ExchangeError> {
        let encoding = (self.reach == Reach::Network).then_some("gzip");
        let builder = self.builder(request, encoding, flight);
        let mut incoming = builder.send().await.map_err(|error| ExchangeError::Transport(classify(error)))?;
        let Response { status, headers, delay, .. } = self.head(&mut incoming, permit);
        let received = read_whole(&mut incoming, &headers, request.max_response_bytes).await;
        if let Ok(body) = &received {
            self.exchanges.received(request.operation, body.len());
        }
        let body = match received.and_then(|body| Ok(decompress(&headers, body, request.max_response_bytes)?))
        {
            Ok(body) => body,
            // The status already reports the failure; an incomplete body adds nothing.
            Err(_) if !status.is_success() => Bytes::new(),
            Err(failed) => return Err(failed),
        };
        Ok(Response { status, headers, body, delay })
    }

    /// The request to send. `encoding` becomes `Accept-Encoding`.
    fn builder(
        &self,
        request: &Request,
        encoding: Option<&'static str>,
        flight: Option<u64>,
    ) -> reqwest::RequestBuilder {
        let mut builder =
            self.client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(encoding) = encoding {
            builder = builder.header(ACCEPT_ENCODING, encoding);
        }
        if let Some(flight) = flight {
            builder = builder.header(FLIGHT_HEADER, flight);
        }
        match &request.body {
            Some(body) => builder.body(body.clone()),
            None if request.method == Method::POST => builder.header(CONTENT_LENGTH, 0),
            None => builder,
        }
    }

    /// Takes status and headers as a response without a body, and reports the response to the rate limiter.
    fn head(&self, incoming: &mut reqwest::Response, permit: Permit) -> Response {
        let status = incoming.status();
        let headers = std::mem::take(incoming.headers_mut());
        let delay = delay_hint(status, &headers, self.clock.unix_time());
        permit.response_received(status == StatusCode::TOO_MANY_REQUESTS, delay.allowance);
        Response { status, headers, body: Bytes::new(), delay }
    }
}

fn failure(request: &Request, response: &Response, message: Option<String>) -> CallError {
    // A web page with this status comes from a firewall, a captcha or a maintenance page, not from the service, and says nothing
    // about the credentials.
    let may_be_intermediary =
        matches!(response.status, StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE);
    if may_be_intermediary && response.reject_html().is_err() {
        let problem = BodyProblem::WebPage { status: response.status };
        return CallError::body(request.operation, request.effect, problem)
            .with_min_delay(response.delay.min_delay);
    }
    let message = if is_redirect(response.status) {
        Some("redirects are not followed; check the endpoint".to_owned())
    } else {
        message
    };
    CallError::status(request.operation, request.effect, response.status, message, response.delay.min_delay)
}

/// Why an exchange failed, before it is classified by the effect of the request.
enum ExchangeError {
    Transport(TransportError),
    Body(BodyProblem),
}

impl From<BodyProblem> for ExchangeError {
    fn from(problem: BodyProblem) -> Self {
        Self::Body(problem)
    }
}

async fn read_whole(
    incoming: &mut reqwest::Response,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Bytes, ExchangeError> {
    let content_length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or_default();
    if content_length > limit {
        return Err(BodyProblem::TooLarge { limit }.into());
    }
    let interrupted =
        |error: reqwest::Error| ExchangeError::Transport(TransportError::Interrupted(error.into()));
    let Some(first) = incoming.chunk().await.map_err(interrupted)? else { return Ok(Bytes::new()) };
    if first.len() >= content_length && content_length > 0 {
        // The usual case is a single chunk, which needs no copy.
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(content_length.max(first.len()));
    let mut next = Some(first);
    while let Some(chunk) = next {
        if body.len() + chunk.len() > limit {
            return Err(BodyProblem::TooLarge { limit }.into());
        }
        body.extend_from_slice(&chunk);
        next = incoming.chunk().await.map_err(interrupted)?;
    }
    Ok(body.freeze())
}

/// Extra time for uploads: one second per 256 KiB, the slowest connection that is still supported.
fn upload_allowance(body: usize) -> Duration {
    Duration::from_secs(u64::try_from(body / (256 * 1024)).unwrap_or(u64::MAX))
}

/// For example `api.yotpo.com:443 (from --yotpo-endpoint)`.
fn describe_server(endpoint: &Url, origin: &str) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port_or_known_default() {
        Some(port) => format!("{host}:{port} ({origin})"),
        None => format!("{host} ({origin})"),
    }
}

#[cfg(test)]
mod tests;
