//! One call: address, key, effect.

use std::sync::atomic::{AtomicI64, Ordering};
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
use crate::http::{BodyProblem, BodySink, CallError, Effect, HttpClient, Request, Response};
use crate::retry::{RequestCounts, Retrier, Series};
use crate::secret::Secret;

/// Largest JSON answer that is accepted.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// No time that two clocks can be apart.
const NO_DATE: i64 = i64::MIN;

/// Which account is loaded into.
#[derive(Clone, Debug)]
pub struct TreasureDataSettings {
    /// Base address, such as `https://api.treasuredata.com`.
    pub endpoint: Url,
    /// The API key; a write-only key is enough.
    pub api_key: Secret,
}

/// Talks to one Treasure Data account.
#[derive(Debug)]
pub struct TreasureDataClient {
    endpoint: Url,
    api_key: Secret,
    authorization: RwLock<HeaderValue>,
    http: HttpClient,
    retrier: Arc<Retrier>,
    /// How far Treasure Data's clock is ahead of this machine's, in seconds; [`NO_DATE`] before any response told.
    clock_offset: AtomicI64,
}

/// How load jobs and commits are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// How often to look.
    pub interval: Duration,
    /// How long to wait for the load job, and for the commit, at most.
    pub timeout: Duration,
}

/// What a call sends.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    None,
    Form(&'static [(&'static str, &'static str)]),
    Json(String),
    Part(Bytes),
}

/// A call, before it is sent.
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
    /// A client that has sent nothing yet.
    ///
    /// # Errors
    /// When the key has characters that no header may carry.
    pub fn new(
        settings: TreasureDataSettings,
        http: HttpClient,
        retrier: Arc<Retrier>,
    ) -> Result<Self, InvalidHeaderValue> {
        let TreasureDataSettings { endpoint, api_key } = settings;
        http.redactor().add_secret(&api_key.current());
        let authorization = RwLock::new(authorization(&api_key.current())?);
        let clock_offset = AtomicI64::new(NO_DATE);
        Ok(Self { endpoint, api_key, authorization, http, retrier, clock_offset })
    }

    /// What was sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.retrier.counts()
    }

    /// Time.
    pub fn clock(&self) -> &Clock {
        self.http.clock()
    }

    /// The series of attempts of one call.
    pub fn series(&self) -> Series {
        self.retrier.series()
    }

    /// Seconds since the Unix epoch by Treasure Data's clock, from the `Date` of its last response; `None` when no
    /// response had one.
    pub fn server_time(&self) -> Option<u64> {
        let offset = Some(self.clock_offset.load(Ordering::Relaxed)).filter(|offset| *offset != NO_DATE)?;
        self.clock().unix_time().as_secs().checked_add_signed(offset)
    }

    fn note_date(&self, headers: &HeaderMap) {
        let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok()) else { return };
        let Some(date) =
            httpdate::parse_http_date(date).ok().and_then(|date| date.duration_since(UNIX_EPOCH).ok())
        else {
            return;
        };
        let [server, machine] = [date, self.clock().unix_time()].map(|time| i64::try_from(time.as_secs()));
        if let (Ok(server), Ok(machine)) = (server, machine) {
            self.clock_offset.store(server - machine, Ordering::Relaxed);
        }
    }

    /// Sends a call once and takes whatever comes back.
    pub(super) async fn exchange(&self, call: &(Method, Call<'_>)) -> Result<(Request, Response), CallError> {
        let mut request = self.request(call);
        let mut response = self.http.send(&request).await?;
        // It did nothing, so that it can be sent once more.
        // On the heap, because it is rare and every call's future would carry it.
        if response.status == StatusCode::UNAUTHORIZED && Box::pin(self.has_new_key()).await {
            request = self.request(call);
            response = Box::pin(self.http.send(&request)).await?;
        }
        self.note_date(&response.headers);
        Ok((request, response))
    }

    /// Whether the file of the API key holds another one by now.
    async fn has_new_key(&self) -> bool {
        let api_key = self.api_key.clone();
        let Some(new) = self.clock().blocking(move || api_key.reload()).await.ok().flatten() else {
            return false;
        };
        let Ok(header) = authorization(&new) else { return false };
        tracing::warn!("Treasure Data refuses the API key, trying the one that its file holds now");
        self.http.redactor().add_secret(&new);
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = header;
        true
    }

    /// Sends a call once; the body of a success goes to `sink`.
    pub(super) async fn download<S: BodySink>(
        &self,
        call: &(Method, Call<'_>),
        sink: &mut S,
    ) -> Result<(Request, Result<Response, S::Error>), CallError> {
        let request = self.request(call);
        let downloaded = self.http.download(&request, sink).await?;
        if let Ok(response) = &downloaded {
            self.note_date(&response.headers);
        }
        Ok((request, downloaded))
    }

    /// The error that a refusal means.
    pub(super) fn failure(&self, request: &Request, response: &Response) -> CallError {
        let failure = self.http.failure(request, response);
        if response.status == StatusCode::NOT_FOUND && blames_path(&response.body) {
            let message = failure.message().map(str::to_owned);
            return self.http.with_server(CallError::unknown_path(request.operation, message));
        }
        failure
    }

    /// The error of a body that is not what the call needs.
    pub(super) fn unusable(&self, call: &Call<'_>, problem: BodyProblem) -> CallError {
        self.http.with_server(CallError::body(call.operation, call.effect, problem))
    }

    pub(super) fn retrier(&self) -> &Retrier {
        &self.retrier
    }

    /// Makes a call whose repetition is harmless, again and again if need be, and gives its whole answer.
    pub(super) async fn send(&self, call: (Method, Call<'_>)) -> Result<Response, CallError> {
        self.retrier.call(|| self.attempt(&call)).await
    }

    /// As [`Self::send`], for an answer of type `T`.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: (Method, Call<'_>)) -> Result<T, CallError> {
        self.retrier.call(|| self.attempt_json(&call)).await
    }

    /// One attempt.
    pub(super) async fn attempt(&self, call: &(Method, Call<'_>)) -> Result<Response, CallError> {
        let (request, response) = self.exchange(call).await?;
        if !response.status.is_success() {
            return Err(self.failure(&request, &response));
        }
        // A proxy's page says nothing about what Treasure Data did, whatever its status.
        response.reject_html().map_err(|problem| self.unusable(&call.1, problem))?;
        self.retrier.apply_delay_hint(response.delay);
        Ok(response)
    }

    /// One attempt, read as JSON.
    pub(super) async fn attempt_json<T: DeserializeOwned>(
        &self,
        call: &(Method, Call<'_>),
    ) -> Result<T, CallError> {
        let response = self.attempt(call).await?;
        response.json().map_err(|problem| self.unusable(&call.1, problem))
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
            max_response_bytes: LARGEST_ANSWER,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v3").extend(path);
        }
        url
    }

    /// The time, as Treasure Data's clients always send it.
    fn date(&self) -> Option<HeaderValue> {
        // Dates beyond the year 9999 cannot be written.
        let now = self.http.clock().unix_time().min(Duration::from_secs(253_402_300_799));
        HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + now)).ok()
    }
}
