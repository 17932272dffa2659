//! The progress display: one line on a terminal, nothing elsewhere.
//!
//! Owns when there is a line, and that log lines do not tear it. What it says is [`super::progress_line`]'s.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::observer::Observer;
use super::progress::Progress;
use super::progress_line::progress_line;
use super::streams::{columns, set_progress_line};
use crate::clock::Clock;

const REDRAW: Duration = Duration::from_millis(200);
/// Where the terminal does not say how wide it is.
const USUAL_COLUMNS: usize = 80;

/// A line that shows how far the run is. Hidden where stderr is no terminal that can redraw a line.
#[derive(Clone, Debug)]
pub struct ProgressBar(Bar);

impl ProgressBar {
    /// A bar that is not drawn yet.
    pub fn hidden() -> Self {
        Self(Bar::with_draw_target(None, ProgressDrawTarget::hidden()))
    }

    /// Starts to draw `progress`. Returns `false`, and draws nothing, where stderr is no terminal or `term` (the
    /// variable `TERM`) says that it cannot redraw a line.
    pub fn show(&self, progress: &Arc<Progress>, clock: &Clock, term: Option<&str>) -> bool {
        let observer = Arc::new(Mutex::new(Observer::new(Arc::clone(progress), clock.clone())));
        self.show_line(term, move |width| {
            let seen = observer.lock().unwrap_or_else(PoisonError::into_inner).observe();
            progress_line(&seen, width)
        })
    }

    /// As [`Self::show`], with a line that `line` makes for a width.
    pub fn show_line(
        &self,
        term: Option<&str>,
        line: impl Fn(usize) -> String + Clone + Send + Sync + 'static,
    ) -> bool {
        if !can_redraw(io::stderr().is_terminal(), term) {
            return false;
        }
        let line = move |_: &ProgressState, output: &mut dyn fmt::Write| {
            // Read each time: the window may be resized.
            let columns = columns(io::stderr()).unwrap_or(USUAL_COLUMNS);
            // In the last column some terminals wrap already. A line that cannot be drawn is not missed.
            let _ = output.write_str(&line(columns.saturating_sub(1)));
        };
        let Ok(style) = ProgressStyle::with_template("{line}") else { return false };
        self.0.set_style(style.with_key("line", line));
        self.0.set_draw_target(ProgressDrawTarget::stderr());
        if self.0.is_hidden() {
            return false;
        }
        set_progress_line(true);
        self.0.enable_steady_tick(REDRAW);
        true
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
        set_progress_line(false);
    }

    /// Calls `write` while the line is hidden.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

/// Without a name of the terminal, nothing is known of it.
fn can_redraw(is_terminal: bool, term: Option<&str>) -> bool {
    is_terminal && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_can_redraw_has_a_line() {
        assert!(can_redraw(true, Some("xterm-256color")));
        for (is_terminal, term) in
            [(false, Some("xterm")), (true, Some("dumb")), (true, Some("")), (true, None), (false, None)]
        {
            assert!(!can_redraw(is_terminal, term), "{is_terminal} {term:?}");
        }
    }

    #[test]
    fn nothing_is_drawn_on_a_terminal_that_cannot_redraw() {
        let bar = ProgressBar::hidden();
        assert!(!bar.show(&Arc::default(), &Clock::machine(), Some("dumb")));
        assert!(!bar.show_line(None, |_| String::new()));
    }
}
