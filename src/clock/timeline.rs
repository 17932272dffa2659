//! Virtual time as a series of discrete events.
//!
//! Owns the current virtual time, the future events (ends of sleeps, deadlines), and what stops time. The
//! [driver](super::driver) fires the events one at a time: all tasks that one wakes are idle again before the next one
//! is fired, even at the same moment.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

pub(super) type ProcessId = u64;
pub(super) type FlightId = u64;
/// The time of an event, and its order among events of the same time.
pub(super) type Moment = (Duration, u64);

#[derive(Debug)]
pub(super) struct Timeline {
    unix_origin: Duration,
    state: Mutex<State>,
    /// A process was suspended or resumed.
    suspension_changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now: Duration,
    pub(super) events: BTreeMap<Moment, Option<Waker>>,
    flights: BTreeMap<FlightId, InFlight>,
    /// Guards that do not belong to a process.
    busy: usize,
    processes: BTreeMap<ProcessId, Process>,
    /// The last id of an event, a flight or a process.
    last_id: u64,
    /// Incremented by every change.
    pub(super) changes: u64,
    pub(super) driver: Driver,
}

/// A timeline from the point of view of a simulated process; without a process, it cannot be suspended.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) timeline: Arc<Timeline>,
    pub(super) process: Option<ProcessId>,
}

/// When a simulated process is suspended automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendAt {
    /// Before sending its n-th request, counted from 1.
    Before(u64),
    /// After sending its n-th request, before receiving the response.
    After(u64),
}

#[derive(Debug, Default)]
pub(super) struct Driver {
    pub(super) running: bool,
    /// Set while the driver waits for something busy.
    pub(super) waiting: Option<Waker>,
}

#[derive(Debug, Default)]
struct Process {
    suspended: bool,
    suspend_at: Option<SuspendAt>,
    requests: u64,
    busy: usize,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    process: Option<ProcessId>,
    stage: Stage,
    /// The sender is gone.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request has not arrived yet.
    Sent,
    /// The same, but time no longer waits for it.
    Overdue,
    /// The service has the request, and stops time itself.
    Arrived,
    /// The service sleeps on purpose.
    Sleeping,
}

/// What stops time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blocker {
    None,
    /// A request that may still arrive: time waits for it, but not forever.
    Undelivered,
    Busy,
}

impl Timeline {
    pub(super) fn new(unix_origin: Duration) -> Arc<Self> {
        Arc::new(Self { unix_origin, state: Mutex::default(), suspension_changed: Notify::new() })
    }

    pub(super) fn view(self: &Arc<Self>, process: Option<ProcessId>) -> View {
        View { timeline: Arc::clone(self), process }
    }

    pub(super) fn now(&self) -> Duration {
        self.lock().now
    }

    pub(super) fn unix_time(&self) -> Duration {
        self.unix_origin.saturating_add(self.now())
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.change(|state| state.now = state.now.saturating_add(duration));
    }

    pub(super) fn add_busy(&self, process: Option<ProcessId>) {
        self.change(|state| *state.busy_mut(process) += 1);
    }

    pub(super) fn remove_busy(&self, process: Option<ProcessId>) {
        self.change(|state| {
            let busy = state.busy_mut(process);
            *busy = busy.saturating_sub(1);
        });
    }

    pub(super) fn add_process(&self) -> ProcessId {
        self.change(|state| {
            let id = state.next_id();
            state.processes.insert(id, Process::default());
            id
        })
    }

    pub(super) fn suspend(&self, process: ProcessId) {
        self.with_process(process, |process| process.suspended = true);
        self.suspension_changed.notify_waiters();
    }

    pub(super) fn suspend_at(&self, process: ProcessId, moment: SuspendAt) {
        self.with_process(process, |process| process.suspend_at = Some(moment));
    }

    pub(super) fn resume(&self, process: ProcessId) {
        self.with_process(process, |process| process.suspended = false);
        self.suspension_changed.notify_waiters();
    }

    pub(super) fn is_suspended(&self, process: ProcessId) -> bool {
        self.lock().is_suspended(process)
    }

    pub(super) fn requests_sent(&self, process: ProcessId) -> u64 {
        self.lock().processes.get(&process).map_or(0, |process| process.requests)
    }

