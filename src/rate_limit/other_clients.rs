//! Estimates how much of the service's rate limit other clients use.
//!
//! Owns the estimate, and the probability that a request is throttled because of them. The limit minus what the service
//! reports as remaining, minus our own requests, is what other clients used in that second. The estimate rises quickly and
//! falls slowly: a throttled request costs a second, a short wait costs little.

/// Weight of a second in which other clients used more than estimated.
const RISE: f64 = 0.3;
/// Weight of a second in which they used less.
const FALL: f64 = 0.05;
/// Weight of a success without rate limit headers.
const FALL_WITHOUT_HEADERS: f64 = 0.02;
/// An estimate below this counts as no other client.
const NEGLIGIBLE: f64 = 0.05;
/// A request waits if it would be throttled with a higher probability than this. Simulated beside irregular clients with two
/// requests per second: 0.3 waits longer than it saves; with 0.5 more than one request in eight is throttled.
const MAX_THROTTLE_PROBABILITY: f64 = 0.4;

/// Estimated requests per second of other clients.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OtherClients {
    per_second: f64,
}

impl OtherClients {
    /// Updates the estimate with the `requests` that other clients made within a second. The estimate stays below `limit`, the
    /// service's limit, so that something is left for us.
    pub(super) fn observe(&mut self, requests: u32, limit: u32) {
        let requests = f64::from(requests.min(limit.saturating_sub(1)));
        let weight = if requests > self.per_second { RISE } else { FALL };
        self.per_second += weight * (requests - self.per_second);
    }

    /// Updates the estimate after a success without rate limit headers.
    pub(super) fn observe_success(&mut self) {
        self.per_second -= self.per_second * FALL_WITHOUT_HEADERS;
    }

    /// Requests per second of other clients.
    pub(super) fn per_second(self) -> f64 {
        if self.per_second < NEGLIGIBLE { 0.0 } else { self.per_second }
    }

    /// Whether a request that follows `own` requests in the same second would probably exceed the limit. Requests of other
    /// clients arrive at random (Poisson).
    pub(super) fn likely_exceed(self, own: usize, limit: u32) -> bool {
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        if self.per_second() == 0.0 || own == 0 {
            return false;
        }
        at_least(self.per_second, limit.saturating_sub(own)) > MAX_THROTTLE_PROBABILITY
    }
}

/// Probability that a Poisson variable with this mean is at least `min`.
fn at_least(mean: f64, min: u32) -> f64 {
    let mut term = (-mean).exp();
    let mut fewer = 0.0;
    for count in 0..min {
        fewer += term;
        term *= mean / f64::from(count + 1);
    }
    1.0 - fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_rises_quickly_falls_slowly_and_stays_below_the_limit() {
        let mut others = OtherClients::default();
        for _ in 0..20 {
            others.observe(3, 5);
        }
        assert!((2.9..=3.0).contains(&others.per_second()), "{others:?}");
        others.observe(0, 5);
        assert!(others.per_second() > 2.8, "{others:?}");
        for _ in 0..90 {
            others.observe(0, 5);
        }
        assert!(others.per_second() == 0.0, "{others:?}");
        for _ in 0..100 {
            others.observe(9, 5);
        }
        assert!(others.per_second() <= 4.0, "{others:?}");
        for _ in 0..300 {
            others.observe_success();
        }
        assert!(others.per_second() == 0.0, "{others:?}");
    }

    #[test]
    fn requests_wait_if_throttling_is_likely_but_never_forever() {
        assert_eq!([4, 5].map(|own| OtherClients::default().likely_exceed(own, 5)), [false, false]);
        let two = OtherClients { per_second: 2.0 };
        assert_eq!([0, 1, 2, 3, 4].map(|own| two.likely_exceed(own, 5)), [false, false, false, true, true]);
        let four = OtherClients { per_second: 4.0 };
        assert_eq!([0, 1, 2].map(|own| four.likely_exceed(own, 5)), [false, true, true]);
        assert!(two.likely_exceed(usize::MAX, 5));
        let nearly_all = OtherClients { per_second: 49.0 };
        assert_eq!([0, 1].map(|own| nearly_all.likely_exceed(own, 50)), [false, true]);
    }

    #[test]
    fn estimate_counts_from_the_negligible_rate() {
        let per_second = |per_second| OtherClients { per_second }.per_second();
        assert!(per_second(0.049) == 0.0);
        assert!(per_second(NEGLIGIBLE) > 0.0);
    }

    #[test]
    fn probabilities_follow_the_poisson_distribution() {
        assert!((at_least(2.0, 0) - 1.0).abs() < 1e-12);
        assert!((at_least(2.0, 3) - 0.323_323_583_816_936_5).abs() < 1e-12);
    }
}
