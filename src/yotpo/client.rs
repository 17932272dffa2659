//! Client for the two calls: get an access token, fetch a page of customers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::Instrument as _;
use url::Url;

use super::cursor::PageCursor;
use super::end_of_data::{EndCheck, is_no_results};
use super::error::YotpoError;
use super::page::{MAX_PAGE_BYTES, Page};
use super::query::{CursorQuery, add_query};
use crate::http::{
    BodyProblem, CallError, Cause, Effect, HttpClient, Request, Response, ServerClock, error_type,
};
use crate::identity::StoreId;
use crate::rate_limit::RateUsage;
use crate::retry::{ClientUse, RequestCounts, Retrier};
use crate::secret::Secret;
use crate::spans;

const MAX_TOKEN_RESPONSE_BYTES: usize = 1024 * 1024;
/// How often a request is retried with a token that was never accepted: a fresh token may be unknown for a moment.
const MAX_FRESH_TOKEN_RETRIES: u32 = 2;
/// How often in a row a denied token is replaced. Yotpo's own Magento module does the same.
const MAX_TOKEN_RENEWALS: u32 = 2;
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-yotpo-token");
const GET_TOKEN: &str = "get an access token";
const GET_PAGE: &str = "fetch a page of customers";

/// Which store to read, and how to access it.
#[derive(Clone, Debug)]
pub struct YotpoSettings {
    /// Base URL, such as `https://api.yotpo.com`.
    pub endpoint: Url,
    /// The store.
    pub store: StoreId,
    /// The secret of the app.
    pub client_secret: Secret,
}

/// The page to request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest<'a> {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its cursor and the parameters sent with it; `None` for the first page.
    pub(super) cursor: Option<(&'a PageCursor, CursorQuery)>,
    /// Customers on a page, 1–100.
    pub(super) page_size: u8,
}

/// Parses the response to a page request.
pub(super) trait ReadPage: Sync {
    /// Parses a successful response.
    fn read(&self, response: &Response) -> impl Future<Output = Result<Page, BodyProblem>> + Send;
}

/// A client for one Yotpo store.
#[derive(Debug)]
pub struct YotpoClient {
    settings: YotpoSettings,
    http: HttpClient,
    retrier: Arc<Retrier>,
    token: Mutex<Option<SecretString>>,
    /// Whether the current token has ever been accepted.
    token_was_accepted: AtomicBool,
    server_clock: ServerClock,
}

#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    access_token: String,
}

impl YotpoClient {
    /// Creates a client without sending anything.
    pub fn new(settings: YotpoSettings, http: HttpClient, retrier: Arc<Retrier>) -> Self {
        http.redactor().add_secret(&settings.client_secret.current());
        Self {
            settings,
            http,
            retrier,
            token: Mutex::new(None),
            token_was_accepted: AtomicBool::new(false),
            server_clock: ServerClock::default(),
        }
    }

