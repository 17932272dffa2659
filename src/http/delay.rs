//! Parses the delays that a server requests, and its rate limit headers.
//!
//! `RateLimit-Reset` (seconds) is Yotpo's documented header; `Retry-After` (seconds or an HTTP date, RFC 9110 10.2.3)
//! comes from proxies in front of it and from Treasure Data. Other services send milliseconds or a Unix time, so each value is
//! read as the unit that makes it plausible. Both are minimums: they are never shortened, and the longer one applies. Successful
//! responses may carry them, too. There, `RateLimit-Reset`, which gateways send with every response, counts only if no
//! requests remain and it is longer than the one-second window of the limit.

use std::time::{Duration, UNIX_EPOCH};

use http::header::DATE;
use http::{HeaderMap, StatusCode};

use crate::rate_limit::Allowance;

/// Minimum delay after a 429 without a delay header; Yotpo recommends one second.
const DEFAULT_THROTTLE_DELAY: Duration = Duration::from_secs(1);
/// Maximum plausible delay. A longer one has another unit, or is nonsense that must not override a plausible header.
const MAX_PLAUSIBLE_DELAY: Duration = Duration::from_secs(24 * 3_600);
/// Maximum window of a rate limit. A larger number is in milliseconds.
const MAX_WINDOW: Duration = Duration::from_secs(600);
/// The window of Yotpo's limit. How much of it remains is known more exactly from our own requests.
const WINDOW: Duration = Duration::from_secs(1);
/// Numbers from here on are Unix times (from 2001).
const UNIX_SECONDS: f64 = 1e9;
/// Numbers from here on are Unix times in milliseconds.
const UNIX_MILLISECONDS: f64 = 1e12;

/// What the headers of a response say about the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayHint {
    /// Minimum delay before the next request to the service.
    pub min_delay: Option<Duration>,
    /// What remains of the service's limit (`RateLimit-Remaining`, `RateLimit-Limit`).
    pub allowance: Option<Allowance>,
}

/// Parses the delay headers of a response. Dates are relative to its `Date` header, or to `unix_now`, the machine's time, if it
/// has none.
///
/// Invalid values are ignored: a 429 then requests one second.
pub fn delay_hint(status: StatusCode, headers: &HeaderMap, unix_now: Duration) -> DelayHint {
    let now = server_date(headers).unwrap_or(unix_now);
    let remaining = header(headers, "ratelimit-remaining").and_then(count);
    let limit = header(headers, "ratelimit-limit").and_then(count);
    let allowance = remaining.map(|remaining| Allowance { remaining, limit });
    let reset = header(headers, "ratelimit-reset")
        .and_then(|text| delay(text, MAX_WINDOW, now))
        .filter(|reset| !status.is_success() || remaining == Some(0) && *reset > WINDOW);
    let retry_after = header(headers, "retry-after").and_then(|text| delay(text, MAX_PLAUSIBLE_DELAY, now));
    let is_plausible = |delay: &Duration| *delay <= MAX_PLAUSIBLE_DELAY;
    let requested = [reset, retry_after];
    // If neither is plausible, the caller fails with the requested delay.
    let min_delay = requested
        .into_iter()
        .flatten()
        .filter(is_plausible)
        .max()
        .or_else(|| requested.into_iter().flatten().max());
    let min_delay = if status == StatusCode::TOO_MANY_REQUESTS {
        Some(min_delay.unwrap_or(DEFAULT_THROTTLE_DELAY))
    } else {
        min_delay
    };
    DelayHint { min_delay, allowance }
}

/// The `Date` of a response, since the Unix epoch; `None` if it has none that can be read.
pub fn server_date(headers: &HeaderMap) -> Option<Duration> {
    header(headers, DATE.as_str()).and_then(date)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The leading number of a value; gateways add parameters (`5;w=1`).
fn count(text: &str) -> Option<u32> {
    text.split([',', ';']).next()?.trim().parse().ok()
}

/// Parses a delay: seconds, milliseconds if seconds would exceed `max`, a Unix time in either unit, or a date.
fn delay(text: &str, max: Duration, now: Duration) -> Option<Duration> {
    let Some(number) = number(text) else {
        return date(text).map(|at| at.saturating_sub(now));
    };
    if number >= UNIX_SECONDS {
        let unit = if number >= UNIX_MILLISECONDS { 1e-3 } else { 1.0 };
        return Duration::try_from_secs_f64(number * unit).ok().map(|at| at.saturating_sub(now));
    }
    let seconds = Duration::try_from_secs_f64(number).ok()?;
    Some(if seconds > max { seconds / 1_000 } else { seconds })
}

/// Parses a non-negative number, with or without a fraction.
fn number(text: &str) -> Option<f64> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit()) && text.len() <= 32;
    text.parse().ok().filter(|value: &f64| is_number && value.is_finite())
}

/// Parses a date as the time since the Unix epoch.
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
    fn longer_plausible_header_takes_precedence_over_one_second() {
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
    fn delay_is_read_in_the_plausible_unit() {
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
    fn what_is_no_plain_number_is_no_delay() {
        for value in ["+5", ".5", "-5", "inf", "NaN", "5 s", &format!("{:0>33}", 5)] {
            assert_eq!(hint(503, &[("retry-after", value)]).min_delay, None, "{value}");
        }
        assert_eq!(
            hint(503, &[("retry-after", &format!("{:0>32}", 5))]).min_delay,
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn dates_are_relative_to_the_date_of_the_response() {
        let pairs =
            [("date", "Wed, 21 Oct 2015 08:28:00 GMT"), ("retry-after", "Wed, 21 Oct 2015 08:28:05 GMT")];
        assert_eq!(hint(429, &pairs).min_delay, Some(Duration::from_secs(5)));
        let pairs = [("date", "Wed, 21 Oct 2015 08:28:00 GMT"), ("ratelimit-reset", "1445416082")];
        assert_eq!(hint(429, &pairs).min_delay, Some(Duration::from_secs(2)));
    }

    #[test]
    fn implausible_delay_is_kept_without_a_plausible_one() {
        let min_delay = hint(429, &[("ratelimit-reset", "9999999999")]).min_delay.unwrap();
        assert!(min_delay > MAX_PLAUSIBLE_DELAY, "{min_delay:?}");
    }

    #[test]
    fn retry_after_may_be_a_date_in_any_http_format() {
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
    fn remaining_requests_are_read_from_successes() {
        let left = |remaining, limit| Some(Allowance { remaining, limit });
        assert_eq!(hint(200, &[("ratelimit-remaining", "0")]).allowance, left(0, None));
        let with_limit = [("ratelimit-remaining", "4"), ("ratelimit-limit", "5, 5;w=1")];
        assert_eq!(hint(200, &with_limit).allowance, left(4, Some(5)));
        assert_eq!(hint(200, &[("ratelimit-remaining", "many")]).allowance, None);
        let with_reset =
            |reset| hint(200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", reset)]).min_delay;
        assert_eq!(with_reset("2"), Some(Duration::from_secs(2)));
        assert_eq!(with_reset("1"), None, "the one-second window of the limit");
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
