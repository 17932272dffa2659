//! Sends calls: URL, API key and effect of each.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::blame::blames_path;
use crate::clock::Clock;
use crate::http::{BodyProblem, BodySink, CallError, Effect, HttpClient, Request, Response, ServerClock};
use crate::retry::{ClientUse, RequestCounts, Retrier, Series};
use crate::secret::Secret;

/// Maximum size of a JSON response.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// Which account to load into, and how to access it.
#[derive(Clone, Debug)]
pub struct TreasureDataSettings {
    /// Base URL, such as `https://api.treasuredata.com`.
    pub endpoint: Url,
    /// The API key. A write-only key is sufficient to append.
    pub api_key: Secret,
}

/// A client for one Treasure Data account.
#[derive(Debug)]
pub struct TreasureDataClient {
    endpoint: Url,
    api_key: Secret,
    authorization: RwLock<HeaderValue>,
    http: HttpClient,
    retrier: Arc<Retrier>,
    server_clock: ServerClock,
}

/// How to wait for load jobs and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// How often to poll.
    pub interval: Duration,
    /// Maximum wait for the load job, and for the commit.
    pub timeout: Duration,
}

/// The body of a call.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    None,
    Form(&'static [(&'static str, &'static str)]),
    Json(String),
    Part(Bytes),
}

/// A call to the API.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    pub(super) effect: Effect,
    pub(super) path: &'a [&'a str],
    pub(super) payload: Payload,
}

