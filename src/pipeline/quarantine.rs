//! Records that cannot be read, put aside for people.
//!
//! The only place where customer data is written to the local disk, and only when the user names a folder. Files are
//! 0600 and never written through a symbolic link.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fetch::RefusedCustomer;
use crate::checkpoint::private_file;
use crate::clock::Clock;

/// How many refused customers are named in the log, each on a line.
const LOGGED: u64 = 10;

/// Where records of one run are put aside.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    clock: Clock,
    run_id: Arc<str>,
    folder: Option<Arc<Path>>,
    seen: Arc<std::sync::atomic::AtomicU64>,
}

/// A record could not be put aside.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
pub struct QuarantineError {
    path: PathBuf,
    source: io::Error,
}

#[derive(serde::Serialize)]
struct Line<'a> {
    page: u64,
    position: usize,
    reason: String,
    customer: &'a RawValue,
}

impl Quarantine {
    pub(super) fn new(run_id: &str, folder: Option<&Path>, clock: Clock) -> Self {
        Self { clock, run_id: run_id.into(), folder: folder.map(Into::into), seen: Arc::default() }
    }

    /// Tells of a refused customer, and writes it down when there is a folder.
    pub(super) async fn put_aside(&self, refused: &RefusedCustomer) -> Result<(), QuarantineError> {
        let RefusedCustomer { page, position, reason, customer } = refused;
        let seen = self.seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if seen <= LOGGED {
            tracing::warn!(page, position, %reason, "a customer cannot become a row");
        }
        let Ok(raw) = serde_json::from_str::<&RawValue>(customer) else { return Ok(()) };
        let line = Line { page: *page, position: *position, reason: reason.to_string(), customer: raw };
        // What was parsed can be written.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        self.write("customers.jsonl", text, Existing::AppendedTo).await
    }

    /// Writes down the error records of Treasure Data, as they came.
    pub(super) async fn put_error_records_aside(&self, records: Bytes) -> Result<(), QuarantineError> {
        self.write("error-records.msgpack.gz", records.into(), Existing::Replaced).await
    }

    /// Whether records are written down at all.
    pub(super) fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    async fn write(&self, suffix: &str, content: Vec<u8>, existing: Existing) -> Result<(), QuarantineError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(format!("{}.{suffix}", self.run_id));
        let told = path.clone();
        let work = self.clock.blocking(move || write(&path, &content, existing));
        let result = work.await.unwrap_or_else(|_panicked| Err(io::Error::other("writing panicked")));
        result.map_err(|source| QuarantineError { path: told, source })
    }
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    AppendedTo,
    Replaced,
}

fn write(path: &Path, content: &[u8], existing: Existing) -> io::Result<()> {
    let mut options: OpenOptions = private_file();
    options.create(true);
    match existing {
        Existing::AppendedTo => options.append(true),
        Existing::Replaced => options.write(true).truncate(true),
    };
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowError;

    fn refused(position: usize) -> RefusedCustomer {
        RefusedCustomer { page: 2, position, reason: RowError::NotAnObject, customer: "[1]".into() }
    }

    #[tokio::test]
    async fn refused_customers_are_written_one_a_line_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new("run", Some(folder.path()), Clock::machine());
        quarantine.put_aside(&refused(1)).await.unwrap();
        quarantine.put_aside(&refused(2)).await.unwrap();
        let path = folder.path().join("run.customers.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"page":2,"position":1,"reason":"customer is not a JSON object","customer":[1]}"#
        );
        assert_eq!(text.lines().count(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_symbolic_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("run.customers.jsonl")).unwrap();
        let quarantine = Quarantine::new("run", Some(folder.path()), Clock::machine());
        assert!(quarantine.put_aside(&refused(1)).await.is_err());
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"");
    }

    #[tokio::test]
    async fn without_a_folder_nothing_is_written() {
        let quarantine = Quarantine::new("run", None, Clock::machine());
        quarantine.put_aside(&refused(1)).await.unwrap();
        assert!(!quarantine.has_folder());
    }
}
