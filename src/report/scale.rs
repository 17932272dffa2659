//! Scales of the charts: where the marks of an axis are, and how a number is written next to one.

use std::time::Duration;

use crate::telemetry::words;

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number of things: whole numbers.
    Count,
    /// Things per second.
    Rate,
    /// Bytes.
    Bytes,
    /// Parts of a hundred.
    Percent,
    /// Seconds since the run began.
    Time,
}

/// An axis from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// Where it ends.
    pub(super) max: f64,
    /// Where its marks are, from zero on.
    pub(super) marks: Vec<f64>,
    unit: Unit,
    step: f64,
}

/// Steps of time that people count in, in seconds; longer ones are whole days.
const TIMES: [f64; 21] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1_800.0, 3_600.0, 7_200.0,
];
const DAY: f64 = 86_400.0;
const KIB: f64 = 1_024.0;

impl Axis {
    /// An axis that shows values up to `max`, with about as many marks as wanted. It ends at a mark.
    pub(super) fn up_to(max: f64, unit: Unit, marks: u32) -> Self {
        let axis = Self::ending_at(max, unit, marks);
        let last = (axis.max / axis.step).ceil().max(1.0) * axis.step;
        Self { marks: marks_of(axis.step, last), max: last, ..axis }
    }

    /// An axis that ends exactly at `max`.
    pub(super) fn ending_at(max: f64, unit: Unit, marks: u32) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let wanted = max / f64::from(marks.max(1));
        let step = match unit {
            Unit::Count => decimal_step(wanted).max(1.0),
            Unit::Rate | Unit::Percent => decimal_step(wanted),
            Unit::Bytes => byte_step(wanted),
            Unit::Time => time_step(wanted),
        };
        Self { marks: marks_of(step, max), max, unit, step }
    }

    /// What is written at a mark.
    pub(super) fn label(&self, value: f64) -> String {
        match self.unit {
            Unit::Count | Unit::Rate => compact(value, self.step),
            Unit::Bytes => bytes(value),
            Unit::Percent => format!("{value:.0} %"),
            Unit::Time => time(value, self.step),
        }
    }
}

/// Marks from zero to `max`. A step is never so small that there are many.
fn marks_of(step: f64, max: f64) -> Vec<f64> {
    let marks = (0_u32..64).map(|mark| f64::from(mark) * step);
    marks.take_while(|mark| *mark <= max * (1.0 + 1e-9)).collect()
}

/// The next of 1, 2, 5, 10, …
fn decimal_step(wanted: f64) -> f64 {
    let magnitude = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * magnitude);
    steps.into_iter().find(|step| *step >= wanted * (1.0 - 1e-9)).unwrap_or(10.0 * magnitude)
}

/// The next power of two.
fn byte_step(wanted: f64) -> f64 {
    2_f64.powf(wanted.max(1.0).log2().ceil())
}

fn time_step(wanted: f64) -> f64 {
    let step = TIMES.into_iter().find(|step| *step >= wanted * (1.0 - 1e-9));
    step.unwrap_or_else(|| if wanted <= DAY / 4.0 { DAY / 4.0 } else { decimal_step(wanted / DAY) * DAY })
}

/// A number of few characters: `7`, `0.25`, `1,500`, `20k`, `1.5M`.
fn compact(value: f64, step: f64) -> String {
    let decimals = |scaled: f64, step: f64| {
        let digits = if step >= 1.0 {
            0
        } else if step >= 0.1 {
            1
        } else {
            2
        };
        format!("{scaled:.digits$}")
    };
    match value {
        value if value >= 1e9 => format!("{}G", decimals(value / 1e9, step / 1e9)),
        value if value >= 1e6 => format!("{}M", decimals(value / 1e6, step / 1e6)),
        value if value >= 1e4 => format!("{}k", decimals(value / 1e3, step / 1e3)),
        value if value >= 1e3 => words::number(whole(value)),
        value => decimals(value, step),
    }
}

/// `512 KiB`, `1.5 MiB`: with as many decimals as there are, up to two.
fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = "PiB";
    for smaller in units {
        if scaled < KIB {
            unit = smaller;
            break;
        }
        scaled /= KIB;
    }
    format!("{} {unit}", (scaled * 100.0).round() / 100.0)
}

