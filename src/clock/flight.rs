//! Requests on their way, for virtual time.
//!
//! A [`Flight`] is held by whoever sends a request, from before the first byte until the whole response was read: time
//! stands still for it. It travels along as the header [`FLIGHT_HEADER`], so that the service that acts on the request
//! ([`Arrival`]) can let time pass on purpose. A flight whose sender has gone away or is suspended only counts until
//! its request has arrived: what was sent is delivered before time goes on.

use std::convert::Infallible;
use std::time::Duration;

use super::timeline::FlightId;
use super::{Busy, Clock, Kind, View};

/// Names the flight of a request; only sent on virtual time.
pub const FLIGHT_HEADER: &str = "x-virtual-flight";

/// A request in flight.
#[derive(Debug)]
#[must_use = "virtual time goes on as soon as this is dropped"]
pub struct Flight(Option<InFlight>);

#[derive(Debug)]
struct InFlight {
    view: View,
    id: FlightId,
}

/// A request that has arrived. While it is held, time stands still but for [`Self::sleep`] and [`Self::hang`].
#[derive(Debug)]
pub struct Arrival {
    clock: Clock,
    flight: Option<FlightId>,
    busy: Option<Busy>,
}

/// The service sleeps on purpose: the sender's flight does not keep time.
struct Sleeping(Option<(View, FlightId)>);

impl Clock {
    /// Takes off: to be held while a request is sent and its response read. Waits while the process is suspended.
    pub async fn flight(&self) -> Flight {
        let Kind::Virtual(view) = &self.0 else { return Flight(None) };
        loop {
            view.running().await;
            // It may be suspended by this very request.
            if let Some(id) = view.timeline.take_off(view.process) {
                return Flight(Some(InFlight { view: view.clone(), id }));
            }
        }
    }

    /// Takes a request over that came with `header` as its [`FLIGHT_HEADER`].
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
    /// The value of [`FLIGHT_HEADER`]; none on the machine's clock.
    pub fn header(&self) -> Option<u64> {
        self.0.as_ref().map(|flight| flight.id)
    }

    /// The exchange is over, with a response or without. Waits while the process is suspended, so that it sees neither.
    pub async fn land(mut self) {
        let Some(InFlight { view, id }) = &self.0 else { return };
        view.running().await;
        view.timeline.land(*id);
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
    /// Lets time pass before the service goes on.
    pub async fn sleep(&mut self, duration: Duration) {
        let was_busy = self.busy.take().is_some();
        let sleeping = self.sleeping();
        self.clock.sleep(duration).await;
        drop(sleeping);
        self.busy = was_busy.then(|| self.clock.busy());
    }

    /// Never goes on.
    pub async fn hang(&mut self) -> Infallible {
        self.busy = None;
        let _sleeping = self.sleeping();
        std::future::pending().await
    }

    /// The service has acted; the response is the sender's flight again.
    pub fn acted(&mut self) {
        self.busy = None;
    }

    fn sleeping(&self) -> Sleeping {
        let Kind::Virtual(view) = &self.clock.0 else { return Sleeping(None) };
        Sleeping(self.flight.map(|flight| {
            view.timeline.set_asleep(flight, true);
            (view.clone(), flight)
        }))
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some((view, flight)) = &self.0 {
            view.timeline.set_asleep(*flight, false);
        }
    }
}
