//! Answers on their way to the socket: whole, refused, or spoilt on purpose.
//!
//! Owns the bodies that faults make: cut short, trickling, or saying what they are not.

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

/// Pieces of a trickling body.
const TRICKLE: u32 = 8;

pub(super) type AnswerBody = BoxBody<Bytes, io::Error>;

pub(super) fn respond(reply: Reply, compress: bool) -> Response<AnswerBody> {
    let reply = if compress { reply.compressed() } else { reply };
    let body = Full::new(reply.body).map_err(|never: Infallible| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response.headers_mut().extend(reply.headers);
    response
}

/// An answer after the service acted, with its body spoilt.
pub(super) fn spoil(
    arrival: Arrival,
    reply: Reply,
    fault: &FaultKind,
    compress: bool,
) -> Response<AnswerBody> {
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
        FaultKind::Padded(blanks) => {
            let body = [&vec![b' '; *blanks][..], &reply.body].concat().into();
            respond(Reply { body, ..reply }, compress)
        }
        FaultKind::SlowBody(duration) => {
            let reply = if compress { reply.compressed() } else { reply };
            let body = reply.body.clone();
            let mut response = respond(reply, false);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            *response.body_mut() = trickling(arrival, body, *duration);
            response
        }
        _ => respond(reply, compress),
    }
}

fn truncated(half: Bytes) -> AnswerBody {
    let body = stream::unfold(0_u8, move |step| {
        let half = half.clone();
        async move {
            if step == 0 {
                return Some((Ok(Frame::data(half)), 1));
            }
            // Lets the half be sent before the connection ends.
            tokio::task::yield_now().await;
            Some((Err(io::Error::other("truncated on purpose")), 2))
        }
    });
    BoxBody::new(StreamBody::new(body))
}

fn trickling(mut arrival: Arrival, body: Bytes, duration: Duration) -> AnswerBody {
    // From here on the client waits for the body, or nobody does.
    arrival.acted();
    let piece = body.len().div_ceil(TRICKLE as usize).max(1);
    let body = stream::unfold((arrival, body), move |(mut arrival, mut rest)| async move {
        if rest.is_empty() {
            return None;
        }
        arrival.sleep(duration / TRICKLE).await;
        let data = rest.split_to(piece.min(rest.len()));
        Some((Ok(Frame::data(data)), (arrival, rest)))
    });
    BoxBody::new(StreamBody::new(body))
}

/// The answer of a service that refuses on purpose.
pub(super) fn refusal(shared: &Shared, status: u16, delay: Option<RetryDelay>) -> Reply {
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
            // HTTP dates have whole seconds; rounded up, so that the wait is never shorter than asked for.
            let now = Duration::from_secs(shared.clock.unix_time().as_secs() + 1);
            let date = UNIX_EPOCH.checked_add(now + Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
            reply.with_text("retry-after", &httpdate::fmt_http_date(date))
        }
    }
}
