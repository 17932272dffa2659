use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The phases that lasted, until `now`.
fn lasted(progress: &Progress, now: u64) -> Vec<(&'static str, u64)> {
    let durations = progress.snapshot();
    let durations =
        durations.phase_durations(seconds(now)).map(|(phase, time)| (phase.name(), time.as_secs()));
    durations.filter(|(_, seconds)| *seconds > 0).collect()
}

#[test]
fn every_phase_is_read_back() {
    let progress = Progress::default();
    for (hours, phase) in Phase::ALL.into_iter().enumerate() {
        let since = seconds(3_600 * hours as u64);
        progress.enter(phase, since);
        let now = progress.snapshot();
        assert_eq!((now.phase, now.phase_since), (phase, since));
    }
}

#[test]
fn the_time_of_each_phase_is_added_up() {
    let progress = Progress::default();
    assert_eq!((lasted(&progress, 100), progress.snapshot().elapsed(seconds(100))), (vec![], seconds(0)));
    progress.enter(Phase::Starting, seconds(100));
    progress.enter(Phase::Fetching, seconds(103));
    progress.enter(Phase::Loading, seconds(110));
    progress.enter(Phase::Fetching, seconds(111));
    assert_eq!(lasted(&progress, 120), [("starting", 3), ("fetching", 16), ("loading", 1)]);
    assert_eq!(progress.snapshot().elapsed(seconds(120)), seconds(20));
    progress.finish(seconds(120));
    progress.finish(seconds(121));
    assert_eq!(lasted(&progress, 121), [("starting", 3), ("fetching", 17), ("loading", 1)]);
    assert_eq!(progress.snapshot().phase, Phase::Fetching);
}

#[test]
fn a_phase_of_less_than_a_millisecond_took_time() {
    let progress = Progress::default();
    let at = Duration::from_micros;
    for (phase, since) in [(Phase::Starting, 1_100), (Phase::Fetching, 1_200), (Phase::Loading, 1_500)] {
        progress.enter(phase, at(since));
    }
    let seen = progress.snapshot();
    let (starting, fetching) =
        (seen.durations[Phase::Starting as usize], seen.durations[Phase::Fetching as usize]);
    assert_eq!((starting, fetching, seen.elapsed(at(1_600))), (at(100), at(300), at(500)));
}

#[test]
fn what_the_clients_counted_is_part_of_the_facts() {
    let progress = Progress::default();
    assert_eq!(progress.snapshot().usage, ServiceUse::default());
    progress.read_usage_from(|| ServiceUse { yotpo_response_bytes: 7, ..ServiceUse::default() });
    assert_eq!(progress.snapshot().usage.yotpo_response_bytes, 7);
}

#[test]
fn a_run_that_never_began_has_no_end() {
    let progress = Progress::default();
    progress.finish(seconds(5));
    assert_eq!(progress.snapshot(), ProgressSnapshot::default());
    assert_eq!(progress.phase_changes(), []);
}

#[test]
fn no_customers_in_the_last_run_is_no_expectation() {
    let progress = Progress::default();
    for (customers, expected) in [(0, None), (1, Some(1))] {
        progress.expect(customers);
        assert_eq!(progress.snapshot().expected, expected);
    }
}

#[test]
fn the_job_is_the_one_that_was_started_last() {
    let progress = Progress::default();
    assert_eq!(progress.job_id(), None);
    for job in ["4711", "4711", "4712"] {
        progress.load_job_id(job);
        assert_eq!(progress.job_id().as_deref(), Some(job));
    }
}

#[test]
fn customers_of_an_export_are_counted_part_by_part_and_its_pages_at_its_end() {
    let progress = Progress::default();
    progress.customers_read(60);
    progress.customers_read(40);
    assert_eq!((progress.snapshot().customers, progress.snapshot().pages), (100, 0));
    progress.export_read(2, 70, Some(EndedBy::ShortPage));
    let expected = ProgressSnapshot {
        pages: 2,
        customers: 100,
        customers_with_loyalty_data: 70,
        ended_by: Some(EndedBy::ShortPage),
        ..ProgressSnapshot::default()
    };
    assert_eq!(progress.snapshot(), expected);
}
