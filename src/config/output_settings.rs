//! Where the summary, the metrics and the report go and which run they are about, read apart from all other settings: a run that fails on
//! them has a summary, too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::keys::{
    DATABASE, METRICS_FILE, METRICS_LISTEN, METRICS_PUSH, MODE, REPORT, RUN_ID, STORE_ID, SUMMARY,
    SUMMARY_FILE, TABLE,
};
use super::layers::Layers;
use super::setting::{Key, Setting};
use super::summary_format::SummaryFormat;
use super::value::FromSetting;
use crate::identity::{DatabaseName, Mode, RunId, StoreId, TableName};

/// What a summary needs before the settings are known to be valid. What is missing or wrong is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSettings {
    /// The summary on stdout; text where it is wrong.
    pub summary: SummaryFormat,
    /// Where the JSON summary is written to.
    pub file: Option<PathBuf>,
    /// Where the metrics are written to.
    pub metrics_file: Option<PathBuf>,
    /// Where metrics and health are served.
    pub metrics_listen: Option<SocketAddr>,
    /// The Pushgateway.
    pub metrics_push: Option<Url>,
    /// Where the report is written to.
    pub report: Option<PathBuf>,
    /// The store.
    pub store: Option<StoreId>,
    /// The database.
    pub database: Option<DatabaseName>,
    /// The table.
    pub table: Option<TableName>,
    /// Whether rows are added or replaced.
    pub mode: Option<Mode>,
    /// The run's id, when the user gives it.
    pub run_id: Option<RunId>,
}

/// From the layers; what is wrong is reported with the other settings.
pub fn output_settings(layers: &Layers) -> OutputSettings {
    OutputSettings {
        summary: value(layers, &SUMMARY).unwrap_or(SummaryFormat::Text),
        file: value(layers, &SUMMARY_FILE),
        metrics_file: value(layers, &METRICS_FILE),
        metrics_listen: value(layers, &METRICS_LISTEN),
        metrics_push: value(layers, &METRICS_PUSH),
        report: value(layers, &REPORT),
        store: name(layers, &STORE_ID),
        database: name(layers, &DATABASE),
        table: name(layers, &TABLE),
        mode: value(layers, &MODE),
        run_id: name(layers, &RUN_ID),
    }
}

fn value<T: FromSetting>(layers: &Layers, key: &Key<T>) -> Option<T> {
    T::from_setting(&key.kind, layers.get(key)?.1.trim())
}

fn name<T: FromStr>(layers: &Layers, key: &Setting) -> Option<T> {
    layers.get(key)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_valid_is_used_although_other_settings_are_not() {
        let flags = [
            ("summary", "json"),
            ("summary-file", "summary.json"),
            ("table", "UPPER CASE"),
            ("database", "shop"),
            ("page-size", "0"),
        ];
        let flags: BTreeMap<_, _> = flags.map(|(key, value)| (key, value.to_owned())).into();
        let output = output_settings(&Layers::new(&flags, BTreeMap::<String, String>::new(), None));
        assert_eq!(output.summary, SummaryFormat::Json);
        assert_eq!(output.file, Some("summary.json".into()));
        assert_eq!(
            (output.database, output.table, output.run_id),
            (Some("shop".parse().unwrap()), None, None)
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_none() {
        for wrong in ["", "/", "absent-directory/summary.json", ".."] {
            let flags = BTreeMap::from([("summary-file", wrong.to_owned())]);
            let output = output_settings(&Layers::new(&flags, BTreeMap::<String, String>::new(), None));
            assert_eq!(output.file, None, "{wrong}");
        }
    }
}
