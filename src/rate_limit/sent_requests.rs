//! Estimates when our own requests arrived at the service.
//!
//! Owns the log of the most recent requests. A request normally takes about the same time to arrive, so a response that took
//! longer than usual means that its request may have arrived later by the difference. A request that waits for a new
//! connection is sent when the connection is established. Until the response arrives, nothing is known: the request may
//! still be on its way.

use std::collections::VecDeque;
use std::time::Duration;

/// Number of response times that determine the usual one.
const MAX_RESPONSE_TIMES: usize = 32;
/// Completed requests older than this are dropped: no rule looks further back.
const RETENTION: Duration = Duration::from_secs(3);

/// The most recent requests, in the order in which they were permitted.
#[derive(Debug, Default)]
pub(super) struct SentRequests {
    log: VecDeque<SentRequest>,
    /// Number of the first request in the log.
    first: u64,
    response_times: VecDeque<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct SentRequest {
    sent_at: Duration,
    /// The latest time at which it can have arrived, minus the usual time to arrive; unknown until it completes.
    latest_arrival: Option<Duration>,
}

/// When the slot of an earlier request becomes available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    FreeAt(Duration),
    /// Known once that request completes.
    FreeAfterResponse,
}

impl SentRequests {
    /// Records a request that is sent now and returns its number.
    pub(super) fn record(&mut self, now: Duration) -> u64 {
        while self
            .log
            .front()
            .is_some_and(|oldest| oldest.latest_arrival.is_some_and(|at| at + RETENTION < now))
        {
            self.log.pop_front();
            self.first += 1;
        }
        self.log.push_back(SentRequest { sent_at: now, latest_arrival: None });
        self.first + self.log.len() as u64 - 1
    }

    /// Records the response to a request, or that there will be none.
    pub(super) fn complete(&mut self, number: u64, now: Duration, has_response: bool) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(request) = index.and_then(|index| self.log.get_mut(index)) else { return };
        let elapsed = now.saturating_sub(request.sent_at);
        let usual = self.response_times.iter().min().copied().filter(|_| has_response).unwrap_or_default();
        request.latest_arrival = Some(request.sent_at + elapsed.saturating_sub(usual));
        if has_response {
            self.response_times.push_back(elapsed);
            if self.response_times.len() > MAX_RESPONSE_TIMES {
                self.response_times.pop_front();
            }
        }
    }

    /// When another request can be sent so that no more than `max` requests arrive within `window`.
    pub(super) fn next_slot(&self, max: usize, window: Duration) -> Slot {
        let earlier = self.log.len().checked_sub(max).and_then(|index| self.log.get(index));
        match earlier.map(|request| request.latest_arrival) {
            None => Slot::FreeAt(Duration::ZERO),
            Some(Some(arrival)) => Slot::FreeAt(arrival + window),
            Some(None) => Slot::FreeAfterResponse,
        }
    }

    /// The number of requests since `time`, and the time of the first of them.
    pub(super) fn since(&self, time: Duration) -> (usize, Option<Duration>) {
        let arrival = |request: &SentRequest| request.latest_arrival.unwrap_or(request.sent_at);
        let recent = self.log.iter().rev().take_while(|request| arrival(request) >= time);
        recent.fold((0, None), |(count, _), request| (count + 1, Some(arrival(request))))
    }

    /// When a request was sent; `None` if it is no longer in the log.
    pub(super) fn sent_at(&self, number: u64) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.log.get(index).map(|request| request.sent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// The first request completed in 80 ms; the second is sent at 1 s.
    fn second_in_flight() -> (SentRequests, u64) {
        let mut requests = SentRequests::default();
        let first = requests.record(ms(0));
        requests.complete(first, ms(80), true);
        let second = requests.record(ms(1_000));
        (requests, second)
    }

    #[test]
    fn slot_becomes_free_one_window_after_arrival_and_only_once_that_is_known() {
        let (mut requests, second) = second_in_flight();
        assert_eq!(requests.next_slot(1, WINDOW), Slot::FreeAfterResponse);
        requests.complete(second, ms(1_080), true);
        assert_eq!(requests.next_slot(1, WINDOW), Slot::FreeAt(ms(2_000)), "the usual response time");
        assert_eq!(
            requests.next_slot(3, WINDOW),
            Slot::FreeAt(Duration::ZERO),
            "fewer than three requests were sent"
        );
    }

    #[test]
    fn slow_response_moves_the_latest_arrival_by_the_extra_time() {
        let (mut requests, second) = second_in_flight();
        requests.complete(second, ms(1_200), true);
        assert_eq!(requests.next_slot(1, WINDOW), Slot::FreeAt(ms(2_120)));
    }

    #[test]
    fn failed_request_may_have_arrived_until_its_failure() {
        let (mut requests, second) = second_in_flight();
        requests.complete(second, ms(1_500), false);
        assert_eq!(requests.next_slot(1, WINDOW), Slot::FreeAt(ms(2_500)));
        let third = requests.record(ms(3_000));
        requests.complete(third, ms(3_080), true);
        assert_eq!(
            requests.next_slot(1, WINDOW),
            Slot::FreeAt(ms(4_000)),
            "a failure is not a usual response time"
        );
    }

    #[test]
    fn recent_requests_are_counted_and_old_ones_dropped() {
        let mut requests = SentRequests::default();
        for second in 0..100 {
            let number = requests.record(ms(1_000 * second));
            requests.complete(number, ms(1_000 * second), true);
        }
        assert_eq!(requests.since(ms(96_500)), (3, Some(ms(97_000))));
        assert!(requests.log.len() < 6, "{}", requests.log.len());
        assert_eq!(requests.sent_at(3), None);
        requests.complete(3, ms(100_000), true);
        assert_eq!(requests.next_slot(1, WINDOW), Slot::FreeAt(ms(100_000)));
    }

    #[test]
    fn usual_response_time_is_the_shortest_of_the_last_32() {
        let mut requests = SentRequests::default();
        let mut respond = |second: u64, took: u64| {
            let number = requests.record(ms(1_000 * second));
            requests.complete(number, ms(1_000 * second + took), true);
            requests.next_slot(1, WINDOW)
        };
        respond(0, 10);
        for second in 1..32 {
            respond(second, 100);
        }
        assert_eq!(respond(32, 100), Slot::FreeAt(ms(33_090)));
        assert_eq!(respond(33, 100), Slot::FreeAt(ms(34_000)), "the short one is forgotten");
    }

    #[test]
    fn completed_requests_are_kept_for_three_seconds() {
        let mut requests = SentRequests::default();
        for (at, kept) in [(0, 1), (3_000, 2), (3_001, 2), (60_000, 1)] {
            let number = requests.record(ms(at));
            requests.complete(number, ms(at), true);
            assert_eq!(requests.log.len(), kept, "at {at} ms");
        }
    }
}
