//! Draws charts as SVG, with `plotters`.
//!
//! Owns how charts look: sizes, axes, grid, and where texts are. What they show is decided in [`super::figures`]. Numbers are in the
//! coordinates of the axes; nothing outside of them is drawn.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::course::Point;
use super::palette::{Colour, GRID, INK, MUTED};
use super::scale::Axis;

/// Why a chart could not be drawn.
pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The size of a chart, in CSS pixels. Each is drawn for wide and for narrow screens, so that texts are always readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    /// About how many marks the axes have.
    pub(super) marks: (u32, u32),
}

pub(super) const WIDE: Canvas = Canvas { width: 640, height: 240, marks: (8, 4) };
pub(super) const NARROW: Canvas = Canvas { width: 328, height: 220, marks: (4, 4) };

/// The width of a histogram, which is one of several next to each other.
const SMALL_WIDTH: u32 = 300;

/// Pixels of a text; `plotters` divides what it is given.
const TEXT: f64 = 12.0 * 1.24;
/// Pixels left of a chart, for the marks.
const LEFT: u32 = 62;
/// Pixels right of a chart, for half of the last mark.
const RIGHT: u32 = 24;
/// Pixels left of rows, for their names.
const LEFT_OF_ROWS: u32 = 92;
const BELOW: u32 = 26;

/// One thing in a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layer {
    /// A line.
    Line(Colour, Vec<Point>),
    /// The area between a line and the axis, with the line.
    Area(Colour, Vec<Point>),
    /// Boxes: from, to, bottom, top.
    Boxes(Colour, Vec<[f64; 4]>),
}

/// A row of a chart of rows: its name, and from when to when it has which colour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) spans: Vec<(f64, f64, Colour)>,
}

/// Draws layers over each other.
pub(super) fn layers(canvas: Canvas, x: &Axis, y: &Axis, layers: &[Layer]) -> Result<String, DrawError> {
    draw(canvas, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(10)
            .margin_right(RIGHT)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
            .build_cartesian_2d(Scale::new(x.max, &x.marks), Scale::new(y.max, &y.marks))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.rgb)
            .axis_style(GRID.rgb)
            .x_labels(x.marks.len())
            .y_labels(y.marks.len())
            .x_label_formatter(&|value| x.label(*value))
            .y_label_formatter(&|value| y.label(*value))
            .label_style(text(MUTED))
            .draw()?;
        let plot = chart.plotting_area();
        for layer in layers {
            match layer {
                Layer::Line(colour, points) => plot.draw(&line(points, *colour))?,
                Layer::Area(colour, points) => {
                    plot.draw(&Polygon::new(down_to_the_axis(points), colour.rgb.mix(0.22)))?;
                    plot.draw(&line(points, *colour))?;
                }
                Layer::Boxes(colour, boxes) => {
                    for [from, to, bottom, top] in boxes {
                        plot.draw(&Rectangle::new([(*from, *bottom), (*to, *top)], colour.rgb.filled()))?;
                    }
                }
            }
        }
        Ok(())
    })
}

/// Draws rows of spans of time.
pub(super) fn rows(canvas: Canvas, x: &Axis, rows: &[Row]) -> Result<String, DrawError> {
    let middle = |row: usize| as_float(rows.len() - row) - 0.5;
    let height = u32::try_from(rows.len()).unwrap_or(u32::MAX).saturating_mul(24).saturating_add(BELOW + 12);
    draw(Canvas { height, ..canvas }, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(10)
            .margin_right(RIGHT)
            .set_label_area_size(LabelAreaPosition::Left, LEFT_OF_ROWS)
            .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
            .build_cartesian_2d(
                Scale::new(x.max, &x.marks),
                Scale::new(as_float(rows.len()), &(0..rows.len()).map(middle).collect::<Vec<_>>()),
            )?;
        let name = |value: f64| rows.iter().enumerate().find(|(row, _)| (middle(*row) - value).abs() < 0.1);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.rgb)
            .axis_style(GRID.rgb)
            .x_labels(x.marks.len())
            .y_labels(rows.len())
            .x_label_formatter(&|value| x.label(*value))
            .y_label_formatter(&|value| name(*value).map(|(_, row)| row.name.clone()).unwrap_or_default())
            .label_style(text(INK))
            .draw()?;
        let plot = chart.plotting_area();
        for (row, Row { spans, .. }) in rows.iter().enumerate() {
            for (from, to, colour) in spans {
                // What was short is visible, too.
                let to = to.max(from + x.max / 300.0).min(x.max);
                let from = from.min(to - x.max / 300.0);
                let corners = [(from, middle(row) - 0.3), (to, middle(row) + 0.3)];
                plot.draw(&Rectangle::new(corners, colour.rgb.filled()))?;
            }
        }
        Ok(())
    })
}

