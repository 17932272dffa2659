//! Whether Yotpo stopped sending loyalty data behind the first page: a decision over counts of customers.
//!
//! Owns the counts and the decision. Invariant: the decision follows from the counts alone, so that a run that was
//! stopped and resumed at any page decides as one that was not. It does not know what loyalty data looks like.

use serde::{Deserialize, Serialize};

/// What the check does once the counts say that loyalty data was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoyaltyCheck {
    /// It fails the run: Yotpo may ignore `expand=loyalty` behind the cursor.
    On,
    /// Nothing: the rows are loaded as they are.
    Off,
}

/// The run fails when what it saw is less likely than this. Once in a million healthy runs is rare enough for a daily
/// job of a thousand stores; a store in which half of the customers are members is decided after 21 customers.
const MIN_PROBABILITY: f64 = 1e-6;

/// Customers seen, and those of them that have loyalty data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCount {
    /// All customers.
    pub customers: u64,
    /// Those with a `yotpo_loyalty` other than null.
    pub with_loyalty_data: u64,
}

/// What the loyalty check has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoyaltyCounts {
    /// The first page that has customers. It is requested without a cursor, so that its share of members is to be
    /// expected of the others.
    pub first_page: MemberCount,
    /// All pages behind it.
    pub later_pages: MemberCount,
}

/// What the counts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoyaltyVerdict {
    /// There is nothing to miss: the first page has no loyalty data, or a customer behind it has some.
    Settled,
    /// No customer behind the first page has loyalty data (or there is none yet), which may be chance.
    Open,
    /// No customer behind the first page has loyalty data, which is too unlikely to be chance.
    Lost,
}

impl LoyaltyCounts {
    /// Counts a page of so many customers, of which so many have loyalty data.
    pub fn add_page(&mut self, page: MemberCount) {
        let pages = if self.first_page.customers == 0 { &mut self.first_page } else { &mut self.later_pages };
        pages.customers = pages.customers.saturating_add(page.customers);
        pages.with_loyalty_data = pages.with_loyalty_data.saturating_add(page.with_loyalty_data);
    }

    /// Customers with loyalty data on all pages.
    pub fn with_loyalty_data(&self) -> u64 {
        self.first_page.with_loyalty_data.saturating_add(self.later_pages.with_loyalty_data)
    }

    /// What the counts say.
    pub fn verdict(&self) -> LoyaltyVerdict {
        if self.first_page.with_loyalty_data == 0 || self.later_pages.with_loyalty_data > 0 {
            LoyaltyVerdict::Settled
        } else if self.log_probability() < MIN_PROBABILITY.ln() {
            LoyaltyVerdict::Lost
        } else {
            LoyaltyVerdict::Open
        }
    }

    /// Natural logarithm of (1 − s)ⁿ: the probability that none of the n customers behind the first page has loyalty
    /// data, when each has some with probability s.
    ///
    /// s is the share on the first page, as if that had one more customer without: m of N members make m / (N + 1).
    /// The plain share would be 1 for a page of members only, and a single customer without would fail the run; a page
    /// of one customer would, too. This way a page of 100 members needs 3 customers, a page of one 20. s is never more
    /// than the plain share, so that the run never fails earlier than that alone would have it; for a page of 100
    /// customers with one member it takes 1,389 customers instead of 1,375. (Adding a member as well, as Laplace did,
    /// would double the share of such a page and cause false alarms where members are rare.)
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

    /// Customers without loyalty data behind such a page that fail the run.
    fn enough(customers: u64, members: u64) -> u64 {
        let lost = |later| counts(&[(customers, members), (later, 0)]).verdict() == LoyaltyVerdict::Lost;
        (0..100_000).find(|later| lost(*later)).unwrap()
    }

    #[test]
    fn rarer_members_need_more_customers() {
        for (customers, members, expected) in
            [(1, 1, 20), (10, 10, 6), (100, 100, 3), (100, 50, 21), (100, 10, 133), (100, 1, 1_389)]
        {
            assert_eq!(enough(customers, members), expected, "{members} of {customers}");
        }
    }

    #[test]
    fn first_page_is_the_first_one_with_customers() {
        let found = counts(&[(0, 0), (10, 4), (0, 0), (5, 1), (5, 2)]);
        assert_eq!(found, LoyaltyCounts { first_page: count(10, 4), later_pages: count(10, 3) });
        assert_eq!(found.with_loyalty_data(), 7);
    }

    #[test]
    fn one_later_member_settles_it_and_so_does_a_first_page_without_any() {
        assert_eq!(counts(&[]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100)]).verdict(), LoyaltyVerdict::Open);
        assert_eq!(counts(&[(100, 0), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Lost);
        assert_eq!(counts(&[(100, 100), (1_000_000, 1)]).verdict(), LoyaltyVerdict::Settled);
        assert_eq!(counts(&[(100, 100), (1, 1), (1_000_000, 0)]).verdict(), LoyaltyVerdict::Settled);
    }

    #[test]
    fn counts_that_cannot_be_do_not_panic() {
        assert_eq!(counts(&[(1, u64::MAX), (u64::MAX, 0)]).verdict(), LoyaltyVerdict::Lost);
        assert_eq!(counts(&[(u64::MAX, 1), (1, 0)]).verdict(), LoyaltyVerdict::Open);
        assert_eq!(counts(&[(1, u64::MAX), (1, u64::MAX)]).with_loyalty_data(), u64::MAX);
    }

    proptest! {
        #[test]
        fn it_fails_where_chance_is_below_one_in_a_million_and_never_before(
            (customers, members) in (1..=300_u32).prop_flat_map(|customers| (Just(customers), 1..=customers)),
        ) {
            // Multiplied out, not by logarithms.
            let chance = |share: f64, later: u64| (0..later).fold(1.0, |chance, _| chance * (1.0 - share));
            let later = enough(customers.into(), members.into());
            let (customers, members) = (f64::from(customers), f64::from(members));
            prop_assert!(chance(members / (customers + 1.0), later) < MIN_PROBABILITY);
            prop_assert!(chance(members / (customers + 1.0), later - 1) >= MIN_PROBABILITY * (1.0 - 1e-9));
            prop_assert!(chance(members / customers, later) < MIN_PROBABILITY, "not before the plain share");
        }

        #[test]
        fn healthy_stores_pass_and_a_store_that_stops_sending_fails(
            seed: u64, share in 0.05..=1.0_f64, page_size in 1..=100_u64,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut page = |share: f64| {
                count(page_size, (0..page_size).filter(|_| random.f64() < share).count() as u64)
            };
            let mut healthy = LoyaltyCounts::default();
            healthy.add_page(page(share));
            let mut stopped = healthy;
            for _ in 0..2_000 {
                healthy.add_page(page(share));
                prop_assert_ne!(healthy.verdict(), LoyaltyVerdict::Lost);
                stopped.add_page(page(0.0));
            }
            let expects = stopped.first_page.with_loyalty_data > 0;
            prop_assert_eq!(stopped.verdict() == LoyaltyVerdict::Lost, expects);
        }

        #[test]
        fn stops_and_resumes_change_nothing(
            pages in proptest::collection::vec((0..100_u64, 0..2_u64), 1..30), stops: u32,
        ) {
            let mut resumed = LoyaltyCounts::default();
            for (index, (customers, members)) in pages.iter().enumerate() {
                resumed.add_page(count(*customers, *members));
                if stops >> index & 1 == 1 {
                    let saved = serde_json::to_string(&resumed).unwrap();
                    resumed = serde_json::from_str(&saved).unwrap();
                }
            }
            prop_assert_eq!(resumed, counts(&pages));
        }
    }
}
