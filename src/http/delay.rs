//! Delays that a server asks for.
//!
//! `RateLimit-Reset` (seconds) is Yotpo's documented header; `Retry-After` (seconds or an HTTP date, RFC 9110 10.2.3)
//! comes from proxies in front of it and from Treasure Data. Both are floors: they are never shortened. A success may
//! carry them, too; there `RateLimit-Reset`, which some services send with every response, counts only when nothing
//! remains.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};

/// The least wait after a 429 that names none; Yotpo recommends one second.
const DEFAULT_THROTTLE_DELAY: Duration = Duration::from_secs(1);

/// What an answer's headers say about the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayHint {
    /// No request to this service before this time has passed.
    pub floor: Option<Duration>,
    /// The service says that nothing is left of its allowance (`RateLimit-Remaining: 0`).
    pub exhausted: bool,
}

/// Reads the delay headers of an answer; `unix_now` is the present wall time, for dates.
///
/// Values that cannot be read are ignored: a 429 then waits one second.
pub fn delay_hint(status: StatusCode, headers: &HeaderMap, unix_now: Duration) -> DelayHint {
    let exhausted = header(headers, "ratelimit-remaining").and_then(seconds) == Some(Duration::ZERO);
    let failed = !status.is_success();
    let reset = header(headers, "ratelimit-reset").and_then(seconds).filter(|_| failed || exhausted);
    let retry_after =
        header(headers, "retry-after").and_then(|text| seconds(text).or_else(|| date(text, unix_now)));
    let asked = reset.or(retry_after);
    let floor = if status == StatusCode::TOO_MANY_REQUESTS {
        Some(asked.unwrap_or(DEFAULT_THROTTLE_DELAY))
    } else {
        asked
    };
    DelayHint { floor, exhausted }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A non-negative number of seconds, whole or with a fraction. Absurd sizes are kept: the caller gives up on them.
fn seconds(text: &str) -> Option<Duration> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) || text.len() > 32 {
        return None;
    }
    match text.parse::<u64>() {
        Ok(whole) => Some(Duration::from_secs(whole)),
        Err(_) => {
            Duration::try_from_secs_f64(text.parse::<f64>().ok().filter(|value| value.is_finite())?).ok()
        }
    }
}

fn date(text: &str, unix_now: Duration) -> Option<Duration> {
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(unix_now))
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
    fn reset_comes_before_retry_after_before_one_second() {
        let both = [("ratelimit-reset", "3"), ("retry-after", "9")];
        assert_eq!(hint(429, &both).floor, Some(Duration::from_secs(3)));
        assert_eq!(hint(429, &[("retry-after", "9")]).floor, Some(Duration::from_secs(9)));
        assert_eq!(hint(429, &[]).floor, Some(Duration::from_secs(1)));
        assert_eq!(hint(503, &[]).floor, None);
    }

    #[test]
    fn retry_after_may_be_a_date_in_any_http_form() {
        for date in
            ["Wed, 21 Oct 2015 07:28:42 GMT", "Wednesday, 21-Oct-15 07:28:42 GMT", "Wed Oct 21 07:28:42 2015"]
        {
            assert_eq!(hint(503, &[("retry-after", date)]).floor, Some(Duration::from_secs(42)), "{date}");
        }
        let past = [("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")];
        assert_eq!(hint(429, &past).floor, Some(Duration::ZERO));
    }

    #[test]
    fn nothing_remaining_is_seen_on_a_success_too() {
        assert!(hint(200, &[("ratelimit-remaining", "0")]).exhausted);
        assert!(!hint(200, &[("ratelimit-remaining", "4")]).exhausted);
        let with_reset = hint(200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "2")]);
        assert_eq!(with_reset.floor, Some(Duration::from_secs(2)));
        assert_eq!(hint(200, &[("ratelimit-remaining", "4"), ("ratelimit-reset", "2")]).floor, None);
        assert_eq!(hint(200, &[("retry-after", "2")]).floor, Some(Duration::from_secs(2)));
    }

    #[test]
    fn unreadable_values_fall_back_to_the_default() {
        for value in ["", "soon", "-5", "1e400", "NaN", "inf", "99999999999999999999999999999999999999"] {
            assert_eq!(hint(429, &[("retry-after", value)]).floor, Some(Duration::from_secs(1)), "{value}");
        }
        assert_eq!(hint(429, &[("retry-after", "1.5")]).floor, Some(Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn no_header_value_panics(reset in "[ -~]{0,40}", after in "[ -~]{0,40}", remaining in "[ -~]{0,8}") {
            let pairs = [("ratelimit-reset", reset.as_str()), ("retry-after", after.as_str()), ("ratelimit-remaining", remaining.as_str())];
            let _ = hint(429, &pairs);
        }
    }
}
