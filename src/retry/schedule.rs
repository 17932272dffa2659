//! Backoff: exponential upper bounds with full jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::RetryPolicy;

/// Maximum upper bound of a delay.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The delays of one call. The upper bounds come from backon. Its jitter only adds to the delay, so jitter is applied here.
#[derive(Debug)]
pub struct Schedule {
    upper_bounds: ExponentialBackoff,
}

impl Schedule {
    /// The schedule of a call with `policy`.
    pub fn new(policy: &RetryPolicy) -> Self {
        let times = usize::try_from(policy.max_retries).unwrap_or(usize::MAX);
        let upper_bounds = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(policy.base_delay)
            .with_max_delay(MAX_DELAY.max(policy.base_delay))
            .with_max_times(times)
            .build();
        Self { upper_bounds }
    }

    /// A random delay between zero and the next upper bound; `None` if no attempt is left.
    pub fn next_delay(&mut self, random: &mut fastrand::Rng) -> Option<Duration> {
        self.upper_bounds.next().map(|upper_bound| upper_bound.mul_f64(random.f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upper_bounds(policy: &RetryPolicy) -> Vec<Duration> {
        Schedule::new(policy).upper_bounds.collect()
    }

    #[test]
    fn upper_bounds_double_up_to_a_minute() {
        let policy = RetryPolicy {
            max_retries: 8,
            base_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(600),
        };
        let seconds: Vec<_> = upper_bounds(&policy).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds_and_match_max_retries(
            max_retries in 0u32..40, base_ms in 0u64..100_000, seed: u64,
        ) {
            let policy = RetryPolicy {
                max_retries,
                base_delay: Duration::from_millis(base_ms),
                timeout: Duration::from_secs(600),
            };
            let expected = upper_bounds(&policy);
            prop_assert_eq!(expected.len(), max_retries as usize);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut schedule = Schedule::new(&policy);
            for upper_bound in expected {
                let delay = schedule.next_delay(&mut random).unwrap();
                prop_assert!(delay <= upper_bound);
                prop_assert!(upper_bound <= MAX_DELAY.max(policy.base_delay));
            }
            prop_assert_eq!(schedule.next_delay(&mut random), None);
        }
    }
}
