//! One attempt whose response body is too large for memory and is streamed to a sink as received.

use std::future::Future;

use super::{ExchangeError, HttpClient, Request, Response, classify, read_whole};
use crate::http::body::is_html;
use crate::http::error::{CallError, TransportError};
use crate::rate_limit::Permit;
use bytes::Bytes;

/// Receives a body in pieces.
pub trait BodySink {
    /// Why a piece could not be written.
    type Error;

    /// Writes the next piece.
    fn write(&mut self, piece: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A sink that can be used again after a failed attempt.
pub trait RestartableSink: BodySink {
    /// Starts over: discards what was written by a failed attempt.
    fn restart(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl HttpClient {
    /// Sends `request` once and streams the body of a success to `sink`; the returned response has no body. The request timeout
    /// applies to each piece. The bodies of failures and web pages are read as in [`Self::send`]. The inner error is the sink's.
    ///
    /// # Errors
    /// As [`Self::send`], except that the size of a streamed body is not limited.
    pub async fn download<S: BodySink>(
        &self,
        request: &Request,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, CallError> {
        let permit = self.rate_limiter.acquire().await;
        let sent = self.clock.now();
        let flight = self.clock.flight().await;
        let downloaded = self.stream_body(request, permit, flight.header(), sink).await;
        flight.finish().await;
        let lasted = self.clock.now().saturating_sub(sent);
        let status = downloaded.as_ref().ok().and_then(|downloaded| Some(downloaded.as_ref().ok()?.status));
        self.exchanges.ended(request.operation, status, lasted, request.body.as_ref().map_or(0, Bytes::len));
        let Request { operation, effect, .. } = *request;
        let downloaded = downloaded.map_err(|failed| match failed {
            ExchangeError::Transport(error) => CallError::transport(operation, effect, self.named(error)),
            ExchangeError::Body(problem) => CallError::body(operation, effect, problem),
        });
        // An error of the sink says nothing about the response.
        if let Ok(Ok(response)) = &downloaded {
            self.log(request, sent, Ok(response));
        } else if let Err(error) = &downloaded {
            self.log(request, sent, Err(error));
        }
        downloaded.map_err(|error| self.with_server(error))
    }

    async fn stream_body<S: BodySink>(
        &self,
        request: &Request,
        permit: Permit,
        flight: Option<u64>,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, ExchangeError> {
        // The body is streamed as received, so it must not be compressed.
        let builder = self.builder(request, Some("identity"), flight);
        let mut incoming = self.with_timeout(async { builder.send().await.map_err(classify) }).await?;
        let mut response = self.head(&mut incoming, permit);
        if !response.status.is_success() || is_html(&response.headers) {
            let reading = read_whole(&mut incoming, &response.headers, request.max_response_bytes);
            let body = self.clock.deadline(self.request_timeout, reading).await;
            // The status or the content type already reports the failure.
            response.body = body.ok().and_then(Result::ok).unwrap_or_default();
            return Ok(Ok(response));
        }
        let interrupted = |error: reqwest::Error| TransportError::Interrupted(error.into());
        while let Some(piece) =
            self.with_timeout(async { incoming.chunk().await.map_err(interrupted) }).await?
        {
            self.exchanges.received(request.operation, piece.len());
            if let Err(error) = sink.write(piece).await {
                return Ok(Err(error));
            }
        }
        Ok(Ok(response))
    }

    /// Runs `work` with the request timeout.
    async fn with_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, ExchangeError> {
        match self.clock.deadline(self.request_timeout, work).await {
            Ok(result) => result.map_err(ExchangeError::Transport),
            Err(elapsed) => Err(ExchangeError::Transport(TransportError::TimedOut(elapsed))),
        }
    }
}
