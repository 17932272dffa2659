//! The clock of a service, as the `Date` of its responses shows it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::HeaderMap;

use super::server_date;

/// No response had a `Date` so far.
const UNKNOWN: i64 = i64::MIN;

/// How far the clock of a service is ahead of this machine's, in seconds.
#[derive(Debug)]
pub struct ServerClock(AtomicI64);

impl Default for ServerClock {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl ServerClock {
    /// Notes the `Date` of a response that arrived at `machine`, the machine's time since the Unix epoch.
    pub fn record(&self, headers: &HeaderMap, machine: Duration) {
        let Some(date) = server_date(headers) else { return };
        let [server, machine] = [date, machine].map(|time| i64::try_from(time.as_secs()));
        if let (Ok(server), Ok(machine)) = (server, machine) {
            self.0.store(server - machine, Ordering::Relaxed);
        }
    }

    /// Seconds since the Unix epoch by the service's clock when it is `machine` by this machine's; `None` if no response had a
    /// `Date`.
    pub fn now(&self, machine: Duration) -> Option<u64> {
        let offset = Some(self.0.load(Ordering::Relaxed)).filter(|offset| *offset != UNKNOWN)?;
        machine.as_secs().checked_add_signed(offset)
    }
}

#[cfg(test)]
mod tests {
    use http::header::DATE;

    use super::*;

    #[test]
    fn the_clock_of_a_service_is_as_far_ahead_as_its_last_date() {
        let seconds = Duration::from_secs;
        let dated = |date: &str| HeaderMap::from_iter([(DATE, date.parse().unwrap())]);
        let clock = ServerClock::default();
        assert_eq!(clock.now(seconds(1_000)), None);
        clock.record(&dated("Mon, 23 Nov 2026 04:00:00 GMT"), seconds(1_795_406_340));
        assert_eq!(clock.now(seconds(1_795_406_440)), Some(1_795_406_500));
        clock.record(&HeaderMap::new(), seconds(0));
        assert_eq!(clock.now(seconds(1_795_406_440)), Some(1_795_406_500), "no date says nothing");
        clock.record(&dated("Mon, 23 Nov 2026 04:00:00 GMT"), seconds(1_795_406_410));
        assert_eq!(clock.now(seconds(1_795_406_440)), Some(1_795_406_430));
    }
}
