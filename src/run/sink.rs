//! The bulk import session of an attempt as a sink of parts. The run's state records what is stored there.

use tracing::Instrument as _;

use super::cleanup::remove_set;
use super::context::Run;
use super::error::RunError;
use crate::checkpoint::RunPhase;
use crate::http::error_type;
use crate::identity::SessionName;
use crate::run::decide::OwnSet;
use crate::spans;
use crate::transfer::{CompleteParts, NamedPart, PartSink, Put, StoredPrefix};

/// The session of an attempt.
pub(super) struct SessionSink<'a> {
    run: &'a Run<'a>,
    own: OwnSet,
    session: SessionName,
}

impl<'a> SessionSink<'a> {
    /// The session of a set.
    pub(super) fn new(run: &'a Run<'a>, own: OwnSet) -> Self {
        let session = run.names.session(&own.as_winner());
        Self { run, own, session }
    }

    /// Its name.
    pub(super) const fn session(&self) -> &SessionName {
        &self.session
    }

    /// Deletes everything that was put, because nothing can use it.
    pub(super) async fn abort(&self) -> Result<(), RunError> {
        remove_set(self.run, &self.own).await
    }
}

impl PartSink for SessionSink<'_> {
    type Error = RunError;

    async fn put(&self, part: &NamedPart) -> Result<Put, RunError> {
        let NamedPart { name, body, .. } = part;
        let span = spans::upload(&self.session, body.len());
        let uploading = self.run.client().upload_part(&self.session, name, body.clone());
        let is_stored = uploading.instrument(span.clone()).await;
        let is_stored = is_stored.inspect_err(|error| spans::record_failure(&span, &error_type(error)))?;
        Ok(if is_stored { Put::Stored } else { Put::SinkClosed })
    }

    async fn checkpoint(&self, prefix: StoredPrefix) -> Result<(), RunError> {
        let save = self.run.journal.update(|state| {
            state.parts = prefix.parts;
            state.parts_digest = prefix.digest;
            state.rows = prefix.rows;
            state.rejected_customers = prefix.rejected;
            state.position = prefix.end.position;
            state.loyalty = prefix.end.loyalty;
        });
        save.await
    }

    async fn complete(&self, parts: CompleteParts) -> Result<(), RunError> {
        let CompleteParts { totals, digest, end } = parts;
        let save = self.run.journal.update(|state| {
            state.phase = RunPhase::Loading;
            state.position = end.position;
            state.loyalty = end.loyalty;
            state.parts = totals.parts;
            state.parts_digest = digest;
            state.rows = totals.valid;
            state.rejected_customers = totals.rejected;
            if let Some(set) = state.set.as_mut() {
                set.totals = Some(totals);
            }
        });
        save.await
    }
}
