//! All stores behind one address.
//!
//! Owns which store a request is for. A request that names no known store is the first store's to refuse, and counts
//! against its limit.

use super::{Admitted, Call, Clock, NonZeroU32, Reply, StoreSettings, Yotpo, YotpoBehaviour};

#[derive(Debug)]
pub(in super::super) struct Stores {
    first: Yotpo,
    further: Vec<Yotpo>,
}

impl Stores {
    pub(in super::super) fn new(
        first: &StoreSettings,
        further: &[StoreSettings],
        behaviour: &YotpoBehaviour,
        limit: Option<NonZeroU32>,
    ) -> Self {
        let store = |(number, settings)| Yotpo::new(settings, number, behaviour.clone(), limit);
        Self { first: store((0, first)), further: (1..).zip(further).map(store).collect() }
    }

    /// The store with this number from 0; the first if there is no such number.
    pub(in super::super) fn get(&self, number: usize) -> &Yotpo {
        number.checked_sub(1).and_then(|number| self.further.get(number)).unwrap_or(&self.first)
    }

    /// The number of the store with this id.
    pub(in super::super) fn position(&self, store_id: &str) -> Option<usize> {
        std::iter::once(&self.first).chain(&self.further).position(|store| store.store_id == store_id)
    }

    /// Counts a request for a store against its limit, as [`Yotpo::admit`].
    pub(in super::super) fn admit(&self, store_id: Option<&str>, clock: &Clock) -> Result<Admitted, Reply> {
        self.serving(store_id.unwrap_or_default()).admit(clock)
    }

    pub(in super::super) fn act(&self, call: &Call) -> Reply {
        self.serving(call.argument(0)).act(call)
    }

    /// Makes all tokens of all stores invalid.
    pub(in super::super) fn expire_tokens(&self) {
        self.first.expire_tokens();
        self.further.iter().for_each(Yotpo::expire_tokens);
    }

    fn serving(&self, store_id: &str) -> &Yotpo {
        self.get(self.position(store_id).unwrap_or(0))
    }
}
