//! The steps of this attempt's set that need more than one call: fetching, uploading, its parts, the guards, and
//! removing it.

use tracing::{Instrument as _, Span};

use super::{BALLOT_INTERVAL, Executor};
use crate::checkpoint::RunState;
use crate::identity::{Nonce, OwnPart, PartsDigest, SessionName, prove_complete};
use crate::row::IngestionTime;
use crate::run::context::Run;
use crate::run::decide::{BallotSeen, OwnSet, PartsSeen, Seen, UploadEnd};
use crate::run::error::RunError;
use crate::run::guards::{guard, guard_empty};
use crate::run::settings::RowSource;
use crate::run::sink::SessionSink;
use crate::shutdown::{cancel_on_stop, with_shutdown_grace};
use crate::telemetry::{Phase, ProgressSnapshot};
use crate::transfer::{
    FetchedParts, PageEnd, StoredPrefix, Transfer, TransferContext, TransferEnd, TransferSettings,
};
use crate::treasure_data::ColumnDeclaration;
use crate::yotpo::{Pages, PagesSettings};

/// Maximum number of parts that are deleted one by one. A killed attempt leaves fewer: those that were in flight.
const MAX_SURPLUS: usize = 100;

impl Executor<'_> {
    pub(super) fn draw_nonce(&self) -> Result<Seen, RunError> {
        if self.run.client().server_time().is_none() {
            tracing::warn!("Treasure Data's responses have no Date header, so this machine's clock is used");
        }
        let time = self.run.now();
        // Not every time is valid in a row; a wrong clock is detected here.
        IngestionTime::from_unix_seconds(time)?;
        let loads_export = matches!(self.run.settings.source, RowSource::Export(_));
        let nonce = Nonce::marked(time, fastrand::u64(..), loads_export);
        Ok(Seen::Nonce(nonce.map_err(|_too_late| RunError::ClockOutOfRange)?))
    }

    pub(super) async fn fetch(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let time = IngestionTime::from_unix_seconds(own.nonce.time())?;
        self.run.journal.note(RunState::begin_set);
        self.run.progress.begin();
        if let RowSource::Export(export) = &self.run.settings.source {
            return self.begin_export(export);
        }
        let mut transfer = self.start_transfer(time)?;
        if transfer.has_customers::<RunError>().await? {
            self.transfer = Some(transfer);
            return Ok(Seen::FirstRows);
        }
        guard_empty(self.run)?;
        Ok(Seen::NoCustomers)
    }

    pub(super) async fn upload(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let time = IngestionTime::from_unix_seconds(own.nonce.time())?;
        let stop = self.stop;
        self.run.progress.destination_opened();
        let phase = match &self.run.settings.source {
            RowSource::Store => self.run.phases.enter(Phase::Fetching),
            RowSource::Export(_) => self.run.phases.enter(Phase::Uploading),
        };
        let declaring = Box::pin(self.declare_columns(own)).instrument(phase.clone());
        cancel_on_stop(stop, declaring).await?;
        let generation = self.attempt.generation();
        let transfer = self.transfer.take();
        let storing = async {
            if let RowSource::Export(export) = &self.run.settings.source {
                return self.store_export(export, own).instrument(phase).await;
            }
            let transfer = match transfer {
                Some(transfer) => transfer,
                None => phase.in_scope(|| self.start_transfer(time))?,
            };
            self.store(transfer, own, phase).await
        };
        let end = tokio::select! {
            biased;
            end = storing => end?,
            () = self.ballot_moves(generation) => {
                tracing::info!("another attempt of this run is further ahead, joining it");
                UploadEnd::BallotMoved
            }
        };
        Ok(Seen::Uploaded(end))
    }

    /// Starts fetching at the position in the journal.
    fn start_transfer(&self, time: IngestionTime) -> Result<Transfer, RunError> {
        let (run, settings) = (self.run, &self.run.settings.transfer);
        let state = run.journal.state();
        let Some(yotpo) = run.services.yotpo.clone() else {
            return Err(RunError::Bug("fetching without a store"));
        };
        let end = PageEnd { position: state.position, loyalty: state.loyalty };
        let before = StoredPrefix {
            parts: state.parts,
            rows: state.rows,
            rejected: state.rejected_customers,
            end: end.clone(),
            digest: state.parts_digest,
        };
        let TransferSettings { page_size, loyalty_check, .. } = *settings;
        let paging = PagesSettings { page_size, time, loyalty_check };
        let pages = Pages::resume(yotpo, paging, end.position, end.loyalty);
        Ok(Transfer::start(pages, before, settings, run.progress, &run.services.clock, self.stop))
    }

    /// Uploads everything that is fetched, and the last part if the guards accept the result.
    async fn store(&self, transfer: Transfer, own: OwnSet, fetching: Span) -> Result<UploadEnd, RunError> {
        let run = self.run;
        let sink = SessionSink::new(run, own);
        let context = TransferContext {
            settings: &run.settings.transfer,
            progress: run.progress,
            quarantine: &run.quarantine,
            quarantine_label: sink.session().as_str(),
        };
        let work = async {
            let Some(parts) = transfer.store(context, &sink).instrument(fetching).await? else {
                return Ok(UploadEnd::SessionLost);
            };
            let uploading = run.phases.enter(Phase::Uploading);
            Self::store_last(run, parts).instrument(uploading).await
        };
        // On the heap: this is the largest future, and moving it is expensive.
        with_shutdown_grace(&run.services.clock, self.stop, Box::pin(work)).await
    }

    /// Uploads the last part if the guards accept the result.
    async fn store_last(
        run: &Run<'_>,
        parts: FetchedParts<'_, SessionSink<'_>>,
    ) -> Result<UploadEnd, RunError> {
        let last = parts.stored().await?;
        guard(run, last.rows()).await?;
        let end = match last.store().await? {
            TransferEnd::Complete(totals) => UploadEnd::Complete(totals),
            TransferEnd::NoMoreRows => return Ok(UploadEnd::NothingFurther),
            TransferEnd::SinkClosed => return Ok(UploadEnd::SessionLost),
        };
        let ProgressSnapshot { pages, customers, parts, .. } = run.progress.snapshot();
        tracing::info!(pages, customers, parts, "all customers stored");
        Ok(end)
    }

    /// Declares the type of the column, before anything is uploaded if possible, so that a table with another type is
    /// reported early.
    async fn declare_columns(&mut self, own: OwnSet) -> Result<(), RunError> {
        if self.columns_declared_for != Some(own.nonce) {
            let table = self.run.names.loaded_table(&own.as_winner());
            let database = &self.run.settings.target.database;
            let declared = self.run.client().declare_columns(database, &table).await?;
            self.columns_declared_for = (declared != ColumnDeclaration::TableMissing).then_some(own.nonce);
        }
        Ok(())
    }

    /// Returns when the ballot is decided or about to be. A failed poll does not stop the upload.
    pub(super) async fn ballot_moves(&self, generation: u8) {
        loop {
            self.run.services.clock.sleep(BALLOT_INTERVAL).await;
            let moved = match self.ballot(generation).await {
                Ok(BallotSeen::Absent) | Err(_) => false,
                Ok(BallotSeen::Frozen | BallotSeen::OnTable(_)) => true,
                Ok(BallotSeen::Open) => self.is_proposed(generation).await.unwrap_or(false),
            };
            if moved {
                return;
            }
        }
    }

    /// Removes unknown parts from the open session, so that it holds exactly what is known to be stored.
    pub(super) async fn tidy_parts(&self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner());
        let state = self.run.journal.state();
        let names = match self.run.client().parts(&session).await {
            Err(error) if error.is_too_large() => {
                tracing::warn!(%session, %error, "the session holds more parts than can be listed, starting over");
                return Ok(Seen::Parts(PartsSeen::Differ));
            }
            names => names?.unwrap_or_default(),
        };
        let (mut stored, surplus): (Vec<_>, Vec<_>) = names
            .iter()
            .map(|name| (OwnPart::parse(name), name))
            .partition(|(part, _)| part.is_some_and(|part| part.position() < state.parts));
        stored.sort_by_key(|(part, _)| part.map(|part| part.position()));
        let digest = stored.iter().fold(PartsDigest::default(), |digest, (_, name)| digest.with(name));
        if stored.len() as u64 != state.parts || digest != state.parts_digest {
            return Ok(Seen::Parts(PartsSeen::Differ));
        }
        if surplus.len() > MAX_SURPLUS {
            let parts = surplus.len();
            tracing::warn!(
                %session, parts, max = MAX_SURPLUS,
                "the session holds too many unknown parts to delete one by one, starting over"
            );
            return Ok(Seen::Parts(PartsSeen::Differ));
        }
        for (_, name) in surplus {
            // A part with an invalid name must be removed, but the name cannot be used in a URL.
            let Ok(part) = name.parse() else { return Ok(Seen::Parts(PartsSeen::Differ)) };
            self.run.client().delete_part(&session, &part).await?;
        }
        Ok(Seen::Parts(PartsSeen::Stored))
    }

    pub(super) async fn prove_parts(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let session = self.run.names.session(&own.as_winner());
        let mut names = self.run.client().parts(&session).await?.unwrap_or_default();
        let state = self.run.client().session(&session).await?;
        self.job_before = state.and_then(|state| state.job_id);
        names.sort();
        let digest = names.iter().fold(PartsDigest::default(), |digest, name| digest.with(name));
        let proven = prove_complete(names.iter().map(String::as_str));
        Ok(Seen::Parts(match proven {
            Ok(totals) if digest == self.run.journal.state().parts_digest => PartsSeen::Complete(totals),
            Ok(_) => PartsSeen::Differ,
            Err(error) => {
                tracing::warn!(%session, %error, "the session does not hold what was uploaded");
                PartsSeen::Differ
            }
        }))
    }

    /// The second check by the guards, of the rows that were loaded.
    pub(super) async fn guard(&mut self, own: OwnSet) -> Result<Seen, RunError> {
        let run = self.run;
        let session = run.names.session(&own.as_winner());
        let Some(state) = run.client().session(&session).await? else { return Ok(Seen::GuardsPassed) };
        self.quarantine_error_records(&session, state.error_records).await?;
        guard(run, state.valid_records.unwrap_or_default()).await?;
        self.declare_columns(own).await?;
        run.journal.note(|saved| saved.error_records = state.error_records.unwrap_or_default());
        Ok(Seen::GuardsPassed)
    }

    /// Quarantines what Treasure Data could not read, if a directory is set for it.
    pub(super) async fn quarantine_error_records(
        &self,
        session: &SessionName,
        error_records: Option<u64>,
    ) -> Result<(), RunError> {
        let Some(error_records) = error_records.filter(|records| *records > 0) else { return Ok(()) };
        tracing::warn!(error_records, "Treasure Data could not read some records");
        if let Some(mut file) = self.run.quarantine.error_records(session) {
            // On the heap: the future of a run is large already.
            Box::pin(self.run.client().error_records(session, &mut file)).await??;
            file.finish().await?;
        }
        Ok(())
    }

    /// Removes this attempt's set, which cannot have been chosen.
    pub(super) async fn discard(&self, own: OwnSet) -> Result<Seen, RunError> {
        SessionSink::new(self.run, own).abort().await?;
        self.run.journal.update(RunState::begin_set).await?;
        Ok(Seen::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Mode, PartTotals};
    use crate::run::context::restored;
    use crate::run::fixture::Fixture;
    use crate::run::start::load_attempt;
    use crate::shutdown::StopRequests;

    /// Two parts of a set, the second of which is the last one.
    fn stored() -> (Vec<String>, PartsDigest) {
        let first = OwnPart::new(0, b"first").render().to_string();
        let digest = PartsDigest::default().with(&first);
        let last = OwnPart::new(1, b"last").last(digest, 20, 1).render().to_string();
        let digest = digest.with(&last);
        (vec![first, last], digest)
    }

    fn listed(parts: &[String]) -> String {
        serde_json::json!({"parts": parts}).to_string()
    }

    /// What a step shows of a session that returns this, and what it requested after the list of parts.
    async fn seen(
        responses: &[(&str, &str)],
        step: impl AsyncFnOnce(&mut Executor<'_>, OwnSet) -> Result<Seen, RunError>,
    ) -> (Result<Seen, RunError>, Vec<String>) {
        let fixture = Fixture::with_account(Mode::Append, responses);
        let state = RunState { parts: 2, rows: 20, parts_digest: stored().1, ..fixture.state() };
        let own = restored(&state.set.unwrap());
        let run = fixture.run(state);
        let (_sender, stop) = StopRequests::channel();
        let result = step(&mut Executor::new(&run, &load_attempt(&run), &stop), own).await;
        (result, fixture.requests().split_off(1))
    }

    async fn tidied(parts: &[String]) -> (PartsSeen, usize) {
        let list = listed(parts);
        let mut responses = vec![("200 OK", list.as_str())];
        responses.resize(parts.len() + 1, ("200 OK", "{}"));
        let (result, requests) = seen(&responses, async |executor, own| executor.tidy_parts(own).await).await;
        let Ok(Seen::Parts(parts)) = result else { panic!("{result:?}") };
        assert!(requests.iter().all(|request| request.contains("/bulk_import/delete_part/")), "{requests:?}");
        (parts, requests.len())
    }

    #[tokio::test]
    async fn a_session_holds_exactly_what_is_saved_before_a_set_is_continued() {
        let (parts, _) = stored();
        let with_surplus = |surplus: u64| {
            let surplus =
                (2..2 + surplus).map(|position| OwnPart::new(position, b"more").render().to_string());
            parts.iter().cloned().chain(surplus).collect::<Vec<_>>()
        };
        for (surplus, expected) in [
            (0, (PartsSeen::Stored, 0)),
            (1, (PartsSeen::Stored, 1)),
            (100, (PartsSeen::Stored, 100)),
            (101, (PartsSeen::Differ, 0)),
        ] {
            assert_eq!(tidied(&with_surplus(surplus)).await, expected, "{surplus}");
        }
        let other = [parts[0].clone(), OwnPart::new(1, b"other").render().to_string()];
        assert_eq!(tidied(&other).await, (PartsSeen::Differ, 0));
        assert_eq!(tidied(&parts[..1]).await, (PartsSeen::Differ, 0));
    }

    #[tokio::test]
    async fn parts_that_cannot_be_listed_do_not_mean_that_the_set_differs() {
        let (result, _) = seen(&[("500 Internal Server Error", "{}")], async |executor, own| {
            executor.tidy_parts(own).await
        })
        .await;
        assert!(matches!(result, Err(RunError::TreasureData(_))), "{result:?}");
    }

    #[tokio::test]
    async fn a_set_is_complete_only_with_the_parts_that_this_attempt_uploaded() {
        let (parts, _) = stored();
        let other = OwnPart::new(0, b"other").render().to_string();
        let digest = PartsDigest::default().with(&other);
        let others = [other, OwnPart::new(1, b"last").last(digest, 20, 1).render().to_string()];
        let totals = PartTotals { parts: 2, valid: 20, rejected: 1 };
        for (parts, expected) in [
            (&parts[..], PartsSeen::Complete(totals)),
            (&others[..], PartsSeen::Differ),
            (&parts[..1], PartsSeen::Differ),
        ] {
            let list = listed(parts);
            let responses = [("200 OK", list.as_str()), ("200 OK", r#"{"status": "uploading"}"#)];
            let (result, _) = seen(&responses, async |executor, own| executor.prove_parts(own).await).await;
            assert!(matches!(result, Ok(Seen::Parts(seen)) if seen == expected), "{result:?}");
        }
    }
}
