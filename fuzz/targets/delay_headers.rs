//! The headers with which a service slows its clients down.
//!
//! An input is a digit that selects the status, then the values of `RateLimit-Reset`, `Retry-After` and
//! `RateLimit-Remaining`, one per line; missing ones are not sent.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode};
use yotpo_td::clock::Clock;
use yotpo_td::http::{DelayHint, delay_hint};
use yotpo_td::rate_limit::RateLimiter;

use super::Verdict;

const NAMES: [&str; 3] = ["ratelimit-reset", "retry-after", "ratelimit-remaining"];
const STATUSES: [u16; 10] = [200, 204, 301, 400, 401, 408, 429, 500, 502, 503];
const NOW: Duration = Duration::from_secs(1_795_406_400);

/// A delay is never longer than the header says, and never shorter than a `Retry-After` in whole seconds.
pub fn delay_headers(data: &[u8]) -> Verdict {
    let (first, values) = data.split_first().unwrap_or((&b'0', &[]));
    let status = STATUSES[usize::from(first.wrapping_sub(b'0')) % STATUSES.len()];
    let status = StatusCode::from_u16(status).expect("a status");
    let mut headers = HeaderMap::new();
    for (name, value) in NAMES.into_iter().zip(values.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let hint = delay_hint(status, &headers, NOW);
    let [reset, retry_after, remaining] =
        NAMES.map(|name| headers.get(name).and_then(|value| value.to_str().ok()));

    // A reset with a success counts only if nothing remains.
    let is_left = hint.allowance.is_none_or(|allowance| allowance.remaining > 0);
    let reset = reset.filter(|_| !status.is_success() || !is_left);
    if let Some(allowance) = hint.allowance {
        let written = remaining.unwrap_or_default();
        assert!(written.contains(&allowance.remaining.to_string()), "{allowance:?} was not written");
    }
    assert_bounded(status, hint, [reset, retry_after]);
    if status == StatusCode::TOO_MANY_REQUESTS {
        assert!(hint.min_delay.is_some(), "a throttled request always waits");
    }
    // Seconds up to a day are never read as anything else; shorter values with a success may be the limit's own second.
    if let Some(seconds) = retry_after.and_then(whole_seconds).filter(|seconds| seconds.as_secs() <= 86_400) {
        assert!(hint.min_delay >= Some(seconds), "the delay was not kept to");
    }
    if let Some(min_delay) = hint.min_delay {
        assert_kept_back(min_delay);
    }
    if hint == DelayHint::default() { Verdict::Rejected } else { Verdict::Accepted }
}

fn assert_bounded(status: StatusCode, hint: DelayHint, written: [Option<&str>; 2]) {
    let Some(min_delay) = hint.min_delay else { return };
    let has_delay = !status.is_success() || written.iter().any(Option::is_some);
    assert!(has_delay, "a success without a delay header asks for a delay");
    let least = if status == StatusCode::TOO_MANY_REQUESTS { 1.0 } else { 0.0 };
    let most = written.into_iter().flatten().filter_map(requested_seconds).fold(least, f64::max);
    // Tolerance for rounding of fractions.
    assert!(
        min_delay.as_secs_f64() <= most * (1.0 + 1e-9) + 1e-6,
        "{min_delay:?} is longer than anything written"
    );
}

/// A pause of any length delays the next request by exactly that long.
fn assert_kept_back(min_delay: Duration) {
    let clock = Clock::virtual_at(NOW);
    let limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    let start = clock.now();
    limiter.pause_for(min_delay);
    // Virtual time advances when the runtime has nothing else to do.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    drop(runtime.block_on(limiter.acquire()));
    assert_eq!(clock.now().saturating_sub(start), min_delay.min(Duration::MAX.saturating_sub(start)));
}

/// The maximum that a header asks for, in seconds: a number or a date. Unix times are much larger.
fn requested_seconds(text: &str) -> Option<f64> {
    let date = || httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok();
    number(text).or_else(|| Some(date()?.saturating_sub(NOW).as_secs_f64()))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn whole_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let plain = (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok().map(Duration::from_secs)).flatten()
}
