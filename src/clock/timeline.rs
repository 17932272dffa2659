//! Virtual time as a series of discrete events.
//!
//! Owns the moment that virtual time stands at, the events to come (ends of sleeps, deadlines), and what keeps time from
//! going on. The [driver](super::driver) ends the events, one at a time: whatever one wakes has come to rest before the next
//! one ends, even one of the same moment.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

pub(super) type ProcessId = u64;
pub(super) type FlightId = u64;
/// When an event is, and its place among those of the same moment.
pub(super) type Moment = (Duration, u64);

#[derive(Debug)]
pub(super) struct Timeline {
    unix_origin: Duration,
    state: Mutex<State>,
    /// A process was suspended or resumed.
    switched: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now: Duration,
    pub(super) events: BTreeMap<Moment, Option<Waker>>,
    flights: BTreeMap<FlightId, InFlight>,
    /// Guards of nobody who could be suspended.
    busy: usize,
    processes: BTreeMap<ProcessId, Process>,
    /// Numbers events, flights and processes.
    last_id: u64,
    /// Grows with everything that happens.
    pub(super) changes: u64,
    pub(super) driver: Driver,
}

/// A timeline as one simulated process sees it; none is a process that cannot be suspended.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) timeline: Arc<Timeline>,
    pub(super) process: Option<ProcessId>,
}

/// Where a simulated process is suspended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendAt {
    /// It is about to send its n-th request, counted from 1.
    Before(u64),
    /// It has sent its n-th request and not yet seen the response.
    Behind(u64),
}

#[derive(Debug, Default)]
pub(super) struct Driver {
    pub(super) runs: bool,
    /// There while it waits for what is busy.
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
    /// The sender has gone away.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not arrived yet.
    Sent,
    /// The same, and nobody waits for that any longer.
    Overdue,
    /// The service has the request, and keeps time by itself.
    Arrived,
    /// The service sleeps on purpose.
    Asleep,
}

/// What a flight does to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    None,
    /// Time waits for it, but not for ever.
    Patient,
    Firm,
}

impl Timeline {
    pub(super) fn new(unix_origin: Duration) -> Arc<Self> {
        Arc::new(Self { unix_origin, state: Mutex::default(), switched: Notify::new() })
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
        self.on_process(process, |process| process.suspended = true);
        self.switched.notify_waiters();
    }

    pub(super) fn suspend_at(&self, process: ProcessId, moment: SuspendAt) {
        self.on_process(process, |process| process.suspend_at = Some(moment));
    }

    pub(super) fn resume(&self, process: ProcessId) {
        self.on_process(process, |process| process.suspended = false);
        self.switched.notify_waiters();
    }

    pub(super) fn is_suspended(&self, process: ProcessId) -> bool {
        self.lock().is_suspended(process)
    }

    pub(super) fn requests_sent(&self, process: ProcessId) -> u64 {
        self.lock().processes.get(&process).map_or(0, |process| process.requests)
    }

    /// Waits until a process is suspended, or until it is not.
    pub(super) async fn until(&self, process: ProcessId, suspended: bool) {
        loop {
            let mut switched = pin!(self.switched.notified());
            // Before the look, so that nothing is missed in between.
            switched.as_mut().enable();
            if self.is_suspended(process) == suspended {
                return;
            }
            switched.await;
        }
    }

    /// A request is about to be sent; none when that suspends the process.
    pub(super) fn take_off(&self, process: Option<ProcessId>) -> Option<FlightId> {
        let (flight, suspended) = self.change(|state| {
            let mut at = None;
            if let Some(process) = process.and_then(|process| state.processes.get_mut(&process)) {
                let next = process.requests + 1;
                let named = [SuspendAt::Before(next), SuspendAt::Behind(next)];
                at = process.suspend_at.take_if(|at| named.contains(at));
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
            self.switched.notify_waiters();
        }
        flight
    }

    pub(super) fn land(&self, flight: FlightId) {
        self.change(|state| state.flights.remove(&flight));
    }

    /// The sender has gone away.
    pub(super) fn abandon(&self, flight: FlightId) {
        self.on_flight(flight, |flight| flight.abandoned = true);
    }

    /// The service has the request.
    pub(super) fn arrive(&self, flight: FlightId) {
        self.set_stage(flight, Stage::Arrived);
    }

    pub(super) fn set_asleep(&self, flight: FlightId, asleep: bool) {
        self.set_stage(flight, if asleep { Stage::Asleep } else { Stage::Arrived });
    }

    fn set_stage(&self, flight: FlightId, stage: Stage) {
        self.on_flight(flight, |flight| flight.stage = stage);
    }

    fn on_process(&self, process: ProcessId, change: impl FnOnce(&mut Process)) {
        self.change(|state| {
            if let Some(process) = state.processes.get_mut(&process) {
                change(process);
            }
        });
    }

    fn on_flight(&self, id: FlightId, change: impl FnOnce(&mut InFlight)) {
        self.change(|state| {
            if let Some(flight) = state.flights.get_mut(&id) {
                change(flight);
                if flight.abandoned && matches!(flight.stage, Stage::Arrived | Stage::Asleep) {
                    state.flights.remove(&id);
                }
            }
        });
    }

    /// Changes the state, and has the driver look at it.
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

    /// What keeps time from going on.
    pub(super) fn hold(&self) -> Hold {
        if self.busy > 0 || self.processes.values().any(|process| process.busy > 0 && !process.suspended) {
            return Hold::Firm;
        }
        self.flights.values().map(|flight| self.hold_of(flight)).max().unwrap_or(Hold::None)
    }

    fn hold_of(&self, flight: &InFlight) -> Hold {
        let waits = !flight.abandoned && !flight.process.is_some_and(|process| self.is_suspended(process));
        match flight.stage {
            Stage::Asleep => Hold::None,
            _ if waits => Hold::Firm,
            Stage::Sent => Hold::Patient,
            Stage::Overdue | Stage::Arrived => Hold::None,
        }
    }

    /// Requests that have not arrived by now were never sent.
    pub(super) fn wait_no_more(&mut self) {
        self.flights.retain(|_, flight| !flight.abandoned);
        for flight in self.flights.values_mut().filter(|flight| flight.stage == Stage::Sent) {
            flight.stage = Stage::Overdue;
        }
    }

    pub(super) fn end_earliest(&mut self) -> Option<Waker> {
        let ((moment, _), waker) = self.events.pop_first()?;
        self.now = self.now.max(moment);
        self.changes += 1;
        waker
    }
}
