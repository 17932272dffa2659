//! Where both services are: the addresses, and which settings they are from.

use url::Url;

use super::layers::{Layers, Source};
use super::read::{Reader, endpoint};
use super::setting::Setting;

/// Which settings the addresses of both services are from, as a phrase such as `from TD_API_SERVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOrigins {
    /// Of Yotpo's.
    pub yotpo: String,
    /// Of Treasure Data's.
    pub treasure_data: String,
}

/// The address that `--td-endpoint` or `--site` names: the stronger source wins, two of the same contradict.
pub(super) fn treasure_data_endpoint(reader: &mut Reader) -> Option<Url> {
    let Some((site_source, _)) = reader.layers().get("site") else {
        return reader.endpoint("td-endpoint").map(without_version);
    };
    let site = reader.required("site", site_endpoint);
    let endpoint_source = reader.layers().get("td-endpoint").map(|(source, _)| source);
    if endpoint_source > Some(site_source) {
        return reader.endpoint("td-endpoint").map(without_version);
    }
    if endpoint_source == Some(site_source) {
        let label = Setting::of("site").map(Setting::label).unwrap_or_default();
        reader.report(label, "--td-endpoint (TD_API_SERVER) is set as well; expected one of them");
        return None;
    }
    site
}

/// Which setting [`treasure_data_endpoint`] took the address from.
pub(super) fn treasure_data_origin(layers: &Layers) -> String {
    let source = |key| layers.get(key).map(|(source, _)| source);
    origin_of(if source("site") > source("td-endpoint") { "site" } else { "td-endpoint" }, layers)
}

/// The name by which a setting was set.
pub(super) fn origin_of(key: &str, layers: &Layers) -> String {
    let Some((setting, (source, _))) = Setting::of(key).zip(layers.get(key)) else { return String::new() };
    match source {
        Source::Default => format!("the default of --{key}"),
        Source::File => format!("from {key} in the settings file"),
        Source::Environment => format!("from {}", setting.variable),
        Source::Flag => format!("from --{key}"),
    }
}

/// Without the version that some clients' addresses end with: paths begin with it.
fn without_version(mut endpoint: Url) -> Url {
    let path = endpoint.path().trim_end_matches('/');
    if let Some(rest) = path.strip_suffix("/v3") {
        let rest = format!("{}/", rest.trim_end_matches('/'));
        endpoint.set_path(&rest);
    }
    endpoint
}

/// Addresses of the regions, from Treasure Data's documentation.
fn site_endpoint(site: &str) -> Option<Url> {
    let address = match site {
        "us01" => "https://api.treasuredata.com",
        "ap01" => "https://api.treasuredata.co.jp",
        "eu01" => "https://api.eu01.treasuredata.com",
        "ap02" => "https://api.ap02.treasuredata.com",
        "ap03" => "https://api.ap03.treasuredata.com",
        _ => return None,
    };
    endpoint(address).ok()
}
