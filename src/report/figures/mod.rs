//! The figures of a report: what each chart shows, in which words, and the same numbers as a table.
//!
//! Owns which figures there are and in which order. A figure without data says so in words. How charts look is decided in
//! [`super::charts`].

mod over_time;
mod phases;
mod requests;

use std::time::Duration;

use super::charts::{Canvas, DrawError, NARROW, WIDE};
use super::course::Course;
use super::palette::Colour;
use super::recording::RunRecording;
use crate::telemetry::words;

/// One figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figure {
    /// What links and styles call it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// How to read it, or why there is no chart.
    pub(super) explanation: String,
    pub(super) legend: Vec<LegendEntry>,
    /// What the chart shows, for those who do not see it.
    pub(super) description: String,
    /// The charts for wide and for narrow screens; `None` without data.
    pub(super) charts: Option<(String, String)>,
    /// Small charts next to each other, instead.
    pub(super) small: Vec<SmallChart>,
    pub(super) table: Table,
}

impl Figure {
    /// Whether there is nothing but an explanation.
    pub(super) fn is_empty(&self) -> bool {
        self.charts.is_none() && self.small.is_empty() && self.table.rows.is_empty()
    }
}

/// One of several charts of a figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SmallChart {
    pub(super) name: String,
    /// What the chart shows, in numbers.
    pub(super) numbers: String,
    pub(super) chart: String,
}

/// What a colour means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LegendEntry {
    pub(super) class: &'static str,
    pub(super) words: String,
}

/// The numbers of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) head: Vec<&'static str>,
    /// The first cell of a row is its name.
    pub(super) rows: Vec<Vec<String>>,
}

/// All figures, in the order of the page.
pub(super) fn all(recording: &RunRecording) -> Result<Vec<Figure>, DrawError> {
    let course = Course::new(&recording.samples, Duration::from_millis(recording.duration_millis));
    Ok(vec![
        phases::figure(recording)?,
        over_time::customers(course)?,
        over_time::requests(course)?,
        over_time::waits(recording, course)?,
        requests::retries(recording, course)?,
        over_time::memory(recording, course)?,
        over_time::parts(course)?,
        over_time::bytes(course)?,
        requests::latencies(recording)?,
    ])
}

fn legend(colour: Colour, words: impl Into<String>) -> LegendEntry {
    LegendEntry { class: colour.class, words: words.into() }
}

/// A chart for wide and for narrow screens.
fn both(draw: impl Fn(Canvas) -> Result<String, DrawError>) -> Result<Option<(String, String)>, DrawError> {
    Ok(Some((draw(WIDE)?, draw(NARROW)?)))
}

/// A duration of any length: `0.4 ms`, `340 ms`, `7s`, `3m 05s`.
pub(super) fn time(duration: Duration) -> String {
    if duration.is_zero() {
        "0".to_owned()
    } else if duration < Duration::from_millis(10) {
        format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
    } else if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        words::duration(duration)
    }
}

/// A part of the run, in seconds: `340 ms`, `2.5 s`, `3m 05s`.
fn span(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if (1.0..60.0).contains(&seconds) { format!("{seconds:.1} s") } else { time(duration) }
}

/// Exact up to 2^53, and no count is as large.
#[expect(clippy::cast_precision_loss, reason = "a number to draw")]
const fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_matter() {
        let written = [0, 400, 9_990, 10_000, 340_000, 999_999, 1_000_000, 185_000_000]
            .map(|micros| time(Duration::from_micros(micros)));
        assert_eq!(written, ["0", "0.4 ms", "10.0 ms", "10 ms", "340 ms", "999 ms", "1s", "3m 05s"]);
    }
}
