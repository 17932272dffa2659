//! The counters of a run at one moment, and a bounded list of them.
//!
//! Owns how a sample is stored (a JSON array, see [`Row`]) and which samples are dropped when the list is full.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::FailureKind;
use crate::telemetry::memory::resident_bytes;
use crate::telemetry::progress::Progress;

/// Maximum number of samples of a recording.
pub const MAX_SAMPLES: usize = 320;
/// Causes of retries, in the order of [`FailureKind::ALL`].
pub const RETRY_CAUSES: usize = FailureKind::ALL.len();

/// The counters of a run at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Sample {
    /// Since the first phase began.
    pub at: Duration,
    /// Customers that this process fetched.
    pub customers: u64,
    /// Requests to Yotpo.
    pub yotpo_requests: u64,
    /// Requests to Treasure Data.
    pub treasure_data_requests: u64,
    /// The rate in force, in thousandths of a request per second; 0 without one.
    pub limit_millis: u64,
    /// Requests of other clients, in thousandths of a request per second.
    pub others_millis: u64,
    /// How long requests to Yotpo waited for the rate limit, in all.
    pub delayed: Duration,
    /// How long requests paused for other clients or because Yotpo requested it.
    pub paused: Duration,
    /// Parts that are stored.
    pub parts: u64,
    /// Parts that are complete but not stored yet.
    pub parts_queued: u64,
    /// Bytes of stored parts.
    pub part_bytes: u64,
    /// Bytes of the rows in them.
    pub row_bytes: u64,
    /// Resident memory; 0 if it is not known.
    pub resident_bytes: u64,
    /// Retries of requests to both services, by cause.
    pub retries: [u64; RETRY_CAUSES],
}

/// A sample in a file: its fields in order, times in milliseconds.
type Row = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, [u64; RETRY_CAUSES]);

impl From<Sample> for Row {
    fn from(sample: Sample) -> Self {
        (
            millis(sample.at),
            sample.customers,
            sample.yotpo_requests,
            sample.treasure_data_requests,
            sample.limit_millis,
            sample.others_millis,
            millis(sample.delayed),
            millis(sample.paused),
            sample.parts,
            sample.parts_queued,
            sample.part_bytes,
            sample.row_bytes,
            sample.resident_bytes,
            sample.retries,
        )
    }
}

impl From<Row> for Sample {
    fn from(row: Row) -> Self {
        Self {
            at: Duration::from_millis(row.0),
            customers: row.1,
            yotpo_requests: row.2,
            treasure_data_requests: row.3,
            limit_millis: row.4,
            others_millis: row.5,
            delayed: Duration::from_millis(row.6),
            paused: Duration::from_millis(row.7),
            parts: row.8,
            parts_queued: row.9,
            part_bytes: row.10,
            row_bytes: row.11,
            resident_bytes: row.12,
            retries: row.13,
        }
    }
}

impl Sample {
    /// The counters at `now`; `None` before the first phase.
    pub(super) fn of(progress: &Progress, now: Duration, memory: &mut Memory) -> Option<Self> {
        let seen = progress.snapshot();
        let at = Duration::from_millis(millis(now.saturating_sub(seen.started?)));
        let usage = &seen.usage;
        let mut retries = [0; RETRY_CAUSES];
        for counts in [&usage.yotpo, &usage.treasure_data] {
            for (total, (_, count)) in retries.iter_mut().zip(counts.retries_by_cause.iter()) {
                *total += count;
            }
        }
        Some(Self {
            at,
            customers: seen.customers.saturating_sub(seen.customers_before),
            yotpo_requests: usage.yotpo.requests,
            treasure_data_requests: usage.treasure_data.requests,
            limit_millis: thousandths(usage.rate.requests_per_second),
            others_millis: thousandths(usage.rate.others_per_second),
            // As it is kept in a file.
            delayed: Duration::from_millis(millis(usage.rate.delayed)),
            paused: Duration::from_millis(millis(usage.rate.waited)),
            parts: seen.parts,
            parts_queued: seen.parts_queued,
            part_bytes: seen.uploaded_bytes,
            row_bytes: seen.row_bytes,
            resident_bytes: memory.at(now),
            retries,
        })
    }