/// A time since the beginning: `200 ms`, `1.5 s`, `45s`, `5m`, `1h 30m`.
fn time(seconds: f64, step: f64) -> String {
    if seconds == 0.0 {
        return "0".to_owned();
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1_000.0);
    }
    if step < 1.0 {
        let digits = if step >= 0.1 { 1 } else { 2 };
        return format!("{seconds:.digits$} s");
    }
    let text = words::duration(Duration::from_secs(whole(seconds)));
    // A mark at a whole minute or hour needs no second unit.
    text.strip_suffix(" 00s").or_else(|| text.strip_suffix(" 00m")).unwrap_or(&text).to_owned()
}

/// A number that is never negative, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative here")]
pub(super) fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.marks.iter().map(|mark| axis.label(*mark)).collect()
    }

    #[test]
    fn marks_are_round_and_cover_the_values() {
        let axis = |max, unit| labels(&Axis::up_to(max, unit, 4)).join(" ");
        assert_eq!(axis(0.0, Unit::Rate), "0.0 0.5 1.0");
        assert_eq!(axis(0.1, Unit::Rate), "0.00 0.05 0.10");
        assert_eq!(axis(5.0, Unit::Rate), "0 2 4 6");
        assert_eq!(axis(0.0, Unit::Count), "0 1");
        assert_eq!(axis(1.0, Unit::Count), "0 1");
        assert_eq!(axis(1_300.0, Unit::Count), "0 500 1,000 1,500");
        assert_eq!(axis(61_000.0, Unit::Count), "0 20k 40k 60k 80k");
        assert_eq!(axis(200.0, Unit::Count), "0 50 100 150 200");
        assert_eq!(axis(4_100_000.0, Unit::Count), "0 2M 4M 6M");
        assert_eq!(axis(4_100_000_000.0, Unit::Count), "0 2G 4G 6G");
        assert_eq!(axis(100.0, Unit::Percent), "0 % 50 % 100 %");
        assert_eq!(axis(0.0, Unit::Bytes), "0 B 1 B");
        assert_eq!(axis(70.0 * KIB * KIB, Unit::Bytes), "0 B 32 MiB 64 MiB 96 MiB");
        assert_eq!(axis(1_500.0, Unit::Bytes), "0 B 512 B 1 KiB 1.5 KiB");
        assert_eq!(axis(1_250.0 * KIB, Unit::Bytes), "0 B 512 KiB 1 MiB 1.5 MiB");
    }

    #[test]
    fn times_are_marked_in_steps_that_people_count_in() {
        let axis = |max| labels(&Axis::ending_at(max, Unit::Time, 5)).join(" ");
        assert_eq!(axis(0.004), "0 1 ms 2 ms 3 ms 4 ms");
        assert_eq!(axis(0.3), "0 100 ms 200 ms 300 ms");
        assert_eq!(axis(1.2), "0 500 ms 1.0 s");
        assert_eq!(axis(5.0), "0 1s 2s 3s 4s 5s");
        assert_eq!(axis(42.0), "0 10s 20s 30s 40s");
        assert_eq!(axis(50.0), "0 10s 20s 30s 40s 50s");
        assert_eq!(axis(400.0), "0 2m 4m 6m");
        assert_eq!(axis(8_000.0), "0 30m 1h 1h 30m 2h");
        assert_eq!(axis(40_000.0), "0 6h");
        assert_eq!(axis(5.0 * DAY), "0 24h 48h 72h 96h 120h");
        assert_eq!(axis(30.0 * DAY), "0 240h 480h 720h");
    }

    #[test]
    fn no_number_makes_an_axis_without_an_end_or_with_many_marks() {
        for unit in [Unit::Count, Unit::Rate, Unit::Bytes, Unit::Percent, Unit::Time] {
            for max in [
                0.0,
                -1.0,
                f64::NAN,
                f64::INFINITY,
                f64::MIN_POSITIVE,
                1e-9,
                1e300,
                18_446_744_073_709_551_615.0,
            ] {
                for axis in [Axis::up_to(max, unit, 5), Axis::ending_at(max, unit, 5)] {
                    assert!(axis.max.is_finite() && axis.max > 0.0, "{unit:?} {max}: {axis:?}");
                    assert!((1..=14).contains(&axis.marks.len()), "{unit:?} {max}: {axis:?}");
                    assert!(labels(&axis).iter().all(|label| !label.is_empty()));
                }
            }
        }
    }
}
