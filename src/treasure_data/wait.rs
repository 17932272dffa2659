//! Waiting for what the service does by itself.

use std::time::Duration;

use super::answer::SessionStatus;
use super::error::TreasureDataError;
use crate::clock::Clock;
use crate::identity::SessionName;

/// How a wait for the service is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Time between two looks.
    pub interval: Duration,
    /// Longest wait for the load job, and for the commit.
    pub timeout: Duration,
}

/// A job's status.
pub(super) struct JobOutcome(String);

/// A wait with an end.
pub(super) struct Wait<'a> {
    clock: &'a Clock,
    session: &'a SessionName,
    polling: Polling,
    started: Duration,
}

impl JobOutcome {
    pub(super) fn new(status: String) -> Self {
        Self(status)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self.0.as_str(), "error" | "killed")
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.0.as_str(), "queued" | "booting" | "running")
    }
}

impl<'a> Wait<'a> {
    pub(super) fn start(clock: &'a Clock, session: &'a SessionName, polling: Polling) -> Self {
        Self { clock, session, polling, started: clock.now() }
    }

    /// Waits for the next look, unless the time is used up.
    pub(super) async fn pause(&mut self, status: SessionStatus) -> Result<(), TreasureDataError> {
        let waited = self.clock.now().saturating_sub(self.started);
        if waited >= self.polling.timeout {
            let session = self.session.clone();
            return Err(TreasureDataError::TookTooLong { session, found: status.name(), waited });
        }
        self.clock.sleep(self.polling.interval).await;
        Ok(())
    }
}
