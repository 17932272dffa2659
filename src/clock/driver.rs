//! The task that lets virtual time go on.
//!
//! It runs as long as a [`Timeline`] has events. It ends the earliest one when nothing is busy and [`QUIET_ROUNDS`] times in a
//! row the runtime had nothing left to run and no socket was ready. It counts rounds of the runtime, never real time, so a
//! loaded machine makes no difference. One event ends at a time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::timeline::{Driver, Hold, Timeline};

/// Rounds without any change before the next event. In a round the runtime runs every task that can run, and then looks
/// at the sockets; so a task that hands over to another costs no round, and one that does so through the runtime's main
/// future costs one. Nothing hands over more often without a request or blocking work.
const QUIET_ROUNDS: u32 = 32;
/// The same when a request whose sender is gone or suspended has not arrived yet. It may never have been sent; if it was,
/// the loopback interface usually delivers it at once, but may leave it to another thread of the kernel.
const PATIENT_ROUNDS: u32 = 1_000;

enum Step {
    /// There is nothing to wait for.
    End,
    /// Something is busy.
    Wait,
    /// Nothing is, so far.
    Look,
}

/// The driver runs; it may be started again when this is dropped, with its runtime.
struct Running(Arc<Timeline>);

/// Starts the driver of a timeline, unless it runs.
pub(super) fn start(timeline: &Arc<Timeline>) {
    if !std::mem::replace(&mut timeline.lock().driver.runs, true) {
        tokio::spawn(Running(Arc::clone(timeline)).drive());
    }
}

impl Running {
    async fn drive(self) {
        let (mut quiet, mut seen) = (0, 0);
        loop {
            match self.step(&mut quiet, &mut seen) {
                Step::End => return,
                Step::Wait => poll_fn(|context| self.poll_free(context)).await,
                // On a current-thread runtime this lasts until no task can run and the sockets were looked at.
                Step::Look => tokio::task::yield_now().await,
            }
        }
    }

    fn step(&self, quiet: &mut u32, seen: &mut u64) -> Step {
        let mut state = self.0.lock();
        if state.events.is_empty() {
            state.driver.runs = false;
            return Step::End;
        }
        let hold = state.hold();
        let changed = std::mem::replace(seen, state.changes) != state.changes;
        if hold == Hold::Firm {
            return Step::Wait;
        }
        *quiet = if changed { 0 } else { *quiet + 1 };
        let patient = hold == Hold::Patient;
        if *quiet < if patient { PATIENT_ROUNDS } else { QUIET_ROUNDS } {
            if patient {
                std::thread::yield_now();
            }
            return Step::Look;
        }
        if patient {
            state.wait_no_more();
        }
        let ended = state.end_earliest();
        drop(state);
        if let Some(waker) = ended {
            waker.wake();
        }
        Step::Look
    }

    fn poll_free(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.hold() < Hold::Firm {
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
