//! Sends the metrics to a Pushgateway, once, when the run has ended.
//!
//! Owns the path of the group and the request. It gets POST, which replaces only metrics of the same name: what a failed run
//! does not send, such as the rows of the last success, stays.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE as CONTENT_TYPE_HEADER;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::{CONTENT_TYPE, MetricLabels};
use crate::clock::Clock;
use crate::http::{
    CallError, ClientSettings, Effect, HttpClient, Reach, Redactor, Request, TlsError, tls_configuration,
};
use crate::rate_limit::RateLimiter;

/// How long the end of a run may be delayed.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// The job that all groups belong to.
const JOB: &str = "yotpo_td";

/// Why the metrics were not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxies of the environment cannot be used.
    #[error("the HTTP client could not be set up")]
    Client(#[from] reqwest::Error),
    /// The Pushgateway did not accept them.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Sends `text` to the group of the target.
///
/// # Errors
/// When the Pushgateway has not accepted it within five seconds.
pub async fn push(base: &Url, labels: &MetricLabels, text: String, clock: &Clock) -> Result<(), PushError> {
    let tls = tls_configuration(base.scheme() == "https")?;
    let settings = ClientSettings { request_timeout: TIMEOUT, reach: Reach::of(base) };
    let limiter = Arc::new(RateLimiter::unlimited(clock.clone()));
    let client = HttpClient::new(&settings, tls, clock.clone(), Redactor::new(), limiter)?
        .for_server(base, "from --metrics-push");
    let request = Request {
        operation: "push the metrics",
        effect: Effect::Repeatable,
        method: Method::POST,
        url: group(base, labels),
        headers: HeaderMap::from_iter([(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE))]),
        body: Some(text.into()),
        max_response_bytes: MAX_RESPONSE_BYTES,
    };
    client.send_for_success(&request).await?;
    Ok(())
}

/// The address of the target's group: without an instance, so that a run on another machine replaces the same metrics.
fn group(base: &Url, labels: &MetricLabels) -> Url {
    let mut url = base.clone();
    // The settings accept only addresses with a host, which have a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["metrics", "job", JOB]);
        for (name, value) in labels.known().filter(|(_, value)| !value.is_empty()) {
            segments.extend([name, value]);
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_the_target_without_an_instance() {
        let labels = MetricLabels {
            store_id: Some("42".to_owned()),
            database: Some("shop".to_owned()),
            table: Some("customers".to_owned()),
        };
        for base in ["http://push:9091", "http://push:9091/"] {
            assert_eq!(
                group(&base.parse().unwrap(), &labels).as_str(),
                "http://push:9091/metrics/job/yotpo_td/store_id/42/database/shop/table/customers"
            );
        }
        assert_eq!(
            group(&"https://host/base/".parse().unwrap(), &MetricLabels::default()).as_str(),
            "https://host/base/metrics/job/yotpo_td"
        );
    }
}
