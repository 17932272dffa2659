//! Figures of counters over time: customers, requests, waits, parts, bytes, memory.

use std::time::Duration;

use bytesize::ByteSize;

use super::{Figure, Table, as_float, both, legend, span, time};
use crate::report::charts::{Canvas, DrawError, Layer, WIDE, layers};
use crate::report::course::{Course, Point, spread_back, spread_forward};
use crate::report::palette::{BLUE, GREEN, LIMIT, ORANGE, PURPLE};
use crate::report::recording::RunRecording;
use crate::report::scale::{Axis, Unit, whole};
use crate::telemetry::words::{decimal, number};
use crate::telemetry::{Phase, Sample};

/// A limit that is further above the values than this would flatten them: it is written, not drawn.
const MAX_HEADROOM: f64 = 4.0;
/// A smaller share of the run cannot be seen.
const MIN_SHARE: f64 = 0.01;

pub(super) fn customers(course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "customers", title: "Customers per second", ..Figure::default() };
    let read = |sample: &Sample| as_float(sample.customers);
    let total = highest(&course.values(read));
    if total == 0.0 {
        let explanation = "This attempt fetched no customers.".to_owned();
        return Ok(Figure { explanation, ..figure });
    }
    let fastest = highest(&course.rate(points(WIDE), read));
    let charts = both(|canvas| {
        let rate = course.rate(points(canvas), read);
        on_axes(canvas, course, fastest, Unit::Rate, &[Layer::Area(BLUE, rate)])
    })?;
    let average = total / course.duration;
    Ok(Figure {
        explanation: format!("Customers that this attempt fetched, {}.", averaged(course)),
        legend: vec![legend(BLUE, "customers per second")],
        description: format!(
            "{} customers in {}; {} per second on average, at most {}.",
            number(whole(total)),
            time(seconds(course.duration)),
            decimal(average),
            decimal(fastest)
        ),
        charts,
        table: Table {
            head: vec!["", "In all", "Average per second", "Maximum per second"],
            rows: vec![vec![
                "Customers".to_owned(),
                number(whole(total)),
                decimal(average),
                decimal(fastest),
            ]],
        },
        ..figure
    })
}

pub(super) fn requests(course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "requests", title: "Requests per second", ..Figure::default() };
    let read: [fn(&Sample) -> f64; 2] =
        [|sample| as_float(sample.yotpo_requests), |sample| as_float(sample.treasure_data_requests)];
    let names = ["Yotpo", "Treasure Data"];
    let totals = read.map(|read| read(&last(course)));
    // The limit is that of Yotpo. Without a store, there are only requests to Treasure Data.
    let (service, colour) = if totals[0] > 0.0 { (0, BLUE) } else { (1, PURPLE) };
    let (Some(read_drawn), Some(name)) = (read.get(service), names.get(service)) else { return Ok(figure) };
    if totals == [0.0, 0.0] {
        let explanation = "This attempt sent no requests.".to_owned();
        return Ok(Figure { explanation, ..figure });
    }
    let thousandth = |millis: u64| as_float(millis) / 1_000.0;
    let limit = course.known(|sample| thousandth(sample.limit_millis));
    let others = course.known(|sample| thousandth(sample.others_millis));
    let fastest = read.map(|read| highest(&course.rate(points(WIDE), read)));
    let drawn = highest(&course.rate(points(WIDE), read_drawn)).max(highest(&others));
    // Of a limit that changes, everything or nothing is drawn.
    let shows_limit = service == 0 && !limit.is_empty() && highest(&limit) <= drawn * MAX_HEADROOM;
    let top = if shows_limit { drawn.max(highest(&limit)) } else { drawn };
    let charts = both(|canvas| {
        let mut list = vec![Layer::Area(colour, course.rate(points(canvas), read_drawn))];
        list.extend((!others.is_empty()).then(|| Layer::Line(ORANGE, others.clone())));
        list.extend(shows_limit.then(|| Layer::Line(LIMIT, extended(&limit, course.duration))));
        on_axes(canvas, course, top, Unit::Rate, &list)
    })?;
    let mut legends = vec![legend(colour, format!("to {name}"))];
    legends.extend((!others.is_empty()).then(|| legend(ORANGE, "of other clients of the store (estimated)")));
    legends.extend(shows_limit.then(|| legend(LIMIT, "limit in force")));
    let limits = match (lowest(&limit), highest(&limit)) {
        _ if limit.is_empty() => String::new(),
        (low, high) if low < high => {
            format!(" The limit in force was {} to {} requests per second.", decimal(low), decimal(high))
        }
        (_, high) => format!(" The limit in force was {} requests per second.", decimal(high)),
    };
    let rows = names.into_iter().zip(totals).zip(fastest).map(|((name, total), fastest)| {
        vec![name.to_owned(), number(whole(total)), decimal(total / course.duration), decimal(fastest)]
    });
    let rows: Vec<_> = rows.collect();
    let described = rows.iter().map(|row| row.join(", ")).collect::<Vec<_>>().join("; ");
    Ok(Figure {
        explanation: format!("Requests to {name}, retries included, {}.{limits}", averaged(course)),
        legend: legends,
        description: format!("Requests, average and maximum per second: {described}.{limits}"),
        charts,
        table: Table { head: vec!["Service", "Requests", "Average per second", "Maximum per second"], rows },
        ..figure
    })
}

