//! The two calls: an access token and a page of customers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::cursor::PageCursor;
use super::end_of_data::{EndCheck, says_no_results};
use super::error::YotpoError;
use super::page::{MAX_PAGE_BYTES, Page};
use super::query::{CursorQuery, add_query};
use crate::http::{BodyProblem, CallError, Cause, Effect, HttpClient, Request, Response};
use crate::identity::StoreId;
use crate::rate_limit::RateUsage;
use crate::retry::{RequestCounts, Retrier};
use crate::secret::Secret;

const LARGEST_TOKEN_ANSWER: usize = 1024 * 1024;
/// How often a token that was never accepted is tried again: a fresh one can be unknown for a moment.
const FRESH_TOKEN_TRIALS: u32 = 2;
/// How often in a row a refused token is replaced, as Yotpo's own Magento module does.
const TOKEN_RENEWALS: u32 = 2;
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-yotpo-token");
const GET_TOKEN: &str = "get an access token";
const GET_PAGE: &str = "fetch a page of customers";

/// Which store is read, and how.
#[derive(Clone, Debug)]
pub struct YotpoSettings {
    /// Base address, such as `https://api.yotpo.com`.
    pub endpoint: Url,
    /// The store.
    pub store: StoreId,
    /// The app's secret.
    pub client_secret: Secret,
}

/// Which page is requested.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest<'a> {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it is requested by; none for the first page.
    pub(super) cursor: Option<(&'a PageCursor, CursorQuery)>,
    /// Customers on a page, 1–100.
    pub(super) page_size: u8,
}

/// Makes a page of a response.
pub(super) trait ReadPage: Sync {
    /// Reads the response to a page request.
    fn read(&self, response: &Response) -> impl Future<Output = Result<Page, BodyProblem>> + Send;
}

/// Talks to one Yotpo store.
#[derive(Debug)]
pub struct YotpoClient {
    settings: YotpoSettings,
    http: HttpClient,
    retrier: Arc<Retrier>,
    token: Mutex<Option<SecretString>>,
    /// Whether the token was accepted once.
    is_proven: AtomicBool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    access_token: String,
}

impl YotpoClient {
    /// A client that has sent nothing yet.
    pub fn new(settings: YotpoSettings, http: HttpClient, retrier: Arc<Retrier>) -> Self {
        http.redactor().add_secret(&settings.client_secret.current());
        Self { settings, http, retrier, token: Mutex::new(None), is_proven: AtomicBool::new(false) }
    }

