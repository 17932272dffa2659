//! Requests in flight, for virtual time.
//!
//! The sender of a request holds a [`Flight`] from before the first byte until the response was read completely; time
//! does not advance meanwhile. The header [`FLIGHT_HEADER`] identifies it, so that the service that processes the
//! request ([`Arrival`]) can let time pass on purpose. A flight whose sender is gone or suspended counts only until its
//! request has arrived: a request that was sent is delivered before time advances.

use std::convert::Infallible;
use std::time::Duration;

use super::timeline::FlightId;
use super::{Busy, Clock, Kind, View};

/// Identifies the flight of a request; sent only on virtual time.
pub const FLIGHT_HEADER: &str = "x-virtual-flight";

/// A request in flight.
#[derive(Debug)]
#[must_use = "virtual time advances as soon as this is dropped"]
pub struct Flight(Option<InFlight>);

#[derive(Debug)]
struct InFlight {
    view: View,
    id: FlightId,
}

/// A request that has arrived. While it is held, time advances only during [`Self::sleep`] and [`Self::hang`].
#[derive(Debug)]
pub struct Arrival {
    clock: Clock,
    flight: Option<FlightId>,
    busy: Option<Busy>,
}

/// The service sleeps on purpose, and the sender's flight does not stop time.
struct Sleeping(Option<(View, FlightId)>);

impl Clock {
    /// Starts a flight, to be held while a request is sent and its response is read. Waits while the process is
    /// suspended.
    pub async fn flight(&self) -> Flight {
        let Kind::Virtual(view) = &self.0 else { return Flight(None) };
        loop {
            view.wait_while_suspended().await;
            // This request may be the one that suspends it.
            if let Some(id) = view.timeline.begin_flight(view.process) {
                return Flight(Some(InFlight { view: view.clone(), id }));
            }
        }
    }

    /// Registers the arrival of a request with `header` as its [`FLIGHT_HEADER`].
    pub fn arrive(&self, header: Option<&str>) -> Arrival {
        let busy = Some(self.busy());
        let mut flight = None;
        if let Kind::Virtual(View { timeline, .. }) = &self.0 {
            flight = header.and_then(|header| header.parse().ok());
            if let Some(id) = flight {
                timeline.arrive(id);
            }
        }
        Arrival { clock: self.clone(), flight, busy }
    }
}

impl Flight {
    /// The value of [`FLIGHT_HEADER`]; `None` on the machine's clock.
    pub fn header(&self) -> Option<u64> {
        self.0.as_ref().map(|flight| flight.id)
    }

    /// Ends the flight, with or without a response. Waits while the process is suspended, so that the process does not
    /// notice the end.
    pub async fn finish(mut self) {
        let Some(InFlight { view, id }) = &self.0 else { return };
        view.wait_while_suspended().await;
        view.timeline.finish_flight(*id);
        self.0 = None;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(InFlight { view, id }) = &self.0 {
            view.timeline.abandon(*id);
        }
    }
}

impl Arrival {
    /// Lets time pass before the service continues.
    pub async fn sleep(&mut self, duration: Duration) {
        let was_busy = self.busy.take().is_some();
        let sleeping = self.sleeping();
        self.clock.sleep(duration).await;
        drop(sleeping);
        self.busy = was_busy.then(|| self.clock.busy());
    }

    /// Lets time pass forever.
    pub async fn hang(&mut self) -> Infallible {
        self.busy = None;
        let _sleeping = self.sleeping();
        std::future::pending().await
    }

    /// The service has processed the request. From now on, only the sender's flight counts.
    pub fn handled(&mut self) {
        self.busy = None;
    }

    fn sleeping(&self) -> Sleeping {
        let Kind::Virtual(view) = &self.clock.0 else { return Sleeping(None) };
        Sleeping(self.flight.map(|flight| {
            view.timeline.set_sleeping(flight, true);
            (view.clone(), flight)
        }))
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some((view, flight)) = &self.0 {
            view.timeline.set_sleeping(*flight, false);
        }
    }
}
