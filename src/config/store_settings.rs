//! The checked settings of the store that is read, and those of `preview`, which only reads.
//!
//! Owns which settings reading needs. Those of a run contain them.

use url::Url;

use super::endpoints::yotpo_endpoint;
use super::keys::{
    CLIENT_SECRET, LOYALTY_CHECK, MAX_ERROR_RECORDS, MAX_RETRIES, PAGE_SIZE, REQUEST_TIMEOUT,
    REQUESTS_PER_SECOND, RETRY_BASE_DELAY, RETRY_TIMEOUT, STORE_ID, YOTPO_ENDPOINT,
};
use super::layers::Layers;
use super::log_settings::check_log_settings;
use super::problem::SettingsError;
use super::proxy;
use super::read::{Reader, checked};
use crate::http::{ClientSettings, Reach};
use crate::rate_limit::RequestRate;
use crate::retry::RetryPolicy;
use crate::yotpo::{LoyaltyCheck, YotpoSettings};

/// The settings for reading a store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Which store, and its credentials.
    pub yotpo: YotpoSettings,
    /// How fast it is read.
    pub request_rate: RequestRate,
    /// Connections to Yotpo.
    pub connections: ClientSettings,
    /// Which setting Yotpo's address is from, as a phrase such as `from YOTPO_TD_YOTPO_ENDPOINT`.
    pub endpoint_origin: String,
    /// Host, port and variable of the proxy of the environment.
    pub proxy: Option<String>,
    /// How often and how long one request is tried.
    pub retry: RetryPolicy,
}

/// The settings of `preview`.
#[derive(Clone, Debug)]
pub struct SettingsToPreview {
    /// Which store is read.
    pub store: StoreSettings,
    /// Customers on a page.
    pub page_size: u8,
    /// Whether missing loyalty data is an error.
    pub loyalty_check: LoyaltyCheck,
    /// How many customers a run may leave out.
    pub max_error_records: u64,
}

impl SettingsToPreview {
    /// Checks all values.
    ///
    /// # Errors
    /// Everything that is missing or wrong, at once.
    pub fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(layers);
        let settings = read_preview(&mut reader);
        checked(settings, reader)
    }
}

fn read_preview(reader: &mut Reader) -> Option<SettingsToPreview> {
    let endpoint = yotpo_endpoint(reader);
    let store = read_store(reader, endpoint.clone());
    let page_size = reader.read(&PAGE_SIZE);
    let loyalty_check = reader.read(&LOYALTY_CHECK);
    let max_error_records = reader.read(&MAX_ERROR_RECORDS);
    check_log_settings(reader);
    proxy::check(reader, &[endpoint.as_ref()]);
    Some(SettingsToPreview {
        store: store?,
        page_size: page_size?,
        loyalty_check: if loyalty_check? { LoyaltyCheck::On } else { LoyaltyCheck::Off },
        max_error_records: max_error_records?,
    })
}

/// Reads everything else before it gives up, so that every problem is found. The address is checked, with its proxy, by the
/// caller, who may have others.
pub(super) fn read_store(reader: &mut Reader, endpoint: Option<Url>) -> Option<StoreSettings> {
    let client_secret = reader.secret(&CLIENT_SECRET);
    let store = reader.read(&STORE_ID);
    let request_rate = reader.read(&REQUESTS_PER_SECOND).and_then(RequestRate::new);
    let retry = retry_policy(reader);
    let request_timeout = reader.read(&REQUEST_TIMEOUT);
    let endpoint = endpoint?;
    Some(StoreSettings {
        request_rate: request_rate?,
        connections: ClientSettings { request_timeout: request_timeout?, reach: Reach::of(&endpoint) },
        endpoint_origin: reader.layers().origin_phrase(&YOTPO_ENDPOINT),
        proxy: proxy::name(reader.layers()),
        yotpo: YotpoSettings { endpoint, store: store?, client_secret: client_secret? },
        retry: retry?,
    })
}

pub(super) fn retry_policy(reader: &mut Reader) -> Option<RetryPolicy> {
    let max_retries = reader.read(&MAX_RETRIES);
    let base_delay = reader.read(&RETRY_BASE_DELAY);
    let timeout = reader.read(&RETRY_TIMEOUT);
    Some(RetryPolicy { max_retries: max_retries?, base_delay: base_delay?, timeout: timeout? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::SETTINGS;

    fn read(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
    ) -> Result<SettingsToPreview, Vec<String>> {
        let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SettingsToPreview::from_layers(Layers::new(&flags, environment, None))
            .map_err(|error| error.problems().iter().map(ToString::to_string).collect())
    }

    const COMPLETE: [(&str, &str); 2] = [("YOTPO_CLIENT_SECRET", "secret"), ("YOTPO_STORE_ID", "store")];

    #[test]
    fn secret_and_store_are_enough_and_the_rest_has_the_defaults_of_a_run() {
        let settings = read(&[], &COMPLETE).unwrap();
        assert_eq!(settings.store.yotpo.store.as_str(), "store");
        assert_eq!(settings.store.yotpo.endpoint.as_str(), "https://api.yotpo.com/");
        assert_eq!((settings.page_size, settings.loyalty_check), (100, LoyaltyCheck::On));
        assert_eq!((settings.store.retry.max_retries, settings.max_error_records), (8, 0));
    }

    #[test]
    fn what_is_wrong_is_reported_at_once_and_settings_of_the_account_do_not_matter() {
        let labels = |problems: Vec<String>| -> Vec<String> {
            problems.iter().map(|problem| problem.split([' ', ':']).next().unwrap().to_owned()).collect()
        };
        assert_eq!(labels(read(&[], &[]).unwrap_err()), ["YOTPO_CLIENT_SECRET", "--store-id"]);
        let wrong: Vec<_> = SETTINGS
            .iter()
            // It is read while the layers are put together.
            .filter(|setting| setting.key != "td-conf")
            .map(|setting| (setting.key, if setting.key.ends_with("endpoint") { "ftp://x" } else { "!" }))
            .collect();
        let proxy = [("YOTPO_CLIENT_SECRET", "secret"), ("HTTPS_PROXY", "ftp://x")];
        assert_eq!(
            labels(read(&wrong, &proxy).unwrap_err()),
            [
                "--store-id",
                "--yotpo-endpoint",
                "--page-size",
                "--requests-per-second",
                "--max-retries",
                "--retry-base-delay",
                "--retry-timeout",
                "--request-timeout",
                "--loyalty-check",
                "--max-error-records",
                "--log-format",
                "--log-level",
                "--color"
            ]
        );
        assert_eq!(
            labels(read(&[], &[COMPLETE[0], ("HTTPS_PROXY", "ftp://x")]).unwrap_err()),
            ["--store-id", "HTTPS_PROXY"]
        );
    }
}