pub(super) fn waits(recording: &RunRecording, course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "waits", title: "Waits", ..Figure::default() };
    let (delayed, paused) = (last(course).delayed, last(course).paused.min(last(course).delayed));
    let phase = |wanted: Phase| {
        let ends = recording.phases.iter().skip(1).map(|(_, at)| *at).chain([recording.duration_millis]);
        let lasted = recording.phases.iter().zip(ends).filter(|((phase, _), _)| *phase == wanted);
        Duration::from_millis(lasted.map(|((_, from), to)| to.saturating_sub(*from)).sum())
    };
    let causes = [
        ("Our own rate for Yotpo (--requests-per-second)", delayed.saturating_sub(paused)),
        ("Other clients of the store, or a delay that Yotpo requested", paused),
        ("The load job", phase(Phase::Loading)),
        ("Another run of the target", phase(Phase::Waiting)),
    ];
    let waited = causes.iter().filter(|(_, waited)| !waited.is_zero());
    let rows = waited.map(|(cause, waited)| {
        let share = waited.as_secs_f64() / course.duration * 100.0;
        vec![(*cause).to_owned(), time(*waited), format!("{:.0} %", share.min(100.0))]
    });
    let table = Table { head: vec!["Wait for", "Lasted", "Share of the run"], rows: rows.collect() };
    if delayed.as_secs_f64() < course.duration * MIN_SHARE {
        let explanation = "Requests did not wait for the rate limit.".to_owned();
        return Ok(Figure { explanation, table, ..figure });
    }
    let charts = both(|canvas| {
        let intervals = points(canvas) / 2;
        let width = course.duration / f64::from(intervals);
        let all = spread_back(&course.growth(intervals, |sample| sample.delayed.as_secs_f64()), width);
        let pauses = spread_forward(&course.growth(intervals, |sample| sample.paused.as_secs_f64()), width);
        let boxes = |bottoms: &[f64], tops: &[f64]| {
            let percent = |time: f64| time / width * 100.0;
            let places = (0_u32..).map(|place| f64::from(place) * width);
            places
                .zip(bottoms.iter().zip(tops))
                .filter(|(_, (bottom, top))| top > bottom)
                .map(|(from, (bottom, top))| {
                    [from, (from + width).min(course.duration), percent(*bottom), percent(*top)]
                })
                .collect()
        };
        let pauses: Vec<f64> = pauses.iter().zip(&all).map(|(paused, all)| paused.min(*all)).collect();
        let list = [
            Layer::Boxes(ORANGE, boxes(&vec![0.0; pauses.len()], &pauses)),
            Layer::Boxes(BLUE, boxes(&pauses, &all)),
        ];
        on_axes(canvas, course, 100.0, Unit::Percent, &list)
    })?;
    let description = causes.iter().filter(|(_, waited)| !waited.is_zero());
    let description: Vec<_> =
        description.map(|(cause, waited)| format!("{cause}: {}", time(*waited))).collect();
    Ok(Figure {
        explanation: "The share of each moment in which the next request to Yotpo waited for the rate limit. Waiting most of \
                      the time for our own rate is normal: then the limit is fully used."
            .to_owned(),
        legend: vec![
            legend(BLUE, "for our own rate"),
            legend(ORANGE, "for other clients, or because Yotpo requested it"),
        ],
        description: format!("Waits by cause. {}.", description.join("; ")),
        charts,
        table,
        ..figure
    })
}

