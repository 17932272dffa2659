//! What a run and its load job are doing, with the names in logs and summaries.

use std::time::Duration;

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// The phase, and above it the milliseconds at which it began: they belong together.
    pub(super) fn pack(self, since: Duration) -> u64 {
        (millis(since).min(u64::MAX >> PHASE_BITS) << PHASE_BITS) | self as u64
    }

    pub(super) fn unpack(packed: u64) -> (Self, Duration) {
        let index = usize::try_from(packed & ((1 << PHASE_BITS) - 1)).unwrap_or_default();
        let phase = Self::ALL.get(index).copied().unwrap_or_default();
        (phase, Duration::from_millis(packed >> PHASE_BITS))
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

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    fn every_load_job_is_found_by_its_index() {
        for job in LoadJob::ALL {
            assert_eq!(LoadJob::at(job as u8), job);
        }
        assert_eq!(LoadJob::at(77), LoadJob::Unknown);
    }
}
