//! One attempt whose body is too large to hold: it is passed on piece by piece, as it was sent.

use std::future::Future;

use super::{Failed, HttpClient, Request, Response, classify, read_whole};
use crate::http::body::says_html;
use crate::http::error::{CallError, TransportError};
use crate::rate_limit::Permit;
use bytes::Bytes;

/// Where the pieces of a body go.
pub trait BodySink {
    /// Why a piece was not taken.
    type Error;

    /// Takes the next piece.
    fn take(&mut self, piece: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A sink that outlives an attempt that failed.
pub trait RestartableSink: BodySink {
    /// Begins anew: what was taken before is of an attempt that failed.
    fn restart(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl HttpClient {
    /// Sends `request` once. The body of a success goes to `sink`; the response that is returned has none. Each piece may
    /// take as long as an attempt. That of a failure and a web page are read as [`Self::send`] does. The inner error is the
    /// sink's.
    ///
    /// # Errors
    /// As [`Self::send`], but for the size of the body.
    pub async fn download<S: BodySink>(
        &self,
        request: &Request,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, CallError> {
        let permit = self.rate_limiter.acquire().await;
        let flight = self.clock.flight().await;
        let downloaded = self.pass_on(request, permit, flight.header(), sink).await;
        flight.finish().await;
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
        permit: Permit,
        flight: Option<u64>,
        sink: &mut S,
    ) -> Result<Result<Response, S::Error>, Failed> {
        // What is passed on as it comes must not be packed once more.
        let builder = self.builder(request, Some("identity"), flight);
        let mut answer = self.in_time(async { builder.send().await.map_err(classify) }).await?;
        let mut response = self.head(&mut answer, permit);
        if !response.status.is_success() || says_html(&response.headers) {
            let reading = read_whole(&mut answer, &response.headers, request.answer_limit);
            let body = self.clock.deadline(self.request_timeout, reading).await;
            // Status or type already say that it failed.
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
