//! One attempt whose body is too large to hold: it is passed on piece by piece, as it was sent.

use std::future::Future;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue};

use super::{Failed, HttpClient, Request, Response, classify, read_whole};
use crate::clock::FLIGHT_HEADER;
use crate::http::delay::delay_hint;
use crate::http::error::{CallError, TransportError};
use crate::rate_limit::Admission;

/// Where the pieces of a body go.
pub trait BodySink {
    /// Why a piece was not taken.
    type Error;

    /// Takes the next piece.
    fn take(&mut self, piece: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl HttpClient {
    /// Sends `request` once. The body of a success goes to `sink`; the response that is returned has none. Each piece may
    /// take as long as an attempt. A body that is no success is read as [`Self::send`] does. The inner error is the sink's.
    ///
    /// # Errors
    /// As [`Self::send`], but for the size of the body.
    pub async fn download<S: BodySink>(
        &self,
        request: &Request,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, CallError> {
        let admission = self.gate.admit().await;
        let flight = self.clock.flight().await;
        let downloaded = self.pass_on(request, admission, flight.header(), sink).await;
        flight.land().await;
        downloaded.map_err(|failed| {
            let Request { operation, effect, .. } = *request;
            self.locate(match failed {
                Failed::Transport(error) => CallError::transport(operation, effect, error),
                Failed::Body(problem) => CallError::body(operation, effect, problem),
            })
        })
    }

    async fn pass_on<S: BodySink>(
        &self,
        request: &Request,
        admission: Admission,
        flight: Option<u64>,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, Failed> {
        let mut builder =
            self.client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        // What is passed on as it comes must not be packed once more.
        builder = builder.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(flight) = flight {
            builder = builder.header(FLIGHT_HEADER, flight);
        }
        let mut answer = self.in_time(async { builder.send().await.map_err(classify) }).await?;
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let delay = delay_hint(status, &headers, self.clock.unix_time());
        admission.answered(status == StatusCode::TOO_MANY_REQUESTS, delay.allowance);
        let mut response = Response { delay, status, headers, body: Bytes::new() };
        if !status.is_success() {
            let reading = read_whole(&mut answer, &response.headers, request.answer_limit);
            let body = self.clock.deadline(self.request_timeout, reading).await;
            // The status already says that it failed.
            response.body = body.ok().and_then(Result::ok).unwrap_or_default();
            return Ok(Ok(response));
        }
        let interrupted = |error: reqwest::Error| TransportError::Interrupted(error.without_url());
        while let Some(piece) = self.in_time(async { answer.chunk().await.map_err(interrupted) }).await? {
            if let Err(error) = sink.take(piece).await {
                return Ok(Err(error));
            }
        }
        Ok(Ok(response))
    }

    /// What `work` gives, within the time of an attempt.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, TransportError>>) -> Result<T, Failed> {
        match self.clock.deadline(self.request_timeout, work).await {
            Ok(result) => result.map_err(Failed::Transport),
            Err(elapsed) => Err(Failed::Transport(TransportError::TimedOut(elapsed))),
        }
    }
}
