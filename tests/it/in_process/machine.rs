//! Machines that run the program side by side, against one sandbox and on one clock.
//!
//! A [`Machine`] has a state directory. An [`Attempt`] is one process on it: a task of the test's runtime with its own
//! clients and view of the clock, so that it can be suspended (SIGSTOP), resumed (SIGCONT) and killed (SIGKILL) while
//! the others and the time continue. A suspended attempt sends nothing, receives no response, saves nothing, and none of
//! its sleeps ends. A killed one ends immediately; what it has sent is delivered before the time advances, or as the
//! sandbox's faults say. A test controls attempts with plain code that sleeps on the world's clock. This module only
//! knows how to run a process of the program.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tempfile::TempDir;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use yotpo_td::checkpoint::RunState;
use yotpo_td::clock::{Clock, SuspendAt};
use yotpo_td::config::Settings;
use yotpo_td::run::{RunFailure, RunReport};
use yotpo_td::sandbox::Control;
use yotpo_td::shutdown::{Signal, StopSender};

use crate::in_process::harness::{World, open_store, temporary_directory};

/// A computer in a world, with a state directory that is empty at first. Attempts on one machine must follow each other
/// because of the target's lock.
pub(crate) struct Machine<'w> {
    world: &'w World,
    state_directory: TempDir,
}

/// A process of the program that runs by itself. Dropping it kills it.
pub(crate) struct Attempt {
    clock: Clock,
    stop: StopSender,
    kill_at_poll: Arc<AtomicU64>,
    task: AbortOnDropHandle<End>,
    end: Option<End>,
}

/// The result of an attempt; `None` if it was killed.
pub(crate) type End = Option<Result<RunReport, RunFailure>>;

impl<'w> Machine<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, state_directory: temporary_directory() }
    }

    /// The settings of a run on this machine, with `flags` on top of the scenario's.
    pub(crate) fn settings(&self, flags: &[(&'static str, &str)]) -> Settings {
        self.world.settings_on(self.state_directory.path(), flags)
    }

    pub(crate) fn state_directory(&self) -> &Path {
        self.state_directory.path()
    }

    /// The saved state of the run that `settings` are for.
    pub(crate) fn saved(settings: &Settings) -> Option<RunState> {
        open_store(settings).run().unwrap()
    }

    /// The state directory is empty again, as in a new container.
    pub(crate) fn lose_state(&self) {
        for entry in std::fs::read_dir(self.state_directory()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Starts an attempt.
    pub(crate) fn start(&self, settings: &Settings) -> Attempt {
        self.start_watched(settings, |_| {})
    }

    /// Starts an attempt; `watch` is called whenever anything changed in the sandbox.
    pub(crate) fn start_watched(
        &self,
        settings: &Settings,
        mut watch: impl FnMut(&Control) + Send + 'static,
    ) -> Attempt {
        let clock = self.world.clock.for_new_process();
        let (process, stop) = self.world.process(settings, &clock);
        let control = self.world.control().clone();
        let kill_at_poll = Arc::new(AtomicU64::new(u64::MAX));
        let deadly = Arc::clone(&kill_at_poll);
        let task = tokio::spawn(async move {
            let mut work = Some(Box::pin(process.run()));
            let mut polls = 0;
            poll_fn(move |context| {
                polls += 1;
                watch(&control);
                match work.as_mut().filter(|_| polls < deadly.load(Ordering::Relaxed)) {
                    Some(work) => work.as_mut().poll(context).map(Some),
                    None => {
                        work = None;
                        Poll::Ready(None)
                    }
                }
            })
            .await
        });
        Attempt { clock, stop, kill_at_poll, task: AbortOnDropHandle::new(task), end: None }
    }
}

impl Attempt {
    /// How many requests it has sent.
    pub(crate) fn requests_sent(&self) -> u64 {
        self.clock.requests_sent()
    }

    /// SIGSTOP, now.
    pub(crate) fn suspend(&self) {
        self.clock.suspend();
    }

    /// SIGSTOP between two of its calls, or in the middle of one.
    pub(crate) fn suspend_at(&self, moment: SuspendAt) {
        self.clock.suspend_at(moment);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.clock.resume();
    }

    /// SIGINT.
    pub(crate) fn interrupt(&self) {
        self.stop.stop(Signal::Interrupt);
    }

    /// SIGKILL when it is polled for the n-th time, counted from 1: at any moment at which it waits for something.
    pub(crate) fn kill_at_poll(&self, nth: u64) {
        self.kill_at_poll.store(nth, Ordering::Relaxed);
    }

    /// Waits until it is suspended; false when it ends before.
    pub(crate) async fn suspended(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        tokio::select! {
            biased;
            end = &mut self.task => {
                self.end = Some(ended(end));
                false
            }
            () = self.clock.suspended() => true,
        }
    }

    /// SIGKILL, now. Its memory and connections are gone when this returns; a result that it had before counts.
    pub(crate) async fn kill(self) -> End {
        self.task.abort();
        self.end().await
    }

    /// Waits for its end.
    pub(crate) async fn end(self) -> End {
        match self.end {
            Some(end) => end,
            None => ended(self.task.await),
        }
    }
}

/// The result of the task; a panic of the attempt fails the test.
fn ended(task: Result<End, JoinError>) -> End {
    match task.map_err(JoinError::try_into_panic) {
        Ok(end) => end,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_killed)) => None,
    }
}