/// Draws a histogram that is as high as its largest count. `bounds` are written between the buckets.
pub(super) fn histogram(bounds: &[String], counts: &[u64], colour: Colour) -> Result<String, DrawError> {
    const BARS: i32 = 44;
    const SIDE: i32 = 4;
    const LABELS: i32 = 18;
    // Every third bound has room.
    const EVERY: usize = 3;
    let right = i32::try_from(SMALL_WIDTH).unwrap_or_default() - SIDE;
    let buckets = i32::try_from(bounds.len() + 1).unwrap_or(1);
    let edge = |bucket: i32| SIDE + (right - SIDE) * bucket / buckets;
    let largest = counts.iter().copied().max().unwrap_or_default().max(1);
    let canvas =
        Canvas { width: SMALL_WIDTH, height: u32::try_from(BARS + LABELS).unwrap_or_default(), ..NARROW };
    draw(canvas, |area| {
        for (bucket, count) in (0..).zip(counts).filter(|(_, count)| **count > 0) {
            // A bucket with one in a million is visible, too.
            let height = (as_float_of(*count) / as_float_of(largest) * f64::from(BARS - 4)).max(2.0);
            let corners = [(edge(bucket) + 1, BARS - pixels(height)), (edge(bucket + 1) - 1, BARS)];
            area.draw(&Rectangle::new(corners, colour.rgb.filled()))?;
        }
        area.draw(&PathElement::new([(SIDE, BARS), (right, BARS)], GRID.rgb))?;
        for (bucket, bound) in (1..).zip(bounds).skip(1).step_by(EVERY) {
            let at = edge(bucket);
            area.draw(&PathElement::new([(at, BARS), (at, BARS + 4)], MUTED.rgb))?;
            let style = text(MUTED).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(bound.clone(), (at, BARS + 5), style))?;
        }
        Ok(())
    })
}

/// An axis as `plotters` sees it: from zero to a maximum, with exactly these marks.
struct Scale {
    max: f64,
    marks: Vec<f64>,
}

impl Scale {
    fn new(max: f64, marks: &[f64]) -> Self {
        Self { max, marks: marks.to_vec() }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + pixels((value / self.max).clamp(0.0, 1.0) * f64::from(limit.1 - limit.0))
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        0.0..self.max
    }
}

fn draw(canvas: Canvas, what: impl FnOnce(&Area<'_>) -> Result<(), DrawError>) -> Result<String, DrawError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (canvas.width, canvas.height)).into_drawing_area();
    what(&area)?;
    area.present()?;
    drop(area);
    Ok(svg)
}

fn line(points: &[Point], colour: Colour) -> PathElement<Point> {
    PathElement::new(points.to_vec(), colour.rgb.stroke_width(2))
}

fn down_to_the_axis(points: &[Point]) -> Vec<Point> {
    let (first, last) = (points.first(), points.last());
    let corner = |point: &Point| (point.0, 0.0);
    first.map(corner).into_iter().chain(points.iter().copied()).chain(last.map(corner)).collect()
}

fn text(colour: Colour) -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&colour.rgb)
}

fn as_float(rows: usize) -> f64 {
    f64::from(u32::try_from(rows).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "a height to draw")]
