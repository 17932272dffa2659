//! Machines that run the program side by side, against one sandbox and on one clock.
//!
//! A [`Machine`] is what has a state folder. An [`Attempt`] is one process on it: a task of the test's runtime with
//! clients and a view of the clock of its own, so that it can be suspended (SIGSTOP), resumed (SIGCONT) and killed
//! (SIGKILL) while the others and time go on. A suspended attempt sends nothing, sees no response, saves nothing, and none
//! of its sleeps ends. A killed one is gone at once; what it has sent is delivered before time goes on, or when the
//! sandbox's faults say so. A test directs attempts by plain code that sleeps on the world's clock. Of the program this
//! knows no more than how a process is run.

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

use crate::in_process::harness::{World, open_store, temporary_folder};

/// A computer in a world, with a state folder that is empty at first. Attempts on one machine must follow each other, as
/// the target's lock has it.
pub(crate) struct Machine<'w> {
    world: &'w World,
    state_folder: TempDir,
}

/// A process of the program that runs by itself. Dropped, it is killed.
pub(crate) struct Attempt {
    clock: Clock,
    stop: StopSender,
    kill_at_poll: Arc<AtomicU64>,
    task: AbortOnDropHandle<End>,
    end: Option<End>,
}

/// What became of an attempt; none when it was killed.
pub(crate) type End = Option<Result<RunReport, RunFailure>>;

impl<'w> Machine<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, state_folder: temporary_folder() }
    }

    /// The settings of a run on this machine, with `flags` on top of the scenario's.
    pub(crate) fn settings(&self, flags: &[(&'static str, &str)]) -> Settings {
        self.world.settings_on(self.state_folder.path(), flags)
    }

    pub(crate) fn state_folder(&self) -> &Path {
        self.state_folder.path()
    }

    /// The saved state of the run that `settings` are for.
    pub(crate) fn saved(settings: &Settings) -> Option<RunState> {
        open_store(settings).run().unwrap()
    }

    /// The state folder is empty again, as in a new container.
    pub(crate) fn lose_state(&self) {
        for entry in std::fs::read_dir(self.state_folder()).unwrap() {
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

    /// Starts an attempt; `look` looks at the sandbox whenever anything moved in it.
    pub(crate) fn start_watched(
        &self,
        settings: &Settings,
        mut look: impl FnMut(&Control) + Send + 'static,
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
                look(&control);
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

    /// SIGSTOP between two of its own calls, or in the middle of one.
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

    /// SIGKILL, now. Its memory and its connections are gone when this returns; an end that it had come to before counts.
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

/// What the task came to; a panic of the attempt is the test's.
fn ended(task: Result<End, JoinError>) -> End {
    match task.map_err(JoinError::try_into_panic) {
        Ok(end) => end,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_killed)) => None,
    }
}
