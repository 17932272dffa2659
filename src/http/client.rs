//! One attempt: send a request, read and unpack the whole answer, within a deadline and a size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use self::classify::classify;
pub use self::download::{BodySink, RestartableSink};
use super::body::{look, unpack, without_mark};
use super::delay::{DelayHint, delay_hint};
use super::error::{BodyProblem, CallError, Effect, TransportError};
use super::redaction::Redactor;
use crate::clock::{Clock, FLIGHT_HEADER};
use crate::rate_limit::{Permit, RateLimiter};

/// Headers that an answer may have; gateways add some, and a hundred have been passed.
const MAX_HEADERS: usize = 1_000;

/// How connections to one service are made.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Time of one attempt: sending, waiting and reading the whole body.
    pub request_timeout: Duration,
    /// Where the service is.
    pub reach: Reach,
}

/// Where a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On this machine: proxies of the environment are not asked, and answers are not asked for as gzip, because
    /// unpacking them costs more than the loopback interface.
    Loopback,
    /// Elsewhere: through the proxies of the environment, with answers as gzip.
    Network,
}

/// A pool of connections to one service.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    clock: Clock,
    request_timeout: Duration,
    reach: Reach,
    redactor: Redactor,
    rate_limiter: Arc<RateLimiter>,
    /// The server of the service, for messages.
    server: Option<Arc<str>>,
    /// Whether the server ever answered.
    has_answered: Arc<AtomicBool>,
}

/// One request, repeatable as it stands.
#[derive(Clone)]
pub struct Request {
    /// What it does, as a phrase that follows "could not".
    pub operation: &'static str,
    /// What repeating it does.
    pub effect: Effect,
    /// The method.
    pub method: Method,
    /// The whole address, with query.
    pub url: Url,
    /// Headers; secrets among them must be marked sensitive.
    pub headers: HeaderMap,
    /// The body, if any. A POST without one says `Content-Length: 0`.
    pub body: Option<Bytes>,
    /// Largest answer in bytes that is accepted, as sent and unpacked.
    pub answer_limit: usize,
}

/// An answer with its whole, unpacked body.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, with its content encoding undone.
    pub body: Bytes,
    /// What the headers say about the next request.
    pub delay: DelayHint,
}

