//! For tests: what the current thread logs.

use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;

/// The log of this thread, until it is dropped.
pub(crate) struct CapturedLog {
    file: tempfile::NamedTempFile,
    _guard: DefaultGuard,
    // With one subscriber alone, tracing keeps what another test's thread says of a callsite.
    _second: tracing::Dispatch,
}

impl CapturedLog {
    /// Captures lines of this level and above.
    pub(crate) fn start(level: impl Into<LevelFilter>) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(Mutex::new(file.reopen().unwrap()))
            .finish();
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        Self { file, _guard: tracing::subscriber::set_default(subscriber), _second: second }
    }

    /// What was logged so far.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).unwrap()
    }

    /// The lines so far that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}