    /// Waits until a process is suspended, or until it is running.
    pub(super) async fn wait_for_suspended(&self, process: ProcessId, suspended: bool) {
        loop {
            let mut suspension_changed = pin!(self.suspension_changed.notified());
            // Before the check, so that no change is missed in between.
            suspension_changed.as_mut().enable();
            if self.is_suspended(process) == suspended {
                return;
            }
            suspension_changed.await;
        }
    }

    /// Starts a flight; `None` if that suspends the process.
    pub(super) fn begin_flight(&self, process: Option<ProcessId>) -> Option<FlightId> {
        let (flight, suspended) = self.change(|state| {
            let mut at = None;
            if let Some(process) = process.and_then(|process| state.processes.get_mut(&process)) {
                let next = process.requests + 1;
                let candidates = [SuspendAt::Before(next), SuspendAt::After(next)];
                at = process.suspend_at.take_if(|at| candidates.contains(at));
                process.suspended |= at.is_some();
                if matches!(at, Some(SuspendAt::Before(_))) {
                    return (None, true);
                }
                process.requests = next;
            }
            let id = state.next_id();
            state.flights.insert(id, InFlight { process, stage: Stage::Sent, abandoned: false });
            (Some(id), at.is_some())
        });
        if suspended {
            self.suspension_changed.notify_waiters();
        }
        flight
    }

    pub(super) fn finish_flight(&self, flight: FlightId) {
        self.change(|state| state.flights.remove(&flight));
    }

    /// The sender is gone.
    pub(super) fn abandon(&self, flight: FlightId) {
        self.with_flight(flight, |flight| flight.abandoned = true);
    }

    /// The service has the request.
    pub(super) fn arrive(&self, flight: FlightId) {
        self.set_stage(flight, Stage::Arrived);
    }

    pub(super) fn set_sleeping(&self, flight: FlightId, sleeping: bool) {
        self.set_stage(flight, if sleeping { Stage::Sleeping } else { Stage::Arrived });
    }

    fn set_stage(&self, flight: FlightId, stage: Stage) {
        self.with_flight(flight, |flight| flight.stage = stage);
    }

    fn with_process(&self, process: ProcessId, change: impl FnOnce(&mut Process)) {
        self.change(|state| {
            if let Some(process) = state.processes.get_mut(&process) {
                change(process);
            }
        });
    }

    fn with_flight(&self, id: FlightId, change: impl FnOnce(&mut InFlight)) {
        self.change(|state| {
            if let Some(flight) = state.flights.get_mut(&id) {
                change(flight);
                if flight.abandoned && matches!(flight.stage, Stage::Arrived | Stage::Sleeping) {
                    state.flights.remove(&id);
                }
            }
        });
    }

    /// Changes the state and wakes the driver.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, driver) = {
            let mut state = self.lock();
            state.changes += 1;
            (change(&mut state), state.driver.waiting.take())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn busy_mut(&mut self, process: Option<ProcessId>) -> &mut usize {
        match process.and_then(|process| self.processes.get_mut(&process)) {
            Some(process) => &mut process.busy,
            None => &mut self.busy,
        }
    }

    fn is_suspended(&self, process: ProcessId) -> bool {
        self.processes.get(&process).is_some_and(|process| process.suspended)
    }

    /// What stops time.
    pub(super) fn blocker(&self) -> Blocker {
        if self.busy > 0 || self.processes.values().any(|process| process.busy > 0 && !process.suspended) {
            return Blocker::Busy;
        }
        self.flights.values().map(|flight| self.blocker_of(flight)).max().unwrap_or(Blocker::None)
    }

    fn blocker_of(&self, flight: &InFlight) -> Blocker {
        let is_awaited =
            !flight.abandoned && !flight.process.is_some_and(|process| self.is_suspended(process));
        match flight.stage {
            Stage::Sleeping => Blocker::None,
            _ if is_awaited => Blocker::Busy,
            Stage::Sent => Blocker::Undelivered,
            Stage::Overdue | Stage::Arrived => Blocker::None,
        }
    }

    /// Assumes that requests that have not arrived by now were never sent.
    pub(super) fn mark_overdue(&mut self) {
        self.flights.retain(|_, flight| !flight.abandoned);
        for flight in self.flights.values_mut().filter(|flight| flight.stage == Stage::Sent) {
            flight.stage = Stage::Overdue;
        }
    }

    pub(super) fn fire_earliest(&mut self) -> Option<Waker> {
        let ((moment, _), waker) = self.events.pop_first()?;
        self.now = self.now.max(moment);
        self.changes += 1;
        waker
    }
}