impl HttpClient {
    /// Makes the pool; nothing is sent. `tls` comes from [`tls_configuration`](super::tls_configuration);
    /// every request passes `rate_limiter`. Fails when the proxies of the environment cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "this is the client the ban names")]
    pub fn new(
        settings: &ClientSettings,
        tls: ClientConfig,
        clock: Clock,
        redactor: Redactor,
        rate_limiter: Arc<RateLimiter>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("yotpo-td/", env!("CARGO_PKG_VERSION")))
            // Every attempt must pass our limiter and counters.
            .retry(reqwest::retry::never())
            // A redirect would carry the credentials elsewhere, and neither service documents one.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.request_timeout)
            .http1_max_headers(MAX_HEADERS)
            .tcp_keepalive(Duration::from_secs(30));
        if settings.reach == Reach::Loopback {
            builder = builder.no_proxy();
        }
        let ClientSettings { request_timeout, reach } = *settings;
        let client = builder.build()?;
        Ok(Self {
            client,
            clock,
            request_timeout,
            reach,
            redactor,
            rate_limiter,
            server: None,
            has_answered: Arc::default(),
        })
    }

    /// The same pool, whose errors name the server. `origin` says which setting the address is from.
    #[must_use]
    pub fn to_server(mut self, endpoint: &Url, origin: &str) -> Self {
        self.server = Some(server(endpoint, origin).into());
        self
    }

    /// The clock that deadlines and dates are measured with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes secrets and personal data out of server texts.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Sends `request` once, as soon as it may leave, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// A classified [`CallError`] when there is no whole answer within time and size.
    pub async fn send(&self, request: &Request) -> Result<Response, CallError> {
        let Request { operation, effect, .. } = *request;
        let limit = self.request_timeout + upload_allowance(request.body.as_ref().map_or(0, Bytes::len));
        let permit = self.rate_limiter.acquire().await;
        let flight = self.clock.flight().await;
        let exchange = async move {
            let outcome = self.exchange(request, permit, flight.header()).await;
            flight.finish().await;
            outcome
        };
        let error = match self.clock.deadline(limit, exchange).await {
            Err(elapsed) => CallError::transport(operation, effect, TransportError::TimedOut(elapsed)),
            Ok(Err(Failed::Transport(error))) => CallError::transport(operation, effect, error),
            Ok(Err(Failed::Body(problem))) => CallError::body(operation, effect, problem),
            Ok(Ok(response)) => {
                self.has_answered.store(true, Ordering::Relaxed);
                return Ok(response);
            }
        };
        // A server that answered before is the right one: it will be reachable again.
        let doubtful = error.doubtful_attempts().filter(|_| !self.has_answered.load(Ordering::Relaxed));
        Err(self.locate(match doubtful {
            Some(max) => error.at_most(max),
            None => error,
        }))
    }

    /// The same error, which names the server.
    pub fn locate(&self, error: CallError) -> CallError {
        match &self.server {
            Some(server) => error.at(server),
            None => error,
        }
    }

    /// Sends `request` once; an answer that is not 2xx becomes the error that it means.
    ///
    /// # Errors
    /// As [`Self::send`], and for every status that is not a success.
    pub async fn send_for_success(&self, request: &Request) -> Result<Response, CallError> {
        let response = self.send(request).await?;
        if response.status.is_success() { Ok(response) } else { Err(self.failure(request, &response)) }
    }

    /// The error that a failed answer means, with the server's redacted words.
    pub fn failure(&self, request: &Request, response: &Response) -> CallError {
        self.locate(failure(request, response, self.redactor.server_message(&response.body)))
    }

    /// The error that a failed answer means, without a word of the server's.
    pub fn wordless_failure(&self, request: &Request, response: &Response) -> CallError {
        self.locate(failure(request, response, None))
    }

    async fn exchange(
        &self,
        request: &Request,
        permit: Permit,
        flight: Option<u64>,
    ) -> Result<Response, Failed> {
        let encoding = (self.reach == Reach::Network).then_some("gzip");
        let builder = self.builder(request, encoding, flight);
        let mut answer = builder.send().await.map_err(|error| Failed::Transport(classify(error)))?;
        let Response { status, headers, delay, .. } = self.head(&mut answer, permit);
        let packed = read_whole(&mut answer, &headers, request.answer_limit).await;
        let body = match packed.and_then(|body| Ok(unpack(&headers, body, request.answer_limit)?)) {
            Ok(body) => body,
            // The status already says that it failed; what is left of the body is of no use.
            Err(_) if !status.is_success() => Bytes::new(),
            Err(failed) => return Err(failed),
        };
        Ok(Response { status, headers, body, delay })
    }

    /// `request` as it is sent, with a body in `encoding` wished for.
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

    /// The head of an answer, as a response without a body; its request has arrived.
    fn head(&self, answer: &mut reqwest::Response, permit: Permit) -> Response {
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let delay = delay_hint(status, &headers, self.clock.unix_time());
        permit.response_received(status == StatusCode::TOO_MANY_REQUESTS, delay.allowance);
        Response { status, headers, body: Bytes::new(), delay }
    }
}

impl Request {
    /// A GET whose answer may be up to `answer_limit` bytes.
    pub fn get(operation: &'static str, url: Url, answer_limit: usize) -> Self {
        Self {
            operation,
            effect: Effect::Repeatable,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            answer_limit,
        }
    }

    /// Adds a header whose value never appears in debug output.
    ///
    /// # Errors
    /// When `value` has characters that no header may carry; the value is not in the error.
    pub fn sensitive_header(
        &mut self,
        name: HeaderName,
        value: &str,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }
}

