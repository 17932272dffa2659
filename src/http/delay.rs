//! Delays that a server asks for, and what it says of its limit.
//!
//! `RateLimit-Reset` (seconds) is Yotpo's documented header; `Retry-After` (seconds or an HTTP date, RFC 9110 10.2.3)
//! comes from proxies in front of it and from Treasure Data. Other services put milliseconds or a Unix time there, so that
//! each is read as what it can be. Both are floors: they are never shortened, and the longer one counts. A success may
//! carry them, too; there `RateLimit-Reset`, which gateways send with every response, counts only when nothing remains
//! and more than the second is meant that the limit is counted in.

use std::time::{Duration, UNIX_EPOCH};

use http::header::DATE;
use http::{HeaderMap, StatusCode};

use crate::rate_limit::Allowance;

/// The least wait after a 429 that names none; Yotpo recommends one second.
const DEFAULT_THROTTLE_DELAY: Duration = Duration::from_secs(1);
/// Nobody means a longer wait: what is longer is another unit, or nonsense that must not hide a sane header.
const MAX_SANE_DELAY: Duration = Duration::from_secs(24 * 3_600);
/// The window of a limit is not longer: a larger number is milliseconds.
const MAX_WINDOW: Duration = Duration::from_secs(600);
/// Yotpo's limit is counted in seconds: what is left of one is known better from our own requests.
const WINDOW: Duration = Duration::from_secs(1);
/// Numbers from here on are Unix times (2001), and from here on in milliseconds.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLISECONDS: f64 = 1e12;

/// What an answer's headers say about the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayHint {
    /// No request to this service before this time has passed.
    pub min_delay: Option<Duration>,
    /// What is left of the service's limit (`RateLimit-Remaining`, `RateLimit-Limit`).
    pub allowance: Option<Allowance>,
}

/// Reads the delay headers of an answer; `unix_now` is the machine's time, for dates where the answer has no `Date`.
///
/// Values that cannot be read are ignored: a 429 then waits one second.
pub fn delay_hint(status: StatusCode, headers: &HeaderMap, unix_now: Duration) -> DelayHint {
    let now = header(headers, DATE.as_str()).and_then(date).unwrap_or(unix_now);
    let remaining = header(headers, "ratelimit-remaining").and_then(count);
    let limit = header(headers, "ratelimit-limit").and_then(count);
    let allowance = remaining.map(|remaining| Allowance { remaining, limit });
    let reset = header(headers, "ratelimit-reset")
        .and_then(|text| delay(text, MAX_WINDOW, now))
        .filter(|reset| !status.is_success() || remaining == Some(0) && *reset > WINDOW);
    let retry_after = header(headers, "retry-after").and_then(|text| delay(text, MAX_SANE_DELAY, now));
    let sane = |delay: &Duration| *delay <= MAX_SANE_DELAY;
    let asked = [reset, retry_after];
    // Where both make no sense the caller gives up on them, and says so.
    let min_delay =
        asked.into_iter().flatten().filter(sane).max().or_else(|| asked.into_iter().flatten().max());
    let min_delay = if status == StatusCode::TOO_MANY_REQUESTS {
        Some(min_delay.unwrap_or(DEFAULT_THROTTLE_DELAY))
    } else {
        min_delay
    };
    DelayHint { min_delay, allowance }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The number that a value begins with; gateways add parameters (`5;w=1`).
fn count(text: &str) -> Option<u32> {
    text.split([',', ';']).next()?.trim().parse().ok()
}

/// A wait: seconds, milliseconds where seconds would be longer than `longest`, a Unix time in either, or a date.
fn delay(text: &str, longest: Duration, now: Duration) -> Option<Duration> {
    let Some(number) = number(text) else {
        return date(text).map(|at| at.saturating_sub(now));
    };
    if number >= UNIX_SECONDS {
        let unit = if number >= UNIX_MILLISECONDS { 1e-3 } else { 1.0 };
        return Duration::try_from_secs_f64(number * unit).ok().map(|at| at.saturating_sub(now));
    }
    let seconds = Duration::try_from_secs_f64(number).ok()?;
    Some(if seconds > longest { seconds / 1_000 } else { seconds })
}

/// A non-negative number, whole or with a fraction.
fn number(text: &str) -> Option<f64> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit()) && text.len() <= 32;
    text.parse().ok().filter(|value: &f64| is_number && value.is_finite())
}