pub(super) fn parts(course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "parts", title: "Parts", ..Figure::default() };
    let stored = from_zero(course.values(|sample| as_float(sample.parts)));
    let queued = from_zero(course.values(|sample| as_float(sample.parts_queued)));
    if highest(&stored) + highest(&queued) == 0.0 {
        return Ok(Figure { explanation: "No part was made.".to_owned(), ..figure });
    }
    let top = highest(&stored).max(highest(&queued));
    let charts = both(|canvas| {
        let list = [Layer::Area(GREEN, stored.clone()), Layer::Line(ORANGE, queued.clone())];
        on_axes(canvas, course, top, Unit::Count, &list)
    })?;
    let row = |name: &str, points: &[Point]| {
        vec![
            name.to_owned(),
            number(whole(points.last().map_or(0.0, |(_, parts)| *parts))),
            number(whole(highest(points))),
        ]
    };
    Ok(Figure {
        explanation: "Parts that are stored, and parts that are complete and wait for their upload or are in flight. If many \
                      are queued, the upload is slower than Yotpo."
            .to_owned(),
        legend: vec![legend(GREEN, "stored"), legend(ORANGE, "queued")],
        description: format!(
            "{} parts stored; at most {} queued.",
            number(whole(highest(&stored))),
            number(whole(highest(&queued)))
        ),
        charts,
        table: Table {
            head: vec!["Parts", "At the end", "Maximum"],
            rows: vec![row("Stored", &stored), row("Queued", &queued)],
        },
        ..figure
    })
}

pub(super) fn bytes(course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "bytes", title: "Bytes", ..Figure::default() };
    let rows = from_zero(course.values(|sample| as_float(sample.row_bytes)));
    let parts = from_zero(course.values(|sample| as_float(sample.part_bytes)));
    let (row_bytes, part_bytes) = (highest(&rows), highest(&parts));
    if row_bytes + part_bytes == 0.0 {
        return Ok(Figure { explanation: "This attempt stored no bytes.".to_owned(), ..figure });
    }
    let charts = both(|canvas| {
        let list = [Layer::Line(BLUE, rows.clone()), Layer::Area(GREEN, parts.clone())];
        on_axes(canvas, course, row_bytes.max(part_bytes), Unit::Bytes, &list)
    })?;
    let row = |name: &str, bytes: f64| {
        let per_second = format!("{}/s", size(bytes / course.duration));
        vec![name.to_owned(), size(bytes), per_second]
    };
    let ratio = format!("{:.1} %", part_bytes / row_bytes.max(1.0) * 100.0);
    Ok(Figure {
        explanation: format!(
            "Bytes that are stored. Compressed parts have {ratio} of the bytes of their rows."
        ),
        legend: vec![legend(BLUE, "rows"), legend(GREEN, "compressed parts")],
        description: format!("{} of rows in {} of parts.", size(row_bytes), size(part_bytes)),
        charts,
        table: Table {
            head: vec!["", "In all", "Average"],
            rows: vec![row("Rows", row_bytes), row("Compressed parts", part_bytes)],
        },
        ..figure
    })
}

