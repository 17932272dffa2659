//! An export directory as a sink of parts. The manifest records what is stored there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::directory::ExportDirectory;
use super::error::ExportError;
use super::manifest::{Manifest, ManifestPart};
use crate::clock::Clock;
use crate::transfer::{CompleteParts, NamedPart, PartSink, Put, StoredPrefix};

/// Writes parts into an export directory.
#[derive(Debug)]
pub struct DirectorySink {
    directory: ExportDirectory,
    clock: Clock,
    stored: Mutex<Stored>,
}

#[derive(Debug)]
struct Stored {
    /// As it was saved last.
    manifest: Manifest,
    /// Parts that are stored but not in the manifest yet, by position.
    pending: BTreeMap<u64, ManifestPart>,
}

impl DirectorySink {
    /// Continues the export of `manifest`.
    pub fn new(directory: ExportDirectory, manifest: Manifest, clock: Clock) -> Self {
        let stored = Mutex::new(Stored { manifest, pending: BTreeMap::new() });
        Self { directory, clock, stored }
    }

    /// The manifest as it was saved last.
    pub fn manifest(&self) -> Manifest {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).manifest.clone()
    }

    /// Records that the store has no customers.
    ///
    /// # Errors
    /// When the manifest cannot be saved.
    pub async fn complete_empty(&self) -> Result<(), ExportError> {
        self.save(0, |manifest| manifest.is_complete = true).await
    }

    /// Runs disk work outside the network thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ExportDirectory) -> Result<T, ExportError> + Send + 'static,
    ) -> Result<T, ExportError> {
        let directory = self.directory.clone();
        let work = self.clock.blocking(move || work(&directory));
        work.await.unwrap_or_else(|_panicked| Err(ExportError::Bug("writing the export panicked")))
    }

    /// Saves the manifest with the first `parts` parts and with `change`.
    async fn save(&self, parts: u64, change: impl FnOnce(&mut Manifest)) -> Result<(), ExportError> {
        let manifest = {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            let mut manifest = stored.manifest.clone();
            while manifest.totals().parts < parts
                && let Some(part) = stored.pending.remove(&manifest.totals().parts)
            {
                manifest.parts.push(part);
            }
            change(&mut manifest);
            manifest.updated_at = self.clock.unix_time().as_secs();
            stored.manifest = manifest.clone();
            manifest
        };
        self.blocking(move |directory| directory.save(&manifest)).await
    }
}

impl PartSink for DirectorySink {
    type Error = ExportError;

    async fn put(&self, part: &NamedPart) -> Result<Put, ExportError> {
        let NamedPart { name, position, body, rows, row_bytes, rejected } = part;
        let (bytes, body) = (u64::try_from(body.len()).unwrap_or(u64::MAX), body.clone());
        let file = name.clone();
        let sha256 = self.blocking(move |directory| directory.store_part(&file, &body)).await?;
        let part = ManifestPart {
            name: name.clone(),
            rows: *rows,
            rejected_customers: *rejected,
            bytes,
            row_bytes: *row_bytes,
            sha256,
        };
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.pending.insert(*position, part);
        Ok(Put::Stored)
    }

    async fn checkpoint(&self, prefix: StoredPrefix) -> Result<(), ExportError> {
        let StoredPrefix { parts, rows, rejected, end, digest: _ } = prefix;
        let save = self.save(parts, move |manifest| {
            manifest.rows = rows;
            manifest.rejected_customers = rejected;
            manifest.position = end.position;
            manifest.loyalty = end.loyalty;
        });
        save.await
    }

    async fn complete(&self, parts: CompleteParts) -> Result<(), ExportError> {
        let CompleteParts { totals, end, digest: _ } = parts;
        let save = self.save(totals.parts, move |manifest| {
            manifest.rows = totals.valid;
            manifest.rejected_customers = totals.rejected;
            manifest.position = end.position;
            manifest.loyalty = end.loyalty;
            manifest.is_complete = true;
        });
        save.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Code, code_of_export};
    use crate::export::manifest::tests::example;
    use crate::identity::PartsDigest;
    use crate::transfer::PageEnd;
    use crate::yotpo::{LoyaltyCounts, Position};

    #[tokio::test]
    async fn a_panic_while_writing_is_a_bug() {
        let place = tempfile::tempdir().unwrap();
        let directory = ExportDirectory::create(&place.path().join("export")).unwrap();
        let sink = DirectorySink::new(directory, example(), Clock::machine());
        let error = sink.blocking::<()>(|_directory| panic!("a test")).await.unwrap_err();
        assert!(matches!(error, ExportError::Bug(_)), "{error:?}");
        assert_eq!(code_of_export(&error), Code::Bug);
    }

    #[tokio::test]
    async fn the_manifest_lists_the_parts_up_to_the_checkpoint_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let directory = ExportDirectory::create(&place.path().join("export")).unwrap();
        let empty =
            Manifest { is_complete: false, rows: 0, rejected_customers: 0, parts: Vec::new(), ..example() };
        let sink = DirectorySink::new(directory.clone(), empty, Clock::machine());
        let parts = example().parts;
        for position in [1, 0, 2_u64] {
            let part = &parts[usize::try_from(position).unwrap()];
            let ManifestPart { name, rows, rejected_customers: rejected, row_bytes, .. } = part.clone();
            let body = position.to_le_bytes().to_vec().into();
            let named = NamedPart { name, position, body, rows, row_bytes, rejected };
            assert_eq!(sink.put(&named).await.unwrap(), Put::Stored);
        }
        for (count, rows, rejected) in [(1, 10, 0), (2, 20, 1)] {
            let end = PageEnd { position: Position::Start, loyalty: LoyaltyCounts::default() };
            let digest = PartsDigest::default();
            sink.checkpoint(StoredPrefix { parts: count, rows, rejected, end, digest }).await.unwrap();
            let saved = directory.manifest().unwrap().unwrap();
            assert_eq!(saved.parts[..], parts[..usize::try_from(count).unwrap()]);
            assert_eq!((saved.rows, saved.rejected_customers, saved.is_complete), (rows, rejected, false));
        }
    }
}
