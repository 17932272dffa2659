//! Whether the proxy that the environment names can be used.

use http::Uri;
use url::Url;

use super::layers::Layers;
use super::read::Reader;
use crate::http::Reach;

/// In order of precedence: the first one that is set applies.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Reports a proxy that requests would pass by without a word, because it cannot be understood. Its value may hold a
/// password and is not shown. Servers on this machine are reached without.
pub(super) fn check(reader: &mut Reader, endpoints: &[Option<&Url>]) {
    if !endpoints.iter().flatten().any(|endpoint| Reach::of(endpoint) == Reach::Network) {
        return;
    }
    for name in VARIABLES {
        let layers = reader.layers();
        if layers.is_not_utf8(name) {
            return reader.report(name, "is not UTF-8");
        }
        if let Some(value) = layers.variable(name) {
            if let Some(what) = problem(value.trim()) {
                reader.report(name, what);
            }
            return;
        }
    }
}

/// Host, port and variable of the proxy for a server that is not on this machine, such as `proxy:3128 of HTTPS_PROXY`. Its user and
/// password are left out. Whether `NO_PROXY` exempts the server is not known here.
pub(super) fn name(layers: &Layers) -> Option<String> {
    let (variable, value) = VARIABLES.iter().find_map(|name| Some((name, layers.variable(name)?)))?;
    let uri: Uri = value.trim().parse().ok()?;
    let authority = uri.authority()?;
    let default =
        if uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { 443 } else { 80 };
    Some(format!("{}:{} of {variable}", authority.host(), authority.port_u16().unwrap_or(default)))
}

fn problem(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return None;
    }
    let uri = value.parse::<Uri>().ok();
    let scheme = value.split_once("://").map_or("http", |(scheme, _)| scheme).to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Some("only http and https proxies are supported");
    }
    let is_address = uri.as_ref().and_then(Uri::authority).is_some_and(|authority| {
        let is_port_valid = authority.port().is_some() || authority.as_str().ends_with(authority.host());
        !authority.host().is_empty() && is_port_valid
    });
    (!is_address).then_some("not the address of a proxy, such as http://proxy.example.com:3128")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn http_and_https_proxies_are_accepted_with_or_without_scheme() {
        for value in [
            "",
            "proxy",
            "proxy:3128",
            "http://proxy:3128",
            "HTTPS://user:secret@proxy.example.com/",
            "http://[::1]:3128",
            "http://[::1]",
        ] {
            assert_eq!(problem(value), None, "{value}");
        }
    }

    #[test]
    fn a_proxy_is_named_without_user_and_password() {
        for (variables, expected) in [
            (
                &[("HTTPS_PROXY", " http://user:hidden@proxy.example.com:3128/ ")][..],
                Some("proxy.example.com:3128 of HTTPS_PROXY"),
            ),
            (&[("ALL_PROXY", "proxy"), ("https_proxy", "https://[::1]")], Some("[::1]:443 of https_proxy")),
            (&[("all_proxy", "proxy")], Some("proxy:80 of all_proxy")),
            (&[("HTTP_PROXY", "proxy:1"), ("HTTPS_PROXY", "")], None),
        ] {
            let environment = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), std::ffi::OsString::from(value)))
                .collect();
            assert_eq!(
                name(&Layers::new(&BTreeMap::new(), environment, None)).as_deref(),
                expected,
                "{variables:?}"
            );
        }
    }

    #[test]
    fn other_schemes_and_what_is_no_address_are_refused() {
        for value in ["socks5://proxy:1080", "SOCKS5H://proxy", "ftp://proxy"] {
            assert_eq!(problem(value), Some("only http and https proxies are supported"), "{value}");
        }
        for value in ["http://", "http://proxy:99999", "http://pro xy", "/proxy", "http://proxy:"] {
            assert!(problem(value).is_some_and(|what| what.starts_with("not the address")), "{value}");
        }
    }
}
