//! When the next attempt is made: exponential ceilings, drawn from with full jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::RetryPolicy;

/// No ceiling grows beyond this.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The delays of one call. backon gives the ceilings; its own jitter only ever adds, so the draw is ours.
#[derive(Debug)]
pub struct Schedule {
    ceilings: ExponentialBackoff,
}

impl Schedule {
    /// The schedule of a call under `policy`.
    pub fn new(policy: &RetryPolicy) -> Self {
        let times = usize::try_from(policy.max_retries).unwrap_or(usize::MAX);
        let ceilings = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(policy.base_delay)
            .with_max_delay(LONGEST_DELAY.max(policy.base_delay))
            .with_max_times(times)
            .build();
        Self { ceilings }
    }

    /// A delay between zero and the next ceiling; `None` when no attempt is left.
    pub fn next_delay(&mut self, random: &mut fastrand::Rng) -> Option<Duration> {
        self.ceilings.next().map(|ceiling| ceiling.mul_f64(random.f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ceilings(policy: &RetryPolicy) -> Vec<Duration> {
        Schedule::new(policy).ceilings.collect()
    }

    #[test]
    fn ceilings_double_up_to_a_minute() {
        let policy = RetryPolicy {
            max_retries: 8,
            base_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(600),
        };
        let seconds: Vec<_> = ceilings(&policy).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_ceiling_and_their_number_is_the_setting(
            max_retries in 0u32..40, base_ms in 0u64..100_000, seed: u64,
        ) {
            let policy = RetryPolicy {
                max_retries,
                base_delay: Duration::from_millis(base_ms),
                timeout: Duration::from_secs(600),
            };
            let expected = ceilings(&policy);
            prop_assert_eq!(expected.len(), max_retries as usize);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut schedule = Schedule::new(&policy);
            for ceiling in expected {
                let delay = schedule.next_delay(&mut random).unwrap();
                prop_assert!(delay <= ceiling);
                prop_assert!(ceiling <= LONGEST_DELAY.max(policy.base_delay));
            }
            prop_assert_eq!(schedule.next_delay(&mut random), None);
        }
    }
}
