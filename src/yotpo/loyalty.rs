//! Detects from counts of customers whether Yotpo stopped sending loyalty data after the first page.
//!
//! Owns the counts and the decision. Invariant: the decision depends only on the counts, so it is the same if a run is
//! interrupted and resumed at any page. It does not know what loyalty data looks like.

use serde::{Deserialize, Serialize};

/// What to do when the counts show that loyalty data was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoyaltyCheck {
    /// Fail the run: Yotpo may ignore `expand=loyalty` in requests with a cursor.
    On,
    /// Load the rows as they are.
    Off,
}

/// The run fails if the probability of the counts is below this. If half of the customers are members, 21 customers are enough to
/// decide.
///
/// The probability takes the share of members on the first page as the share of the store. False alarms are therefore as rare as
/// this number only if the first page is typical. Calculated for first pages of 100 customers: less than 10⁻⁹ if a fifth of the
/// customers or more are members, 10⁻⁵ for 5 %, 10⁻³ for 1 %, and one run in 40 for 0.1 %. A false alarm loads nothing and can be
/// switched off for the store; a check that waited for certainty would load such a store without loyalty data.
const MIN_PROBABILITY: f64 = 1e-6;

/// A number of customers, and how many of them have loyalty data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCount {
    /// All customers.
    pub customers: u64,
    /// Those with a `yotpo_loyalty` other than null.
    pub with_loyalty_data: u64,
}

/// The counts of the loyalty check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoyaltyCounts {
    /// The first page with customers. It is requested without a cursor, so its share of members is expected on the other
    /// pages.
    pub first_page: MemberCount,
    /// All later pages.
    pub later_pages: MemberCount,
}

/// The result of the loyalty check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoyaltyVerdict {
    /// Nothing can be missing: the first page has no loyalty data, or a later customer has some.
    Settled,
    /// No later customer has loyalty data (or there is none yet), which may be chance.
    Open,
    /// No later customer has loyalty data, which is too unlikely to be chance.
    Lost,
}

impl LoyaltyCounts {
    /// Adds a page.
    pub fn add_page(&mut self, page: MemberCount) {
        let pages = if self.first_page.customers == 0 { &mut self.first_page } else { &mut self.later_pages };
        pages.customers = pages.customers.saturating_add(page.customers);
        pages.with_loyalty_data = pages.with_loyalty_data.saturating_add(page.with_loyalty_data);
    }

    /// Number of customers with loyalty data on all pages.
    pub fn with_loyalty_data(&self) -> u64 {
        self.first_page.with_loyalty_data.saturating_add(self.later_pages.with_loyalty_data)
    }

    /// The result for the current counts.
    pub fn verdict(&self) -> LoyaltyVerdict {
        if self.first_page.with_loyalty_data == 0 || self.later_pages.with_loyalty_data > 0 {
            LoyaltyVerdict::Settled
        } else if self.log_probability() < MIN_PROBABILITY.ln() {
            LoyaltyVerdict::Lost
        } else {
            LoyaltyVerdict::Open
        }
    }

