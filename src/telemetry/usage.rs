//! What was sent to both services, as counted by their clients.

use std::fmt;
use std::sync::OnceLock;

use crate::rate_limit::RateUsage;
use crate::retry::RequestCounts;

/// What was sent to both services so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServiceUse {
    /// Requests to Yotpo.
    pub yotpo: RequestCounts,
    /// Bytes of Yotpo's response bodies, as received.
    pub yotpo_response_bytes: u64,
    /// How the store's rate limit was used.
    pub rate: RateUsage,
    /// Requests to Treasure Data.
    pub treasure_data: RequestCounts,
    /// Whether Yotpo has accepted an access token.
    pub has_token: bool,
}

impl ServiceUse {
    /// Retries of requests to both services.
    pub const fn retries(&self) -> u64 {
        self.yotpo.retries + self.treasure_data.retries
    }
}

/// Reads counters of the clients, once it is known where they are. It can be read from any thread.
pub(super) struct Meter<T>(OnceLock<Read<T>>);

type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

impl<T: Default> Meter<T> {
    /// Reads from here on; the first caller decides.
    pub(super) fn read_from(&self, read: impl Fn() -> T + Send + Sync + 'static) {
        self.0.get_or_init(|| Box::new(read));
    }

    pub(super) fn read(&self) -> T {
        self.0.get().map(|read| read()).unwrap_or_default()
    }
}

impl<T> Default for Meter<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Default + fmt::Debug> fmt::Debug for Meter<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_shows_what_it_reads_and_its_default_before() {
        let meter = Meter::<u64>::default();
        assert_eq!((meter.read(), format!("{meter:?}").as_str()), (0, "0"));
        meter.read_from(|| 7);
        meter.read_from(|| 8);
        assert_eq!((meter.read(), format!("{meter:?}").as_str()), (7, "7"));
    }
}
