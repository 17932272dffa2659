//! How much of the service's limit others use.
//!
//! Owns the estimate, and how likely a request is to be refused because of them. What the service says is left, less what
//! our own requests explain, is what others used in that second. The estimate rises quickly and falls slowly: a refusal
//! costs a second, a request that waits a little costs little.

/// Weight of a second in which others used more than estimated, and less.
const RISE: f64 = 0.3;
const FALL: f64 = 0.05;
/// A success that says nothing of the limit.
const FALL_UNTOLD: f64 = 0.02;
/// Below this nobody else is there.
const NOBODY: f64 = 0.05;
/// A request that is likelier than this to be refused waits. Simulated beside irregular clients of two requests a second:
/// 0.3 waits longer than it saves, 0.5 is refused more often than one request in eight.
const LIKELY: f64 = 0.4;

/// Requests of others in a second, estimated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Neighbours {
    each_second: f64,
}

impl Neighbours {
    /// Takes in that others made so many requests within a second. `most` is the service's limit: something is left
    /// for us.
    pub(super) fn see(&mut self, found: u32, most: u32) {
        let found = f64::from(found.min(most.saturating_sub(1)));
        let weight = if found > self.each_second { RISE } else { FALL };
        self.each_second += weight * (found - self.each_second);
    }

    /// Takes in a success that says nothing of the limit.
    pub(super) fn see_success(&mut self) {
        self.each_second -= self.each_second * FALL_UNTOLD;
    }

    /// Requests of others in a second.
    pub(super) fn each_second(self) -> f64 {
        if self.each_second < NOBODY { 0.0 } else { self.each_second }
    }

    /// Whether a request behind `own` ones of the same second would probably be one too many: others arrive at random
    /// (Poisson).
    pub(super) fn crowd_out(self, own: usize, limit: u32) -> bool {
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        if self.each_second() == 0.0 || own == 0 {
            return false;
        }
        at_least(self.each_second, limit.saturating_sub(own)) > LIKELY
    }
}

/// Probability that a Poisson variable of this mean is `least` or more.
fn at_least(mean: f64, least: u32) -> f64 {
    let mut term = (-mean).exp();
    let mut fewer = 0.0;
    for count in 0..least {
        fewer += term;
        term *= mean / f64::from(count + 1);
    }
    1.0 - fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_rises_quickly_falls_slowly_and_leaves_something() {
        let mut others = Neighbours::default();
        for _ in 0..20 {
            others.see(3, 5);
        }
        assert!((2.9..=3.0).contains(&others.each_second()), "{others:?}");
        others.see(0, 5);
        assert!(others.each_second() > 2.8, "{others:?}");
        for _ in 0..90 {
            others.see(0, 5);
        }
        assert!(others.each_second() == 0.0, "{others:?}");
        for _ in 0..100 {
            others.see(9, 5);
        }
        assert!(others.each_second() <= 4.0, "{others:?}");
        for _ in 0..300 {
            others.see_success();
        }
        assert!(others.each_second() == 0.0, "{others:?}");
    }

    #[test]
    fn requests_wait_where_a_refusal_is_likely_but_never_for_ever() {
        assert!(!Neighbours::default().crowd_out(4, 5));
        let two = Neighbours { each_second: 2.0 };
        assert_eq!([0, 1, 2, 3, 4].map(|own| two.crowd_out(own, 5)), [false, false, false, true, true]);
        let four = Neighbours { each_second: 4.0 };
        assert_eq!([0, 1, 2].map(|own| four.crowd_out(own, 5)), [false, true, true]);
        assert!(two.crowd_out(usize::MAX, 5));
    }

    #[test]
    fn probabilities_are_those_of_poisson() {
        assert!((at_least(2.0, 0) - 1.0).abs() < 1e-12);
        assert!((at_least(2.0, 3) - 0.323_323_583_816_936_5).abs() < 1e-12);
    }
}
