//! The course of a run: from samples of counters to what happened in each moment.
//!
//! Owns the window over which rates are measured, and the intervals into which a run is divided. A counter that falls, because
//! the run started over with a new set, continues from zero.

use std::time::Duration;

use crate::telemetry::Sample;

/// A rate is measured over this time where the run is long enough, so that a rate limit of a few requests per second shows as a
/// line.
const WINDOW: f64 = 5.0;
/// Minimum number of windows in a run.
const WINDOWS: f64 = 10.0;

/// A point of a line: seconds since the run began, and a value.
pub(super) type Point = (f64, f64);

/// The samples of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course<'a> {
    samples: &'a [Sample],
    /// Seconds.
    pub(super) duration: f64,
}

impl<'a> Course<'a> {
    pub(super) fn new(samples: &'a [Sample], duration: Duration) -> Self {
        Self { samples, duration: duration.as_secs_f64().max(0.001) }
    }

    /// The time over which a rate is measured, in seconds.
    pub(super) fn window(&self) -> f64 {
        WINDOW.max(self.duration / 120.0).min(self.duration / WINDOWS)
    }

    /// The counters at the end.
    pub(super) fn last(&self) -> Option<Sample> {
        self.samples.last().copied()
    }

    /// How much a counter grew per second, at `points` moments.
    pub(super) fn rate(&self, points: u32, read: impl Fn(&Sample) -> f64) -> Vec<Point> {
        let counted = self.growing(read);
        let half = self.window() / 2.0;
        let moment = |point: u32| self.duration * f64::from(point) / f64::from(points);
        let rate = |at: f64| {
            // At both ends, the window is as wide as elsewhere: a single request is no high rate.
            let from = (at - half).clamp(0.0, self.duration - 2.0 * half);
            (at, (value_at(&counted, from + 2.0 * half) - value_at(&counted, from)) / (2.0 * half))
        };
        (0..=points).map(|point| rate(moment(point))).collect()
    }

    /// How much a counter grew in each of so many equal intervals.
    pub(super) fn growth(&self, intervals: u32, read: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let counted = self.growing(read);
        let edge = |interval: u32| self.duration * f64::from(interval) / f64::from(intervals);
        let grown = |interval| value_at(&counted, edge(interval + 1)) - value_at(&counted, edge(interval));
        (0..intervals).map(grown).collect()
    }

    /// How many single things a counter counted in each of so many equal intervals: none is divided between two.
    pub(super) fn counted(&self, intervals: u32, read: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let mut counted = vec![0.0; usize::try_from(intervals).unwrap_or_default()];
        let grown = self.growing(read);
        for pair in grown.windows(2) {
            let [(_, before), (at, after)] = pair else { continue };
            let place =
                (at / self.duration * f64::from(intervals)).min(f64::from(intervals.saturating_sub(1)));
            if let Some(interval) = counted.get_mut(usize::try_from(floor(place)).unwrap_or_default()) {
                *interval += after - before;
            }
        }
        counted
    }

    /// A value that goes up and down, as it was seen. It is zero before the first sample.
    pub(super) fn values(&self, read: impl Fn(&Sample) -> f64) -> Vec<Point> {
        self.samples.iter().map(|sample| (sample.at.as_secs_f64(), read(sample))).collect()
    }

    /// The samples that were taken while a value was known, which is not 0.
    pub(super) fn known(&self, read: impl Fn(&Sample) -> f64) -> Vec<Point> {
        self.values(read).into_iter().filter(|(_, value)| *value > 0.0).collect()
    }

    /// What a counter counted since the beginning, sample by sample.
    fn growing(&self, read: impl Fn(&Sample) -> f64) -> Vec<Point> {
        let (mut last, mut total) = (0.0, 0.0);
        let mut points = vec![(0.0, 0.0)];
        points.extend(self.samples.iter().map(|sample| {
            let now = read(sample);
            total += if now >= last { now - last } else { now };
            last = now;
            (sample.at.as_secs_f64(), total)
        }));
        points
    }
}

/// Time that was counted when it ended, moved back to when it passed: no interval has more than its width. What does not fit
/// before the first interval is dropped.
pub(super) fn spread_back(counted: &[f64], width: f64) -> Vec<f64> {
    let mut rest = 0.0;
    let spread = counted.iter().rev().map(|time| {
        let all = rest + time;
        let here = f64::min(all, width);
        rest = all - here;
        here
    });
    let mut spread: Vec<f64> = spread.collect();
    spread.reverse();
    spread
}