fn as_float_of(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a few pixels; saturates")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[cfg(test)]
mod tests {
    use super::super::palette::{BLUE, ORANGE};
    use super::super::scale::Unit;
    use super::*;

    /// Position and size of all rectangles.
    fn rectangles(svg: &str) -> Vec<[i32; 4]> {
        let number = |tag: &str, name: &str| {
            let (_, value) = tag.split_once(&format!("{name}=\"")).unwrap();
            value.split_once('"').unwrap().0.parse().unwrap()
        };
        let tags = svg.split("<rect ").skip(1).map(|rest| rest.split_once('>').unwrap().0);
        tags.map(|tag| ["x", "y", "width", "height"].map(|name| number(tag, name))).collect()
    }

    /// The corners of all lines with two pixels.
    fn lines(svg: &str) -> Vec<Vec<(i32, i32)>> {
        let corner = |text: &str| {
            let (x, y) = text.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        let tags = svg.split("<polyline ").skip(1).map(|rest| rest.split_once('>').unwrap().0);
        let wide = tags.filter(|tag| tag.contains("stroke-width=\"2\""));
        let points = wide.map(|tag| tag.split_once(" points=\"").unwrap().1.split_once('"').unwrap().0);
        points.map(|points| points.split_ascii_whitespace().map(corner).collect()).collect()
    }

    fn axis(max: f64) -> Axis {
        Axis::ending_at(max, Unit::Count, 4)
    }

    #[test]
    fn a_line_is_where_its_numbers_are() {
        let points = vec![(0.0, 0.0), (5.0, 100.0), (10.0, 25.0)];
        let both = [Layer::Line(BLUE, points.clone()), Layer::Area(ORANGE, points)];
        let svg = layers(WIDE, &axis(10.0), &axis(100.0), &both).unwrap();
        // Left of them are 62 pixels, right of them 24, above them 10, and below them 26.
        let expected = vec![(62, 213), (339, 10), (615, 162)];
        assert_eq!(lines(&svg), [expected.clone(), expected], "{svg}");
        assert!(
            svg.contains("points=\"62,213 62,213 339,10 615,162 615,213"),
            "the area goes down to the axis: {svg}"
        );
    }

    #[test]
    fn boxes_and_rows_are_where_their_numbers_are() {
        let boxes = [Layer::Boxes(BLUE, vec![[2.5, 5.0, 0.0, 50.0]])];
        let svg = layers(WIDE, &axis(10.0), &axis(100.0), &boxes).unwrap();
        assert_eq!(rectangles(&svg), [[200, 111, 139, 102]], "{svg}");
        let row = |name: &str, spans| Row { name: name.to_owned(), spans };
        let two = [
            row("first", vec![(0.0, 5.0, BLUE), (12.0, 13.0, BLUE)]),
            row("second", vec![(5.0, 5.0, BLUE), (6.0, 12.0, BLUE)]),
        ];
        let svg = rows(WIDE, &axis(10.0), &two).unwrap();
        // What took no time is visible, and what is longer than the axis ends with it.
        let expected = [[92, 15, 262, 15], [613, 15, 2, 15], [354, 39, 1, 15], [406, 39, 209, 15]];
        assert_eq!(rectangles(&svg), expected, "{svg}");
        assert!(svg.contains("first") && svg.contains("second"), "{svg}");
        assert_eq!(svg.matches("<text ").count(), svg.matches("font-size=\"12\"").count(), "{svg}");
    }

    #[test]
    fn the_bars_of_a_histogram_are_as_high_as_their_counts() {
        let bounds = ["5 ms", "10 ms", "20 ms"].map(str::to_owned);
        let svg = histogram(&bounds, &[1_000_000, 250_000, 0, 1], BLUE).unwrap();
        let bars = rectangles(&svg);
        assert_eq!(bars, [[5, 4, 71, 40], [78, 34, 71, 10], [224, 42, 71, 2]], "{svg}");
        assert!(svg.contains("10 ms") && !svg.contains("20 ms"), "every third bound is written: {svg}");
        // Its mark is below the bars, and the text below the mark.
        assert!(svg.contains("points=\"150,44 150,48 \""), "{svg}");
        assert!(svg.contains("<text x=\"150\" y=\"49\""), "{svg}");
    }
}
