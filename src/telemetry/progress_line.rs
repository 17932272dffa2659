//! The progress line as text: as many facts as fit the width, the most important ones in any case.
//!
//! Owns what is left out where there is little room. Invariant: the line is never longer than the width.

use super::observer::Observation;
use super::phase::{LoadJob, Phase};
use super::words::{count, decimal, duration, number};

const GAP: &str = "  ";

/// One fact, in a long and in a short form. Facts with a higher rank are left out first.
struct Fact {
    rank: u8,
    long: String,
    short: String,
}

impl Fact {
    fn new(rank: u8, text: String) -> Self {
        Self { rank, short: text.clone(), long: text }
    }

    fn shortened(rank: u8, long: String, short: String) -> Self {
        Self { rank, long, short }
    }
}

/// The line for `width` columns.
pub(super) fn progress_line(seen: &Observation, width: usize) -> String {
    let facts = facts(seen);
    let long = join(facts.iter().map(|fact| fact.long.as_str()));
    if long.chars().count() <= width {
        return long;
    }
    let max_rank = facts.iter().map(|fact| fact.rank).max().unwrap_or_default();
    let shorter = |rank| {
        let kept = facts.iter().filter(|fact| fact.rank <= rank).map(|fact| fact.short.as_str());
        Some(join(kept)).filter(|line| line.chars().count() <= width)
    };
    (0..=max_rank).rev().find_map(shorter).unwrap_or_else(|| truncated(&long, width))
}

fn facts(seen: &Observation) -> Vec<Fact> {
    let now = &seen.facts;
    let mut facts = vec![Fact::new(0, duration(seen.elapsed)), Fact::new(0, what(seen))];
    if now.phase == Phase::Loading {
        facts.extend(load_job(seen));
    }
    if now.phase != Phase::Waiting {
        facts.push(Fact::shortened(1, count(now.customers, "customer", "customers"), number(now.customers)));
        facts.push(Fact::new(4, count(now.pages, "page", "pages")));
    }
    if now.phase == Phase::Fetching {
        let (measured, limit) =
            (decimal(seen.requests_per_second), decimal(now.usage.rate.requests_per_second));
        facts.push(Fact::shortened(
            3,
            format!("{measured} of {limit} requests/s"),
            format!("{measured}/{limit} req/s"),
        ));
    }
    if now.phase != Phase::Waiting {
        let (stored, queued) = (number(now.parts), number(now.parts_queued));
        let long = format!("{} stored, {queued} queued", count(now.parts, "part", "parts"));
        facts.push(Fact::shortened(5, long, format!("{stored}+{queued} parts")));
    }
    let (retries, waits) = (now.usage.retries(), now.usage.rate.waits);
    // What did not happen is the first to be left out.
    let rank = |happened: u64, rank: u8| if happened > 0 { rank } else { 8 };
    facts.push(Fact::new(rank(retries, 6), count(retries, "retry", "retries")));
    let waited = if waits > 0 { format!(" ({})", duration(now.usage.rate.waited)) } else { String::new() };
    let waits_text = count(waits, "wait", "waits");
    facts.push(Fact::shortened(rank(waits, 7), format!("{waits_text}{waited}"), waits_text));
    facts.extend(seen.eta.map(|eta| Fact::new(2, format!("ETA {}", duration(eta)))));
    facts
}

/// The phase, in words where its name says too little.
fn what(seen: &Observation) -> String {
    match seen.facts.phase {
        Phase::Waiting => "waiting for another run".to_owned(),
        Phase::Publishing => "replacing the table".to_owned(),
        Phase::CleaningUp => "cleaning up".to_owned(),
        phase => phase.name().to_owned(),
    }
}

fn load_job(seen: &Observation) -> [Fact; 1] {
    let time = duration(seen.in_phase);
    let state = match seen.facts.load_job {
        LoadJob::Unknown => "requested",
        job => job.name().unwrap_or_default(),
    };
    let job = seen.job_id.as_deref().map_or_else(|| "load job".to_owned(), |id| format!("load job {id}"));
    [Fact::shortened(1, format!("{job} {state}, {time} in this phase"), format!("job {state}"))]
}

fn join<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Vec<_>>().join(GAP)
}