/// Time that was counted when it began, moved forward to when it passed.
pub(super) fn spread_forward(counted: &[f64], width: f64) -> Vec<f64> {
    let reversed: Vec<f64> = counted.iter().rev().copied().collect();
    let mut spread = spread_back(&reversed, width);
    spread.reverse();
    spread
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative here")]
fn floor(value: f64) -> u64 {
    value.floor() as u64
}

/// The value of a line between two of its points.
fn value_at(points: &[Point], at: f64) -> f64 {
    let after = points.partition_point(|(time, _)| *time < at);
    let later = points.get(after).or(points.last()).copied().unwrap_or_default();
    let earlier = after.checked_sub(1).and_then(|before| points.get(before)).copied().unwrap_or(later);
    let gap = later.0 - earlier.0;
    if gap > 0.0 {
        earlier.1 + (later.1 - earlier.1) * ((at - earlier.0) / gap).clamp(0.0, 1.0)
    } else {
        later.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(customers: &[(u64, u64)]) -> Vec<Sample> {
        let sample = |(millis, customers): &(u64, u64)| Sample {
            at: Duration::from_millis(*millis),
            customers: *customers,
            ..Sample::default()
        };
        customers.iter().map(sample).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn customers(sample: &Sample) -> f64 {
        sample.customers as f64
    }

    fn rounded(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        values.into_iter().map(|value| (value * 10.0).round() / 10.0).collect()
    }

    #[test]
    fn a_steady_rate_is_a_line_from_the_first_moment_to_the_last() {
        let steady: Vec<_> = (1..=600).map(|second| (second * 100, second * 10)).collect();
        let samples = samples(&steady);
        let course = Course::new(&samples, Duration::from_secs(60));
        let rate = course.rate(10, customers);
        assert_eq!((rate.len(), rate[0].0, rate[10].0), (11, 0.0, 60.0));
        assert_eq!(rounded(rate.into_iter().map(|(_, rate)| rate)), [100.0; 11]);
        assert_eq!(rounded(course.growth(6, customers)), [1_000.0; 6]);
    }

    #[test]
    fn five_requests_per_second_never_look_like_more_than_the_limit() {
        // One request each 200 ms, seen every 20 ms, for two minutes.
        let each: Vec<_> = (1..=6_000).map(|look| (look * 20, 1 + look / 10)).collect();
        let samples = samples(&each);
        let course = Course::new(&samples, Duration::from_secs(120));
        let fastest = course.rate(90, customers).into_iter().map(|(_, rate)| rate).fold(0.0, f64::max);
        assert!((4.9..5.35).contains(&fastest), "{fastest}");
    }

    #[test]
    fn single_things_are_not_divided() {
        let samples = samples(&[(900, 0), (1_100, 1), (1_900, 1), (2_900, 3), (4_000, 4)]);
        let course = Course::new(&samples, Duration::from_secs(4));
        assert_eq!(course.counted(4, customers), [0.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    fn a_new_set_does_not_make_a_negative_rate() {
        let samples = samples(&[(1_000, 100), (2_000, 200), (3_000, 50), (4_000, 150)]);
        let course = Course::new(&samples, Duration::from_secs(4));
        assert_eq!(rounded(course.growth(4, customers)), [100.0, 100.0, 50.0, 100.0]);
        assert!(course.rate(20, customers).iter().all(|(_, rate)| *rate >= 0.0));
    }

    #[test]
    fn a_run_without_samples_or_duration_has_no_rate() {
        for samples in [samples(&[]), samples(&[(0, 5)])] {
            let course = Course::new(&samples, Duration::ZERO);
            assert!(course.rate(4, customers).iter().all(|(at, rate)| at.is_finite() && rate.is_finite()));
            assert!(course.growth(4, customers).iter().all(|grown| grown.is_finite()));
        }
    }

    #[test]
    fn a_long_wait_is_shown_while_it_lasted() {
        // Three seconds were counted at their end, and at their beginning.
        assert_eq!(spread_back(&[0.0, 0.2, 0.0, 0.0, 3.0, 0.1], 1.0), [0.0, 0.2, 1.0, 1.0, 1.0, 0.1]);
        assert_eq!(spread_forward(&[0.1, 3.0, 0.0, 0.0, 0.2, 0.0], 1.0), [0.1, 1.0, 1.0, 1.0, 0.2, 0.0]);
        assert_eq!(spread_back(&[5.0], 1.0), [1.0]);
    }
}
