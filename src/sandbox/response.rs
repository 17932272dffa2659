//! HTTP responses: regular ones, injected errors, and responses that are corrupted on purpose.
//!
//! Owns the bodies of injected faults: truncated, slow, or with the wrong content type.

use std::convert::Infallible;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use super::fault::{FaultKind, RetryDelay};
use super::reply::Reply;
use super::shared::Shared;
use crate::clock::Arrival;

/// Number of chunks in which a slow body is sent.
const SLOW_BODY_CHUNKS: u32 = 8;

pub(super) type ResponseBody = BoxBody<Bytes, io::Error>;

pub(super) fn respond(reply: Reply, compress: bool) -> Response<ResponseBody> {
    let reply = if compress { reply.compressed() } else { reply };
    let body = Full::new(reply.body).map_err(|never: Infallible| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response.headers_mut().extend(reply.headers);
    response
}

/// The response to a request that was processed, corrupted by `fault`.
pub(super) fn corrupt(
    arrival: Arrival,
    reply: Reply,
    fault: &FaultKind,
    compress: bool,
) -> Response<ResponseBody> {
    match fault {
        FaultKind::EmptyOk => respond(Reply { body: Bytes::new(), status: StatusCode::OK, ..reply }, false),
        FaultKind::WrongContentType => respond(Reply { content_type: "text/html", ..reply }, compress),
        FaultKind::TruncatedBody => {
            let reply = if compress { reply.compressed() } else { reply };
            let length = reply.body.len().max(2);
            let half = reply.body.slice(..reply.body.len() / 2);
            let mut response = respond(reply, false);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = truncated(half);
            response
        }
        FaultKind::Padded(spaces) => {
            let body = [&vec![b' '; *spaces][..], &reply.body].concat().into();
            respond(Reply { body, ..reply }, compress)
        }
        FaultKind::SlowBody(duration) => {
            let reply = if compress { reply.compressed() } else { reply };
            let body = reply.body.clone();
            let mut response = respond(reply, false);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            *response.body_mut() = slow_body(arrival, body, *duration);
            response
        }
        _ => respond(reply, compress),
    }
}

fn truncated(half: Bytes) -> ResponseBody {
    let body = stream::unfold(0_u8, move |step| {
        let half = half.clone();
        async move {
            if step == 0 {
                return Some((Ok(Frame::data(half)), 1));
            }
            // Lets the first half be sent before the connection is closed.
            tokio::task::yield_now().await;
            Some((Err(io::Error::other("injected truncation")), 2))
        }
    });
    BoxBody::new(StreamBody::new(body))
}

fn slow_body(mut arrival: Arrival, body: Bytes, duration: Duration) -> ResponseBody {
    // From here on, only the client may wait for the body.
    arrival.handled();
    let chunk = body.len().div_ceil(SLOW_BODY_CHUNKS as usize).max(1);
    let body = stream::unfold((arrival, body), move |(mut arrival, mut rest)| async move {
        if rest.is_empty() {
            return None;
        }
        arrival.sleep(duration / SLOW_BODY_CHUNKS).await;
        let data = rest.split_to(chunk.min(rest.len()));
        Some((Ok(Frame::data(data)), (arrival, rest)))
    });
    BoxBody::new(StreamBody::new(body))
}

/// An injected error response.
pub(super) fn injected_error(shared: &Shared, status: u16, delay: Option<RetryDelay>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reply = if status.is_server_error() {
        Reply::text(status, "text/html", "<html><body><h1>Something went wrong</h1></body></html>")
    } else {
        let message = "Refused on purpose";
        Reply::json(status, &json!({"error": message, "text": message, "severity": "error"}))
    };
    match delay {
        None => reply,
        Some(RetryDelay::RateLimitReset(seconds)) => {
            reply.with_number("ratelimit-remaining", 0).with_number("ratelimit-reset", seconds)
        }
        Some(RetryDelay::RetryAfterSeconds(seconds)) => reply.with_number("retry-after", seconds),
        Some(RetryDelay::RetryAfterDate(seconds)) => {
            // HTTP dates have whole seconds. Rounded up, so that the delay is never shorter than requested.
            let now = Duration::from_secs(shared.clock.unix_time().as_secs() + 1);
            let date = UNIX_EPOCH.checked_add(now + Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
            reply.with_text("retry-after", &httpdate::fmt_http_date(date))
        }
    }
}
