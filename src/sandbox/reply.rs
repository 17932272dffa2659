//! Requests after they were read, and responses before they are sent.
//!
//! Owns the plain forms that both mock servers use, so that a request can be processed again or later, and its response
//! corrupted, independently of HTTP. It knows nothing about either service.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode;
use serde_json::Value;

use super::operation::Operation;
use super::spool::SpoolFile;

/// Smaller responses are never compressed.
const MIN_COMPRESSED_SIZE: usize = 1_024;

/// A request that was read completely.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// The variable parts of the path.
    pub(super) arguments: Vec<String>,
    /// The query as sent.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: CallBody,
}

#[derive(Debug)]
pub(super) enum CallBody {
    Memory(Bytes),
    Spooled(SpoolFile),
}

/// A response that was not sent yet.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// Whether the body may be compressed.
    pub(super) compressible: bool,
}

impl Call {
    pub(super) fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn body_bytes(&self) -> &[u8] {
        match &self.body {
            CallBody::Memory(bytes) => bytes,
            CallBody::Spooled(_) => &[],
        }
    }

    /// The decoded parameters of the query.
    pub(super) fn query_parameters(&self) -> Vec<(String, String)> {
        decode_form(self.query.as_bytes())
    }

    /// A parameter of the query.
    pub(super) fn query_parameter(&self, name: &str) -> Option<String> {
        let found = self.query_parameters().into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value)
    }

    /// A parameter from any place where clients put it: the query, a form, a multipart form or a JSON object.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let content_type = self.header("content-type").unwrap_or_default();
        let in_body = if content_type.starts_with("multipart/form-data") {
            decode_multipart(content_type, self.body_bytes())
        } else if content_type.starts_with("application/json") {
            decode_json(self.body_bytes())
        } else {
            decode_form(self.body_bytes())
        };
        let found = in_body.into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
        found.or_else(|| self.query_parameter(name))
    }
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::bytes(status, "application/json; charset=utf-8", Bytes::from(body.to_string()))
    }

    pub(super) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn text(status: StatusCode, content_type: &'static str, body: &'static str) -> Self {
        Self::bytes(status, content_type, Bytes::from_static(body.as_bytes()))
    }

    pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        Self { status, content_type, headers: Vec::new(), body, compressible: true }
    }

    pub(super) fn with_number(mut self, name: &'static str, value: u64) -> Self {
        self.headers.push((HeaderName::from_static(name), HeaderValue::from(value)));
        self
    }

    pub(super) fn with_text(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Compresses the body if it is large enough.
    pub(super) fn compressed(mut self) -> Self {
        if !self.compressible || self.body.len() < MIN_COMPRESSED_SIZE {
            return self;
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(self.body.len() / 3), Compression::fast());
        if encoder.write_all(&self.body).is_ok()
            && let Ok(compressed) = encoder.finish()
        {
            self.body = Bytes::from(compressed);
            self = self.with_text("content-encoding", "gzip");
        }
        self
    }
}

/// Whether `accept-encoding` allows gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(http::header::ACCEPT_ENCODING);
    values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "*") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

fn decode_form(form: &[u8]) -> Vec<(String, String)> {
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode_form_text(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

fn decode_form_text(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// Forms of the official Python client, whose HTTP library always sends forms as multipart.
fn decode_multipart(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let Some((_, boundary)) = content_type.split_once("boundary=") else { return Vec::new() };
    let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
    if boundary.is_empty() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(body);
    let field = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let (_, name) = head.split_once("name=\"")?;
        let (name, _) = name.split_once('"')?;
        Some((name.to_owned(), value.strip_suffix("\r\n").unwrap_or(value).to_owned()))
    };
    text.split(&format!("--{boundary}")).filter_map(field).collect()
}

fn decode_json(body: &[u8]) -> Vec<(String, String)> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return Vec::new() };
    let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
    object.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(content_type: &str, query: &str, body: &'static str) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
        Call {
            operation: Operation::RenameTable,
            arguments: Vec::new(),
            query: query.to_owned(),
            headers,
            body: CallBody::Memory(Bytes::from_static(body.as_bytes())),
        }
    }

    #[test]
    fn parameters_are_found_in_every_kind_of_body() {
        let form = call("application/x-www-form-urlencoded", "", "a=1&overwrite=tr%75e&b=x+y");
        assert_eq!(form.parameter("overwrite").as_deref(), Some("true"));
        assert_eq!(form.parameter("b").as_deref(), Some("x y"));
        let multipart = call(
            "multipart/form-data; boundary=xyz",
            "",
            "--xyz\r\nContent-Disposition: form-data; name=\"schema\"\r\n\r\n[[\"a\",\"long\"]]\r\n--xyz--\r\n",
        );
        assert_eq!(multipart.parameter("schema").as_deref(), Some("[[\"a\",\"long\"]]"));
        let json = call("application/json; charset=utf-8", "", r#"{"schema":[["a","long"]]}"#);
        assert_eq!(json.parameter("schema").as_deref(), Some(r#"[["a","long"]]"#));
        let query = call("", "count=10&format=msgpack", "");
        assert_eq!(query.parameter("count").as_deref(), Some("10"));
        assert_eq!(query.parameter("absent"), None);
    }

    #[test]
    fn garbage_bodies_have_no_parameters() {
        for (content_type, body) in [
            ("multipart/form-data", "--"),
            ("multipart/form-data; boundary=\"\"", "x"),
            ("application/json", "{\"a\":"),
            ("application/json", "[1]"),
        ] {
            assert_eq!(call(content_type, "%zz&=&&=1", body).parameter("a"), None);
        }
    }

    #[test]
    fn gzip_is_used_only_where_accepted() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", HeaderValue::from_str(value).unwrap());
            headers
        };
        assert!(accepts_gzip(&headers("deflate, gzip")) && accepts_gzip(&headers("gzip;q=0.5")));
        assert!(!accepts_gzip(&headers("identity")) && !accepts_gzip(&headers("gzip;q=0")));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
