//! Quarantine: records that cannot be read, kept for people to look at.
//!
//! The only place where customer data is written to the local disk, and only when the user names a folder. Files are
//! opened as the state is: 0600, and never one that somebody else could have put there.

mod error;
mod error_records;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

pub use self::error::QuarantineError;
pub use self::error_records::ErrorRecordsFile;
use super::batch::RejectedCustomer;
use crate::checkpoint::{PrivateFileError, open_private};
use crate::clock::Clock;
use crate::failpoint;
use crate::free_space::{self, Need, NoSpace};
use crate::identity::SessionName;

/// How many rejected customers are named in the log, each on a line.
const LOGGED: u64 = 10;

/// Where records are quarantined: in one file for each session, whose name names the attempt.
#[derive(Clone, Debug)]
pub struct Quarantine {
    clock: Clock,
    folder: Option<Arc<Path>>,
    seen: Arc<std::sync::atomic::AtomicU64>,
}

/// What must be free in a quarantine directory before a run starts: for a hundred customers of 10 KiB, and for the two files of
/// a session. How much will come is not known before.
const NEED: Need = Need { bytes: 1024 * 1024, files: 2 };

/// Makes sure that a quarantine directory has room.
///
/// # Errors
/// When it has not.
pub fn check_quarantine_space(folder: &Path) -> Result<(), NoSpace> {
    free_space::check("the quarantine directory", folder, NEED)
}

#[derive(serde::Serialize)]
struct Line<'a> {
    page: u64,
    position: usize,
    reason: String,
    customer: &'a RawValue,
}

impl Quarantine {
    /// A quarantine in `folder`; nowhere without one.
    pub fn new(folder: Option<&Path>, clock: Clock) -> Self {
        Self { clock, folder: folder.map(Into::into), seen: Arc::default() }
    }

    /// Reports a rejected customer, and writes it to the folder when there is one.
    pub(super) async fn write_customer(
        &self,
        label: &str,
        rejected: &RejectedCustomer,
    ) -> Result<(), QuarantineError> {
        let RejectedCustomer { page, position, reason, customer } = rejected;
        let seen = self.seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if seen <= LOGGED {
            tracing::warn!(page, position, %reason, "a customer cannot become a row");
        }
        let Ok(raw) = serde_json::from_str::<&RawValue>(customer) else { return Ok(()) };
        let line = Line { page: *page, position: *position, reason: reason.to_string(), customer: raw };
        // What was parsed can be written.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        self.append(label, "customers.jsonl", text).await
    }

    /// The file that the error records of a session go to, as they come; none without a folder. Nothing is opened yet.
    pub fn error_records(&self, session: &SessionName) -> Option<ErrorRecordsFile> {
        let folder = self.folder.as_deref()?;
        let path = folder.join(format!("{session}.error-records.msgpack.gz"));
        Some(ErrorRecordsFile::new(path, self.clock.clone()))
    }

    async fn append(&self, label: &str, suffix: &str, content: Vec<u8>) -> Result<(), QuarantineError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(format!("{label}.{suffix}"));
        let reported = path.clone();
        let work = self.clock.blocking(move || append(&path, &content));
        let result = work.await.unwrap_or_else(|_panicked| Err(io::Error::other("writing panicked").into()));
        result.map_err(|source| QuarantineError { path: reported, source })
    }
}

fn append(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let mut file = open_private(path, OpenOptions::new().create(true).append(true))?;
    let before = file.metadata()?.len();
    let written = failpoint::write("write quarantine")
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // On a disk that is full, half a line would spoil the next one; that it stays changes nothing.
        let _ = file.set_len(before);
        return Err(error.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::{BodySink as _, RestartableSink as _};
    use crate::row::RowError;

    fn session() -> SessionName {
        "run".parse().unwrap()
    }

    /// As two attempts of the download do, of which the first fails.
    async fn write_error_records(quarantine: &Quarantine) -> Result<(), QuarantineError> {
        let mut file = quarantine.error_records(&session()).unwrap();
        file.restart().await?;
        file.write(Bytes::from_static(b"half of the rec")).await?;
        file.restart().await?;
        file.write(Bytes::from_static(b"rec")).await?;
        file.write(Bytes::from_static(b"ords")).await?;
        file.finish().await
    }

    fn rejected(position: usize) -> RejectedCustomer {
        RejectedCustomer { page: 2, position, reason: RowError::NotAnObject, customer: "[1]".into() }
    }

    #[tokio::test]
    async fn rejected_customers_are_written_one_a_line_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        quarantine.write_customer(session().as_str(), &rejected(1)).await.unwrap();
        quarantine.write_customer(session().as_str(), &rejected(2)).await.unwrap();
        let path = folder.path().join("run.customers.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"page":2,"position":1,"reason":"customer is not a JSON object","customer":[1]}"#
        );
        assert_eq!(text.lines().count(), 2);
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    /// What each kind of quarantine file is refused for, with `spoil` applied to its path beforehand.
    async fn refusals(spoil: impl Fn(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        spoil(&folder.path().join("run.customers.jsonl"));
        spoil(&folder.path().join("run.error-records.msgpack.gz"));
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        let results = [
            quarantine.write_customer(session().as_str(), &rejected(1)).await,
            write_error_records(&quarantine).await,
        ];
        let place = folder.path().to_string_lossy();
        let text = |result: Result<(), QuarantineError>| {
            let error = result.unwrap_err();
            let told = std::error::Error::source(&error).unwrap().to_string().replace(&*place, "[folder]");
            told.split(':').next().unwrap().to_owned()
        };
        results.map(text).to_vec()
    }

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
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            // Without another process: between fork and exec it would hold the locks of other tests.
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
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

    #[tokio::test]
    async fn an_older_file_is_made_private_and_error_records_replace_it() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.error-records.msgpack.gz");
        std::fs::write(&path, "longer than what comes").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        let quarantine = Quarantine::new(Some(folder.path()), Clock::machine());
        write_error_records(&quarantine).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"records");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn without_a_folder_nothing_is_written() {
        let quarantine = Quarantine::new(None, Clock::machine());
        quarantine.write_customer(session().as_str(), &rejected(1)).await.unwrap();
        assert!(quarantine.error_records(&session()).is_none());
    }
}
