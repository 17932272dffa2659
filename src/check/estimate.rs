//! How long a run takes at the configured rate. It is a lower bound: the rate limit is what a run waits for.

use std::time::Duration;

use super::finding::{CheckId, Finding};
use crate::checkpoint::FinishedRun;
use crate::config::Settings;
use crate::telemetry::words;

const MILLION: u64 = 1_000_000;

/// Estimates the time of requests for a million customers, and for the store from its last run.
pub(super) fn estimate(settings: &Settings, last: Option<&FinishedRun>) -> Finding {
    let page_size = u64::from(settings.load.transfer.page_size);
    let period = settings.store.request_rate.period();
    let million = time_of(MILLION, page_size, period);
    let rate = settings.store.request_rate.per_second();
    let mut seen = format!(
        "a million customers take at least {} at {rate} requests per second and {} per page",
        words::duration(million),
        words::count(page_size, "customer", "customers")
    );
    let mut finding_facts = vec![("seconds_per_million", million.as_secs_f64().round())];
    if let Some(last) = last {
        let store = time_of(last.customers, page_size, period);
        let took = Duration::from_secs(last.finished_at.saturating_sub(last.started_at));
        seen = format!(
            "{seen}; this store at least {} (its last run found {} and took {})",
            words::duration(store),
            words::count(last.customers, "customer", "customers"),
            words::duration(took)
        );
        finding_facts.push(("seconds_for_this_store", store.as_secs_f64().round()));
    }
    let finding = Finding::passed(CheckId::Estimate, seen);
    finding_facts.into_iter().fold(finding, |finding, (name, value)| finding.with_fact(name, value))
}

fn time_of(customers: u64, page_size: u64, period: Duration) -> Duration {
    let pages = u32::try_from(customers.div_ceil(page_size.max(1))).unwrap_or(u32::MAX);
    period.saturating_mul(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::RequestRate;

    #[test]
    fn a_million_customers_take_37_minutes_at_the_defaults() {
        let period = RequestRate::new(4.5).unwrap().period();
        let time = time_of(MILLION, 100, period);
        assert_eq!(time.as_secs(), 2_222);
        assert_eq!(time_of(101, 100, period), 2 * period);
    }
}
