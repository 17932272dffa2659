//! Records how a run went, for its report: the counters over time, and the phases with their exact times.
//!
//! Owns when it looks, and that the recording is bounded: when it is full, every second sample is dropped, and samples are taken
//! half as often. It has a separate thread, so it records while the network thread is busy or waits. It knows counts only.

mod sample;

pub(crate) use sample::millis;
pub use sample::{MAX_SAMPLES, RETRY_CAUSES, Sample};

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::sample::{Memory, Samples};
use super::phase::Phase;
use super::progress::Progress;
use crate::clock::Clock;

/// How often it looks at first. A run of a tenth of a second has some samples; after the first halving, there are never fewer than
/// half of [`MAX_SAMPLES`].
const FIRST_INTERVAL: Duration = Duration::from_millis(20);

/// Records a run from a separate thread.
#[derive(Debug)]
pub struct Recorder {
    progress: Arc<Progress>,
    samples: Arc<Mutex<Samples>>,
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// When each phase began, since the first one did.
    pub phases: Vec<(Phase, Duration)>,
    /// How long the run lasted.
    pub duration: Duration,
    /// The counters over time.
    pub samples: Vec<Sample>,
}

impl Recorder {
    /// Records from now on.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(progress: &Arc<Progress>, clock: &Clock) -> io::Result<Self> {
        let samples = Arc::new(Mutex::new(Samples::new(FIRST_INTERVAL)));
        let (stop, stopped) = channel();
        let mut recorder = Self { progress: Arc::clone(progress), samples, stop: Some(stop), thread: None };
        let (progress, clock, samples) = (Arc::clone(progress), clock.clone(), Arc::clone(&recorder.samples));
        let work = move || {
            let mut memory = Memory::default();
            loop {
                let interval = lock(&samples).interval();
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if let Some(sample) = Sample::of(&progress, clock.now(), &mut memory) {
                    lock(&samples).add(sample);
                }
            }
        };
        recorder.thread = Some(thread::Builder::new().name("recorder".to_owned()).spawn(work)?);
        Ok(recorder)
    }

    /// Ends the recording. The run has ended, so that its last phase is complete.
    pub fn finish(mut self) -> Recording {
        self.stop_thread();
        let mut samples = std::mem::take(&mut *lock(&self.samples));
        let seen = self.progress.snapshot();
        let Some(started) = seen.started else { return Recording::default() };
        samples.end(Sample::of(&self.progress, seen.phase_since.max(started), &mut Memory::default()));
        let since = |(phase, at): (Phase, Duration)| (phase, at.saturating_sub(started));
        Recording {
            phases: self.progress.phase_changes().into_iter().map(since).collect(),
            duration: seen.phase_since.saturating_sub(started),
            samples: samples.into_vec(),
        }
    }

    fn stop_thread(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing depends on a recording that panicked.
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop_thread();
    }
}

fn lock(samples: &Mutex<Samples>) -> MutexGuard<'_, Samples> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_recorded_from_its_first_phase_to_its_end() {
        let (progress, clock) = (Arc::new(Progress::default()), Clock::machine());
        let recorder = Recorder::start(&progress, &clock).unwrap();
        progress.enter(Phase::Starting, clock.now());
        progress.enter(Phase::Fetching, clock.now());
        progress.page_fetched(7, 0);
        while lock(&recorder.samples).len() < 3 {
            assert!(clock.now() < Duration::from_secs(60), "a third sample is taken");
            thread::yield_now();
        }
        progress.page_fetched(7, 0);
        progress.finish(clock.now());
        let recording = recorder.finish();
        let phases: Vec<_> = recording.phases.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Starting, Phase::Fetching]);
        let last = recording.samples.last().unwrap();
        assert_eq!((last.customers, millis(last.at)), (14, millis(recording.duration)));
        // The end may be in the millisecond of the third sample.
        assert!(recording.samples.len() >= 3 && recording.samples.is_sorted_by_key(|sample| sample.at));
        assert!(recording.duration >= FIRST_INTERVAL, "{:?}", recording.duration);
    }

    #[test]
    fn a_run_that_did_not_start_has_an_empty_recording() {
        let recorder = Recorder::start(&Arc::default(), &Clock::machine()).unwrap();
        assert_eq!(recorder.finish(), Recording::default());
    }

    #[test]
    fn its_thread_has_ended_when_it_is_finished_or_dropped() {
        let ends: [fn(Recorder); 2] = [drop, |recorder| drop(recorder.finish())];
        for end in ends {
            let progress = Arc::default();
            end(Recorder::start(&progress, &Clock::machine()).unwrap());
            assert_eq!(Arc::strong_count(&progress), 1);
        }
    }
}