    /// The requests sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.retrier.counts()
    }

    /// Bytes of response bodies so far, as received.
    pub fn response_bytes(&self) -> u64 {
        self.http.received_bytes()
    }

    /// What was sent so far, by operation.
    pub fn client_use(&self) -> ClientUse {
        self.retrier.client_use(&self.http)
    }

    /// Whether Yotpo has accepted an access token.
    pub fn has_token(&self) -> bool {
        self.token_was_accepted.load(Ordering::Relaxed)
    }

    /// How the store's rate limit has been used.
    pub fn rate_usage(&self) -> RateUsage {
        self.retrier.rate_usage()
    }

    /// Fetches a page and parses it with `reader`. A token that is no longer accepted is replaced, at most twice in a row, and a
    /// request with a fresh token is retried. A rejected request is retried once unchanged. A doubtful end of the data is
    /// requested again before it is accepted.
    pub(super) async fn page(
        &self,
        request: PageRequest<'_>,
        reader: &impl ReadPage,
    ) -> Result<Page, YotpoError> {
        let PageRequest { number, cursor, page_size } = request;
        let url = self.settings.customers_url(page_size, cursor);
        let end = EndCheck::new(number, page_size, self.retrier.policy().max_retries);
        let mut retry_state = RetryState::default();
        loop {
            let token = self.token().await?;
            let result = self.retrier.call(GET_PAGE, || self.attempt_page(&url, &token, reader, &end)).await;
            let error = match result {
                Ok(page) => {
                    self.token_was_accepted.store(true, Ordering::Relaxed);
                    return Ok(page);
                }
                Err(error) => self.http.with_server(error),
            };
            match retry_state.next_step(&error, self.token_was_accepted.load(Ordering::Relaxed)) {
                NextStep::RetryUnchanged(delays) => {
                    let status = error.status_code().map(|status| status.as_u16());
                    tracing::warn!(
                        page = number,
                        status,
                        "Yotpo rejected the request for the page, retrying"
                    );
                    self.http.clock().sleep(self.retrier.policy().base_delay * delays).await;
                }
                NextStep::RenewToken => {
                    tracing::warn!(page = number, "the token is no longer accepted, requesting a new one");
                    self.invalidate(&token).await;
                }
                NextStep::Fail if error.is_denied() => {
                    return Err(YotpoError::TokenNotAccepted { page: number, source: error });
                }
                NextStep::Fail => return Err(YotpoError::Page { page: number, source: error }),
            }
        }
    }

    async fn attempt_page(
        &self,
        url: &Url,
        token: &SecretString,
        reader: &impl ReadPage,
        end: &EndCheck,
    ) -> Result<Page, CallError> {
        let mut request = Request::get(GET_PAGE, url.clone(), MAX_PAGE_BYTES);
        // The token was validated when it was received, so this does not fail.
        request
            .sensitive_header(TOKEN_HEADER, token.expose_secret())
            .map_err(|_invalid| CallError::body(GET_PAGE, Effect::Repeatable, invalid_token()))?;
        let body_error = |problem| CallError::body(GET_PAGE, Effect::Repeatable, problem);
        let response = self.http.send(&request).await?;
        if response.status.is_success() {
            // Before parsing, because the next request may be sent immediately.
            self.retrier.apply_delay_hint(response.delay);
            let page = reader.read(&response).await.map_err(body_error)?;
            return end.accept(page).map_err(body_error);
        }
        if response.status == StatusCode::BAD_REQUEST && is_no_results(&response.body) {
            return end.accept(Page::no_results()).map_err(body_error);
        }
        // Without the server's message: it may quote a customer, and redaction does not recognise names.
        Err(self.http.failure_without_message(&request, &response))
    }

    /// Seconds since the Unix epoch by Yotpo's clock, from the `Date` of the response to the request for a token, which every
    /// page needs; `None` if it had none.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn server_time(&self) -> Result<Option<u64>, YotpoError> {
        self.token().await?;
        Ok(self.server_clock.now(self.unix_time()))
    }

    /// The machine's time since the Unix epoch.
    pub(super) fn unix_time(&self) -> Duration {
        self.http.clock().unix_time()
    }

    pub(super) async fn token(&self) -> Result<SecretString, YotpoError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref() {
            return Ok(token.clone());
        }
        let span = spans::token();
        let new = self.new_token().instrument(span.clone()).await;
        let place = self.settings.client_secret.place();
        let new = new.map_err(|error| token_error(error.with_secret_place(place)));
        let new = new.inspect_err(|error| spans::record_failure(&span, &error_type(error)))?;
        self.token_was_accepted.store(false, Ordering::Relaxed);
        self.http.redactor().add_secret(&new);
        Ok(token.insert(new).clone())
    }

    async fn new_token(&self) -> Result<SecretString, CallError> {
        match self.retrier.call(GET_TOKEN, || self.attempt_token()).await {
            Err(error)
                if error.status_code() == Some(StatusCode::UNAUTHORIZED) && self.has_new_secret().await =>
            {
                self.retrier.call(GET_TOKEN, || self.attempt_token()).await
            }
            result => result,
        }
    }

    /// Whether the file of the client secret contains another one now.
    async fn has_new_secret(&self) -> bool {
        let secret = self.settings.client_secret.clone();
        let new = self.http.clock().blocking(move || secret.reload()).await.ok().flatten();
        if let Some(new) = &new {
            tracing::warn!(
                "Yotpo denied the client secret, retrying with the one that its file contains now"
            );
            self.http.redactor().add_secret(new);
        }
        new.is_some()
    }

    async fn attempt_token(&self) -> Result<SecretString, CallError> {
        let mut url = self.settings.store_url();
        extend_path(&mut url, "access_tokens");
        let secret = self.settings.client_secret.current();
        let body = serde_json::json!({ "secret": secret.expose_secret() }).to_string();
        let request = Request {
            operation: GET_TOKEN,
            // An additional token is harmless.
            effect: Effect::Repeatable,
            method: Method::POST,
            url,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            body: Some(body.into()),
            max_response_bytes: MAX_TOKEN_RESPONSE_BYTES,
        };
        let response = self.http.send_for_success(&request).await?;
        self.server_clock.record(&response.headers, self.unix_time());
        let body_error = |problem| CallError::body(GET_TOKEN, Effect::Repeatable, problem);
        let token_response: TokenResponse = response.json().map_err(body_error)?;
        if token_response.access_token.is_empty()
            && let Some(reason) = self.http.redactor().server_message(&response.body)
        {
            return Err(body_error(BodyProblem::Denied { reason }));
        }
        if token_response.access_token.is_empty()
            || HeaderValue::from_str(&token_response.access_token).is_err()
        {
            return Err(body_error(invalid_token()));
        }
        self.retrier.apply_delay_hint(response.delay);
        Ok(token_response.access_token.into())
    }

    /// Drops the current token, unless it was already replaced.
    async fn invalidate(&self, denied: &SecretString) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.expose_secret() == denied.expose_secret()) {
            *token = None;
        }
    }
}

