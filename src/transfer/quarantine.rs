//! Quarantine: keeps unreadable records for inspection.
//!
//! This is the only module that writes customer data to the local disk, and only if the user names a directory. Files are opened
//! like state files: mode 0600, and never a file that another user could have created.

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

/// Maximum number of rejected customers that are logged.
const MAX_LOGGED: u64 = 10;

/// Writes quarantined records to one file per session, whose name identifies the attempt.
#[derive(Clone, Debug)]
pub struct Quarantine {
    clock: Clock,
    directory: Option<Arc<Path>>,
    rejected_count: Arc<std::sync::atomic::AtomicU64>,
}

/// Free space that a quarantine directory needs before a run starts: for a hundred customers of 10 KiB, and for the two files of
/// a session. The amount of data is not known in advance.
const NEED: Need = Need { bytes: 1024 * 1024, files: 2 };

/// Checks that a quarantine directory has enough free space.
///
/// # Errors
/// When it does not.
pub fn check_quarantine_space(directory: &Path) -> Result<(), NoSpace> {
    free_space::check("the quarantine directory", directory, NEED)
}

#[derive(serde::Serialize)]
struct Line<'a> {
    page: u64,
    position: usize,
    reason: String,
    customer: &'a RawValue,
}

impl Quarantine {
    /// Creates a quarantine in `directory`. Without a directory, nothing is written.
    pub fn new(directory: Option<&Path>, clock: Clock) -> Self {
        Self { clock, directory: directory.map(Into::into), rejected_count: Arc::default() }
    }

    /// Logs a rejected customer, and writes it to the directory if there is one.
    pub(super) async fn write_customer(
        &self,
        label: &str,
        rejected: &RejectedCustomer,
    ) -> Result<(), QuarantineError> {
        let RejectedCustomer { page, position, reason, customer } = rejected;
        let count = self.rejected_count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if count <= MAX_LOGGED {
            tracing::warn!(page, position, %reason, "a customer cannot become a row");
        }
        let Ok(raw) = serde_json::from_str::<&RawValue>(customer) else { return Ok(()) };
        let line = Line { page: *page, position: *position, reason: reason.to_string(), customer: raw };
        // A parsed value can always be serialized.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        self.append(label, "customers.jsonl", text).await
    }

    /// The file for the error records of a session; `None` without a directory. It is not opened yet.
    pub fn error_records(&self, session: &SessionName) -> Option<ErrorRecordsFile> {
        let directory = self.directory.as_deref()?;
        let path = directory.join(format!("{session}.error-records.msgpack.gz"));
        Some(ErrorRecordsFile::new(path, self.clock.clone()))
    }

    async fn append(&self, label: &str, suffix: &str, content: Vec<u8>) -> Result<(), QuarantineError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let path = directory.join(format!("{label}.{suffix}"));
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
        // On a full disk, an incomplete line would corrupt the next one. If truncation fails, nothing else can be done.
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

    /// Simulates two attempts of the download, of which the first fails.
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
    async fn rejected_customers_are_written_to_a_private_file_one_per_line() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Some(directory.path()), Clock::machine());
        quarantine.write_customer(session().as_str(), &rejected(1)).await.unwrap();
        quarantine.write_customer(session().as_str(), &rejected(2)).await.unwrap();
        let path = directory.path().join("run.customers.jsonl");
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

    #[tokio::test]
    async fn only_the_first_rejected_customers_are_logged() {
        let log_file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(log_file.reopen().unwrap()))
            .finish();
        // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let _guard = tracing::subscriber::set_default(subscriber);
        let quarantine = Quarantine::new(None, Clock::machine());
        for position in 1..=12 {
            quarantine.write_customer(session().as_str(), &rejected(position)).await.unwrap();
        }
        let log = std::fs::read_to_string(log_file.path()).unwrap();
        assert_eq!(log.lines().count(), 10, "{log}");
        assert!(log.lines().next().unwrap().contains("position=1 "), "{log}");
    }

    /// Why each kind of quarantine file is refused after `prepare` was applied to its path.
    async fn refusals(prepare: impl Fn(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        prepare(&directory.path().join("run.customers.jsonl"));
        prepare(&directory.path().join("run.error-records.msgpack.gz"));
        let quarantine = Quarantine::new(Some(directory.path()), Clock::machine());
        let results = [
            quarantine.write_customer(session().as_str(), &rejected(1)).await,
            write_error_records(&quarantine).await,
        ];
        let directory_path = directory.path().to_string_lossy();
        let text = |result: Result<(), QuarantineError>| {
            let error = result.unwrap_err();
            let text = std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .replace(&*directory_path, "[directory]");
            text.split(':').next().unwrap().to_owned()
        };
        results.map(text).to_vec()
    }

    #[tokio::test]
    async fn file_that_another_user_could_have_created_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let target = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(target.path(), "before").unwrap();
        let link = refusals(|path| symlink(target.path(), path).unwrap()).await;
        assert_eq!(
            link,
            [
                "[directory]/run.customers.jsonl is a symbolic link, which is never followed",
                "[directory]/run.error-records.msgpack.gz is a symbolic link, which is never followed"
            ]
        );
        assert_eq!(std::fs::read(target.path()).unwrap(), b"before");
        // The other ends are open: a test of `open_private` checks that it does not wait for one.
        let ends = std::cell::RefCell::new(Vec::new());
        let fifo = refusals(|path| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            // Not created by a child process, which would hold the locks of other tests between fork and exec.
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            ends.borrow_mut().push(OpenOptions::new().read(true).write(true).open(path).unwrap());
        });
        assert_eq!(
            fifo.await,
            [
                "[directory]/run.customers.jsonl is not a regular file",
                "[directory]/run.error-records.msgpack.gz is not a regular file"
            ]
        );
        let open_to_all = refusals(|path| {
            std::fs::write(path, "").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        });
        assert_eq!(
            open_to_all.await,
            [
                "every user can write to [directory]/run.customers.jsonl (mode 0666)",
                "every user can write to [directory]/run.error-records.msgpack.gz (mode 0666)"
            ]
        );
    }

    #[tokio::test]
    async fn older_file_is_made_private_and_replaced_by_error_records() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.error-records.msgpack.gz");
        std::fs::write(&path, "longer than the new content").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        let quarantine = Quarantine::new(Some(directory.path()), Clock::machine());
        write_error_records(&quarantine).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"records");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn nothing_is_written_without_a_directory() {
        let quarantine = Quarantine::new(None, Clock::machine());
        quarantine.write_customer(session().as_str(), &rejected(1)).await.unwrap();
        assert!(quarantine.error_records(&session()).is_none());
    }
}
