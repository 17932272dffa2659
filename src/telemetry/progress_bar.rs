//! The progress display: one line on a terminal, nothing elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::progress::{Phase, Progress};

const REDRAW: Duration = Duration::from_millis(200);

/// A line that shows the progress of the run. Hidden if stderr is not a terminal.
#[derive(Clone)]
pub struct ProgressBar(Bar);

impl ProgressBar {
    /// A bar that is not drawn yet.
    pub fn hidden() -> Self {
        Self(Bar::with_draw_target(None, ProgressDrawTarget::hidden()))
    }

    /// Starts to draw `progress`; does nothing if stderr is not a terminal.
    pub fn show(&self, progress: Arc<Progress>) {
        let line = move |_: &ProgressState, output: &mut dyn fmt::Write| {
            // The line is optional, so errors are ignored.
            let _ = output.write_str(&describe(&progress));
        };
        let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {line}") else { return };
        self.0.set_style(style.with_key("line", line));
        self.0.set_draw_target(ProgressDrawTarget::stderr());
        if !self.0.is_hidden() {
            self.0.enable_steady_tick(REDRAW);
        }
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Calls `write` while the line is hidden.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

fn describe(progress: &Progress) -> String {
    let now = progress.snapshot();
    match now.phase {
        Phase::Starting => "starting".to_owned(),
        Phase::Fetching => {
            format!("{} customers on {} pages, {} parts stored", now.customers, now.pages, now.parts)
        }
        Phase::Uploading => format!(
            "{} customers fetched, {} parts stored, {} to be stored",
            now.customers, now.parts, now.parts_queued
        ),
        Phase::Loading => format!("{} customers fetched, waiting for the load job", now.customers),
        Phase::Committing => format!("{} customers loaded, committing", now.customers),
        Phase::Publishing => format!("{} customers loaded, replacing the table", now.customers),
        Phase::CleaningUp => "cleaning up".to_owned(),
    }
}
