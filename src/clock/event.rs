//! A moment of virtual time that a task waits for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::driver;
use super::timeline::{Moment, Timeline};

/// The end of a sleep, or a deadline. Dropping it removes it from the timeline.
#[derive(Debug)]
pub(super) struct Event {
    timeline: Arc<Timeline>,
    moment: Moment,
}

impl Event {
    /// An event in `duration` from now.
    pub(super) fn new(timeline: &Arc<Timeline>, duration: Duration) -> Self {
        let moment = timeline.change(|state| {
            let moment = (state.now.saturating_add(duration), state.next_id());
            state.events.insert(moment, None);
            moment
        });
        driver::start(timeline);
        Self { timeline: Arc::clone(timeline), moment }
    }
}

impl Future for Event {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.timeline.lock().events.get_mut(&self.moment) {
            None => Poll::Ready(()),
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.timeline.change(|state| state.events.remove(&self.moment));
    }
}
