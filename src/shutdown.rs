//! Shutdown: handles signals and stops work after one.
//!
//! Owns the handlers of SIGINT, SIGTERM and SIGHUP, the stop request that everything long-running watches, and the two
//! ways in which work ends on it: cancelled, or with a grace period. The first signal requests a graceful stop, the
//! second an immediate exit. It does not decide what is saved.

use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Span;
use tracing::span::Id;

use crate::clock::Clock;

/// A signal this soon after the previous one is the same request.
const ECHO: Duration = Duration::from_millis(300);
/// How long work in flight may take to finish after a stop was requested.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// A signal that asks the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: sent by schedulers and `kill`.
    Terminate,
    /// SIGHUP: the terminal or the SSH session was closed.
    HangUp,
}

impl Signal {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        }
    }
}

/// How often a stop was requested, and the first signal.
#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    first: Option<Signal>,
    count: u32,
}

/// Receives requests to stop.
#[derive(Clone, Debug)]
pub struct StopRequests {
    requests: watch::Receiver<Requests>,
    /// The run that is to stop, whose fields the log lines have.
    run: Arc<OnceLock<Id>>,
}

/// Sends requests to stop; for tests and [`listen`].
#[derive(Debug)]
pub struct StopSender(watch::Sender<Requests>);

impl StopRequests {
    /// A channel for requests to stop.
    pub fn channel() -> (StopSender, Self) {
        let (sender, receiver) = watch::channel(Requests::default());
        (StopSender(sender), Self { requests: receiver, run: Arc::default() })
    }

    /// Waits for the first request to stop; forever if there is none.
    pub async fn graceful(&self) -> Signal {
        self.at_least(1).await
    }

    /// Waits for the second request, for an immediate exit. Returns the first signal.
    pub async fn forced(&self) -> Signal {
        self.at_least(2).await
    }

    /// The run begins that a signal stops from now on.
    pub fn set_run(&self, run: &Span) {
        if let Some(id) = run.id() {
            // The first one stays: a process has one run.
            let _ = self.run.set(id);
        }
    }

    async fn at_least(&self, count: u32) -> Signal {
        let mut receiver = self.requests.clone();
        match receiver.wait_for(|requests| requests.count >= count).await.map(|requests| requests.first) {
            Ok(Some(signal)) => signal,
            // The sender is gone, so there will be no request.
            _ => std::future::pending().await,
        }
    }
}

impl StopSender {
    /// Requests a stop; the first signal remains the reason.
    pub fn stop(&self, signal: Signal) {
        self.0.send_modify(|requests| {
            requests.first.get_or_insert(signal);
            requests.count += 1;
        });
    }
}

/// Installs handlers for SIGINT, SIGTERM and SIGHUP, which no longer kill the process.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn listen(clock: Clock) -> io::Result<StopRequests> {
    listen_and_log(clock, "stopping after the requests in flight (press Ctrl-C again to exit now)")
}

/// The same, with what to log at the first signal.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn listen_and_log(clock: Clock, first: &'static str) -> io::Result<StopRequests> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, requests) = StopRequests::channel();
    // Not the span itself: this task runs until the process ends, and the run must be able to end before.
    requests.set_run(&Span::current());
    let run = Arc::clone(&requests.run);
    tokio::spawn(async move {
        let mut last = None;
        loop {
            let signal = tokio::select! {
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = hang_up.recv() => Signal::HangUp,
                else => return,
            };
            let now = clock.now();
            if last.is_some_and(|last| is_echo(last, now)) {
                continue;
            }
            let (parent, signal_name) = (run.get().cloned(), signal.name());
            if last.is_none() {
                tracing::info!(parent: parent, signal = signal_name, "{first}");
            } else {
                tracing::info!(parent: parent, signal = signal_name, "second signal, exiting immediately");
            }
            last = Some(now);
            sender.stop(signal);
        }
    });
    Ok(requests)
}

/// Whether a signal repeats the one that was counted last: timeout(1) and shells signal a process and also its group, which is
/// one request, not two.
fn is_echo(last: Duration, now: Duration) -> bool {
    now.saturating_sub(last) < ECHO
}

