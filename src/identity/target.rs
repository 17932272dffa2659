//! The target of a run.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::digest::ShortHash;
use super::name::{DatabaseName, TableName};
use super::store_id::StoreId;

/// The target of a run. Two runs with the same target must not be active at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The Yotpo store.
    pub store: StoreId,
    /// URL of the Yotpo API.
    pub yotpo_endpoint: String,
    /// URL of the Treasure Data API.
    pub treasure_data_endpoint: String,
    /// The database.
    pub database: DatabaseName,
    /// The table.
    pub table: TableName,
}

/// Identifies a target in names: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(ShortHash);

impl Target {
    /// Identifies the target in the names of sessions and tables. Two spellings of one URL result in the same
    /// fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        let Self { store, yotpo_endpoint, treasure_data_endpoint, database, table } = self;
        let text = [
            store.as_str(),
            &normalised(yotpo_endpoint),
            &normalised(treasure_data_endpoint),
            database.as_str(),
            table.as_str(),
        ];
        Fingerprint(ShortHash::of(text.join("\n").as_bytes()))
    }

    /// The name of the state and lock files of the target, without extension. It is that of the first release, so that
    /// its saved state is found and its processes respect the lock.
    pub fn file_stem(&self) -> String {
        let Self { store, yotpo_endpoint, treasure_data_endpoint, database, table } = self;
        let text =
            [store.as_str(), yotpo_endpoint, treasure_data_endpoint, database.as_str(), table.as_str()];
        format!("{database}.{table}.{:08x}", crc32fast::hash(text.join("\n").as_bytes()))
    }

    /// `database.table`, as shown to users.
    pub fn label(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

/// Scheme, host and port in the normal form of the URL standard, and the path without trailing slashes.
fn normalised(endpoint: &str) -> String {
    let text = Url::parse(endpoint).map_or_else(|_not_a_url| endpoint.to_owned(), |url| url.to_string());
    text.trim_end_matches('/').to_owned()
}

impl Fingerprint {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A target with this table, for tests.
    pub(crate) fn target(table: &str) -> Target {
        Target {
            store: "store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
            database: "database".parse().unwrap(),
            table: table.parse().unwrap(),
        }
    }

    #[test]
    fn spellings_of_one_url_are_the_same_target() {
        let fingerprint_of =
            |endpoint: &str| Target { yotpo_endpoint: endpoint.to_owned(), ..target("one") }.fingerprint();
        for endpoint in ["https://api.yotpo.com", "https://API.yotpo.com:443/", "https://api.yotpo.com//"] {
            assert_eq!(fingerprint_of(endpoint), target("one").fingerprint(), "{endpoint}");
        }
        assert_ne!(fingerprint_of("https://api.yotpo.com/proxy"), target("one").fingerprint());
        assert_ne!(target("two").fingerprint(), target("one").fingerprint());
    }

    #[test]
    fn names_of_state_files_are_those_of_the_first_release() {
        assert_eq!(target("yotpo_customers").file_stem(), "database.yotpo_customers.d77d8540");
    }
}
