//! The timeline: when the run was in which phase.

use std::time::Duration;

use super::{Figure, Table, as_float, both, legend, time};
use crate::report::charts::{DrawError, Row, rows};
use crate::report::palette::{BLUE, MUTED, RED};
use crate::report::recording::RunRecording;
use crate::report::scale::{Axis, Unit};
use crate::telemetry::Phase;

/// A phase, and from when to when it lasted, in seconds.
type Span = (Phase, f64, f64);

pub(super) fn figure(recording: &RunRecording) -> Result<Figure, DrawError> {
    let figure = Figure { id: "phases", title: "Phases", ..Figure::default() };
    let spans = spans(recording);
    if spans.is_empty() {
        let explanation = "The attempt ended before its first phase.".to_owned();
        return Ok(Figure { explanation, ..figure });
    }
    let end = as_float(recording.duration_millis.max(1)) / 1_000.0;
    let names = Phase::ALL.into_iter().filter(|phase| spans.iter().any(|(found, ..)| found == phase));
    let timeline: Vec<Row> = names
        .map(|phase| {
            let colour = if phase == Phase::Waiting { MUTED } else { BLUE };
            let of_phase = spans.iter().filter(|(found, ..)| *found == phase);
            let mut spans: Vec<_> = of_phase.map(|(_, from, to)| (*from, *to, colour)).collect();
            if let Some((from, to, _)) =
                spans.last().copied().filter(|_| recording.failed_while == Some(phase))
            {
                // Where it failed: the end of its last span.
                spans.push((from.max(to - end / 60.0), to, RED));
            }
            Row { name: name(phase), spans }
        })
        .collect();
    let charts = both(|canvas| rows(canvas, &Axis::ending_at(end, Unit::Time, canvas.marks.0), &timeline))?;
    let mut legends = vec![legend(BLUE, "working")];
    if spans.iter().any(|(phase, ..)| *phase == Phase::Waiting) {
        legends.push(legend(MUTED, "waiting for another run"));
    }
    legends.extend(recording.failed_while.map(|phase| legend(RED, format!("failed while {}", name(phase)))));
    let described: Vec<_> = spans
        .iter()
        .map(|(phase, from, to)| format!("{} {}", name(*phase), time(seconds(to - from))))
        .collect();
    let rows = spans.iter().map(|(phase, from, to)| {
        vec![
            name(*phase),
            time(seconds(*from)),
            time(seconds(to - from)),
            format!("{:.0} %", (to - from) / end * 100.0),
        ]
    });
    Ok(Figure {
        explanation: "When the run was in which phase, from its first one on. Parts are uploaded while pages are fetched; \
                      the phase uploading is what is left of it afterwards."
            .to_owned(),
        legend: legends,
        description: format!("Timeline of the phases: {}.", described.join(", ")),
        charts,
        table: Table { head: vec!["Phase", "Began after", "Lasted", "Share"], rows: rows.collect() },
        ..figure
    })
}

fn spans(recording: &RunRecording) -> Vec<Span> {
    let begins = recording.phases.iter().map(|(phase, at)| (*phase, *at));
    let ends = recording.phases.iter().skip(1).map(|(_, at)| *at).chain([recording.duration_millis]);
    begins
        .zip(ends)
        .map(|((phase, from), to)| (phase, as_float(from) / 1_000.0, as_float(to) / 1_000.0))
        .collect()
}

fn name(phase: Phase) -> String {
    phase.name().replace('_', " ")
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
