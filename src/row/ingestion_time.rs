//! The `time` of a row.

/// The moment of ingestion, in whole Unix seconds: the row's `time`.
///
/// At most the last second of the year 9999, the maximum in a bulk import part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IngestionTime(u64);

/// A time that the `time` column cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ingestion time {seconds} is after the year 9999 (at most {})", IngestionTime::MAX.0)]
pub struct IngestionTimeOutOfRange {
    seconds: u64,
}

impl IngestionTime {
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// The time that is `seconds` after the Unix epoch.
    pub const fn from_unix_seconds(seconds: u64) -> Result<Self, IngestionTimeOutOfRange> {
        if seconds > Self::MAX.0 { Err(IngestionTimeOutOfRange { seconds }) } else { Ok(Self(seconds)) }
    }

    /// Whole seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }
}
