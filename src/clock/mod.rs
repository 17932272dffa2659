//! Time: the only place that reads a clock, sleeps, sets a deadline or leaves the runtime for blocking work.
//!
//! Owns monotonic time, wall time, sleeping and deadlines, either of the machine or virtual. Everything that waits
//! takes a [`Clock`], so that tests never wait on real time. It does not decide how long to wait.
//!
//! Virtual time is a series of discrete events (docs/adr/0011): a sleep or a deadline ends only when it is
//! the earliest one, nothing is in flight, and no task can still run. Then the clock jumps to its moment. What is in
//! flight says so: [`Clock::flight`] around a request, [`Clock::arrive`] in the service that acts on it,
//! [`Clock::blocking`] around work on another thread, [`Clock::busy`] around everything else. On the machine's clock all
//! of these do nothing. Virtual time needs a current-thread runtime.

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

/// A source of time; cheap to clone, all clones share one timeline.
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

/// Virtual time stands still until this is dropped.
#[derive(Debug)]
#[must_use = "virtual time goes on as soon as this is dropped"]
pub struct Busy(Option<View>);

impl Clock {
    /// The machine's clock. Sleeps with tokio, so `tokio::time::pause` works on it too.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub fn machine() -> Self {
        Self(Kind::Machine { origin: tokio::time::Instant::now() })
    }

    /// A virtual clock that starts at `unix_origin` after the Unix epoch.
    pub fn virtual_at(unix_origin: Duration) -> Self {
        Self(Kind::Virtual(View { timeline: Timeline::new(unix_origin), process: None }))
    }

    /// Monotonic time since this clock was made.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Kind::Machine { origin } => origin.elapsed(),
            Kind::Virtual(View { timeline, .. }) => timeline.now(),
        }
    }

    /// Wall time since the Unix epoch (UTC); zero on a machine whose clock stands before 1970.
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

    /// Runs `work` for at most `limit`. On virtual time the deadline is an event like the end of a sleep: it does not
    /// pass while a request of anybody is in flight, so a slow machine never causes a time-out.
    ///
    /// # Errors
    /// When `limit` has passed before the work was done.
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

    /// Runs `work` on a thread where it may block; virtual time stands still until it is done.
    ///
    /// # Errors
    /// When the work panicked, or the runtime shuts down.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let span = Span::current();
        let work = move || span.in_scope(work);
        let Kind::Virtual(view) = &self.0 else { return tokio::task::spawn_blocking(work).await };
        view.running().await;
        // The work goes on when nobody waits for it any more, and whoever waits is woken after it has ended.
        let _waiting = view.busy();
        let working = view.timeline.view(None).busy();
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(working);
            result
        })
        .await
    }

    /// Keeps virtual time where it is until the guard is dropped.
    pub fn busy(&self) -> Busy {
        match &self.0 {
            Kind::Machine { .. } => Busy(None),
            Kind::Virtual(view) => view.busy(),
        }
    }

    /// Moves virtual time forward; does nothing to the machine's clock. Sleeps that end meanwhile do so afterwards, in
    /// their order.
    pub fn advance(&self, duration: Duration) {
        if let Kind::Virtual(View { timeline, .. }) = &self.0 {
            timeline.advance(duration);
        }
    }

    /// Whether this is virtual time, where sleeping costs nothing.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Waits until nothing is in flight and no task can run but by the passing of time. Virtual time stays where it is;
    /// on the machine's clock this returns at once.
    pub async fn settled(&self) {
        if let Kind::Virtual(View { timeline, .. }) = &self.0 {
            Event::new(timeline, Duration::ZERO).await;
        }
    }

    /// The same time line as seen by a further simulated process, which can be suspended. The machine's clock knows only
    /// the process it runs in.
    #[must_use]
    pub fn of_new_process(&self) -> Self {
        Self(match &self.0 {
            Kind::Machine { origin } => Kind::Machine { origin: *origin },
            Kind::Virtual(View { timeline, .. }) => {
                Kind::Virtual(timeline.view(Some(timeline.add_process())))
            }
        })
    }

    /// Suspends the process that this clock belongs to, as SIGSTOP does: its requests in flight are acted on, but it sees
    /// no response, sends nothing, starts no blocking work, and none of its sleeps ends. It does not keep time from going
    /// on. Its futures may be polled meanwhile or not.
    pub fn suspend(&self) {
        self.on_process(Timeline::suspend);
    }

    /// Suspends the process at a later request. A number that has passed never comes.
    pub fn suspend_at(&self, moment: SuspendAt) {
        self.on_process(|timeline, process| timeline.suspend_at(process, moment));
    }

    /// Lets a suspended process continue, as SIGCONT does.
    pub fn resume(&self) {
        self.on_process(Timeline::resume);
    }

    /// Whether the process that this clock belongs to is suspended.
    pub fn is_suspended(&self) -> bool {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => timeline.is_suspended(*process),
            _ => false,
        }
    }

    /// Waits until the process that this clock belongs to is suspended; for ever when it cannot be.
    pub async fn suspended(&self) {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => timeline.until(*process, true).await,
            _ => std::future::pending().await,
        }
    }

    /// How many requests the process that this clock belongs to has sent.
    pub fn requests_sent(&self) -> u64 {
        match &self.0 {
            Kind::Virtual(View { timeline, process: Some(process) }) => timeline.requests_sent(*process),
            _ => 0,
        }
    }

    fn on_process(&self, change: impl FnOnce(&Timeline, ProcessId)) {
        if let Kind::Virtual(View { timeline, process: Some(process) }) = &self.0 {
            change(timeline, *process);
        }
    }
}

impl View {
    /// The moment is fixed by the call, not by the first poll.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let (event, view) = (Event::new(&self.timeline, duration), self.clone());
        async move {
            event.await;
            view.running().await;
        }
    }

    fn busy(&self) -> Busy {
        self.timeline.add_busy(self.process);
        Busy(Some(self.clone()))
    }

    /// Waits until the process is not suspended.
    async fn running(&self) {
        if let Some(process) = self.process {
            self.timeline.until(process, false).await;
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
