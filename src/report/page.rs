//! The page: from a recording and its figures to HTML.
//!
//! Owns the head of the page and its template (`templates/report.html`), which escapes every text. There is no script, and the
//! page's policy forbids the browser to load anything.

use std::time::{Duration, UNIX_EPOCH};

use askama::Template;

use super::charts::DrawError;
use super::figures::{self, Figure, time};
use super::recording::RunRecording;
use crate::telemetry::words::{count, number};

/// Styles; they have no end tag in them.
const STYLE: &str = include_str!("../../templates/report.css");

/// Which attempt of its run this is, as far as they are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A chart could not be drawn.
    #[error("could not draw a chart of the report")]
    Draw(#[source] DrawError),
    /// The page could not be written.
    #[error("could not write the page of the report")]
    Page(#[from] askama::Error),
}

impl From<DrawError> for ReportError {
    fn from(error: DrawError) -> Self {
        Self::Draw(error)
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    style: &'a str,
    title: String,
    heading: String,
    is_sandbox: bool,
    outcome_class: &'static str,
    outcome: String,
    facts: Vec<(&'static str, String)>,
    tiles: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
    /// Figures without data.
    missing: Vec<Figure>,
    last_words: String,
    summary: Vec<(String, String)>,
    program: String,
}

/// The page of one attempt. `place` says which of several recorded attempts it is.
///
/// # Errors
/// When it could not be made; a recording that was read back or [bounded](RunRecording::bounded) never causes that.
pub fn render(recording: &RunRecording, place: Option<Place>) -> Result<String, ReportError> {
    let recording = recording.clone().printable();
    let run =
        recording.run_id.as_ref().map_or_else(|| "a run without id".to_owned(), |id| format!("run {id}"));
    let failed = recording.exit_code != 0;
    let (missing, figures) = figures::all(&recording)?.into_iter().partition(Figure::is_empty);
    let page = Page {
        style: STYLE,
        title: format!("yotpo-td: {run}"),
        heading: match &recording.destination {
            Some(destination) => format!("{} into {}", capitalised(&run), destination),
            None => capitalised(&run),
        },
        is_sandbox: recording.is_sandbox,
        outcome_class: if failed { "bad" } else { "good" },
        outcome: capitalised(&recording.outcome_sentence),
        facts: facts(&recording, place),
        tiles: tiles(&recording),
        figures,
        missing,
        last_words: recording.last_words,
        summary: recording.summary,
        program: recording.program,
    };
    Ok(page.render()?)
}

fn facts(recording: &RunRecording, place: Option<Place>) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.as_deref().unwrap_or("unknown").to_owned();
    let exit_code = match &recording.code {
        Some(code) => format!("{} ({})", recording.exit_code, code),
        None => recording.exit_code.to_string(),
    };
    let mut facts = vec![
        ("Store", text(&recording.store_id)),
        ("Started", timestamp(recording.started_at)),
        ("Ended", timestamp(recording.finished_at)),
        ("Exit code", exit_code),
    ];
    let place = place.filter(|place| place.of > 1);
    facts.extend(
        place.map(|Place { number, of }| ("Attempt on this machine", format!("{number} of {of} recorded"))),
    );
    facts
}

fn tiles(recording: &RunRecording) -> Vec<(&'static str, String)> {
    let last = recording.samples.last().copied().unwrap_or_default();
    let of_all = |read: fn(&super::recording::ServiceRecording) -> u64| {
        recording.services.iter().map(read).fold(0, u64::saturating_add)
    };
    let retries =
        of_all(|service| service.retries.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)));
    let is_open =
        recording.exit_code == 0 || matches!(recording.state.as_str(), "maybe_committed" | "unknown");
    let rows = recording.rows.map_or_else(|| if is_open { "unknown" } else { "none" }.to_owned(), number);
    vec![
        ("Rows", rows),
        ("Customers fetched", number(last.customers)),
        ("Duration", time(Duration::from_millis(recording.duration_millis))),
        ("Requests", number(of_all(|service| service.requests))),
        ("Retries", number(retries)),
        ("Parts stored", count(last.parts, "part", "parts")),
    ]
}

/// Seconds since the epoch as people read them; what is out of range is the last second of the year 9999.
fn timestamp(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
