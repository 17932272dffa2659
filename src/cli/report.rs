//! The report of a command: what is recorded while it works, the page that `--report` names, and what `runs report` reads later.
//!
//! Owns when it is recorded, and that it never fails or holds up a run: what does not work is logged as a warning. Every attempt
//! that has its lock is recorded, without any setting: the report is wanted after a failure that nobody expected.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::failure::{Failure, with_causes};
use super::summary::{self, Facts};
use crate::clock::Clock;
use crate::config::OutputSettings;
use crate::identity::RunId;
use crate::report::{RecordingArchive, RunRecording, render};
use crate::telemetry::{Progress, Recorder};

/// The report of one command; nothing before [`Self::start`].
#[derive(Debug, Default)]
pub(super) struct Report {
    started: OnceLock<Started>,
    recorder: Mutex<Option<Recorder>>,
    /// Where the recording is kept, and of which run it is if nothing else says that.
    archive: OnceLock<(RecordingArchive, RunId)>,
    /// How it ended.
    summary: OnceLock<RunRecording>,
}

#[derive(Debug)]
struct Started {
    progress: Arc<Progress>,
    clock: Clock,
    /// Unix seconds.
    at: u64,
}

impl Report {
    /// Starts to record. Does nothing if it was started.
    pub(super) fn start(&self, progress: &Arc<Progress>, clock: &Clock) {
        self.started.get_or_init(|| {
            let recorder = Recorder::start(progress, clock).inspect_err(|error| {
                tracing::warn!(%error, "the report has no charts over time; the run is not affected");
            });
            *self.recorder.lock().unwrap_or_else(PoisonError::into_inner) = recorder.ok();
            Started { progress: Arc::clone(progress), clock: clock.clone(), at: clock.unix_time().as_secs() }
        });
    }

    /// Keeps the recording next to the state of the target. `run_id` is that of a run which does not resume another one.
    pub(super) fn keep_next_to(&self, state_file: &Path, run_id: &RunId) {
        self.archive.get_or_init(|| (RecordingArchive::next_to(state_file), run_id.clone()));
    }

    /// Notes how the run ended.
    pub(super) fn summarized(&self, facts: &Facts<'_>) {
        self.summary.get_or_init(|| summary::recorded(facts));
    }

    /// Ends the recording: keeps it, and writes the page.
    pub(super) fn finish(&self, result: &Result<(), Failure>, output: Option<&OutputSettings>) {
        let (Some(started), Some(summary)) = (self.started.get(), self.summary.get()) else { return };
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut recording = summary
            .clone()
            .with_course(recorder.map(Recorder::finish).unwrap_or_default())
            .with_clients(&started.progress.clients());
        recording.started_at = started.at;
        recording.finished_at = started.clock.unix_time().as_secs();
        recording.last_words = result.as_ref().err().map(Failure::text).unwrap_or_default();
        let archive = self.archive.get();
        recording.run_id = recording.run_id.or_else(|| archive.map(|(_, run_id)| run_id.clone()));
        let recording = recording.bounded();
        if let Some((archive, _)) = archive
            && let Err(error) = archive.keep(&recording, std::process::id())
        {
            let error = with_causes(&error);
            tracing::warn!(error, "the run is not recorded for its report; the run is not affected");
        }
        if let Some(path) = output.and_then(|output| output.report.as_deref())
            && let Err(error) = write(&recording, path)
        {
            let path = path.display();
            tracing::warn!(%path, error, "the report could not be written (--report); the run is not affected");
        }
    }
}

fn write(recording: &RunRecording, path: &Path) -> Result<(), String> {
    let page = render(recording, None).map_err(|error| with_causes(&error))?;
    summary::write_file(path, &page).map_err(|error| error.to_string())
}