    /// This sample for the time since an `earlier` one, too: counters are those at its end, and of what goes up and down, the
    /// extreme that matters stays.
    fn covering(self, earlier: Self) -> Self {
        Self {
            limit_millis: match earlier.limit_millis {
                0 => self.limit_millis,
                earlier => self.limit_millis.min(earlier),
            },
            others_millis: self.others_millis.max(earlier.others_millis),
            parts_queued: self.parts_queued.max(earlier.parts_queued),
            resident_bytes: self.resident_bytes.max(earlier.resident_bytes),
            ..self
        }
    }
}

/// Resident memory as it was last read. Reading it costs several times as much as all counters.
#[derive(Debug, Default)]
pub(super) struct Memory {
    read_at: Option<Duration>,
    bytes: u64,
}

impl Memory {
    const INTERVAL: Duration = Duration::from_millis(200);

    /// Resident memory at `now`, or shortly before; 0 if it is not known.
    fn at(&mut self, now: Duration) -> u64 {
        if self.read_at.is_none_or(|at| now.saturating_sub(at) >= Self::INTERVAL) {
            self.read_at = Some(now);
            self.bytes = resident_bytes().unwrap_or_default();
        }
        self.bytes
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; never negative or exact"
)]
fn thousandths(rate: f64) -> u64 {
    (rate.max(0.0) * 1_000.0).round() as u64
}

/// At most [`MAX_SAMPLES`] samples, at equal distances as far as the thread is on time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    list: Vec<Sample>,
    interval: Duration,
}

