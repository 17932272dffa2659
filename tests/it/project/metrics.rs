//! `docs/metrics.md` lists every metric with its labels.

use std::fmt::Write as _;

use yotpo_td::telemetry::{FAMILIES, Family};

use crate::project::generated::assert_generated;

#[test]
fn every_metric_is_documented() {
    let mut table =
        "\n| metric | type | own labels | meaning | missing |\n|---|---|---|---|---|\n".to_owned();
    for Family { name, kind, help, labels, missing } in FAMILIES {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (kind.name(), labels.join(", "));
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} | {missing} |").unwrap();
    }
    assert_generated("docs/metrics.md", "src/telemetry/metrics/families.rs", &(table + "\n"));
}