/// A date, since the Unix epoch.
fn date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_445_412_480); // Wed, 21 Oct 2015 07:28:00 GMT

    fn hint(status: u16, pairs: &[(&'static str, &str)]) -> DelayHint {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        delay_hint(StatusCode::from_u16(status).unwrap(), &headers, NOW)
    }

    #[test]
    fn the_longer_sane_header_holds_before_one_second() {
        for (pairs, expected) in [
            (&[("ratelimit-reset", "3"), ("retry-after", "9")][..], Some(9)),
            (&[("ratelimit-reset", "9"), ("retry-after", "3")], Some(9)),
            (&[("ratelimit-reset", "0"), ("retry-after", "2")], Some(2)),
            (&[("ratelimit-reset", "9999999999"), ("retry-after", "2")], Some(2)),
            (&[("retry-after", "9")], Some(9)),
            (&[], Some(1)),
        ] {
            assert_eq!(hint(429, pairs).min_delay, expected.map(Duration::from_secs), "{pairs:?}");
        }
        assert_eq!(hint(503, &[]).min_delay, None);
    }

    #[test]
    fn a_delay_is_read_as_what_it_can_be() {
        for (name, value, milliseconds) in [
            ("ratelimit-reset", "1", 1_000),
            ("ratelimit-reset", "0.25", 250),
            ("ratelimit-reset", "600", 600_000),
            ("ratelimit-reset", "1000", 1_000),
            ("ratelimit-reset", "1445412483", 3_000),
            ("ratelimit-reset", "1445412481500", 1_500),
            ("ratelimit-reset", "1445412470", 0),
            ("ratelimit-reset", "Wed, 21 Oct 2015 07:28:04 GMT", 4_000),
            ("retry-after", "3600", 3_600_000),
            ("retry-after", "120000", 120_000),
            ("retry-after", "1445412490", 10_000),
            ("retry-after", "1445412490000", 10_000),
        ] {
            assert_eq!(
                hint(429, &[(name, value)]).min_delay,
                Some(Duration::from_millis(milliseconds)),
                "{name} {value}"
            );
        }
    }

    #[test]
    fn dates_are_measured_against_the_date_of_the_response() {
        let pairs =
            [("date", "Wed, 21 Oct 2015 08:28:00 GMT"), ("retry-after", "Wed, 21 Oct 2015 08:28:05 GMT")];
        assert_eq!(hint(429, &pairs).min_delay, Some(Duration::from_secs(5)));
        let pairs = [("date", "Wed, 21 Oct 2015 08:28:00 GMT"), ("ratelimit-reset", "1445416082")];
        assert_eq!(hint(429, &pairs).min_delay, Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_makes_no_sense_is_kept_when_nothing_else_is_there() {
        let min_delay = hint(429, &[("ratelimit-reset", "9999999999")]).min_delay.unwrap();
        assert!(min_delay > MAX_SANE_DELAY, "{min_delay:?}");
    }

    #[test]
    fn retry_after_may_be_a_date_in_any_http_form() {
        for date in
            ["Wed, 21 Oct 2015 07:28:42 GMT", "Wednesday, 21-Oct-15 07:28:42 GMT", "Wed Oct 21 07:28:42 2015"]
        {
            assert_eq!(
                hint(503, &[("retry-after", date)]).min_delay,
                Some(Duration::from_secs(42)),
                "{date}"
            );
        }
        let past = [("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")];
        assert_eq!(hint(429, &past).min_delay, Some(Duration::ZERO));
    }

    #[test]
    fn what_is_left_is_seen_on_a_success_too() {
        let left = |remaining, limit| Some(Allowance { remaining, limit });
        assert_eq!(hint(200, &[("ratelimit-remaining", "0")]).allowance, left(0, None));
        let with_limit = [("ratelimit-remaining", "4"), ("ratelimit-limit", "5, 5;w=1")];
        assert_eq!(hint(200, &with_limit).allowance, left(4, Some(5)));
        assert_eq!(hint(200, &[("ratelimit-remaining", "many")]).allowance, None);
        let with_reset =
            |reset| hint(200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", reset)]).min_delay;
        assert_eq!(with_reset("2"), Some(Duration::from_secs(2)));
        assert_eq!(with_reset("1"), None, "the second that the limit is counted in");
        assert_eq!(hint(200, &[("ratelimit-remaining", "4"), ("ratelimit-reset", "2")]).min_delay, None);
        assert_eq!(hint(200, &[("retry-after", "2")]).min_delay, Some(Duration::from_secs(2)));
    }

    #[test]
    fn unreadable_values_fall_back_to_the_default() {
        for value in ["", "soon", "-5", "1e400", "NaN", "inf", "99999999999999999999999999999999999999"] {
            assert_eq!(
                hint(429, &[("retry-after", value)]).min_delay,
                Some(Duration::from_secs(1)),
                "{value}"
            );
        }
        assert_eq!(hint(429, &[("retry-after", "1.5")]).min_delay, Some(Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn no_header_value_panics(reset in "[ -~]{0,40}", after in "[ -~]{0,40}", remaining in "[ -~]{0,8}") {
            let pairs = [("ratelimit-reset", reset.as_str()), ("retry-after", after.as_str()), ("ratelimit-remaining", remaining.as_str())];
            let _ = hint(429, &pairs);
        }
    }
}