    /// Natural logarithm of (1 − s)ⁿ: the probability that none of the n later customers has loyalty data if each has some with
    /// probability s.
    ///
    /// s is the share of members on the first page plus one customer without loyalty data: m / (N + 1) for m members among N
    /// customers. The plain share m / N would be 1 for a page of members only, so a single customer without loyalty data would
    /// fail the run. With s, a page of 100 members needs 3 customers, and a page of one member 20. s never exceeds the plain share,
    /// so the run never fails earlier than with the plain share. A page of 100 customers with one member needs 1,389 customers
    /// instead of 1,375. (Laplace's rule, which also adds a member, would double the share of such a page and cause false alarms
    /// where members are rare.)
    #[expect(clippy::cast_precision_loss, reason = "counts of customers are far below 2⁵³")]
    fn log_probability(&self) -> f64 {
        let MemberCount { customers, with_loyalty_data } = self.first_page;
        let customers = customers.saturating_add(1);
        let without = customers.saturating_sub(with_loyalty_data);
        self.later_pages.customers as f64 * (without as f64 / customers as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(customers: u64, with_loyalty_data: u64) -> MemberCount {
        MemberCount { customers, with_loyalty_data }
    }

    fn counts(pages: &[(u64, u64)]) -> LoyaltyCounts {
        let mut counts = LoyaltyCounts::default();
        for (customers, members) in pages {
            counts.add_page(count(*customers, *members));
        }
        counts
    }

    /// Number of later customers without loyalty data that fail the run after such a first page.
    fn min_to_fail(customers: u64, members: u64) -> u64 {
        let lost = |later| counts(&[(customers, members), (later, 0)]).verdict() == LoyaltyVerdict::Lost;
        (0..100_000).find(|later| lost(*later)).unwrap()
    }

    #[test]
    fn rare_members_need_more_customers() {
        for (customers, members, expected) in
            // After 6 customers, the probability is exactly one in a million.
            [
                (1, 1, 20),
                (9, 9, 7),
                (10, 10, 6),
                (100, 100, 3),
                (100, 50, 21),
                (100, 10, 133),
                (100, 1, 1_389),
            ]
        {
            assert_eq!(min_to_fail(customers, members), expected, "{members} of {customers}");
        }
    }

    #[test]
    fn first_page_is_the_first_one_with_customers() {
        let found = counts(&[(0, 0), (10, 4), (0, 0), (5, 1), (5, 2)]);
        assert_eq!(found, LoyaltyCounts { first_page: count(10, 4), later_pages: count(10, 3) });
        assert_eq!(found.with_loyalty_data(), 7);
    }

    #[test]
    fn later_member_or_first_page_without_members_settles_the_check() {
        assert_eq!(counts(&[]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100)]).verdict(), LoyaltyVerdict::Open);
        assert_eq!(counts(&[(100, 0), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Lost);
        assert_eq!(counts(&[(100, 100), (1_000_000, 1)]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100), (1, 1), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Settled);
    }

    #[test]
    fn impossible_counts_do_not_panic() {
        assert_eq!(counts(&[(1, u64::MAX), (u64::MAX, 0)]).verdict(), LoyaltyVerdict::Lost);
        assert_eq!(counts(&[(u64::MAX, 1), (1, 0)]).verdict(), LoyaltyVerdict::Open);
        assert_eq!(counts(&[(1, u64::MAX), (1, u64::MAX)]).with_loyalty_data(), u64::MAX);
    }

    proptest! {
        #[test]
        fn check_fails_exactly_when_chance_is_below_one_in_a_million(
            (customers, members) in (1..=300_u32).prop_flat_map(|customers| (Just(customers), 1..=customers)),
        ) {
            // Calculated by multiplication instead of logarithms.
            let chance = |share: f64, later: u64| (0..later).fold(1.0, |chance, _| chance * (1.0 - share));
            let later = min_to_fail(customers.into(), members.into());
            let (customers, members) = (f64::from(customers), f64::from(members));
            prop_assert!(chance(members / (customers + 1.0), later) < MIN_PROBABILITY);
            prop_assert!(chance(members / (customers + 1.0), later - 1) >= MIN_PROBABILITY * (1.0 - 1e-9));
            prop_assert!(chance(members / customers, later) < MIN_PROBABILITY, "never earlier than with the plain share");
        }

        /// The members are spread evenly: a store with random members may fail by chance, see `MIN_PROBABILITY`.
        #[test]
        fn healthy_stores_pass_and_stores_without_later_data_fail(
            phase in 0.0..1.0_f64, share in 0.05..=1.0_f64, page_size in 1..=100_u32,
        ) {
            let mut position = phase;
            let mut is_member = || {
                let before = position.floor();
                position += share;
                position.floor() > before
            };
            let mut page = || count(page_size.into(), (0..page_size).filter(|_| is_member()).count() as u64);
            let mut healthy = LoyaltyCounts::default();
            healthy.add_page(page());
            let mut without_later_data = healthy;
            for _ in 0..2_000 {
                healthy.add_page(page());
                prop_assert_ne!(healthy.verdict(), LoyaltyVerdict::Lost);
                without_later_data.add_page(count(page_size.into(), 0));
            }
            let is_expected = without_later_data.first_page.with_loyalty_data > 0;
            prop_assert_eq!(without_later_data.verdict() == LoyaltyVerdict::Lost, is_expected);
        }

        #[test]
        fn interruptions_do_not_change_the_counts(
            pages in proptest::collection::vec((0..100_u64, 0..2_u64), 1..30), interruptions: u32,
        ) {
            let mut resumed = LoyaltyCounts::default();
            for (index, (customers, members)) in pages.iter().enumerate() {
                resumed.add_page(count(*customers, *members));
                if interruptions >> index & 1 == 1 {
                    let saved = serde_json::to_string(&resumed).unwrap();
                    resumed = serde_json::from_str(&saved).unwrap();
                }
            }
            prop_assert_eq!(resumed, counts(&pages));
        }
    }
}
