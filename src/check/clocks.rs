//! Compares the machine's clock with the `Date` of responses.
//!
//! Owns how far apart they may be. A run takes its times from Treasure Data, so a wrong clock is a warning: it affects
//! certificates, logs and `--resume-within`.

use super::finding::{CheckId, Finding};
use crate::telemetry::words;
use crate::treasure_data::TreasureDataClient;

/// Maximum offset in seconds. A `Date` has whole seconds, and proxies may delay a response.
const MAX_OFFSET: u64 = 300;

/// What the responses of a service say of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerClock {
    /// There was no response.
    Unknown,
    /// The responses have no `Date`.
    NoDate,
    /// It is this many seconds ahead of this machine's.
    Ahead(i64),
}

impl ServerClock {
    /// From the offset of a service that responded.
    pub(super) fn responded(offset: Option<i64>) -> Self {
        offset.map_or(Self::NoDate, Self::Ahead)
    }

    const fn offset(self) -> Option<i64> {
        match self {
            Self::Ahead(seconds) => Some(seconds),
            Self::Unknown | Self::NoDate => None,
        }
    }
}

/// The clock of Treasure Data, which has responded.
pub(super) fn clock_of(client: &TreasureDataClient) -> ServerClock {
    let machine = client.clock().unix_time().as_secs();
    let offset = client.server_time().and_then(|server| {
        let [server, machine] = [server, machine].map(i64::try_from);
        Some(server.ok()? - machine.ok()?)
    });
    ServerClock::responded(offset)
}

/// Judges the clocks of both services.
pub(super) fn check_clock(yotpo: ServerClock, treasure_data: ServerClock) -> Finding {
    let id = CheckId::Clock;
    if [yotpo, treasure_data] == [ServerClock::Unknown; 2] {
        return Finding::skipped(id, "no service responded");
    }
    let offsets: Vec<(&str, i64)> = [("Yotpo", yotpo), ("Treasure Data", treasure_data)]
        .into_iter()
        .filter_map(|(service, clock)| Some((service, clock.offset()?)))
        .collect();
    let worst = offsets.iter().map(|(_, offset)| offset.unsigned_abs()).max();
    let with_facts = |finding: Finding| {
        finding
            .with_fact("yotpo_offset_seconds", yotpo.offset())
            .with_fact("treasure_data_offset_seconds", treasure_data.offset())
    };
    let Some(worst) = worst else {
        return Finding::warning(
            id,
            "no response has a Date header",
            "a run then relies on this machine's clock: keep it synchronised (NTP)",
        );
    };
    if worst > MAX_OFFSET {
        let services: Vec<String> = offsets
            .iter()
            .filter(|(_, offset)| offset.unsigned_abs() > MAX_OFFSET)
            .map(|(service, offset)| {
                let side = if *offset > 0 { "behind" } else { "ahead of" };
                format!("{} {side} {service}'s", words::count(offset.unsigned_abs(), "second", "seconds"))
            })
            .collect();
        let seen = format!("this machine's clock is {}", services.join(" and "));
        return with_facts(Finding::warning(id, seen, "correct the machine's clock (NTP)"));
    }
    let names: Vec<String> = offsets.iter().map(|(service, _)| format!("{service}'s")).collect();
    let seconds = words::count(worst.max(1), "second", "seconds");
    with_facts(Finding::passed(id, format!("within {seconds} of {}", names.join(" and "))))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn only_a_clock_that_is_minutes_off_is_a_warning() {
        use ServerClock::{Ahead, NoDate, Unknown};
        let verdict = |yotpo, treasure_data| check_clock(yotpo, treasure_data).verdict;
        assert_eq!(verdict(Unknown, Unknown), Verdict::Skipped);
        assert_eq!(verdict(NoDate, NoDate), Verdict::Warning);
        assert_eq!(verdict(Ahead(0), Unknown), Verdict::Passed);
        assert_eq!(verdict(NoDate, Ahead(-300)), Verdict::Passed);
        let behind = check_clock(Ahead(2), Ahead(301));
        assert_eq!(behind.verdict, Verdict::Warning);
        assert_eq!(behind.seen, "this machine's clock is 301 seconds behind Treasure Data's");
        let only_one = check_clock(Ahead(300), Ahead(-301));
        assert_eq!(only_one.seen, "this machine's clock is 301 seconds ahead of Treasure Data's");
        let ahead = check_clock(Ahead(-3_600), Ahead(-3_601));
        let expected = "this machine's clock is 3,600 seconds ahead of Yotpo's and 3,601 seconds ahead of Treasure Data's";
        assert_eq!(ahead.seen, expected);
    }
}
