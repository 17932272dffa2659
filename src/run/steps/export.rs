//! The steps of a set whose rows come from an export: its parts are uploaded as they are.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;

use super::Executor;
use crate::export::{CompleteExport, ManifestPart};
use crate::run::decide::{OwnSet, Seen, UploadEnd};
use crate::run::error::{GuardError, RunError};
use crate::run::guards::{guard, guard_empty};
use crate::run::sink::SessionSink;
use crate::shutdown::with_shutdown_grace;
use crate::transfer::{CompleteParts, NamedPart, PageEnd, PartSink as _, Put, StoredPrefix};
use crate::yotpo::Position;

impl Executor<'_> {
    /// Whether the export has rows.
    pub(super) fn begin_export(&self, export: &CompleteExport) -> Result<Seen, RunError> {
        if export.manifest.rows > 0 {
            return Ok(Seen::FirstRows);
        }
        if export.manifest.rejected_customers > 0 {
            return Err(GuardError::NoRows.into());
        }
        guard_empty(self.run)?;
        Ok(Seen::NoCustomers)
    }

    /// Uploads the parts of an export that are not stored yet, the last one after all others.
    pub(super) async fn store_export(
        &self,
        export: &CompleteExport,
        own: OwnSet,
    ) -> Result<UploadEnd, RunError> {
        let work = async {
            let run = self.run;
            // Before anything is uploaded: the number of rows is known.
            guard(run, export.manifest.rows).await?;
            let sink = SessionSink::new(run, own);
            let stored = run.journal.state();
            let mut prefix = StoredPrefix {
                parts: stored.parts,
                rows: stored.rows,
                rejected: stored.rejected_customers,
                end: PageEnd { position: Position::Start, loyalty: export.manifest.loyalty },
                digest: stored.parts_digest,
            };
            let skipped = usize::try_from(stored.parts).unwrap_or(usize::MAX);
            let mut left: Vec<_> = export.manifest.parts.iter().zip(0_u64..).skip(skipped).collect();
            let Some(last) = left.pop() else { return Ok(UploadEnd::NothingFurther) };
            let mut left = left.into_iter();
            let mut uploads: FuturesOrdered<BoxFuture<'_, Result<_, RunError>>> = FuturesOrdered::new();
            loop {
                while uploads.len() < run.settings.transfer.upload_workers.get()
                    && let Some(part) = left.next()
                {
                    uploads.push_back(Box::pin(self.put_part(export, &sink, part)));
                }
                let Some((part, put)) = uploads.next().await.transpose()? else { break };
                if put == Put::SinkClosed {
                    return Ok(UploadEnd::SessionLost);
                }
                advance(&mut prefix, part);
                sink.checkpoint(prefix.clone()).await?;
            }
            let (part, put) = self.put_part(export, &sink, last).await?;
            if put == Put::SinkClosed {
                return Ok(UploadEnd::SessionLost);
            }
            advance(&mut prefix, part);
            let totals = export.manifest.totals();
            let position = export.manifest.position.clone();
            let loyalty = export.manifest.loyalty;
            run.progress.export_read(position.page(), loyalty.with_loyalty_data(), position.ended_by());
            let end = PageEnd { position, loyalty };
            sink.complete(CompleteParts { totals, digest: prefix.digest, end }).await?;
            tracing::info!(rows = totals.valid, parts = totals.parts, "all rows of the export stored");
            Ok(UploadEnd::Complete(totals))
        };
        // On the heap: this is the largest future, and moving it is expensive.
        with_shutdown_grace(&self.run.services.clock, self.stop, Box::pin(work)).await
    }

    /// Reads a part, whose checksum must be the one in the manifest, and uploads it.
    async fn put_part<'e>(
        &self,
        export: &'e CompleteExport,
        sink: &SessionSink<'_>,
        (part, position): (&'e ManifestPart, u64),
    ) -> Result<(&'e ManifestPart, Put), RunError> {
        let (directory, listed) = (export.directory.clone(), part.clone());
        let clock = &self.run.services.clock;
        let Ok(read) = clock.blocking(move || directory.read_part(&listed)).await else {
            return Err(RunError::Bug("reading a part panicked"));
        };
        let ManifestPart { name, rows, rejected_customers: rejected, row_bytes, .. } = part.clone();
        let named = NamedPart { name, position, body: read?, rows, row_bytes, rejected };
        let put = sink.put(&named).await?;
        let progress = self.run.progress;
        progress.part_stored(named.body.len(), row_bytes);
        progress.customers_read(rows.saturating_add(rejected));
        Ok((part, put))
    }
}

/// Adds a part that is stored.
fn advance(prefix: &mut StoredPrefix, part: &ManifestPart) {
    prefix.parts += 1;
    prefix.rows = prefix.rows.saturating_add(part.rows);
    prefix.rejected = prefix.rejected.saturating_add(part.rejected_customers);
    prefix.digest = prefix.digest.with(part.name.as_str());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::{Mode, OwnPart, PartsDigest, Sha256Sum};
    use crate::run::fixture::{Fixture, export};
    use crate::run::settings::RowSource;
    use crate::run::start::load_attempt;
    use crate::shutdown::StopRequests;
    use crate::yotpo::LoyaltyCounts;

    #[test]
    fn an_export_is_loaded_unless_it_has_no_rows() {
        let begin = |mode, rows, rejected_customers| {
            let mut export = export();
            (export.manifest.rows, export.manifest.rejected_customers) = (rows, rejected_customers);
            let fixture = Fixture::new(mode, RowSource::Export(Arc::new(export.clone())));
            let run = fixture.run(fixture.state());
            let (_sender, stop) = StopRequests::channel();
            let seen = Executor::new(&run, &load_attempt(&run), &stop).begin_export(&export);
            seen.map_err(|error| error.to_string())
        };
        for mode in [Mode::Append, Mode::Replace] {
            assert_eq!(begin(mode, 1, 0), Ok(Seen::FirstRows));
            assert_eq!(begin(mode, 1, 7), Ok(Seen::FirstRows));
            assert_eq!(begin(mode, 0, 7), Err(RunError::from(GuardError::NoRows).to_string()));
        }
        assert_eq!(begin(Mode::Append, 0, 0), Ok(Seen::NoCustomers));
        assert_eq!(begin(Mode::Replace, 0, 0), Err(RunError::from(GuardError::Empty).to_string()));
    }

    #[test]
    fn a_stored_part_is_added_to_what_is_saved() {
        let part = |position, rows, rejected_customers| ManifestPart {
            name: OwnPart::new(position, b"part").render(),
            rows,
            rejected_customers,
            bytes: 4,
            row_bytes: 9,
            sha256: Sha256Sum::of(b"part"),
        };
        let end = PageEnd { position: Position::Start, loyalty: LoyaltyCounts::default() };
        let mut prefix = StoredPrefix { parts: 0, rows: 0, rejected: 0, end, digest: PartsDigest::default() };
        let (first, second) = (part(0, 10, 1), part(1, 5, 2));
        advance(&mut prefix, &first);
        advance(&mut prefix, &second);
        assert_eq!((prefix.parts, prefix.rows, prefix.rejected), (2, 15, 3));
        let digest = PartsDigest::default().with(first.name.as_str()).with(second.name.as_str());
        assert_eq!(prefix.digest, digest);
    }
}
