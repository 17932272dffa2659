//! The error records of a load job. They may not fit in memory, so they are streamed.

use http::Method;

use super::client::{Call, TreasureDataClient};
use super::error::TreasureDataError;
use crate::http::{CallError, RestartableSink};
use crate::identity::SessionName;

impl TreasureDataClient {
    /// Streams the error records of a session to `sink` as Treasure Data sends them: a gzip file of `MessagePack` values, which
    /// is customer data. The inner error is the sink's.
    ///
    /// # Errors
    /// When the call fails after all retries.
    pub async fn error_records<S: RestartableSink>(
        &self,
        session: &SessionName,
        sink: &mut S,
    ) -> Result<Result<(), S::Error>, TreasureDataError> {
        let path = ["bulk_import", "error_records", session.as_str()];
        let call = Call::get("fetch the error records", &path);
        let mut series = self.series();
        loop {
            let attempt = self.attempt_error_records(&call, sink);
            if let Some(result) = self.retrier().attempt_in(&mut series, call.1.operation, attempt).await? {
                return Ok(result);
            }
        }
    }

    async fn attempt_error_records<S: RestartableSink>(
        &self,
        call: &(Method, Call<'_>),
        sink: &mut S,
    ) -> Result<Result<(), S::Error>, CallError> {
        if let Err(error) = sink.restart().await {
            return Ok(Err(error));
        }
        let (request, downloaded) = self.download(call, sink).await?;
        let response = match downloaded {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if !response.status.is_success() {
            return Err(self.failure(&request, &response));
        }
        // A web page comes from a proxy and is not an error record, whatever its status.
        response.reject_html().map_err(|problem| self.body_error(&call.1, problem))?;
        self.retrier().apply_delay_hint(response.delay);
        Ok(Ok(()))
    }
}
