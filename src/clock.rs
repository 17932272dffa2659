//! Time: the only place that reads a clock, sleeps or sets a deadline.
//!
//! Owns monotonic time, wall time, sleeping and deadlines, either of the machine or virtual. Everything that waits
//! takes a [`Clock`], so that tests never wait on real time. It does not decide how long to wait.
//!
//! Virtual time: [`Clock::sleep`] returns at once and moves the clock forward; a [`Clock::deadline`] only fires when
//! somebody (a test's fake server that hangs on purpose) calls [`Clock::expire_deadlines`]. So real sockets can be
//! used with virtual time, and a slow machine never causes a time-out that a test did not ask for.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// A source of time; cheap to clone, all clones share one time line.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Machine { origin: tokio::time::Instant },
    Virtual(Arc<VirtualTime>),
}

#[derive(Debug)]
struct VirtualTime {
    unix_origin: Duration,
    elapsed: Mutex<Duration>,
    expire: Notify,
}

/// A deadline passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {}", humantime::format_duration(*.0))]
pub struct DeadlineElapsed(pub Duration);

impl Clock {
    /// The machine's clock. Sleeps with tokio, so `tokio::time::pause` works on it too.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub fn machine() -> Self {
        Self(Kind::Machine { origin: tokio::time::Instant::now() })
    }

    /// A virtual clock that starts at `unix_origin` after the Unix epoch.
    pub fn virtual_at(unix_origin: Duration) -> Self {
        Self(Kind::Virtual(Arc::new(VirtualTime {
            unix_origin,
            elapsed: Mutex::new(Duration::ZERO),
            expire: Notify::new(),
        })))
    }

    /// Monotonic time since this clock was made.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Kind::Machine { origin } => origin.elapsed(),
            Kind::Virtual(time) => *time.elapsed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Wall time since the Unix epoch (UTC); zero on a machine whose clock stands before 1970.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub fn unix_time(&self) -> Duration {
        match &self.0 {
            Kind::Machine { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Kind::Virtual(time) => time.unix_origin + self.now(),
        }
    }

    /// Waits for `duration`; virtual time moves forward by it at once.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Kind::Machine { .. } => tokio::time::sleep(duration).await,
            Kind::Virtual(_) => {
                self.advance(duration);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Runs `work` for at most `limit`.
    #[expect(clippy::disallowed_methods, reason = "this module is the replacement the ban names")]
    pub async fn deadline<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output, DeadlineElapsed> {
        match &self.0 {
            Kind::Machine { .. } => {
                tokio::time::timeout(limit, work).await.map_err(|_elapsed| DeadlineElapsed(limit))
            }
            Kind::Virtual(time) => {
                let mut expired = pin!(time.expire.notified());
                // Registered before the work starts, so that an expiry caused by the work is never missed.
                expired.as_mut().enable();
                tokio::select! {
                    biased;
                    output = work => Ok(output),
                    () = expired => {
                        self.advance(limit);
                        Err(DeadlineElapsed(limit))
                    }
                }
            }
        }
    }

    /// Moves virtual time forward; does nothing to the machine's clock.
    pub fn advance(&self, duration: Duration) {
        if let Kind::Virtual(time) = &self.0 {
            *time.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += duration;
        }
    }

    /// Makes every deadline that is running on virtual time fire; does nothing to the machine's clock.
    pub fn expire_deadlines(&self) {
        if let Kind::Virtual(time) = &self.0 {
            time.expire.notify_waiters();
        }
    }

    /// Whether this is virtual time, where sleeping costs nothing.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn virtual_sleep_moves_both_times_without_waiting() {
        let clock = Clock::virtual_at(Duration::from_secs(1_000));
        clock.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now(), Duration::from_secs(3_600));
        assert_eq!(clock.unix_time(), Duration::from_secs(4_600));
    }

    #[tokio::test]
    async fn virtual_deadline_fires_only_when_expired() {
        let clock = Clock::virtual_at(Duration::ZERO);
        let limit = Duration::from_secs(30);
        assert_eq!(clock.deadline(limit, clock.sleep(Duration::from_secs(60))).await, Ok(()));
        let hang = async {
            clock.expire_deadlines();
            std::future::pending::<()>().await;
        };
        assert_eq!(clock.deadline(limit, hang).await, Err(DeadlineElapsed(limit)));
        assert_eq!(clock.now(), Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn machine_clock_follows_paused_tokio_time() {
        let clock = Clock::machine();
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Duration::from_secs(5));
        let late = clock.deadline(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(late, Err(DeadlineElapsed(Duration::from_secs(1))));
    }
}
