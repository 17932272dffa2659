//! The task that advances virtual time.
//!
//! It runs as long as a [`Timeline`] has events. It fires the earliest one when nothing is busy and, for
//! [`QUIET_ROUNDS`] consecutive rounds, the runtime had nothing to run and no socket was ready. It counts rounds of the
//! runtime, never real time, so the load of the machine does not matter. It fires one event at a time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::timeline::{Blocker, Driver, Timeline};

/// Rounds without any change before the next event. In a round, the runtime runs every task that is ready and then
/// polls the sockets. A task that wakes another one therefore needs no round, and one that does so through the
/// runtime's main future needs one. No chain of wake-ups is longer without a request or blocking work.
const QUIET_ROUNDS: u32 = 32;
/// The same when a request whose sender is gone or suspended has not arrived yet. It may never have been sent. If it
/// was, the loopback interface usually delivers it immediately, but may leave that to another thread of the kernel.
const UNDELIVERED_ROUNDS: u32 = 1_000;

enum Step {
    /// There are no events.
    Stop,
    /// Something is busy.
    Wait,
    /// Nothing is busy so far.
    Poll,
}

/// Marks the driver as running. It can be started again when this is dropped with its runtime.
struct Running(Arc<Timeline>);

/// Starts the driver of a timeline, unless it is running.
pub(super) fn start(timeline: &Arc<Timeline>) {
    if !std::mem::replace(&mut timeline.lock().driver.running, true) {
        tokio::spawn(Running(Arc::clone(timeline)).drive());
    }
}

impl Running {
    async fn drive(self) {
        let (mut quiet, mut seen) = (0, 0);
        loop {
            match self.step(&mut quiet, &mut seen) {
                Step::Stop => return,
                Step::Wait => poll_fn(|context| self.poll_unblocked(context)).await,
                // On a current-thread runtime, this takes until no task is ready and the sockets were polled.
                Step::Poll => tokio::task::yield_now().await,
            }
        }
    }

    fn step(&self, quiet: &mut u32, seen: &mut u64) -> Step {
        let mut state = self.0.lock();
        if state.events.is_empty() {
            state.driver.running = false;
            return Step::Stop;
        }
        let blocker = state.blocker();
        let changed = std::mem::replace(seen, state.changes) != state.changes;
        if blocker == Blocker::Busy {
            return Step::Wait;
        }
        *quiet = if changed { 0 } else { *quiet + 1 };
        let undelivered = blocker == Blocker::Undelivered;
        if *quiet < if undelivered { UNDELIVERED_ROUNDS } else { QUIET_ROUNDS } {
            if undelivered {
                std::thread::yield_now();
            }
            return Step::Poll;
        }
        if undelivered {
            state.mark_overdue();
        }
        let fired = state.fire_earliest();
        drop(state);
        if let Some(waker) = fired {
            waker.wake();
        }
        Step::Poll
    }

    fn poll_unblocked(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.blocker() < Blocker::Busy {
            return Poll::Ready(());
        }
        state.driver.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().driver = Driver::default();
    }
}
