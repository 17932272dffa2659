//! The `Date` header of every response, from the sandbox's clock.
//!
//! Owns what the header says and whether there is one. Clients measure the age of what they find by it, so it must be
//! the time that the services live in, not the machine's.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};

/// The last second of the year 9999, the latest that the header can say.
const LATEST: u64 = 253_402_300_799;

/// What the `Date` header of both services' responses says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateHeader {
    /// The time on the sandbox's clock.
    #[default]
    Clock,
    /// So many seconds later than the sandbox's clock, or earlier if negative.
    Skewed(i64),
    /// There is none.
    Absent,
}

impl DateHeader {
    /// Adds the header to a response that is sent at `unix`.
    pub(super) fn add(self, unix: Duration, headers: &mut HeaderMap) {
        let skew = match self {
            Self::Clock => 0,
            Self::Skewed(seconds) => seconds,
            Self::Absent => return,
        };
        let seconds = unix.as_secs().saturating_add_signed(skew).min(LATEST);
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        if let Ok(value) = HeaderValue::try_from(date) {
            headers.insert(header::DATE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(header: DateHeader) -> Option<String> {
        let mut headers = HeaderMap::new();
        header.add(Duration::from_millis(1_800_000_000_900), &mut headers);
        headers.get(header::DATE).map(|date| date.to_str().unwrap().to_owned())
    }

    #[test]
    fn any_skew_is_a_date() {
        assert_eq!(date(DateHeader::Clock).as_deref(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(-86_400)).as_deref(), Some("Thu, 14 Jan 2027 08:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(i64::MIN)).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(i64::MAX)).as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!(date(DateHeader::Absent), None);
    }
}
