//! The identity of an attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Unix times from 2001 to 2286 have ten digits.
const MAX_TIME: u64 = 9_999_999_999;
/// Length of a nonce as text.
const LENGTH: usize = 27;

/// An attempt: its start by Treasure Data's clock, 63 random bits, and one that says whether it loads an export. The start is the
/// `time` of its rows unless they are those of an export, which has its own. Never used twice. Ordered by time first: the smaller
/// one is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce {
    time: u64,
    random: u64,
}

/// A time that is out of range, or a text that is not a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the nonce of an attempt")]
pub struct NonceError;

impl Nonce {
    /// The nonce of an attempt that starts at `time`, in Unix seconds.
    ///
    /// # Errors
    /// When the time has more than ten digits (after the year 2286).
    pub fn new(time: u64, random: u64) -> Result<Self, NonceError> {
        if time <= MAX_TIME { Ok(Self { time, random }) } else { Err(NonceError) }
    }

    /// The same, with the mark of an attempt that loads an export or does not.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn marked(time: u64, random: u64, loads_export: bool) -> Result<Self, NonceError> {
        Self::new(time, random & !1 | u64::from(loads_export))
    }

    /// The start of the attempt in Unix seconds by Treasure Data's clock; the `time` of its rows unless it loads an export.
    pub const fn time(self) -> u64 {
        self.time
    }

    /// Whether the attempt loads an export.
    pub const fn loads_export(self) -> bool {
        self.random & 1 == 1
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:010}_{:016x}", self.time, self.random)
    }
}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let (time, random) = text.split_once('_').filter(|_| text.len() == LENGTH).ok_or(NonceError)?;
        let time = time.parse().map_err(|_not_a_number| NonceError)?;
        let random = u64::from_str_radix(random, 16).map_err(|_not_a_number| NonceError)?;
        let nonce = Self::new(time, random)?;
        // A sign or an upper-case digit would be another spelling of the same nonce.
        if nonce.to_string() == text { Ok(nonce) } else { Err(NonceError) }
    }
}

impl TryFrom<String> for Nonce {
    type Error = NonceError;

    fn try_from(text: String) -> Result<Self, NonceError> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

/// Splits a nonce off the front of a name; also returns the rest.
pub(super) fn split_nonce(text: &str) -> Option<(Nonce, &str)> {
    let (nonce, rest) = text.split_at_checked(LENGTH)?;
    Some((nonce.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_whether_the_attempt_loads_an_export() {
        for random in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            for loads_export in [false, true] {
                let nonce = Nonce::marked(1_795_406_400, random, loads_export).unwrap();
                let read: Nonce = nonce.to_string().parse().unwrap();
                assert_eq!((read.loads_export(), read.random | 1), (loads_export, random | 1));
            }
        }
    }

    #[test]
    fn the_older_nonce_is_smaller_regardless_of_its_random_bits() {
        let nonce = |time, random| Nonce::new(time, random).unwrap();
        assert!(nonce(5, u64::MAX) < nonce(6, 0));
        assert!(nonce(5, 1) < nonce(5, 2));
    }

    #[test]
    fn only_the_canonical_spelling_is_valid() {
        let nonce = Nonce::new(1_795_406_400, 0xab).unwrap();
        assert_eq!(nonce.to_string(), "1795406400_00000000000000ab");
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for text in [
            "",
            "1795406400_00000000000000AB",
            "+795406400_00000000000000ab",
            "1795406400_+0000000000000ab",
            "1795406400-00000000000000ab",
            "1795406400_00000000000000ab_",
        ] {
            assert_eq!(text.parse::<Nonce>(), Err(NonceError), "{text}");
        }
        assert_eq!(Nonce::new(10_000_000_000, 0), Err(NonceError));
    }
}
