//! Figures of requests: retries by cause, and how long requests took.

use std::time::Duration;

use super::over_time::points;
use super::{Figure, SmallChart, Table, as_float, both, legend, span, time};
use crate::http::FailureKind;
use crate::report::charts::{DrawError, Layer, WIDE, histogram, layers};
use crate::report::course::Course;
use crate::report::palette::{BLUE, Colour, MUTED, ORANGE, PURPLE, RED, TEAL};
use crate::report::recording::{OperationRecording, RunRecording, ServiceRecording};
use crate::report::scale::{Axis, Unit};
use crate::telemetry::words::{count, number};

/// The colour of each cause, in the order of [`FailureKind::ALL`].
const COLOURS: [Colour; FailureKind::ALL.len()] = [ORANGE, PURPLE, BLUE, RED, TEAL, MUTED];

pub(super) fn retries(recording: &RunRecording, course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "retries", title: "Retries", ..Figure::default() };
    let total: u64 = recording.services.iter().map(retries_of).fold(0, u64::saturating_add);
    let requests: u64 =
        recording.services.iter().map(|service| service.requests).fold(0, u64::saturating_add);
    if total == 0 {
        let explanation = format!("None of {} was repeated.", count(requests, "request", "requests"));
        return Ok(Figure { explanation, ..figure });
    }
    let intervals = points(WIDE) / 4;
    let width = course.duration / f64::from(intervals);
    let mut heights = vec![0.0; usize::try_from(intervals).unwrap_or_default()];
    let (mut list, mut legends) = (Vec::new(), Vec::new());
    for (place, (cause, colour)) in FailureKind::ALL.into_iter().zip(COLOURS).enumerate() {
        let grown = course
            .counted(intervals, |sample| as_float(sample.retries.get(place).copied().unwrap_or_default()));
        let mut boxes = Vec::new();
        for ((interval, grown), height) in (0_u32..).zip(grown).zip(&mut heights) {
            if grown > 1e-9 {
                let from = f64::from(interval) * width;
                boxes.push([from, (from + width).min(course.duration), *height, *height + grown]);
                *height += grown;
            }
        }
        if !boxes.is_empty() {
            list.push(Layer::Boxes(colour, boxes));
            legends.push(legend(colour, words(cause.name())));
        }
    }
    let top = heights.iter().copied().fold(0.0, f64::max);
    let charts = both(|canvas| {
        let x = Axis::ending_at(course.duration, Unit::Time, canvas.marks.0);
        layers(canvas, &x, &Axis::up_to(top, Unit::Count, canvas.marks.1), &list)
    })?;
    let rows = recording.services.iter().flat_map(|service| {
        let sent = service.retries.iter().filter(|(_, retries)| *retries > 0);
        sent.map(|(cause, retries)| vec![words(cause).to_owned(), service.service.clone(), number(*retries)])
    });
    let rows: Vec<_> = rows.collect();
    let described: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
    Ok(Figure {
        explanation: format!(
            "Requests that were sent again, by what failed before: {} of {}. Each bar counts {}.",
            number(total),
            count(requests, "request", "requests"),
            span(width)
        ),
        legend: legends,
        description: format!("Retries by cause: {}.", described.join(", ")),
        charts,
        table: Table { head: vec!["After", "Service", "Retries"], rows },
        ..figure
    })
}

