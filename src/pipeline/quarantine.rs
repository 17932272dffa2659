//! Records that cannot be read, put aside for people.
//!
//! The only place where customer data is written to the local disk, and only when the user names a folder. Files are
//! opened as the state is: 0600, and never one that somebody else could have put there.

mod error_records;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::value::RawValue;

use self::error_records::ErrorRecordsFile;
use super::fetch::RefusedCustomer;
use crate::checkpoint::{PrivateFileError, open_private};
use crate::clock::Clock;
use crate::identity::SessionName;

/// How many refused customers are named in the log, each on a line.
const LOGGED: u64 = 10;

/// Where records are put aside: in a file of its own for each session, whose name names the attempt.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    clock: Clock,
    folder: Option<Arc<Path>>,
    seen: Arc<std::sync::atomic::AtomicU64>,
}

/// A record could not be put aside.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
pub struct QuarantineError {
    path: PathBuf,
    source: PrivateFileError,
}

#[derive(serde::Serialize)]
struct Line<'a> {
    page: u64,
    position: usize,
    reason: String,
    customer: &'a RawValue,
}

impl Quarantine {
    pub(super) fn new(folder: Option<&Path>, clock: Clock) -> Self {
        Self { clock, folder: folder.map(Into::into), seen: Arc::default() }
    }

    /// Tells of a refused customer, and writes it down when there is a folder.
    pub(super) async fn put_aside(
        &self,
        session: &SessionName,
        refused: &RefusedCustomer,
    ) -> Result<(), QuarantineError> {
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
        self.append(session, "customers.jsonl", text).await
    }

    /// The file that the error records of a session go to, as they come; none without a folder. Nothing is opened yet.
    pub(super) fn error_records(&self, session: &SessionName) -> Option<ErrorRecordsFile> {
        let folder = self.folder.as_deref()?;
        let path = folder.join(format!("{session}.error-records.msgpack.gz"));
        Some(ErrorRecordsFile::new(path, self.clock.clone()))
    }

    async fn append(
        &self,
        session: &SessionName,
        suffix: &str,
        content: Vec<u8>,
    ) -> Result<(), QuarantineError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(format!("{session}.{suffix}"));
        let told = path.clone();
        let work = self.clock.blocking(move || append(&path, &content));
        let result = work.await.unwrap_or_else(|_panicked| Err(io::Error::other("writing panicked").into()));
        result.map_err(|source| QuarantineError { path: told, source })
    }
}

fn append(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let mut file = open_private(path, OpenOptions::new().create(true).append(true))?;
    file.write_all(content)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::BodySink as _;
    use crate::row::RowError;
    use crate::treasure_data::ErrorRecordSink as _;

    fn session() -> SessionName {
        "run".parse().unwrap()
    }

    /// As two attempts of the download do, of which the first fails.
    async fn put_error_records_aside(quarantine: &Quarantine) -> Result<(), QuarantineError> {
        let mut file = quarantine.error_records(&session()).unwrap();
        file.restart().await?;
        file.take(Bytes::from_static(b"half of the rec")).await?;
        file.restart().await?;
        file.take(Bytes::from_static(b"rec")).await?;
        file.take(Bytes::from_static(b"ords")).await?;
        file.finish().await
    }

    fn refused(position: usize) -> RefusedCustomer {
        RefusedCustomer { page: 2, position, reason: RowError::NotAnObject, customer: "[1]".into() }
    }

    #[tokio::test]
    async fn refused_customers_are_written_one_a_line_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        quarantine.put_aside(&session(), &refused(1)).await.unwrap();
        quarantine.put_aside(&session(), &refused(2)).await.unwrap();
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

    /// What each kind of quarantine file is refused for, with `spoil` applied to its path beforehand.
    #[cfg(unix)]
    async fn refusals(spoil: impl Fn(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        spoil(&folder.path().join("run.customers.jsonl"));
        spoil(&folder.path().join("run.error-records.msgpack.gz"));
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        let results =
            [quarantine.put_aside(&session(), &refused(1)).await, put_error_records_aside(&quarantine).await];
        let place = folder.path().to_string_lossy();
        let text = |result: Result<(), QuarantineError>| {
            let error = result.unwrap_err();
            let told = std::error::Error::source(&error).unwrap().to_string().replace(&*place, "[folder]");
            told.split(':').next().unwrap().to_owned()
        };
        results.map(text).to_vec()
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_somebody_else_could_have_put_there_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(elsewhere.path(), "before").unwrap();
        let link = refusals(|path| symlink(elsewhere.path(), path).unwrap()).await;
        assert_eq!(
            link,
            [
                "[folder]/run.customers.jsonl is a symbolic link, which is never followed",
                "[folder]/run.error-records.msgpack.gz is a symbolic link, which is never followed"
            ]
        );
        assert_eq!(std::fs::read(elsewhere.path()).unwrap(), b"before");
        // Somebody at their other ends: that an open does not wait for one is tested where files are opened.
        let ends = std::cell::RefCell::new(Vec::new());
        let fifo = refusals(|path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
            ends.borrow_mut().push(OpenOptions::new().read(true).write(true).open(path).unwrap());
        });
        assert_eq!(
            fifo.await,
            [
                "[folder]/run.customers.jsonl is not a regular file",
                "[folder]/run.error-records.msgpack.gz is not a regular file"
            ]
        );
        let open_to_all = refusals(|path| {
            std::fs::write(path, "").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        });
        assert_eq!(
            open_to_all.await,
            [
                "every user can write to [folder]/run.customers.jsonl (mode 0666)",
                "every user can write to [folder]/run.error-records.msgpack.gz (mode 0666)"
            ]
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_older_file_is_made_private_and_error_records_replace_it() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.error-records.msgpack.gz");
        std::fs::write(&path, "longer than what comes").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        put_error_records_aside(&quarantine).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"records");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn without_a_folder_nothing_is_written() {
        let quarantine = Quarantine::new(None, Clock::machine());
        quarantine.put_aside(&session(), &refused(1)).await.unwrap();
        assert!(quarantine.error_records(&session()).is_none());
    }
}