impl Response {
    /// Makes sure that the service itself answered, for calls whose answers are not documented: an empty body may be
    /// an answer, a web page comes from something between us.
    ///
    /// # Errors
    /// [`BodyProblem::Html`].
    pub fn refuse_web_page(&self) -> Result<(), BodyProblem> {
        match look(&self.headers, &self.body) {
            Err(problem @ BodyProblem::Html) => Err(problem),
            _ => Ok(()),
        }
    }

    /// The body as text that may be JSON; shares the body's memory.
    ///
    /// # Errors
    /// A [`BodyProblem`] that says what is wrong without quoting the body.
    pub fn text(&self) -> Result<&str, BodyProblem> {
        let body = without_mark(&self.body);
        look(&self.headers, body)?;
        std::str::from_utf8(body)
            .map_err(|error| BodyProblem::Malformed { what: format!("not UTF-8, {error}") })
    }

    /// The body as JSON of type `T`.
    ///
    /// # Errors
    /// As [`Self::text`] and [`parse_json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BodyProblem> {
        parse_json(self.text()?)
    }
}

/// A text as JSON of type `T`.
///
/// # Errors
/// A [`BodyProblem`] that says what is wrong without quoting the text.
pub fn parse_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, BodyProblem> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

fn failure(request: &Request, response: &Response, words: Option<String>) -> CallError {
    // A firewall, a captcha or maintenance answers so, and not the service: it says nothing of the credentials.
    let is_of_the_way = matches!(response.status, StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE);
    if is_of_the_way && response.refuse_web_page().is_err() {
        let problem = BodyProblem::WebPage { status: response.status };
        return CallError::body(request.operation, request.effect, problem)
            .with_min_delay(response.delay.min_delay);
    }
    let message = if response.status.is_redirection() {
        Some("a redirect, which is never followed; is the endpoint right?".to_owned())
    } else {
        words
    };
    CallError::status(request.operation, request.effect, response.status, message, response.delay.min_delay)
}

/// Tells where parsing stopped, without the parser's own message, which may quote the body.
fn malformed(error: &serde_json::Error) -> BodyProblem {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "not valid JSON",
        serde_json::error::Category::Data => "a key is missing or has another kind of value",
        serde_json::error::Category::Io => "it could not be read",
    };
    BodyProblem::Malformed { what: format!("{what}, line {} column {}", error.line(), error.column()) }
}

/// Why an exchange failed, before the operation's effect is known to matter.
enum Failed {
    Transport(TransportError),
    Body(BodyProblem),
}

impl From<BodyProblem> for Failed {
    fn from(problem: BodyProblem) -> Self {
        Self::Body(problem)
    }
}

async fn read_whole(
    answer: &mut reqwest::Response,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Bytes, Failed> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or_default();
    if announced > limit {
        return Err(BodyProblem::TooLarge { limit }.into());
    }
    let interrupted =
        |error: reqwest::Error| Failed::Transport(TransportError::Interrupted(error.without_url()));
    let Some(first) = answer.chunk().await.map_err(interrupted)? else { return Ok(Bytes::new()) };
    if first.len() >= announced && announced > 0 {
        // One chunk is the usual case: no copy.
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(announced.max(first.len()));
    let mut next = Some(first);
    while let Some(chunk) = next {
        if body.len() + chunk.len() > limit {
            return Err(BodyProblem::TooLarge { limit }.into());
        }
        body.extend_from_slice(&chunk);
        next = answer.chunk().await.map_err(interrupted)?;
    }
    Ok(body.freeze())
}

/// Uploads get a second more for every 256 KiB: the slowest line that is still worth waiting for.
fn upload_allowance(body: usize) -> Duration {
    Duration::from_secs(u64::try_from(body / (256 * 1024)).unwrap_or(u64::MAX))
}

/// Such as `api.yotpo.com:443 (from --yotpo-endpoint)`.
fn server(endpoint: &Url, origin: &str) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port_or_known_default() {
        Some(port) => format!("{host}:{port} ({origin})"),
        None => format!("{host} ({origin})"),
    }
}

mod classify;
mod download;
#[cfg(test)]
mod tests;
