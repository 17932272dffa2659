//! Time: the only module that reads a clock, sleeps, sets a deadline or leaves the runtime for blocking work.
//!
//! Owns monotonic time, wall time, sleeping and deadlines, either of the machine or virtual. Everything that waits
//! takes a [`Clock`], so that tests never wait in real time. It does not decide how long to wait.
//!
//! Virtual time is a series of discrete events (docs/adr/0011): a sleep or a deadline ends only when it is the earliest
//! one, nothing is in flight, and no task is ready to run. Then the clock jumps to its moment. Work in flight is
//! registered: by [`Clock::flight`] around a request, [`Clock::arrive`] in the service that processes it,
//! [`Clock::blocking`] around work on another thread, and [`Clock::busy`] around everything else. On the machine's
//! clock, all of these do nothing. Virtual time needs a current-thread runtime.

mod driver;
mod event;
mod flight;
mod timeline;

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinError;
use tracing::Span;

use self::event::Event;
pub use self::flight::{Arrival, FLIGHT_HEADER, Flight};
pub use self::timeline::SuspendAt;
use self::timeline::{ProcessId, Timeline, View};

/// A source of time. Cheap to clone; all clones share one timeline.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Machine { origin: tokio::time::Instant },
    Virtual(View),
}

/// A deadline passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {}", humantime::format_duration(*.0))]
pub struct DeadlineElapsed(pub Duration);

/// Virtual time does not advance until this is dropped.
#[derive(Debug)]
#[must_use = "virtual time advances as soon as this is dropped"]
pub struct Busy(Option<View>);

impl Clock {
    /// The machine's clock. It sleeps with tokio, so `tokio::time::pause` works on it.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub fn machine() -> Self {
        Self(Kind::Machine { origin: tokio::time::Instant::now() })
    }

    /// A virtual clock that starts at `unix_origin` after the Unix epoch.
    pub fn virtual_at(unix_origin: Duration) -> Self {
        Self(Kind::Virtual(View { timeline: Timeline::new(unix_origin), process: None }))
    }

    /// Monotonic time since this clock was created.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Kind::Machine { origin } => origin.elapsed(),
            Kind::Virtual(View { timeline, .. }) => timeline.now(),
        }
    }

    /// Wall time since the Unix epoch (UTC); zero if the machine's clock is before 1970.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub fn unix_time(&self) -> Duration {
        match &self.0 {
            Kind::Machine { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Kind::Virtual(View { timeline, .. }) => timeline.unix_time(),
        }
    }

    /// Waits for `duration`.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Kind::Machine { .. } => tokio::time::sleep(duration).await,
            Kind::Virtual(view) => view.sleep(duration).await,
        }
    }

    /// Runs `work` for at most `limit`. On virtual time, the deadline is an event like the end of a sleep: it does not
    /// pass while any request is in flight, so a slow machine never causes a timeout.
    ///
    /// # Errors
    /// When `limit` passes before the work is done.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn deadline<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output, DeadlineElapsed> {
        match &self.0 {
            Kind::Machine { .. } => {
                tokio::time::timeout(limit, work).await.map_err(|_elapsed| DeadlineElapsed(limit))
            }
            Kind::Virtual(view) => {
                let passed = view.sleep(limit);
                tokio::select! {
                    biased;
                    output = work => Ok(output),
                    () = passed => Err(DeadlineElapsed(limit)),
                }
            }
        }
    }

    /// Runs `work` on a thread where it may block; virtual time does not advance until it is done.
    ///
    /// # Errors
    /// When the work panics, or the runtime shuts down.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let span = Span::current();
        let work = move || span.in_scope(work);
        let Kind::Virtual(view) = &self.0 else { return tokio::task::spawn_blocking(work).await };
        view.wait_while_suspended().await;
        // The work continues when nothing waits for it any more, and a waiting task is woken after it has ended.
        let _waiting = view.busy();
        let working = view.timeline.view(None).busy();
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(working);
            result
        })
        .await
    }

    /// Stops virtual time until the guard is dropped.
    pub fn busy(&self) -> Busy {
        match &self.0 {
            Kind::Machine { .. } => Busy(None),
            Kind::Virtual(view) => view.busy(),
        }
    }

    /// Moves virtual time forward; has no effect on the machine's clock. Sleeps that are due end afterwards, in order.
    pub fn advance(&self, duration: Duration) {
        if let Kind::Virtual(View { timeline, .. }) = &self.0 {
            timeline.advance(duration);
        }
    }

    /// Whether this is virtual time, where sleeping costs nothing.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Waits until nothing is in flight and no task can run until time advances. Virtual time does not change. On the
    /// machine's clock, this returns immediately.
    pub async fn wait_until_idle(&self) {
        if let Kind::Virtual(View { timeline, .. }) = &self.0 {
            Event::new(timeline, Duration::ZERO).await;
        }
    }

    /// The same timeline for another simulated process, which can be suspended. On the machine's clock, there is only
    /// the process itself.
    #[must_use]
    pub fn for_new_process(&self) -> Self {
        Self(match &self.0 {
            Kind::Machine { origin } => Kind::Machine { origin: *origin },
            Kind::Virtual(View { timeline, .. }) => {
                Kind::Virtual(timeline.view(Some(timeline.add_process())))
            }
        })
    }

    /// Suspends the process of this clock, like SIGSTOP: its requests in flight are processed, but it receives no
    /// response, sends nothing, starts no blocking work, and none of its sleeps ends. It does not stop time. Its
    /// futures may or may not be polled meanwhile.
    pub fn suspend(&self) {
        self.with_process(Timeline::suspend);
    }

    /// Suspends the process at a later request. A number that has passed has no effect.
    pub fn suspend_at(&self, moment: SuspendAt) {
        self.with_process(|timeline, process| timeline.suspend_at(process, moment));
    }

    /// Lets a suspended process continue, like SIGCONT.
    pub fn resume(&self) {
        self.with_process(Timeline::resume);
    }

    /// Whether the process of this clock is suspended.
    pub fn is_suspended(&self) -> bool {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => timeline.is_suspended(*process),
            _ => false,
        }
    }

    /// Waits until the process of this clock is suspended; forever if it cannot be.
    pub async fn suspended(&self) {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => {
                timeline.wait_for_suspended(*process, true).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Number of requests that the process of this clock has sent.
    pub fn requests_sent(&self) -> u64 {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => timeline.requests_sent(*process),
            _ => 0,
        }
    }

    fn with_process(&self, change: impl FnOnce(&Timeline, ProcessId)) {
        if let Kind::Virtual(View { timeline, process: Some(process) }) = &self.0 {
            change(timeline, *process);
        }
    }
}

impl View {
    /// The call determines the moment, not the first poll.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let (event, view) = (Event::new(&self.timeline, duration), self.clone());
        async move {
            event.await;
            view.wait_while_suspended().await;
        }
    }

    fn busy(&self) -> Busy {
        self.timeline.add_busy(self.process);
        Busy(Some(self.clone()))
    }

    /// Waits while the process is suspended.
    async fn wait_while_suspended(&self) {
        if let Some(process) = self.process {
            self.timeline.wait_for_suspended(process, false).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(View { timeline, process }) = &self.0 {
            timeline.remove_busy(*process);
        }
    }
}

#[cfg(test)]
mod tests;