/// An error that may mean that a signal ended the work.
pub trait Interruptible: std::fmt::Display {
    /// The error of work that `signal` ended.
    fn interrupted(signal: Signal) -> Self;

    /// The signal that ended the work, if that is why it failed.
    fn signal(&self) -> Option<Signal>;
}

/// Runs `work` and cancels it when a stop is requested.
///
/// # Errors
/// The error of the work, or that it was interrupted.
pub async fn cancel_on_stop<T, E: Interruptible>(
    stop: &StopRequests,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        signal = stop.graceful() => Err(E::interrupted(signal)),
        result = work => result,
    }
}

/// Runs `work`. Once a stop is requested, it has a grace period to finish; a failure in that period is not the reason
/// why the work ends.
///
/// # Errors
/// The error of the work, or that it was interrupted.
pub async fn with_shutdown_grace<T, E: Interruptible>(
    clock: &Clock,
    stop: &StopRequests,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let signal = tokio::select! {
        biased;
        result = &mut work => return result,
        signal = stop.graceful() => signal,
    };
    match clock.deadline(STOP_GRACE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.signal().is_some() => Err(error),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a step failed while stopping");
            Err(E::interrupted(signal))
        }
        Err(elapsed) => {
            tracing::warn!(error = %elapsed, "a step was cancelled while stopping");
            Err(E::interrupted(signal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_is_the_reason_and_the_second_forces_the_exit() {
        let (sender, requests) = StopRequests::channel();
        sender.stop(Signal::Terminate);
        assert_eq!(requests.graceful().await, Signal::Terminate);
        let forced = tokio::spawn({
            let requests = requests.clone();
            async move { requests.forced().await }
        });
        sender.stop(Signal::Interrupt);
        assert_eq!(forced.await.unwrap(), Signal::Terminate);
    }

    #[test]
    fn a_signal_less_than_300_ms_after_the_last_one_is_the_same_request() {
        let last = Duration::from_secs(7);
        for (since, expected) in [(0, true), (299, true), (300, false), (301, false)] {
            assert_eq!(is_echo(last, last + Duration::from_millis(since)), expected, "{since} ms");
        }
    }

    /// Why work ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Ended {
        Failed,
        Interrupted(Signal),
    }

    impl std::fmt::Display for Ended {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "{self:?}")
        }
    }

    impl Interruptible for Ended {
        fn interrupted(signal: Signal) -> Self {
            Self::Interrupted(signal)
        }

        fn signal(&self) -> Option<Signal> {
            if let Self::Interrupted(signal) = self { Some(*signal) } else { None }
        }
    }

    #[tokio::test]
    async fn a_failure_while_stopping_is_not_why_the_work_ends() {
        let own_signal = Ended::Interrupted(Signal::Interrupt);
        let stopped = Ended::Interrupted(Signal::HangUp);
        let late = STOP_GRACE + Duration::from_secs(1);
        for (duration, result, expected) in [
            (STOP_GRACE / 2, Ok(7), Ok(7)),
            (STOP_GRACE / 2, Err(Ended::Failed), Err(stopped)),
            (STOP_GRACE / 2, Err(own_signal), Err(own_signal)),
            (late, Ok(7), Err(stopped)),
        ] {
            let clock = Clock::virtual_at(Duration::ZERO);
            let (sender, requests) = StopRequests::channel();
            sender.stop(Signal::HangUp);
            let work = async {
                clock.sleep(duration).await;
                result
            };
            assert_eq!(with_shutdown_grace(&clock, &requests, work).await, expected, "{result:?}");
            assert_eq!(clock.now(), duration.min(STOP_GRACE), "{result:?}");
        }
    }

    #[tokio::test]
    async fn nothing_stops_work_when_nobody_can_request_it() {
        let (sender, requests) = StopRequests::channel();
        drop(sender);
        let work = async { Err::<(), _>(Ended::Failed) };
        assert_eq!(cancel_on_stop(&requests, work).await, Err(Ended::Failed));
    }
}