impl<'a> Call<'a> {
    pub(super) fn get(operation: &'static str, path: &'a [&'a str]) -> (Method, Self) {
        (Method::GET, Self { operation, effect: Effect::Repeatable, path, payload: Payload::None })
    }

    pub(super) fn post(operation: &'static str, effect: Effect, path: &'a [&'a str]) -> (Method, Self) {
        (Method::POST, Self { operation, effect, path, payload: Payload::None })
    }
}

fn authorization(api_key: &SecretString) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut authorization = HeaderValue::from_str(&format!("TD1 {}", api_key.expose_secret()))?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

impl TreasureDataClient {
    /// Creates a client without sending anything.
    ///
    /// # Errors
    /// When the key contains characters that are invalid in a header.
    pub fn new(
        settings: TreasureDataSettings,
        http: HttpClient,
        retrier: Arc<Retrier>,
    ) -> Result<Self, InvalidHeaderValue> {
        let TreasureDataSettings { endpoint, api_key } = settings;
        http.redactor().add_secret(&api_key.current());
        let authorization = RwLock::new(authorization(&api_key.current())?);
        let server_clock = ServerClock::default();
        Ok(Self { endpoint, api_key, authorization, http, retrier, server_clock })
    }

    /// The requests sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.retrier.counts()
    }

    /// What was sent so far, by operation.
    pub fn client_use(&self) -> ClientUse {
        self.retrier.client_use(&self.http)
    }

    /// The clock of this client.
    pub fn clock(&self) -> &Clock {
        self.http.clock()
    }

    /// Starts the series of attempts of one call.
    pub fn series(&self) -> Series {
        self.retrier.series()
    }

    /// Seconds since the Unix epoch by Treasure Data's clock, from the `Date` of its last response; `None` if no response had
    /// one.
    pub fn server_time(&self) -> Option<u64> {
        self.server_clock.now(self.clock().unix_time())
    }

    fn record_date(&self, headers: &HeaderMap) {
        self.server_clock.record(headers, self.clock().unix_time());
    }

    /// Sends a call once and returns the response, whatever its status.
    pub(super) async fn exchange(&self, call: &(Method, Call<'_>)) -> Result<(Request, Response), CallError> {
        let mut request = self.request(call);
        let mut response = self.http.send(&request).await?;
        // The call had no effect, so it can be repeated. Boxed, because this is rare and would enlarge the future of every call.
        if response.status == StatusCode::UNAUTHORIZED && Box::pin(self.has_new_key()).await {
            request = self.request(call);
            response = Box::pin(self.http.send(&request)).await?;
        }
        self.record_date(&response.headers);
        Ok((request, response))
    }

    /// Whether the file of the API key contains another one now.
    async fn has_new_key(&self) -> bool {
        let api_key = self.api_key.clone();
        let Some(new) = self.clock().blocking(move || api_key.reload()).await.ok().flatten() else {
            return false;
        };
        let Ok(header) = authorization(&new) else { return false };
        tracing::warn!("Treasure Data denied the API key, retrying with the one that its file contains now");
        self.http.redactor().add_secret(&new);
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = header;
        true
    }

    /// Sends a call once and streams the body of a success to `sink`.
    pub(super) async fn download<S: BodySink>(
        &self,
        call: &(Method, Call<'_>),
        sink: &mut S,
    ) -> Result<(Request, Result<Response, S::Error>), CallError> {
        let request = self.request(call);
        let downloaded = self.http.download(&request, sink).await?;
        if let Ok(response) = &downloaded {
            self.record_date(&response.headers);
        }
        Ok((request, downloaded))
    }

    /// The error for a failed response.
    pub(super) fn failure(&self, request: &Request, response: &Response) -> CallError {
        let failure = self.http.failure(request, response).with_secret_place(self.api_key.place());
        if response.status == StatusCode::NOT_FOUND && blames_path(&response.body) {
            let message = failure.message().map(str::to_owned);
            return self.http.with_server(CallError::unknown_path(request.operation, message));
        }
        failure
    }

    /// The error for an unexpected body.
    pub(super) fn body_error(&self, call: &Call<'_>, problem: BodyProblem) -> CallError {
        self.http.with_server(CallError::body(call.operation, call.effect, problem))
    }

    pub(super) fn retrier(&self) -> &Retrier {
        &self.retrier
    }

    /// Repeats a call, which must be safe to repeat, until it succeeds, and returns its response.
    pub(super) async fn send(&self, call: (Method, Call<'_>)) -> Result<Response, CallError> {
        self.retrier.call(call.1.operation, || self.attempt(&call)).await
    }

    /// As [`Self::send`], with a response of type `T`.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: (Method, Call<'_>)) -> Result<T, CallError> {
        self.retrier.call(call.1.operation, || self.attempt_json(&call)).await
    }

    /// Makes one attempt.
    pub(super) async fn attempt(&self, call: &(Method, Call<'_>)) -> Result<Response, CallError> {
        let (request, response) = self.exchange(call).await?;
        if !response.status.is_success() {
            return Err(self.failure(&request, &response));
        }
        // A web page comes from a proxy and says nothing about what Treasure Data did, whatever its status.
        response.reject_html().map_err(|problem| self.body_error(&call.1, problem))?;
        self.retrier.apply_delay_hint(response.delay);
        Ok(response)
    }

    /// Makes one attempt and parses the response as JSON.
    pub(super) async fn attempt_json<T: DeserializeOwned>(
        &self,
        call: &(Method, Call<'_>),
    ) -> Result<T, CallError> {
        let response = self.attempt(call).await?;
        response.json().map_err(|problem| self.body_error(&call.1, problem))
    }

    fn request(&self, (method, call): &(Method, Call<'_>)) -> Request {
        let mut headers = HeaderMap::new();
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
        headers.insert(AUTHORIZATION, authorization);
        if let Some(date) = self.date() {
            headers.insert(DATE, date);
        }
        let (content_type, body) = match &call.payload {
            Payload::None => (None, None),
            Payload::Form(pairs) => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(*pairs).finish();
                (Some("application/x-www-form-urlencoded"), Some(form.into()))
            }
            Payload::Json(text) => (Some("application/json"), Some(text.clone().into())),
            Payload::Part(part) => (Some("application/octet-stream"), Some(part.clone())),
        };
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Request {
            operation: call.operation,
            effect: call.effect,
            method: method.clone(),
            url: self.url(call.path),
            headers,
            body,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v3").extend(path);
        }
        url
    }

    /// The time for the `Date` header, which Treasure Data's clients always send.
    fn date(&self) -> Option<HeaderValue> {
        // HTTP dates end with the year 9999.
        let now = self.http.clock().unix_time().min(Duration::from_secs(253_402_300_799));
        HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + now)).ok()
    }
}
