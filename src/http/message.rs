//! Requests and responses, independent of the connection.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::body::{check_json, strip_bom};
use super::delay::DelayHint;
use super::error::{BodyProblem, Effect};

/// A request that can be sent more than once.
#[derive(Clone)]
pub struct Request {
    /// What it does, as a phrase that completes "could not …".
    pub operation: &'static str,
    /// The effect of repeating it.
    pub effect: Effect,
    /// The method.
    pub method: Method,
    /// The URL, including the query.
    pub url: Url,
    /// The headers. Secrets must be marked as sensitive.
    pub headers: HeaderMap,
    /// The body, if any. A POST without a body sends `Content-Length: 0`.
    pub body: Option<Bytes>,
    /// Maximum size of the response body in bytes, both as received and decompressed.
    pub max_response_bytes: usize,
}

/// A response with its complete, decompressed body.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The decompressed body.
    pub body: Bytes,
    /// What the headers say about the next request.
    pub delay: DelayHint,
}

impl Request {
    /// A GET request whose response may have up to `max_response_bytes`.
    pub fn get(operation: &'static str, url: Url, max_response_bytes: usize) -> Self {
        Self {
            operation,
            effect: Effect::Repeatable,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            max_response_bytes,
        }
    }

    /// Adds a header whose value is hidden in debug output.
    ///
    /// # Errors
    /// When `value` contains characters that are invalid in a header. The error does not contain the value.
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
    /// Rejects web pages, for calls whose response bodies are undocumented. An empty body may come from the service; a web page
    /// comes from an intermediary.
    ///
    /// # Errors
    /// [`BodyProblem::Html`].
    pub fn reject_html(&self) -> Result<(), BodyProblem> {
        match check_json(&self.headers, &self.body) {
            Err(problem @ BodyProblem::Html) => Err(problem),
            _ => Ok(()),
        }
    }

    /// The body as text that may be JSON. Borrows from the body.
    ///
    /// # Errors
    /// A [`BodyProblem`] that does not quote the body.
    pub fn text(&self) -> Result<&str, BodyProblem> {
        let body = strip_bom(&self.body);
        check_json(&self.headers, body)?;
        std::str::from_utf8(body)
            .map_err(|error| BodyProblem::Malformed { what: format!("not UTF-8, {error}") })
    }

    /// Parses the body as JSON of type `T`.
    ///
    /// # Errors
    /// As [`Self::text`] and [`parse_json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BodyProblem> {
        parse_json(self.text()?)
    }
}

/// Parses `text` as JSON of type `T`.
///
/// # Errors
/// A [`BodyProblem`] that does not quote the text.
pub fn parse_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, BodyProblem> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// Describes where parsing stopped, without the parser's message, which may quote the body.
fn malformed(error: &serde_json::Error) -> BodyProblem {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "unexpected end",
        serde_json::error::Category::Syntax => "not valid JSON",
        serde_json::error::Category::Data => "a key is missing or its value has the wrong type",
        serde_json::error::Category::Io => "not readable",
    };
    BodyProblem::Malformed { what: format!("{what}, line {} column {}", error.line(), error.column()) }
}