fn truncated(line: &str, width: usize) -> String {
    let kept = width.saturating_sub(1);
    line.chars().take(kept).chain((width > 0).then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::ProgressSnapshot;

    /// A run that has been fetching for an hour.
    fn fetching() -> Observation {
        let mut facts = ProgressSnapshot {
            phase: Phase::Fetching,
            pages: 12_345,
            customers: 1_234_500,
            parts: 12,
            parts_queued: 1,
            ..ProgressSnapshot::default()
        };
        facts.usage.yotpo.retries = 2;
        facts.usage.treasure_data.retries = 1;
        facts.usage.rate.requests_per_second = 4.5;
        facts.usage.rate.waits = 2;
        facts.usage.rate.waited = Duration::from_secs(80);
        Observation {
            facts,
            elapsed: Duration::from_secs(3_723),
            in_phase: Duration::from_secs(3_720),
            requests_per_second: 4.26,
            eta: Some(Duration::from_secs(754)),
            job_id: None,
        }
    }

    fn loading(state: LoadJob) -> Observation {
        let mut seen = fetching();
        seen.facts.phase = Phase::Loading;
        seen.facts.load_job = state;
        Observation { eta: None, job_id: Some("4711".to_owned()), in_phase: Duration::from_secs(185), ..seen }
    }

    #[test]
    fn no_line_is_longer_than_the_width() {
        let phases = Phase::ALL.map(|phase| {
            let mut seen = loading(LoadJob::Queued);
            seen.facts.phase = phase;
            seen
        });
        let mut largest = fetching();
        largest.facts.customers = u64::MAX;
        largest.facts.parts = u64::MAX;
        largest.elapsed = Duration::MAX;
        for seen in [fetching(), Observation::default(), largest].iter().chain(&phases) {
            let longest = progress_line(seen, usize::MAX).chars().count();
            for width in (0..=20).chain(20..=200) {
                let line = progress_line(seen, width);
                let columns = line.chars().count();
                assert!(columns <= width, "{width}: {line}");
                assert!(columns == longest || width < longest, "{width}: not all of it in {line}");
                assert!(!line.contains(char::is_control), "{line}");
            }
        }
    }

    #[test]
    fn there_is_more_to_read_where_there_is_more_room() {
        let lines = [10, 20, 40, 60, 80, 100, 120, 160].map(|width| progress_line(&fetching(), width));
        assert_eq!(
            lines,
            [
                "1h 02m  f…",
                "1h 02m  fetching",
                "1h 02m  fetching  1,234,500  ETA 12m 34s",
                "1h 02m  fetching  1,234,500  4.3/4.5 req/s  ETA 12m 34s",
                "1h 02m  fetching  1,234,500  12,345 pages  4.3/4.5 req/s  ETA 12m 34s",
                "1h 02m  fetching  1,234,500  12,345 pages  4.3/4.5 req/s  12+1 parts  3 retries  ETA 12m 34s",
                "1h 02m  fetching  1,234,500  12,345 pages  4.3/4.5 req/s  12+1 parts  3 retries  2 waits  ETA 12m 34s",
                "1h 02m  fetching  1,234,500 customers  12,345 pages  4.3 of 4.5 requests/s  12 parts stored, 1 queued  \
                 3 retries  2 waits (1m 20s)  ETA 12m 34s",
            ]
        );
    }

    #[test]
    fn the_load_job_is_shown_while_it_is_waited_for() {
        for (state, words) in [
            (LoadJob::Unknown, "load job 4711 requested"),
            (LoadJob::Queued, "load job 4711 queued"),
            (LoadJob::Running, "load job 4711 running"),
        ] {
            let line = progress_line(&loading(state), 200);
            assert!(line.starts_with(&format!("1h 02m  loading  {words}, 3m 05s in this phase")), "{line}");
        }
        let line = progress_line(&loading(LoadJob::Running), 40);
        assert_eq!(line, "1h 02m  loading  job running  1,234,500");
    }

    #[test]
    fn one_of_a_thing_is_singular() {
        let mut seen = fetching();
        (seen.facts.customers, seen.facts.pages, seen.facts.parts) = (1, 1, 1);
        seen.facts.usage.treasure_data.retries = 0;
        (seen.facts.usage.yotpo.retries, seen.facts.usage.rate.waits) = (1, 1);
        let line = progress_line(&seen, 200);
        for words in ["  1 customer  ", "  1 page  ", "  1 part stored,", "  1 retry  ", "  1 wait ("] {
            assert!(line.contains(words), "{words} in {line}");
        }
    }

    #[test]
    fn what_did_not_happen_is_left_out_first() {
        let mut seen = fetching();
        (seen.facts.usage.yotpo.retries, seen.facts.usage.treasure_data.retries) = (0, 0);
        (seen.facts.usage.rate.waits, seen.facts.usage.rate.waited) = (0, Duration::ZERO);
        let line = progress_line(&seen, 200);
        assert!(line.ends_with("  0 retries  0 waits  ETA 12m 34s"), "{line}");
        seen.facts.usage.yotpo.retries = 1;
        let line = progress_line(&seen, 90);
        assert!(line.contains("  1 retry  ") && !line.contains("wait"), "{line}");
        (seen.facts.usage.yotpo.retries, seen.facts.usage.rate.waits) = (0, 1);
        let line = progress_line(&seen, 90);
        assert!(line.contains("  1 wait  ") && !line.contains("retr"), "{line}");
    }
}
