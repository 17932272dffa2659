//! What a run and its load job are doing, with the names in logs and summaries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It looks at what earlier runs left, and prepares its own.
    #[default]
    Starting,
    /// Pages are fetched, and parts uploaded meanwhile.
    Fetching,
    /// All pages are fetched; the last parts are uploaded and checked.
    Uploading,
    /// The load job works.
    Loading,
    /// The rows are loaded, and are made visible.
    Committing,
    /// `replace`: the new table takes the name of the old one.
    Publishing,
    /// What nobody needs any more is removed.
    CleaningUp,
    /// Another run of the target is active, and has to end first.
    Waiting,
}

/// How much of a number that holds a phase and its time is the phase.
const PHASE_BITS: u32 = 3;

impl Phase {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Fetching,
        Self::Uploading,
        Self::Loading,
        Self::Committing,
        Self::Publishing,
        Self::CleaningUp,
        Self::Waiting,
    ];

    /// Its name in logs and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Fetching => "fetching",
            Self::Uploading => "uploading",
            Self::Loading => "loading",
            Self::Committing => "committing",
            Self::Publishing => "publishing",
            Self::CleaningUp => "cleaning_up",
            Self::Waiting => "waiting",
        }
    }

    /// The phase, and above it the microseconds at which it began: they belong together.
    pub(super) fn pack(self, since: Duration) -> u64 {
        (micros(since).min(u64::MAX >> PHASE_BITS) << PHASE_BITS) | self as u64
    }

    pub(super) fn unpack(packed: u64) -> (Self, Duration) {
        let index = usize::try_from(packed & ((1 << PHASE_BITS) - 1)).unwrap_or_default();
        let phase = Self::ALL.get(index).copied().unwrap_or_default();
        (phase, Duration::from_micros(packed >> PHASE_BITS))
    }
}

/// The phases that a run entered, in order. It is bounded: after [`Self::MAX`], only the last one is kept up to date.
#[derive(Debug, Default)]
pub(super) struct PhaseChanges(Vec<(Phase, Duration)>);

impl PhaseChanges {
    /// Many times as many as a run has that starts over once.
    pub(super) const MAX: usize = 64;

    /// Notes a phase; the one that the run is in is not noted again.
    pub(super) fn add(&mut self, phase: Phase, since: Duration) {
        if self.0.last().is_some_and(|(last, _)| *last == phase) {
            return;
        }
        if self.0.len() >= Self::MAX {
            self.0.pop();
        }
        self.0.push((phase, since));
    }

    pub(super) fn list(&self) -> &[(Phase, Duration)] {
        &self.0
    }
}

/// What the load job of a run is doing, as far as it was polled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadJob {
    /// Nothing is known of one.
    #[default]
    Unknown,
    /// It waits for a free slot.
    Queued,
    /// It is being started.
    Booting,
    /// It reads the parts.
    Running,
    /// It ended well.
    Succeeded,
    /// It failed or was killed.
    Failed,
}

impl LoadJob {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Queued, Self::Booting, Self::Running, Self::Succeeded, Self::Failed];

    /// Its name in logs and summaries; none where nothing is known.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Queued => Some("queued"),
            Self::Booting => Some("booting"),
            Self::Running => Some("running"),
            Self::Succeeded => Some("succeeded"),
            Self::Failed => Some("failed"),
        }
    }

    pub(super) fn at(index: u8) -> Self {
        Self::ALL.get(usize::from(index)).copied().unwrap_or_default()
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_and_its_time_are_read_as_they_were_packed() {
        for (hours, phase) in Phase::ALL.into_iter().enumerate() {
            let since = Duration::from_secs(3_600 * hours as u64);
            assert_eq!(Phase::unpack(phase.pack(since)), (phase, since));
            assert_eq!(Phase::ALL[phase as usize], phase);
        }
        assert_eq!(Phase::unpack(Phase::Waiting.pack(Duration::MAX)).0, Phase::Waiting);
    }

    #[test]
    fn a_phase_has_one_name_everywhere() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
    }

    #[test]
    fn the_phases_of_a_run_are_noted_in_order_and_bounded() {
        let mut changes = PhaseChanges::default();
        let phases = [Phase::Starting, Phase::Fetching, Phase::Fetching, Phase::Starting];
        for (seconds, phase) in (0..).zip(phases) {
            changes.add(phase, Duration::from_secs(seconds));
        }
        let times: Vec<_> = changes.list().iter().map(|(_, since)| since.as_secs()).collect();
        assert_eq!(times, [0, 1, 3]);
        for (seconds, phase) in (4..1_000).zip(Phase::ALL[..2].iter().cycle()) {
            changes.add(*phase, Duration::from_secs(seconds));
        }
        assert_eq!(changes.list().len(), PhaseChanges::MAX);
        assert_eq!(changes.list().last(), Some(&(Phase::Fetching, Duration::from_secs(999))));
    }

    #[test]
    fn every_load_job_is_found_by_its_index() {
        for job in LoadJob::ALL {
            assert_eq!(LoadJob::at(job as u8), job);
        }
        assert_eq!(LoadJob::at(77), LoadJob::Unknown);
    }

    #[test]
    fn a_time_that_is_too_long_is_shortened_and_keeps_its_phase() {
        let longest = Duration::from_micros((1 << 61) - 1);
        assert_eq!(Phase::unpack(Phase::Waiting.pack(longest)), (Phase::Waiting, longest));
        assert_eq!(Phase::unpack(Phase::Loading.pack(Duration::MAX)), (Phase::Loading, longest));
    }
}