fn token_error(error: CallError) -> YotpoError {
    let is_denial = matches!(error.cause(), Cause::Body(BodyProblem::Denied { .. }));
    match error.status_code().map(|status| status.as_u16()) {
        Some(400..=404 | 422) => YotpoError::CredentialsDenied(error),
        _ if is_denial => YotpoError::CredentialsDenied(error),
        _ => YotpoError::Token(error),
    }
}

/// How often the request for one page was retried.
#[derive(Debug, Default)]
struct RetryState {
    /// Whether it was retried unchanged after a 400 or 422.
    has_retried: bool,
    /// Retries with the current token.
    token_retries: u32,
    /// Consecutive replacements of the token.
    renewals: u32,
}

/// How to continue after a rejected request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    /// Repeat the same request after this many base delays.
    RetryUnchanged(u32),
    RenewToken,
    Fail,
}

impl RetryState {
    fn next_step(&mut self, error: &CallError, token_was_accepted: bool) -> NextStep {
        let status = error.status_code();
        // Isolated ones occur whatever the request is.
        let is_rejected = matches!(status, Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY));
        if is_rejected && !std::mem::replace(&mut self.has_retried, true) {
            return NextStep::RetryUnchanged(1);
        }
        if status == Some(StatusCode::UNAUTHORIZED)
            && !token_was_accepted
            && self.token_retries < MAX_FRESH_TOKEN_RETRIES
        {
            self.token_retries += 1;
            return NextStep::RetryUnchanged(self.token_retries);
        }
        if error.is_denied() && self.renewals < MAX_TOKEN_RENEWALS {
            self.renewals += 1;
            self.token_retries = 0;
            return NextStep::RenewToken;
        }
        NextStep::Fail
    }
}

impl YotpoSettings {
    /// The URL of a page.
    pub(super) fn customers_url(&self, page_size: u8, cursor: Option<(&PageCursor, CursorQuery)>) -> Url {
        let mut url = self.store_url();
        extend_path(&mut url, "customers");
        add_query(&mut url, page_size, cursor);
        url
    }

    fn store_url(&self) -> Url {
        let mut url = self.endpoint.clone();
        for segment in ["core", "v3", "stores", self.store.as_str()] {
            extend_path(&mut url, segment);
        }
        url
    }
}

fn invalid_token() -> BodyProblem {
    BodyProblem::Malformed { what: "the access token is empty or invalid in a header".to_owned() }
}

/// Appends a path segment and keeps the path of the endpoint.
fn extend_path(url: &mut Url, segment: &str) {
    // The settings accept only URLs that have a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(segment);
    }
}

#[cfg(test)]
mod tests;
