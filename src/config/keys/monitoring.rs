//! Settings about what is reported to monitoring systems while a run works and when it ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use crate::config::kind::Kind;
use crate::config::setting::{Group, Key, Presence, Setting};

/// The file of the metrics.
pub const METRICS_FILE: Key<PathBuf> = Key::new(Setting {
    key: "metrics-file",
    variable: "YOTPO_TD_METRICS_FILE",
    presence: Presence::Optional,
    kind: Kind::OutputFile,
    group: Group::Monitoring,
    help: "File for metrics in the Prometheus text format",
    details: "For the textfile collector of node_exporter, which reads files named `*.prom`. It is replaced in one step every \
              15 seconds and when the run ends, also when it fails. Each target needs its own file.",
});
/// Where metrics and health are served.
pub const METRICS_LISTEN: Key<SocketAddr> = Key::new(Setting {
    key: "metrics-listen",
    variable: "YOTPO_TD_METRICS_LISTEN",
    presence: Presence::Optional,
    kind: Kind::ListenAddress,
    group: Group::Monitoring,
    help: "Serve /metrics, /healthz and /readyz while the run works",
    details: "A port alone listens on 127.0.0.1.",
});
/// Where metrics are pushed to.
pub const METRICS_PUSH: Key<Url> = Key::new(Setting {
    key: "metrics-push",
    variable: "YOTPO_TD_METRICS_PUSH",
    presence: Presence::Optional,
    kind: Kind::PushUrl,
    group: Group::Monitoring,
    help: "Pushgateway that receives the metrics when the run ends",
    details: "They are grouped by store, database and table.",
});
/// The page that shows how the run went.
pub const REPORT: Key<PathBuf> = Key::new(Setting {
    key: "report",
    variable: "YOTPO_TD_REPORT",
    presence: Presence::Optional,
    kind: Kind::OutputFile,
    group: Group::Monitoring,
    help: "File for a page (HTML) that shows how the run went",
    details: "It is written when the run ends, also when it fails, and has charts of phases, customers, requests, waits, retries \
              and memory. It is self-contained and has no customer data. yotpo-td runs report writes the page of an earlier run.",
});
