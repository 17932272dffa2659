//! The file of the metrics, for the textfile collector of `node_exporter`.
//!
//! Owns how it is replaced: in one step, so that a reader sees one state of it. It is readable by everyone, because the
//! collector is another user; it holds counts only. A file of another target, or of another program, is not replaced.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::families::{LAST_SUCCESS_ROWS, LAST_SUCCESS_TIMESTAMP, RUN_START};
use super::{MetricLabels, PreviousMetrics};
use crate::paths::directory_of;
use crate::telemetry::progress::LastSuccess;

/// Maximum size of a file that is read back: ours are a tenth of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where the metrics are written.
#[derive(Clone, Debug)]
pub struct MetricsFile {
    path: PathBuf,
}

/// Why the file is not written.
#[derive(Debug, thiserror::Error)]
pub enum MetricsFileError {
    /// It has other content.
    #[error("the file has no metrics of yotpo-td")]
    OtherContent,
    /// Another target uses it.
    #[error("the file has the metrics of another target ({0}); each target needs its own file")]
    OtherTarget(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MetricsFile {
    /// The file at `path`; nothing is read or written.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier process wrote; `None` if there is no file.
    ///
    /// # Errors
    /// When the file is not one that this process may replace.
    pub fn previous(&self, labels: &MetricLabels) -> Result<Option<PreviousMetrics>, MetricsFileError> {
        let found = match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if !found.is_file() || found.len() > MAX_BYTES {
            return Err(MetricsFileError::OtherContent);
        }
        let text = String::from_utf8_lossy(&std::fs::read(&self.path)?).into_owned();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let previous = parse(&text).ok_or(MetricsFileError::OtherContent)?;
        if !previous.labels.may_equal(labels) {
            let other = previous.labels.known().map(|(name, value)| format!("{name} {value}"));
            return Err(MetricsFileError::OtherTarget(other.collect::<Vec<_>>().join(", ")));
        }
        Ok(Some(previous))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written; what was there is unchanged.
    pub fn write(&self, text: &str) -> io::Result<()> {
        // The collector ignores names that do not end with `.prom`.
        let mut new = tempfile::Builder::new();
        let mut file =
            new.prefix(".yotpo-td-metrics-").suffix(".new").tempfile_in(directory_of(&self.path))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// Reads back what is carried over. `None` if the text is not ours.
fn parse(text: &str) -> Option<PreviousMetrics> {
    let sample = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
        let (series, value) = line.rsplit_once(' ')?;
        Some((series, value.parse::<f64>().ok().filter(|value| value.is_finite())?))
    };
    let (series, _) = sample(RUN_START.name)?;
    let label = |name: &str| {
        let (_, rest) = series.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let labels =
        MetricLabels { store_id: label("store_id"), database: label("database"), table: label("table") };
    let whole = |name| sample(name).and_then(|(_, value)| whole_number(value));
    let last_success = whole(LAST_SUCCESS_TIMESTAMP.name)
        .map(|finished_at| LastSuccess { finished_at, rows: whole(LAST_SUCCESS_ROWS.name) });
    Some(PreviousMetrics { labels, last_success })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
fn whole_number(value: f64) -> Option<u64> {
    (0.0..9_007_199_254_740_992.0).contains(&value).then_some(value as u64)
}
