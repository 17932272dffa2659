//! All stores at one address.
//!
//! Owns the mapping of requests to stores. A request for an unknown store is handled by the first store, which returns
//! an error, and counts against its limit.

use super::{Call, Clock, NonZeroU32, RateStatus, Reply, StoreSettings, Yotpo, YotpoBehaviour};

#[derive(Debug)]
pub(in super::super) struct Stores {
    first: Yotpo,
    additional: Vec<Yotpo>,
}

impl Stores {
    pub(in super::super) fn new(
        first: &StoreSettings,
        additional: &[StoreSettings],
        behaviour: &YotpoBehaviour,
        limit: Option<NonZeroU32>,
    ) -> Self {
        let store = |(number, settings)| Yotpo::new(settings, number, behaviour.clone(), limit);
        Self { first: store((0, first)), additional: (1..).zip(additional).map(store).collect() }
    }

    /// The store with this number, from 0; the first one if there is none.
    pub(in super::super) fn get(&self, number: usize) -> &Yotpo {
        number.checked_sub(1).and_then(|number| self.additional.get(number)).unwrap_or(&self.first)
    }

    /// The number of the store with this id.
    pub(in super::super) fn position(&self, store_id: &str) -> Option<usize> {
        std::iter::once(&self.first).chain(&self.additional).position(|store| store.store_id == store_id)
    }

    /// Counts a request for a store against its limit; see [`Yotpo::check_rate`].
    pub(in super::super) fn check_rate(
        &self,
        store_id: Option<&str>,
        clock: &Clock,
    ) -> Result<RateStatus, Reply> {
        self.store_for(store_id.unwrap_or_default()).check_rate(clock)
    }

    pub(in super::super) fn handle(&self, call: &Call) -> Reply {
        self.store_for(call.argument(0)).handle(call)
    }

    /// Invalidates all tokens of all stores.
    pub(in super::super) fn expire_tokens(&self) {
        self.first.expire_tokens();
        self.additional.iter().for_each(Yotpo::expire_tokens);
    }

    fn store_for(&self, store_id: &str) -> &Yotpo {
        self.get(self.position(store_id).unwrap_or(0))
    }
}
