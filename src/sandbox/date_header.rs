//! The `Date` header of every response, from the sandbox's clock.
//!
//! Owns the value of the header and whether it is sent. Clients use it to determine the age of what they find, so it
//! must come from the clock of the services, not from the machine's.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};

/// The last second of the year 9999, the maximum that the header can express.
const MAX_DATE: u64 = 253_402_300_799;

/// The `Date` header in the responses of both services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateHeader {
    /// The time on the sandbox's clock.
    #[default]
    Clock,
    /// This many seconds later than the sandbox's clock, or earlier if negative.
    Skewed(i64),
    /// Not sent.
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
        let seconds = unix.as_secs().saturating_add_signed(skew).min(MAX_DATE);
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
    fn any_skew_results_in_a_valid_date() {
        assert_eq!(date(DateHeader::Clock).as_deref(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(-86_400)).as_deref(), Some("Thu, 14 Jan 2027 08:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(i64::MIN)).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(date(DateHeader::Skewed(i64::MAX)).as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!(date(DateHeader::Absent), None);
    }
}