    /// What was sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.retrier.counts()
    }

    /// How the store's rate limit was used so far.
    pub fn rate_usage(&self) -> RateUsage {
        self.retrier.rate_usage()
    }

    /// Gets a page, which `reader` makes of the response. A token that is no longer accepted is replaced, at most twice in a
    /// row, and a fresh one tried again; a page that is refused is requested once more unchanged. A doubtful end of the data
    /// is requested again before it is accepted.
    pub(super) async fn page(
        &self,
        request: PageRequest<'_>,
        reader: &impl ReadPage,
    ) -> Result<Page, YotpoError> {
        let PageRequest { number, cursor, page_size } = request;
        let url = self.settings.customers_url(page_size, cursor);
        let end = EndCheck::new(number, page_size, self.retrier.policy().max_retries);
        let mut refusals = Refusals::default();
        loop {
            let token = self.token().await?;
            let result = self.retrier.call(|| self.attempt_page(&url, &token, reader, &end)).await;
            let error = match result {
                Ok(page) => {
                    self.is_proven.store(true, Ordering::Relaxed);
                    return Ok(page);
                }
                Err(error) => self.http.with_server(error),
            };
            match refusals.answer_to(&error, self.is_proven.load(Ordering::Relaxed)) {
                Answer::AskAgain(pause) => {
                    let status = error.status_code().map(|status| status.as_u16());
                    tracing::warn!(page = number, status, "the page was refused, requesting it again");
                    self.http.clock().sleep(self.retrier.policy().base_delay * pause).await;
                }
                Answer::RenewToken => {
                    tracing::warn!(page = number, "the token is no longer accepted, getting a new one");
                    self.forget(&token).await;
                }
                Answer::GiveUp if error.is_denied() => {
                    return Err(YotpoError::TokenNotAccepted { page: number, source: error });
                }
                Answer::GiveUp => return Err(YotpoError::Page { page: number, source: error }),
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
        // Checked when the token was given: only then can this fail.
        request
            .sensitive_header(TOKEN_HEADER, token.expose_secret())
            .map_err(|_invalid| CallError::body(GET_PAGE, Effect::Repeatable, unusable_token()))?;
        let unusable = |problem| CallError::body(GET_PAGE, Effect::Repeatable, problem);
        let response = self.http.send(&request).await?;
        if response.status.is_success() {
            // First: the next request may leave at once.
            self.retrier.apply_delay_hint(response.delay);
            let page = reader.read(&response).await.map_err(unusable)?;
            return end.accept(page).map_err(unusable);
        }
        if response.status == StatusCode::BAD_REQUEST && says_no_results(&response.body) {
            return end.accept(Page::no_results()).map_err(unusable);
        }
        // Not with the server's words: about customers they may quote one, and no redaction knows a name.
        Err(self.http.failure_without_message(&request, &response))
    }

    async fn token(&self) -> Result<SecretString, YotpoError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref() {
            return Ok(token.clone());
        }
        let new = match self.retrier.call(|| self.attempt_token()).await {
            Err(error)
                if error.status_code() == Some(StatusCode::UNAUTHORIZED) && self.has_new_secret().await =>
            {
                self.retrier.call(|| self.attempt_token()).await
            }
            result => result,
        };
        let new = new.map_err(token_error)?;
        self.is_proven.store(false, Ordering::Relaxed);
        self.http.redactor().add_secret(&new);
        Ok(token.insert(new).clone())
    }

    /// Whether the file of the client secret holds another one by now.
    async fn has_new_secret(&self) -> bool {
        let secret = self.settings.client_secret.clone();
        let new = self.http.clock().blocking(move || secret.reload()).await.ok().flatten();
        if let Some(new) = &new {
            tracing::warn!("Yotpo refuses the client secret, trying the one that its file holds now");
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
            // A token more does no harm.
            effect: Effect::Repeatable,
            method: Method::POST,
            url,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            body: Some(body.into()),
            max_response_bytes: LARGEST_TOKEN_ANSWER,
        };
        let response = self.http.send_for_success(&request).await?;
        let unusable = |problem| CallError::body(GET_TOKEN, Effect::Repeatable, problem);
        let answer: TokenAnswer = response.json().map_err(unusable)?;
        if answer.access_token.is_empty()
            && let Some(reason) = self.http.redactor().server_message(&response.body)
        {
            return Err(unusable(BodyProblem::Denied { reason }));
        }
        if answer.access_token.is_empty() || HeaderValue::from_str(&answer.access_token).is_err() {
            return Err(unusable(unusable_token()));
        }
        self.retrier.apply_delay_hint(response.delay);
        Ok(answer.access_token.into())
    }

    /// Drops `token`, unless somebody else already replaced it.
    async fn forget(&self, refused: &SecretString) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.expose_secret() == refused.expose_secret()) {
            *token = None;
        }
    }
}

fn token_error(error: CallError) -> YotpoError {
    let is_refusal = matches!(error.cause(), Cause::Body(BodyProblem::Denied { .. }));
    match error.status_code().map(|status| status.as_u16()) {
        Some(400..=404 | 422) => YotpoError::Refused(error),
        _ if is_refusal => YotpoError::Refused(error),
        _ => YotpoError::Token(error),
    }
}

/// How a page was refused so far.
#[derive(Debug, Default)]
struct Refusals {
    /// It was requested again unchanged behind a 400 or 422.
    has_asked_again: bool,
    /// How often the present token was tried again.
    trials: u32,
    renewals: u32,
}

/// What follows from a refusal.
enum Answer {
    /// The same request again, after so many base delays.
    AskAgain(u32),
    RenewToken,
    GiveUp,
}

impl Refusals {
    fn answer_to(&mut self, error: &CallError, is_proven: bool) -> Answer {
        let status = error.status_code();
        // Single ones occur, whatever the request is.
        let is_odd = matches!(status, Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY));
        if is_odd && !std::mem::replace(&mut self.has_asked_again, true) {
            return Answer::AskAgain(1);
        }
        if status == Some(StatusCode::UNAUTHORIZED) && !is_proven && self.trials < FRESH_TOKEN_TRIALS {
            self.trials += 1;
            return Answer::AskAgain(self.trials);
        }
        if error.is_denied() && self.renewals < TOKEN_RENEWALS {
            self.renewals += 1;
            self.trials = 0;
            return Answer::RenewToken;
        }
        Answer::GiveUp
    }
}

impl YotpoSettings {
    /// The address of a page.
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

fn unusable_token() -> BodyProblem {
    BodyProblem::Malformed { what: "the access token is empty or no header may carry it".to_owned() }
}

/// Appends a path segment; the endpoint's own path, if any, stays.
fn extend_path(url: &mut Url, segment: &str) {
    // Settings only let addresses through that have a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(segment);
    }
}
