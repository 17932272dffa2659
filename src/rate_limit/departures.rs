//! What is known of when our own requests arrived at the service.
//!
//! Owns the log of the last requests. Only a request's own way matters: all take about the same time to arrive, so that
//! what one took longer than usual is what it may have arrived later. A request that has to wait for a new connection
//! leaves when that is made. Until a request is answered nothing is known of it, and it may yet arrive.

use std::collections::VecDeque;
use std::time::Duration;

/// Requests whose time on the way says what is usual.
const REMEMBERED: usize = 32;
/// Answered requests are forgotten when they are older: no rule looks further back.
const KEPT: Duration = Duration::from_secs(3);

/// The last requests, in the order in which they were let through.
#[derive(Debug, Default)]
pub(super) struct Departures {
    log: VecDeque<Departure>,
    /// Number of the first one in the log.
    first: u64,
    on_the_way: VecDeque<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Departure {
    left: Duration,
    /// When it can have arrived at the latest, less the usual way; unknown until it is answered.
    counted: Option<Duration>,
}

/// When the place of an earlier request is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Free {
    At(Duration),
    /// When that request is answered.
    WhenAnswered,
}

impl Departures {
    /// Notes a request that leaves now; gives its number.
    pub(super) fn note(&mut self, now: Duration) -> u64 {
        while self.log.front().is_some_and(|oldest| oldest.counted.is_some_and(|at| at + KEPT < now)) {
            self.log.pop_front();
            self.first += 1;
        }
        self.log.push_back(Departure { left: now, counted: None });
        self.first + self.log.len() as u64 - 1
    }

    /// Notes the answer to a request, or that there will be none.
    pub(super) fn settle(&mut self, number: u64, now: Duration, is_answered: bool) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(departure) = index.and_then(|index| self.log.get_mut(index)) else { return };
        let took = now.saturating_sub(departure.left);
        let usual = self.on_the_way.iter().min().copied().filter(|_| is_answered).unwrap_or_default();
        departure.counted = Some(departure.left + took.saturating_sub(usual));
        if is_answered {
            self.on_the_way.push_back(took);
            if self.on_the_way.len() > REMEMBERED {
                self.on_the_way.pop_front();
            }
        }
    }

    /// When a further request would be less than `window` behind the one that left `most` requests ago no more.
    pub(super) fn free(&self, most: usize, window: Duration) -> Free {
        let earlier = self.log.len().checked_sub(most).and_then(|index| self.log.get(index));
        match earlier.map(|departure| departure.counted) {
            None => Free::At(Duration::ZERO),
            Some(Some(counted)) => Free::At(counted + window),
            Some(None) => Free::WhenAnswered,
        }
    }

    /// How many requests left since then, and when the first of them did.
    pub(super) fn since(&self, time: Duration) -> (usize, Option<Duration>) {
        let left = |departure: &Departure| departure.counted.unwrap_or(departure.left);
        let recent = self.log.iter().rev().take_while(|departure| left(departure) >= time);
        recent.fold((0, None), |(count, _), departure| (count + 1, Some(left(departure))))
    }

    /// When a request left; none when it is forgotten.
    pub(super) fn left(&self, number: u64) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.log.get(index).map(|departure| departure.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// One request was answered at once, the next leaves at 1 s.
    fn second_leaves() -> (Departures, u64) {
        let mut departures = Departures::default();
        let first = departures.note(ms(0));
        departures.settle(first, ms(80), true);
        let second = departures.note(ms(1_000));
        (departures, second)
    }

    #[test]
    fn a_place_is_free_a_window_behind_the_time_of_arrival_and_not_before_it_is_known() {
        let (mut departures, second) = second_leaves();
        assert_eq!(departures.free(1, WINDOW), Free::WhenAnswered);
        departures.settle(second, ms(1_080), true);
        assert_eq!(departures.free(1, WINDOW), Free::At(ms(2_000)), "it took what is usual");
        assert_eq!(departures.free(3, WINDOW), Free::At(Duration::ZERO), "there were never three");
    }

    #[test]
    fn what_a_request_took_longer_than_usual_it_may_have_arrived_later() {
        let (mut departures, second) = second_leaves();
        departures.settle(second, ms(1_200), true);
        assert_eq!(departures.free(1, WINDOW), Free::At(ms(2_120)));
    }

    #[test]
    fn one_that_is_never_answered_may_have_arrived_up_to_its_failure() {
        let (mut departures, second) = second_leaves();
        departures.settle(second, ms(1_500), false);
        assert_eq!(departures.free(1, WINDOW), Free::At(ms(2_500)));
        let third = departures.note(ms(3_000));
        departures.settle(third, ms(3_080), true);
        assert_eq!(departures.free(1, WINDOW), Free::At(ms(4_000)), "a failure does not say what is usual");
    }

    #[test]
    fn recent_requests_are_counted_and_old_ones_forgotten() {
        let mut departures = Departures::default();
        for second in 0..100 {
            let number = departures.note(ms(1_000 * second));
            departures.settle(number, ms(1_000 * second), true);
        }
        assert_eq!(departures.since(ms(96_500)), (3, Some(ms(97_000))));
        assert!(departures.log.len() < 6, "{}", departures.log.len());
        assert_eq!(departures.left(3), None);
        departures.settle(3, ms(100_000), true);
        assert_eq!(departures.free(1, WINDOW), Free::At(ms(100_000)));
    }
}