pub(super) fn memory(recording: &RunRecording, course: Course<'_>) -> Result<Figure, DrawError> {
    let figure = Figure { id: "memory", title: "Memory", ..Figure::default() };
    let mut resident = course.known(|sample| as_float(sample.resident_bytes));
    if resident.is_empty() {
        return Ok(Figure { explanation: "The memory of the process is not known.".to_owned(), ..figure });
    }
    let first = resident.first().map(|(_, bytes)| (0.0, *bytes));
    resident.splice(0..0, first);
    let top = highest(&resident);
    let bound = recording.memory_bound_bytes.map(as_float);
    let shows_bound = bound.is_some_and(|bound| bound <= top * MAX_HEADROOM);
    let charts = both(|canvas| {
        let mut list = vec![Layer::Area(PURPLE, resident.clone())];
        let level = bound.filter(|_| shows_bound).map(|bound| vec![(0.0, bound), (course.duration, bound)]);
        list.extend(level.map(|level| Layer::Line(LIMIT, level)));
        on_axes(canvas, course, bound.filter(|_| shows_bound).unwrap_or(top).max(top), Unit::Bytes, &list)
    })?;
    let mut legends = vec![legend(PURPLE, "resident memory")];
    legends.extend(shows_bound.then(|| legend(LIMIT, "bound of the buffers, by the settings")));
    let peak = recording.peak_resident_bytes.map_or(top, as_float);
    let mut rows = vec![vec!["Maximum resident memory".to_owned(), size(peak)]];
    rows.extend(bound.map(|bound| vec!["Bound of the buffers, by the settings".to_owned(), size(bound)]));
    let bound = bound.map_or_else(String::new, |bound| {
        format!(" The settings allow buffers of {} in all; the program itself comes on top.", size(bound))
    });
    Ok(Figure {
        explanation: format!("Resident memory of the process.{bound}"),
        legend: legends,
        description: format!("At most {}.{bound}", size(peak)),
        charts,
        table: Table { head: vec!["Memory", "Bytes"], rows },
        ..figure
    })
}

/// Draws layers over the time of the run.
fn on_axes(
    canvas: Canvas,
    course: Course<'_>,
    top: f64,
    unit: Unit,
    list: &[Layer],
) -> Result<String, DrawError> {
    let x = Axis::ending_at(course.duration, Unit::Time, canvas.marks.0);
    layers(canvas, &x, &Axis::up_to(top, unit, canvas.marks.1), list)
}

/// How many points a line has: one for each few pixels.
pub(super) const fn points(canvas: Canvas) -> u32 {
    canvas.width / 4
}

fn averaged(course: Course<'_>) -> String {
    format!("each point averaged over {}", span(course.window()))
}

fn last(course: Course<'_>) -> Sample {
    course.last().unwrap_or_default()
}

/// The line as it was between its points, to the end of the run: a limit holds until it changes.
fn extended(points: &[Point], end: f64) -> Vec<Point> {
    let mut steps: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        match steps.last().copied() {
            Some((_, level)) if (level - point.1).abs() < f64::EPSILON => {}
            Some((_, level)) => steps.extend([(point.0, level), *point]),
            None => steps.push((0.0, point.1)),
        }
    }
    steps.extend(points.last().map(|(_, level)| (end, *level)));
    steps
}

/// What is counted begins with nothing.
fn from_zero(mut points: Vec<Point>) -> Vec<Point> {
    points.insert(0, (0.0, 0.0));
    points
}

fn highest(points: &[Point]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn lowest(points: &[Point]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min)
}

fn size(bytes: f64) -> String {
    ByteSize(whole(bytes)).display().iec().to_string()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
