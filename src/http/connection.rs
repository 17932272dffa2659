//! How this program connects to any server.
//!
//! Owns the one place that builds clients of reqwest, and whether a server is on this machine.

use std::net::IpAddr;
use std::time::Duration;

use rustls::ClientConfig;
use url::{Host, Url};

/// Maximum number of response headers. Gateways add headers, and more than a hundred have been observed.
const MAX_HEADERS: usize = 1_000;

/// How to connect to one service.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Maximum duration of one attempt, from sending the request to reading the whole body.
    pub request_timeout: Duration,
    /// Where the service runs.
    pub reach: Reach,
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On this machine. Proxies from the environment are ignored. Responses are requested uncompressed, because decompression
    /// costs more than the transfer over the loopback interface.
    Loopback,
    /// On the network. Proxies from the environment are used, and gzip responses are requested.
    Network,
}

impl Reach {
    /// Where a server runs.
    pub fn of(url: &Url) -> Self {
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
            None => false,
        };
        if is_loopback { Self::Loopback } else { Self::Network }
    }
}

/// A client of reqwest that sends each request once, to the server that it names.
#[expect(clippy::disallowed_methods, reason = "this is the one client that the ban exempts")]
pub(super) fn client_builder(settings: &ClientSettings, tls: ClientConfig) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("yotpo-td/", env!("CARGO_PKG_VERSION")))
        // Every attempt must go through our rate limiter and counters.
        .retry(reqwest::retry::never())
        // A redirect would send the credentials to another server, and neither service documents one.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.request_timeout)
        .http1_max_headers(MAX_HEADERS)
        .tcp_keepalive(Duration::from_secs(30));
    if settings.reach == Reach::Loopback { builder.no_proxy() } else { builder }
}