pub(super) fn latencies(recording: &RunRecording) -> Result<Figure, DrawError> {
    let figure = Figure { id: "latencies", title: "Response times", ..Figure::default() };
    let operations = || {
        recording.services.iter().flat_map(|service| {
            let sent = service.operations.iter().filter(|operation| operation.exchanges() > 0);
            sent.map(move |operation| (service, operation))
        })
    };
    if operations().next().is_none() {
        return Ok(Figure { explanation: "This attempt received no responses.".to_owned(), ..figure });
    }
    let name = |service: &ServiceRecording, operation: &OperationRecording| {
        format!("{}: {}", service.service, operation.operation)
    };
    let bounds: Vec<_> = recording.latency_bounds.iter().map(|bound| bound_label(*bound)).collect();
    let draw = |(service, operation): (&ServiceRecording, &OperationRecording)| {
        let colour = if service.service == "Yotpo" { BLUE } else { PURPLE };
        Ok(SmallChart {
            name: name(service, operation),
            numbers: format!(
                "{}, mean {}",
                count(operation.exchanges(), "request", "requests"),
                time(mean(operation))
            ),
            chart: histogram(&bounds, &operation.latencies, colour)?,
        })
    };
    let small = operations().map(draw).collect::<Result<Vec<_>, DrawError>>()?;
    let rows = operations().map(|(service, operation)| {
        let quantile = |share| quantile(operation, &recording.latency_bounds, share);
        vec![
            name(service, operation),
            number(operation.exchanges()),
            number(operation.exchanges().saturating_sub(operation.successes)),
            time(mean(operation)),
            quantile(0.5),
            quantile(0.95),
        ]
    });
    let rows: Vec<_> = rows.collect();
    Ok(Figure {
        explanation: "From sending a request until its response is complete, without the wait for the rate limit. Each bar \
                      is one range of response times, up to the time at its right; its height is relative to the highest bar \
                      of the same operation."
            .to_owned(),
        legend: vec![legend(BLUE, "Yotpo"), legend(PURPLE, "Treasure Data")],
        small,
        table: Table { head: vec!["Operation", "Requests", "Failed", "Mean", "Half within", "95 % within"], rows },
        ..figure
    })
}

fn retries_of(service: &ServiceRecording) -> u64 {
    service.retries.iter().fold(0, |sum, (_, retries)| sum.saturating_add(*retries))
}

fn mean(operation: &OperationRecording) -> Duration {
    Duration::from_micros(operation.total_micros / operation.exchanges().max(1))
}

/// The upper bound of the bucket in which this share of the exchanges ended.
fn quantile(operation: &OperationRecording, bounds: &[u64], share: f64) -> String {
    let wanted = as_float(operation.exchanges()) * share;
    let mut seen = 0.0;
    for (bound, exchanges) in bounds.iter().zip(&operation.latencies) {
        seen += as_float(*exchanges);
        if seen >= wanted {
            return bound_label(*bound);
        }
    }
    bounds.last().map_or_else(String::new, |bound| format!("over {}", bound_label(*bound)))
}

fn bound_label(millis: u64) -> String {
    if millis < 1_000 { format!("{millis} ms") } else { format!("{} s", as_float(millis) / 1_000.0) }
}

/// A cause as people call it.
fn words(cause: &str) -> &str {
    match cause {
        "timeout" => "timeout",
        "connection" => "lost or failed connection",
        "throttled" => "throttled (429)",
        "server_error" => "server error (5xx)",
        "unexpected_body" => "unexpected response",
        "other_status" => "other status",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_words() {
        for cause in FailureKind::ALL {
            assert!(cause == FailureKind::Timeout || words(cause.name()) != cause.name(), "{}", cause.name());
        }
    }

    #[test]
    fn quantiles_are_upper_bounds() {
        let bounds = [100, 500, 1_000];
        let operation = |latencies: &[u64]| OperationRecording {
            latencies: latencies.to_vec(),
            ..OperationRecording::default()
        };
        let of = |latencies: &[u64], share| quantile(&operation(latencies), &bounds, share);
        assert_eq!(of(&[10, 0, 0, 0], 0.95), "100 ms");
        assert_eq!(of(&[5, 5, 0, 0], 0.5), "100 ms");
        assert_eq!(of(&[5, 4, 1, 0], 0.95), "1 s");
        assert_eq!(of(&[0, 0, 0, 3], 0.5), "over 1 s");
    }
}
