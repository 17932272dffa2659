//! The two calls: an access token and a page of customers.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::cursor::PageCursor;
use super::end_of_data::{EndCheck, says_no_results};
use super::error::YotpoError;
use super::page::Page;
use super::pagination::likely_next;
use super::prefetch::Ahead;
use super::query::{CursorQuery, add_query};
use crate::http::{BodyProblem, CallError, Effect, HttpClient, Request};
use crate::identity::StoreId;
use crate::rate_limit::RateUse;
use crate::retry::{RequestCounts, Retrier};
use crate::row::IngestionTime;

/// Largest page that is accepted; pages above 1 MB have been seen.
const LARGEST_PAGE: usize = 64 * 1024 * 1024;
const LARGEST_TOKEN_ANSWER: usize = 1024 * 1024;
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
    pub client_secret: SecretString,
    /// Customers on a page, 1–100.
    pub page_size: u8,
}

/// Talks to one Yotpo store.
#[derive(Debug)]
pub struct YotpoClient {
    settings: YotpoSettings,
    http: HttpClient,
    retrier: Arc<Retrier>,
    token: Mutex<Option<SecretString>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
}

impl YotpoClient {
    /// A client that has sent nothing yet.
    pub fn new(settings: YotpoSettings, http: HttpClient, retrier: Arc<Retrier>) -> Self {
        http.redactor().learn(&settings.client_secret);
        Self { settings, http, retrier, token: Mutex::new(None) }
    }

    /// What was sent so far.
    pub fn counts(&self) -> RequestCounts {
        self.retrier.counts()
    }

    /// How the store's rate limit was used so far.
    pub fn rate_use(&self) -> RateUse {
        self.retrier.rate_use()
    }

    /// Gets a page, with rows of `time`; `ahead` asks for the one behind it as soon as its cursor can be guessed. A token
    /// that is no longer accepted is replaced, at most twice in a row. A doubtful end of the data is requested again before
    /// it is accepted.
    pub(super) async fn page(
        &self,
        number: u64,
        cursor: Option<(&PageCursor, CursorQuery)>,
        time: IngestionTime,
        ahead: &Ahead,
    ) -> Result<Page, YotpoError> {
        let url = self.settings.customers_url(cursor);
        if let Some((cursor, _)) = cursor {
            self.http.redactor().learn_cursor(cursor.as_str());
        }
        let end = EndCheck::new(number, self.settings.page_size, self.retrier.policy().max_retries);
        let mut renewals = 0;
        loop {
            let token = self.token().await?;
            let result = self.retrier.call(|| self.attempt_page(&url, &token, time, ahead, &end)).await;
            match result {
                Ok(page) => return Ok(page),
                Err(error) if error.is_refused() && renewals < TOKEN_RENEWALS => {
                    tracing::warn!(page = number, "the token is no longer accepted, getting a new one");
                    self.forget(&token).await;
                    renewals += 1;
                }
                Err(source) if source.is_refused() => {
                    return Err(YotpoError::TokenNotAccepted { page: number, source });
                }
                Err(source) => return Err(YotpoError::Page { page: number, source }),
            }
        }
    }

    async fn attempt_page(
        &self,
        url: &Url,
        token: &SecretString,
        time: IngestionTime,
        ahead: &Ahead,
        end: &EndCheck,
    ) -> Result<Page, CallError> {
        let mut request = Request::get(GET_PAGE, url.clone(), LARGEST_PAGE);
        // Checked when the token was given: only then can this fail.
        request
            .sensitive_header(TOKEN_HEADER, token.expose_secret())
            .map_err(|_invalid| CallError::body(GET_PAGE, Effect::Repeatable, unusable_token()))?;
        let unusable = |problem| CallError::body(GET_PAGE, Effect::Repeatable, problem);
        let response = self.http.send(&request).await?;
        if response.status.is_success() {
            // First: the next request may leave at once.
            self.retrier.heed(response.delay);
            if let Some(cursor) = likely_next(&response.body) {
                ahead.start(cursor).await;
            }
            let page = Page::read(&response, time).map_err(unusable)?;
            return end.accept(page).map_err(unusable);
        }
        if response.status == StatusCode::BAD_REQUEST && says_no_results(&response.body) {
            return end.accept(Page::no_results()).map_err(unusable);
        }
        // Not with the server's words: about customers they may quote one, and no redaction knows a name.
        Err(self.http.wordless_failure(&request, &response))
    }

    async fn token(&self) -> Result<SecretString, YotpoError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref() {
            return Ok(token.clone());
        }
        let new = self.retrier.call(|| self.attempt_token()).await.map_err(|error| {
            match error.status_code().map(|status| status.as_u16()) {
                Some(400..=404 | 422) => YotpoError::Refused(error),
                _ => YotpoError::Token(error),
            }
        })?;
        self.http.redactor().learn(&new);
        Ok(token.insert(new).clone())
    }

    async fn attempt_token(&self) -> Result<SecretString, CallError> {
        let mut url = self.settings.store_url();
        extend_path(&mut url, "access_tokens");
        let secret = self.settings.client_secret.expose_secret();
        let body = serde_json::json!({ "secret": secret }).to_string();
        let request = Request {
            operation: GET_TOKEN,
            // A token more does no harm.
            effect: Effect::Repeatable,
            method: Method::POST,
            url,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            body: Some(body.into()),
            answer_limit: LARGEST_TOKEN_ANSWER,
        };
        let response = self.http.send_for_success(&request).await?;
        let unusable = |problem| CallError::body(GET_TOKEN, Effect::Repeatable, problem);
        let answer: TokenAnswer = response.json().map_err(unusable)?;
        if answer.access_token.is_empty() || HeaderValue::from_str(&answer.access_token).is_err() {
            return Err(unusable(unusable_token()));
        }
        self.retrier.heed(response.delay);
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

impl YotpoSettings {
    /// Where a page is asked for.
    pub(super) fn customers_url(&self, cursor: Option<(&PageCursor, CursorQuery)>) -> Url {
        let mut url = self.store_url();
        extend_path(&mut url, "customers");
        add_query(&mut url, self.page_size, cursor);
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
