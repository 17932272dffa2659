//! Where the two services are.

use url::Url;

use super::keys::{SITE, TD_ENDPOINT, YOTPO_ENDPOINT};
use super::layers::Layers;
use super::read::{Reader, endpoint};
use super::site::Site;

/// What the paths of Yotpo's API begin with.
const API_PATH: &str = "/core/v3";

/// The address that `--td-endpoint` or `--site` names: the stronger source wins, two of the same contradict.
pub(super) fn treasure_data_endpoint(reader: &mut Reader) -> Option<Url> {
    let Some((site_source, _)) = reader.layers().get(&SITE) else {
        return reader.endpoint(&TD_ENDPOINT).map(without_version);
    };
    let site = reader.read(&SITE);
    let endpoint_source = reader.layers().get(&TD_ENDPOINT).map(|(source, _)| source);
    if endpoint_source > Some(site_source) {
        return reader.endpoint(&TD_ENDPOINT).map(without_version);
    }
    if endpoint_source == Some(site_source) {
        let what = format!("{} is set as well; expected one of them", TD_ENDPOINT.label());
        reader.report(SITE.label(), what);
        return None;
    }
    site.and_then(|site| endpoint(site.address()).ok())
}

/// The address of Yotpo, without the path of the API, which every request adds.
pub(super) fn yotpo_endpoint(reader: &mut Reader) -> Option<Url> {
    let endpoint = reader.endpoint(&YOTPO_ENDPOINT)?;
    if endpoint.path().trim_end_matches('/').ends_with(API_PATH) {
        let origin = reader.layers().origin_phrase(&YOTPO_ENDPOINT);
        let what = format!("the address {origin} ends with {API_PATH}, which is added to it; leave it out");
        reader.report(YOTPO_ENDPOINT.label(), what);
        return None;
    }
    Some(endpoint)
}

/// Which setting [`treasure_data_endpoint`] took the address from.
pub(super) fn treasure_data_origin(layers: &Layers) -> String {
    let source = |setting| layers.get(setting).map(|(source, _)| source);
    layers.origin_phrase(if source(&SITE) > source(&TD_ENDPOINT) { &SITE } else { &TD_ENDPOINT })
}

/// The address of the region and the setting that it follows from, if a region is what counts.
pub(super) fn effective_endpoint(layers: &Layers) -> Option<(String, String)> {
    let (site_source, site) = layers.get(&SITE)?;
    let endpoint_source = layers.get(&TD_ENDPOINT).map(|(source, _)| source);
    let site: Site = site.trim().parse().ok().filter(|_| Some(site_source) > endpoint_source)?;
    let origin = layers.origin(&SITE).map(|origin| origin.place(&SITE)).unwrap_or_default();
    Some((site.address().to_owned(), origin))
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