impl Samples {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { list: Vec::new(), interval }
    }

    /// When the next sample is due, from the last one.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds a sample of a run that works.
    pub(super) fn add(&mut self, sample: Sample) {
        // One place is left for the end of the run.
        if self.list.len() >= MAX_SAMPLES - 1 {
            self.halve();
        }
        self.list.push(sample);
    }

    /// Adds the sample of the end. A sample that was taken later, while the process ended, is not of the run.
    pub(super) fn end(&mut self, sample: Option<Sample>) {
        if let Some(sample) = sample {
            self.list.retain(|earlier| earlier.at < sample.at);
            self.list.push(sample);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Sample> {
        self.list
    }

    /// Keeps every second sample, and the last one.
    fn halve(&mut self) {
        let pairs = self.list.chunks(2).filter_map(|pair| {
            let (first, last) = (pair.first()?, pair.last()?);
            Some(last.covering(*first))
        });
        self.list = pairs.collect();
        self.interval = self.interval.saturating_mul(2);
    }
}

/// Whole milliseconds, as a recording has them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    fn sample(at: u32) -> Sample {
        Sample { at: INTERVAL * at, customers: u64::from(at), ..Sample::default() }
    }

    #[test]
    fn a_long_recording_is_bounded_and_covers_the_whole_run() {
        let mut samples = Samples::new(INTERVAL);
        let mut at = 0;
        for _ in 0..3_000 {
            samples.add(sample(at));
            assert!(samples.len() < MAX_SAMPLES);
            at += u32::try_from(samples.interval().as_millis() / INTERVAL.as_millis()).unwrap();
        }
        samples.end(Some(sample(at)));
        let list = samples.into_vec();
        assert!((MAX_SAMPLES / 2..=MAX_SAMPLES).contains(&list.len()), "{}", list.len());
        assert_eq!(list.last(), Some(&sample(at)));
        let gaps: Vec<_> = list.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*least > Duration::ZERO && *most <= *least * 3, "{least:?} {most:?}");
        assert!(list[0].at <= *most, "the beginning is kept");
    }

    // Other systems do not report it.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_read_at_an_interval_and_not_for_every_sample() {
        let mut memory = Memory { read_at: Some(Duration::from_secs(1)), bytes: 7 };
        assert_eq!(memory.at(Duration::from_millis(1_199)), 7);
        let read = memory.at(Duration::from_millis(1_200));
        assert!(read > 1_000_000, "{read}");
        assert_eq!(memory.read_at, Some(Duration::from_millis(1_200)));
        assert!(Memory::default().at(Duration::ZERO) > 1_000_000);
    }

    #[test]
    fn an_extreme_between_two_samples_is_not_lost() {
        let mut samples = Samples::new(INTERVAL);
        let peak = Sample {
            parts_queued: 9,
            resident_bytes: 80,
            others_millis: 4_000,
            limit_millis: 1_000,
            ..sample(100)
        };
        for at in 0..u32::try_from(MAX_SAMPLES).unwrap() * 4 {
            let usual = Sample { parts_queued: 1, resident_bytes: 50, limit_millis: 5_000, ..sample(at) };
            samples.add(if at == 100 { peak } else { usual });
        }
        let list = samples.into_vec();
        assert_eq!(list.iter().map(|sample| sample.parts_queued).max(), Some(9));
        assert_eq!(list.iter().map(|sample| sample.resident_bytes).max(), Some(80));
        assert_eq!(list.iter().map(|sample| sample.others_millis).max(), Some(4_000));
        assert_eq!(list.iter().map(|sample| sample.limit_millis).min(), Some(1_000));
    }

    #[test]
    fn a_sample_taken_after_the_end_is_not_of_the_run() {
        let mut samples = Samples::new(INTERVAL);
        for at in 0..5 {
            samples.add(sample(at));
        }
        samples.end(Some(Sample { customers: 77, ..sample(3) }));
        let list = samples.into_vec();
        assert_eq!(list.iter().map(|sample| sample.customers).collect::<Vec<_>>(), [0, 1, 2, 77]);
    }

    #[test]
    fn a_sample_is_read_back_as_it_was_written() {
        let written = Sample {
            at: Duration::from_millis(1),
            customers: 2,
            yotpo_requests: 3,
            treasure_data_requests: 4,
            limit_millis: 5,
            others_millis: 6,
            delayed: Duration::from_millis(7),
            paused: Duration::from_millis(8),
            parts: 9,
            parts_queued: 10,
            part_bytes: 11,
            row_bytes: 12,
            resident_bytes: u64::MAX,
            retries: [14, 15, 16, 17, 18, 19],
        };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(text, "[1,2,3,4,5,6,7,8,9,10,11,12,18446744073709551615,[14,15,16,17,18,19]]");
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), written);
        for wrong in [
            "[]",
            "[1,2,3,4,5,6,7,8,9,10,11,12,13,[14,15]]",
            "[-1,2,3,4,5,6,7,8,9,10,11,12,13,[1,2,3,4,5,6]]",
        ] {
            assert!(serde_json::from_str::<Sample>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_has_thousandths_of_rates_and_the_retries_of_both_services() {
        use crate::retry::{RequestCounts, RetriesByCause};
        use crate::telemetry::phase::Phase;
        use crate::telemetry::usage::ServiceUse;

        let progress = Progress::default();
        let mut memory = Memory::default();
        assert_eq!(Sample::of(&progress, Duration::ZERO, &mut memory), None);
        progress.read_usage_from(|| {
            let retried = |times| {
                let causes = [(FailureKind::Timeout, times), (FailureKind::Throttled, 1)];
                RequestCounts {
                    retries_by_cause: RetriesByCause::from_iter(causes),
                    ..RequestCounts::default()
                }
            };
            let mut usage =
                ServiceUse { yotpo: retried(2), treasure_data: retried(3), ..ServiceUse::default() };
            usage.rate.requests_per_second = 4.5;
            usage.rate.others_per_second = 0.000_6;
            usage
        });
        progress.enter(Phase::Fetching, Duration::from_secs(1));
        let sample = Sample::of(&progress, Duration::from_secs(3), &mut memory).unwrap();
        assert_eq!(
            (sample.at, sample.limit_millis, sample.others_millis),
            (Duration::from_secs(2), 4_500, 1)
        );
        let by_cause = FailureKind::ALL.into_iter().zip(sample.retries).collect::<Vec<_>>();
        assert!(by_cause.contains(&(FailureKind::Timeout, 5)), "{by_cause:?}");
        assert!(by_cause.contains(&(FailureKind::Throttled, 2)), "{by_cause:?}");
        assert_eq!(thousandths(-1.0), 0);
    }
}
