//! Settings about both services: what is read, where it goes, how fast and how often they are asked.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::kind::{ABOVE_ZERO, Kind};
use crate::config::setting::{Group, Key, Presence, Setting};
use crate::config::site::Site;
use crate::identity::{DatabaseName, Mode, StoreId, TableName};
use crate::rate_limit::{MAX_RATE, MIN_RATE};

/// The store.
pub const STORE_ID: Key<StoreId> = Key::new(Setting {
    key: "store-id",
    variable: "YOTPO_STORE_ID",
    presence: Presence::Required,
    kind: Kind::Name { value_name: "ID", rule: StoreId::RULE },
    group: Group::Source,
    help: "Yotpo store to read (its app key)",
    details: "",
});
/// Yotpo's address.
pub const YOTPO_ENDPOINT: Key<Url> = Key::new(Setting {
    key: "yotpo-endpoint",
    variable: "YOTPO_TD_YOTPO_ENDPOINT",
    presence: Presence::Default("https://api.yotpo.com"),
    kind: Kind::Url,
    group: Group::Source,
    help: "Yotpo API address",
    details: "",
});
/// Customers per page.
pub const PAGE_SIZE: Key<u8> = Key::new(Setting {
    key: "page-size",
    variable: "YOTPO_TD_PAGE_SIZE",
    presence: Presence::Default("100"),
    kind: Kind::Integer { min: 1, max: 100 },
    group: Group::Source,
    help: "Customers per page",
    details: "",
});
/// The database.
pub const DATABASE: Key<DatabaseName> = Key::new(Setting {
    key: "database",
    variable: "TD_DATABASE",
    presence: Presence::Required,
    kind: Kind::Name { value_name: "NAME", rule: DatabaseName::RULE },
    group: Group::Destination,
    help: "Treasure Data database; it must exist",
    details: "",
});
/// The table.
pub const TABLE: Key<TableName> = Key::new(Setting {
    key: "table",
    variable: "TD_TABLE",
    presence: Presence::Default("yotpo_customers"),
    kind: Kind::Name { value_name: "NAME", rule: TableName::RULE },
    group: Group::Destination,
    help: "Table to load; created if missing",
    details: "",
});
/// How rows reach the table.
pub const MODE: Key<Mode> = Key::new(Setting {
    key: "mode",
    variable: "YOTPO_TD_MODE",
    presence: Presence::Default(Mode::Append.as_str()),
    kind: Kind::Choice { value_name: "MODE", words: &[Mode::Append.as_str(), Mode::Replace.as_str()] },
    group: Group::Destination,
    help: "How rows reach the table",
    details: "`append` adds the rows to the table. `replace` replaces all its rows in one step.",
});
/// The region of Treasure Data.
pub const SITE: Key<Site> = Key::new(Setting {
    key: "site",
    variable: "YOTPO_TD_SITE",
    presence: Presence::Optional,
    kind: Kind::Choice {
        value_name: "SITE",
        words: &[
            Site::Us01.as_str(),
            Site::Ap01.as_str(),
            Site::Eu01.as_str(),
            Site::Ap02.as_str(),
            Site::Ap03.as_str(),
        ],
    },
    group: Group::Destination,
    help: "Treasure Data region",
    details: "",
});
/// Treasure Data's address.
pub const TD_ENDPOINT: Key<Url> = Key::new(Setting {
    key: "td-endpoint",
    variable: "TD_API_SERVER",
    presence: Presence::Default("https://api.treasuredata.com"),
    kind: Kind::Url,
    group: Group::Destination,
    help: "Treasure Data API URL",
    details: "An alternative to `--site`.",
});
/// The toolbelt's file.
pub const TD_CONF: Key<PathBuf> = Key::new(Setting {
    key: "td-conf",
    variable: "YOTPO_TD_TD_CONF",
    presence: Presence::Optional,
    kind: Kind::File,
    group: Group::Destination,
    help: "API key and endpoint from the file of the td command",
    details: "Usually `~/.td/td.conf`. It replaces `TD_API_KEY` and the endpoint together, so neither may be set.",
});
/// Requests per second to Yotpo.
pub const REQUESTS_PER_SECOND: Key<f64> = Key::new(Setting {
    key: "requests-per-second",
    variable: "YOTPO_TD_REQUESTS_PER_SECOND",
    presence: Presence::Default("4.5"),
    kind: Kind::Number { min: MIN_RATE, max: MAX_RATE },
    group: Group::RateAndRetries,
    help: "Maximum requests per second to Yotpo",
    details: "Retries are included. The store's limit of 5 is shared with other clients.",
});
/// Retries of one request.
pub const MAX_RETRIES: Key<u32> = Key::new(Setting {
    key: "max-retries",
    variable: "YOTPO_TD_MAX_RETRIES",
    presence: Presence::Default("8"),
    kind: Kind::Integer { min: 0, max: 1_000 },
    group: Group::RateAndRetries,
    help: "Maximum retries of a request",
    details: "",
});
/// The first delay of a retry.
pub const RETRY_BASE_DELAY: Key<Duration> = Key::new(Setting {
    key: "retry-base-delay",
    variable: "YOTPO_TD_RETRY_BASE_DELAY",
    presence: Presence::Default("1s"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::RateAndRetries,
    help: "Upper bound of the first retry delay",
    details: "It doubles with each retry, up to one minute. Delays are drawn with full jitter.",
});
/// How long one request is retried.
pub const RETRY_TIMEOUT: Key<Duration> = Key::new(Setting {
    key: "retry-timeout",
    variable: "YOTPO_TD_RETRY_TIMEOUT",
    presence: Presence::Default("10m"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::RateAndRetries,
    help: "Maximum time spent retrying one request",
    details: "",
});
/// How long one attempt of a request may take.
pub const REQUEST_TIMEOUT: Key<Duration> = Key::new(Setting {
    key: "request-timeout",
    variable: "YOTPO_TD_REQUEST_TIMEOUT",
    presence: Presence::Default("30s"),
    kind: Kind::Duration { min: ABOVE_ZERO, max: Duration::MAX },
    group: Group::RateAndRetries,
    help: "Maximum duration of one attempt of a request",
    details: "Uploads get one more second per 256 KiB.",
});
